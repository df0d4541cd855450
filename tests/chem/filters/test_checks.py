"""Checks that users ask for: what passes, what is told of what does not, in which order they are asked."""

import pickle
from dataclasses import dataclass
from pathlib import Path

import pytest
from rdkit import Chem
from rdkit.Chem import FilterCatalog

from moldiff.chem.filters.alerts import COSTS, _pattern, _screen, alerts
from moldiff.chem.filters.checks import CheckResult, Subject, by_cost, examine
from moldiff.chem.filters.criteria import Criteria
from moldiff.chem.filters.preparation import CoordinatesCheck, InchikeyCheck
from moldiff.chem.filters.rules import RULES
from moldiff.chem.io.records import read_records
from moldiff.choices import AlertFamily, RuleName
from moldiff.errors import MoldiffError

DRUGS = Path(__file__).parents[2] / "fixtures" / "drugs.sdf"
SAMPLE = Path(__file__).parents[3] / "data" / "sample.sdf"
ASPIRIN = "CC(=O)Oc1ccccc1C(=O)O"
RHODANINE = "O=C1NC(=S)SC1=Cc1ccccc1"
CYCLOSPORIN_LIKE = "CCCCCCCCCCCCCCCCCCCCCCCC(=O)OCC(O)COC(=O)CCCCCCCCCCCCCCCCCC"


def subject(smiles: str) -> Subject:
    return Subject(Chem.MolFromSmiles(smiles))


def results(smiles: str, **words: object) -> list[CheckResult]:
    criteria = Criteria.of(**words)  # type: ignore[arg-type]
    return list(examine(subject(smiles), criteria.checks(), every=True).results)


def test_a_condition_tells_value_and_limit() -> None:
    (result,) = results(ASPIRIN, where="mw<150")
    assert not result.passed
    assert result.value == pytest.approx(180.16, abs=0.01)
    assert (result.name, result.limit, result.reason) == ("mw", "<150", "mw: 180.159, must be <150")
    (passed,) = results(ASPIRIN, where="mw<200")
    assert passed.passed
    assert (passed.detail, passed.reason, passed.value) == ("", "", result.value)


def test_several_conditions_on_a_number_are_one_check() -> None:
    (low,) = results("C", where=["mw<450", "mw>100", "mw=10..600"])
    assert (low.passed, low.limit, low.reason) == (False, ">100", "mw: 16.043, must be >100")
    (fine,) = results(ASPIRIN, where=["mw<450", "mw>100"])
    assert (fine.passed, fine.limit) == (True, "<450 and >100")
    names = [check.name for check in Criteria.of(where=["mw<450", "logp<3", "mw>100"], rules="veber").checks()]
    assert len(names) == len(set(names)) == 3


def test_what_cannot_be_measured_does_not_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    one = subject("CCO")
    one.bare = None  # what RDKit fails on
    verdict = examine(one, Criteria.of(where="mw<150").checks())
    assert verdict.failure is not None
    assert verdict.failure.reason == "mw: not known, must be <150"
    assert verdict.values() == {}


def test_hydrogens_change_no_verdict() -> None:
    checks = Criteria.of(
        where=["mw<300", "logp=1..4", "open_stereocentres=0"], rules=list(RuleName), alerts=list(AlertFamily)
    ).checks()
    seen = 0
    for record in read_records(DRUGS):
        assert record.mol is not None
        with_hydrogens = examine(Subject(record.mol), checks, every=True)
        without = examine(Subject(Chem.RemoveHs(record.mol)), checks, every=True)
        assert with_hydrogens == without
        seen += sum(not result.passed for result in with_hydrogens.results)
    assert seen > 10


def test_lipinski_forgives_one_broken_condition() -> None:
    (one,) = results("C" * 20, rules="lipinski")
    assert one.passed
    assert (one.value, one.limit) == (1.0, "<=1")  # logp
    (two,) = results(CYCLOSPORIN_LIKE, rules="lipinski")
    assert not two.passed
    assert two.value == 2.0
    assert "mw 723.221, must be <=500" in two.detail
    assert "logp" in two.detail
    # N and O atoms and their hydrogens are counted as in the paper: an ester's oxygens are acceptors, both
    assert {condition.name for condition in RULES[RuleName.LIPINSKI].conditions} == {
        "mw", "logp", "nhoh_count", "no_count"
    }  # fmt: skip


def test_every_rule_names_its_source_and_passes_what_it_should() -> None:
    assert set(RULES) == set(RuleName)
    assert all(rule.source and rule.conditions for rule in RULES.values())
    fragment, lead, fat = "Oc1ccncc1", "CC(=O)Nc1ccc(cc1)C(=O)NCC1CCCO1", "CCCCCCCCCCCCCCCCOC(=O)C"
    assert [results(smiles, rules="fragment_like")[0].passed for smiles in (fragment, lead, fat)] == [
        True,
        False,
        False,
    ]
    assert [results(smiles, rules="lead_like")[0].passed for smiles in (fragment, lead, fat)] == [False, True, False]
    assert [results(smiles, rules="veber")[0].passed for smiles in (fragment, lead, fat)] == [True, True, False]


def test_alerts_are_named() -> None:
    (pains,) = results(RHODANINE, alerts="pains")
    assert not pains.passed
    assert pains.value == "ene_rhod_A(235)"
    assert pains.reason == "pains: ene_rhod_A(235)"
    (clean,) = results("CCO", alerts="pains")
    assert clean.passed
    assert clean.value is None
    (several,) = results("O=[N+]([O-])c1ccccc1N=Nc1ccccc1", alerts="brenk")
    assert several.value is not None
    assert str(several.value).count("; ") >= 1


def test_every_family_is_one_of_rdkits_catalogues() -> None:
    assert set(COSTS) == set(AlertFamily)
    for family in AlertFamily:
        parameters = FilterCatalog.FilterCatalogParams()
        parameters.AddCatalog(getattr(FilterCatalog.FilterCatalogParams.FilterCatalogs, _member(family)))
        catalogue = FilterCatalog.FilterCatalog(parameters)
        for record in read_records(DRUGS):
            bare = Subject(record.mol).bare
            assert bool(alerts(family, bare)) == catalogue.HasMatch(bare)


def test_the_screen_of_pains_overlooks_nothing() -> None:
    parameters = FilterCatalog.FilterCatalogParams()
    parameters.AddCatalog(FilterCatalog.FilterCatalogParams.FilterCatalogs.PAINS)
    catalogue = FilterCatalog.FilterCatalog(parameters)
    known = [
        RHODANINE, "O=C1C=CC(=O)C=C1", "Oc1ccccc1O", "c1ccc(cc1)N=Nc1ccc(cc1)N(C)C", "CN(C)c1ccc(cc1)C=NNC=O",
        "O=C1C(=Cc2ccccc2)C(=O)NC(=O)N1", "Cc1cc(C)n(n1)c1ccccc1C=C(C#N)C(=O)N", "Nc1sccc1C(=O)c1ccccc1",
    ]  # fmt: skip
    molecules = [Chem.MolFromSmiles(text) for text in known]
    molecules += [record.mol for path in (DRUGS, SAMPLE) for record in read_records(path)]
    hits = 0
    for mol in molecules:
        bare = Subject(mol).bare
        expected = list(dict.fromkeys(entry.GetDescription() for entry in catalogue.GetMatches(bare)))
        assert alerts(AlertFamily.PAINS, bare) == expected
        hits += bool(expected)
    assert hits >= 7
    screen = _screen(AlertFamily.PAINS)
    assert screen is not None
    assert len(screen.entries) == catalogue.GetNumEntries()


def test_an_unknown_format_of_alerts_is_not_guessed() -> None:
    assert _pattern(b"nothing that is known") is None
    assert _pattern(b"5 \xef\xbe\xad\xde and 7 \xef\xbe\xad\xde") is None
    assert _pattern(b"9 \xef\xbe\xad\xdebroken") is None


def _member(family: AlertFamily) -> str:
    return next(name for name in FilterCatalog.FilterCatalogParams.FilterCatalogs.names if name.lower() == family)


def test_patterns_come_from_files_or_by_name(tmp_path: Path) -> None:
    path = tmp_path / "bad.smarts"
    path.write_text("# mine\n\nC(=O)[OH] carboxylic acid\n[NX3;H2]\n[#1]\n")
    (result,) = results(ASPIRIN, smarts=path)
    assert (result.name, result.value) == ("smarts:bad.smarts", "carboxylic acid")
    (unnamed,) = results("CN", smarts=str(path))
    assert unnamed.value == "[NX3;H2]"
    assert results("CCO", smarts=path)[0].passed  # hydrogens that are not atoms match nothing
    (by_name,) = results("CCO", smarts={"alcohol": "[CX4][OH]", "acid": "C(=O)[OH]"})
    assert by_name.reason == "smarts: alcohol"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("CC\n# fine\nC(( broken\nalso broken\n", r"bad\.smarts:3: RDKit cannot read the SMARTS pattern 'C\(\('"),
        ("\n# nothing\n", "holds no SMARTS pattern"),
    ],
)
def test_a_bad_pattern_is_one_line_with_its_place(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "bad.smarts"
    path.write_text(text)
    with pytest.raises(MoldiffError, match=words):
        Criteria.of(smarts=path)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"where": "mww<4"}, r"unknown property 'mww' \(did you mean 'mw'\?\)"),
        ({"where": "MW<4"}, r"unknown property 'MW' \(did you mean 'mw'\?\)"),
        ({"where": "similarity>0.3"}, "^'similarity' needs the argument similar_to, which filter and screen take"),
        ({"alerts": "PAINS"}, r"unknown alerts 'PAINS' \(did you mean 'pains'\?\)"),
        ({"where": "logp=2"}, r"hardly a molecule has exactly this logp; write a range such as logp=1\.5\.\.2\.5"),
        ({"where": "rings=1.5"}, "where 'rings=1.5': no molecule can have it, rings is a whole number"),
        (
            {"where": "heavy_atom_count=-1"},
            "heavy_atom_count=-1': no molecule can have it, heavy_atom_count is 0 or more",
        ),
        ({"where": "hbd<0"}, "where 'hbd<0': no molecule can have it, hbd is 0 or more"),
        ({"where": ["mw>1", "tpsa<=-5"]}, "where 'tpsa<=-5': no molecule can have it"),
        ({"where": "qed<-1"}, "where 'qed<-1': no molecule can have it, qed is 0 to 1"),
        ({"where": "qed>1"}, "where 'qed>1': no molecule can have it, qed is 0 to 1"),
        ({"where": "sa=11..12"}, "where 'sa=11..12': no molecule can have it, sa is 1 to 10"),
        ({"where": "hbd=0.2..0.9"}, "where 'hbd=0.2..0.9': no molecule can have it"),
        ({"where": ["hba>2", "mw>3", "hba<3"]}, "where 'hba>2 and hba<3': no molecule can have it"),
        ({"where": "posebusters=0.5"}, "posebusters is a whole number"),
        ({"alerts": "pain"}, r"unknown alerts 'pain' \(did you mean 'pains'\?\)"),
        ({"rules": ["lipinski", "lipinski"]}, "rules: 'lipinski' is named twice"),
        ({"smarts": {"x": "C(("}}, "smarts 'x': RDKit cannot read the SMARTS pattern"),
        ({"smarts": {"x": 3}}, "smarts must be a SMARTS pattern for 'x', not 3"),
        ({"smarts": "nowhere.smarts"}, "nowhere.smarts cannot be read"),
        ({"smarts": 3}, "smarts"),
    ],
)
def test_words_that_mean_nothing(words: dict[str, object], message: str) -> None:
    with pytest.raises(MoldiffError, match=message) as caught:
        Criteria.of(**words)  # type: ignore[arg-type]
    assert caught.value.argument == next(iter(words))


@pytest.mark.parametrize("where", ["rings=2", "rings=1.5..2.5", "rings>1.5", "tag:price=1.5", "logp=1.2..1.8"])
def test_numbers_that_something_can_have_may_be_asked_for(where: str) -> None:
    assert Criteria.of(where=where)


@dataclass(frozen=True)
class Counted:
    """A check that says that it was asked."""

    name: str
    cost: float
    passes: bool
    asked: list[str]
    is_text = False

    def __call__(self, subject: Subject) -> CheckResult:
        self.asked.append(self.name)
        if self.name == "raises":
            raise KeyError("on purpose")
        return CheckResult(self.name, self.passes, 1.0, "" if self.passes else "no")


def test_checks_are_asked_in_order_of_cost_up_to_the_first_that_fails() -> None:
    asked: list[str] = []
    checks = by_cost(
        [Counted("dear", 9, False, asked), Counted("cheap", 1, True, asked), Counted("also cheap", 1, False, asked)]
    )
    verdict = examine(subject("C"), checks)
    assert asked == ["cheap", "also cheap"]
    assert verdict.failure is not None
    assert verdict.failure.name == "also cheap"
    assert verdict.values() == {"cheap": 1.0, "also cheap": 1.0}
    asked.clear()
    every = examine(subject("C"), checks, every=True)
    assert asked == ["cheap", "also cheap", "dear"]
    assert every.failure == verdict.failure


def test_a_check_that_raises_is_broken_and_ends_nothing() -> None:
    asked: list[str] = []
    checks = [Counted("raises", 1, True, asked), Counted("later", 2, True, asked)]
    verdict = examine(subject("C"), checks, every=True)
    assert verdict.failure is not None
    assert verdict.failure.broken
    assert verdict.failure.reason == "raises: error: KeyError: 'on purpose'"
    assert asked == ["raises", "later"]


def test_criteria_travel_to_other_processes_and_say_what_they_are() -> None:
    criteria = Criteria.of(where=["mw<450"], alerts="pains,brenk", rules=["veber"], smarts={"a": "C=O"})
    assert pickle.loads(pickle.dumps(criteria)) == criteria
    assert pickle.loads(pickle.dumps(criteria.checks())) == criteria.checks()
    assert criteria.record() == {
        "where": ["mw<450"], "rules": ["veber"], "alerts": ["pains", "brenk"],
        "smarts": [{"source": "", "patterns": {"a": "C=O"}}],
    }  # fmt: skip
    assert criteria
    assert not Criteria.of()
    costs = [check.cost for check in criteria.checks()]
    assert costs == sorted(costs)


def test_coordinates_and_keys() -> None:
    flat, impossible = subject("C[C@H](O)F"), subject("[U]")
    assert InchikeyCheck()(flat).value == "OGBOTYGRYZDLMG-REOHCLBHSA-N"
    assert CoordinatesCheck()(flat).passed
    mol, reason = flat.placed
    assert mol is not None
    assert reason == ""
    assert mol.GetNumAtoms() == 9
    result = CoordinatesCheck()(impossible)
    assert not result.passed
    assert "embedding" in result.detail
    record = next(iter(read_records(DRUGS)))
    own = Subject(record.mol).placed[0]
    assert own is not None
    assert (own.GetConformer().GetPositions() == record.mol.GetConformer().GetPositions()).all()  # type: ignore[union-attr]


def test_the_patterns_of_the_docs_leave_out_odd_ions_alone(tmp_path: Path) -> None:
    docs = (Path(__file__).parents[3] / "docs" / "steering.md").read_text(encoding="utf-8")
    (text,) = [block.partition("```")[0] for block in docs.split("```text\n")[1:] if "hydride" in block]
    (tmp_path / "ions.smarts").write_text(text, encoding="utf-8")
    checks = Criteria.of(smarts=tmp_path / "ions.smarts").checks()
    sound = (
        "C[NH3+]",
        "c1cc[nH+]cc1",
        "CC(=O)[O-]",
        "CS(=O)(=O)[O-]",
        "[O-]c1ccccc1",
        "C[N+](=O)[O-]",
        "CCO",
        "CC(=O)NC",
    )
    odd = ("C[N+](=O)O", "C[CH2+]", "C[CH2-]", "CC[O-]", "C=[OH+]", "CC(=O)[NH3+]", "C[NH-]", "[H-]C")
    for smiles, passes in (*((one, True) for one in sound), *((one, False) for one in odd)):
        mol = Chem.MolFromSmiles(smiles)
        assert (examine(Subject(mol), checks).failure is None) == passes, smiles
