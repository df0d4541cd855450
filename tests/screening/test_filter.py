"""A pass over a library: every record accounted for, the same whoever does the work, files that say what happened."""

import csv
import gzip
import json
import pickle
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet
import pytest
from poison import Bomb, look_into_tags
from rdkit import Chem

import moldiff
from moldiff.chem.descriptors.rdkit_descriptors import PROPERTIES, compute
from moldiff.chem.filters.criteria import Criteria
from moldiff.chem.io.records import TextRecord, read_records, read_texts
from moldiff.cli.main import main
from moldiff.errors import MoldiffError
from moldiff.foreign_text import plain_cell
from moldiff.reading import sha256_of
from moldiff.screening.entries import Entry, Library, library_of
from moldiff.screening.filter_files import write_filtered
from moldiff.screening.filter_run import FilterOptions, FilterRun
from moldiff.screening.ranking import parse_rank
from moldiff.screening.rows import Row, RowCounts
from moldiff.status import Status

ROOT = Path(__file__).parents[2]
SAMPLE, DRUGS = ROOT / "data" / "sample.sdf", ROOT / "tests" / "fixtures" / "drugs.sdf"
MIXED = """CCO ethanol
OCC the same
not_a_smiles
C(C)(C)(C)(C)C five bonds
CCCCCCCCCCCCCCCCCCCC fat
c1ccccc1O phenol
"""


@pytest.fixture
def mixed(tmp_path: Path) -> Path:
    path = tmp_path / "mixed.smi"
    path.write_text(MIXED)
    return path


def rows_of(path: Path) -> list[dict[str, str]]:
    with open(path, newline="") as handle:
        return list(csv.DictReader(handle))


def test_whole_numbers_stand_whole_in_tables_and_reasons(tmp_path: Path) -> None:
    with Chem.SDWriter(str(tmp_path / "m.sdf")) as writer:
        for mol, number in zip(Chem.SDMolSupplier(str(SAMPLE), removeHs=False), (12345678, 1234567), strict=False):
            mol.SetProp("compound", str(number))
            writer.write(mol)
    options = FilterOptions(criteria=Criteria.of(where=["tag:compound>2000000"]))
    write_filtered(library_of([tmp_path / "m.sdf"]), options, tmp_path / "out.csv")
    rows = rows_of(tmp_path / "out.records.csv")
    assert [row["tag:compound"] for row in rows] == ["12345678", "1234567"]
    assert rows[1]["reason"] == "tag:compound: 1234567, must be >2000000"


def test_every_record_has_a_row_with_its_reason(mixed: Path, tmp_path: Path) -> None:
    out = tmp_path / "best.smi"
    options = FilterOptions(criteria=Criteria.of(where=["mw<200", "logp<5"], alerts="brenk"))
    summary = write_filtered(library_of([mixed]), options, out)
    assert out.read_text() == "CCO\tethanol\nOc1ccccc1\tphenol\n"
    rows = rows_of(tmp_path / "best.records.csv")
    assert [row["status"] for row in rows] == ["valid", "duplicate", "failed", "invalid", "filtered", "valid"]
    assert [row["stage"] for row in rows] == ["", "duplicates", "read", "read", "mw", ""]
    assert rows[1]["duplicate_of"] == "0"
    assert rows[1]["reason"] == "duplicate: of record 0"
    assert (rows[4]["value"], rows[4]["limit"]) == ("282.556", "<200")
    assert rows[3]["reason"].startswith("valence: C")
    assert summary.counts == {
        "valid": 2, "invalid": 1, "filtered": 1, "duplicate": 1, "withheld": 0, "failed": 1
    }  # fmt: skip
    assert summary.requested == 6
    assert set(summary.counts) == {str(status) for status in Status}
    assert summary.lines()[1] == "left out: 1 by mw"
    record = json.loads((tmp_path / "best.run.json").read_text())
    assert record["task"] == "filter"
    assert record["output_sha256"] == sha256_of(out)
    assert record["inputs"] == [{"file": str(mixed), "sha256": sha256_of(mixed)}]
    assert record["counts"] == summary.counts
    assert record["stages"] == {"duplicates": 1, "read": 2, "mw": 1}
    assert record["options"]["where"] == ["mw<200", "logp<5"]


def test_all_checks_fill_every_column_and_change_no_status(mixed: Path) -> None:
    words = {"where": ["mw<200", "logp<5"], "rules": "veber"}
    first = moldiff.filter(mixed, **words)  # type: ignore[arg-type]
    every = moldiff.filter(mixed, all_checks=True, **words)  # type: ignore[arg-type]
    for column in ("status", "stage", "reason", "value", "limit"):
        assert list(first.table[column]) == list(every.table[column])
    assert first.table["logp"].isna().sum() == 4
    assert every.table["logp"].isna().sum() == 3  # of a duplicate and of what is no molecule
    assert every.table["veber"][4] == 1


def test_a_copy_of_what_a_cheap_check_left_out_is_left_out_for_the_same_reason() -> None:
    result = moldiff.filter(["CCCCCCCC", "CCCCCCCC", "CCO", "OCC"], where="mw<100")
    assert list(result.table["status"]) == ["filtered", "filtered", "valid", "duplicate"]
    assert list(result.table["inchikey"][:2]) == ["", ""]
    every = moldiff.filter(["CCCCCCCC", "CCCCCCCC"], where="mw<100", all_checks=True)
    assert list(every.table["status"]) == ["filtered", "filtered"]
    dear = moldiff.filter(["CCCCCCCC", "CCCCCCCC"], alerts="pains", where="qed>0.9", dedup=False)
    assert list(dear.table["status"]) == ["filtered", "filtered"]
    after = moldiff.filter(["CCCCCCCC", "CCCCCCCC"], where="qed>0.9")
    assert list(after.table["status"]) == ["filtered", "filtered"]


TAUTOMERS = "O=c1cc[nH]cc1 pyridone 900\nOc1ccncc1 pyridinol 5\nOc1ccncc1 again 7\nO=c1cc[nH]cc1 last 3\n"


@pytest.mark.parametrize(
    ("condition", "kept"),
    [("qed>0.5", 1), ("aromatic_rings=1", 0), ("tag:IC50<100", 1), ("tag:IC50<6", 1), ("tag:IC50<4", 3), ("sa<3", 1)],
)
def test_what_fails_hides_no_copy_that_passes_whatever_the_check_costs(
    tmp_path: Path, condition: str, kept: int
) -> None:
    library = tmp_path / "library.csv"
    lines = [line.split() for line in TAUTOMERS.splitlines()]
    library.write_text("smiles,name,IC50\n" + "".join(f"{smiles},{name},{ic50}\n" for smiles, name, ic50 in lines))
    free = moldiff.filter(library, where=condition, dedup=False).table
    passed = [number for number in range(4) if free["status"][number] == "valid"]
    assert passed[0] == kept
    wanted = ["duplicate" if number in passed[1:] else free["status"][number] for number in range(4)]
    for every in (False, True):
        table = moldiff.filter(library, where=condition, all_checks=every).table
        assert list(table["status"]) == wanted
        assert set(table["duplicate_of"][table["status"] == "duplicate"]) <= {kept}
    run = moldiff.screen(library, tmp_path / "run", where=condition, shard_size=1)
    assert run is not None
    assert list(run.records["status"]) == wanted
    assert list(run.records["reason"]) == list(table["reason"])
    assert run.funnel["stages"][-1]["stage"] == "duplicates"
    assert run.funnel["stages"][-1]["asked"] == len(passed)


def test_a_strained_conformer_hides_no_relaxed_one(tmp_path: Path) -> None:
    from rdkit.Chem import AllChem

    relaxed = Chem.AddHs(Chem.MolFromSmiles("CC(=O)Nc1ccc(O)cc1"))
    AllChem.EmbedMolecule(relaxed, randomSeed=1)
    AllChem.MMFFOptimizeMolecule(relaxed, maxIters=2000)
    strained = Chem.Mol(relaxed)
    places = strained.GetConformer().GetPositions()
    for atom, place in enumerate(places):
        strained.GetConformer().SetAtomPosition(atom, (1.15 * place).tolist())
    result = moldiff.filter([strained, relaxed, relaxed], where="mmff_strain_kcal_mol<20")
    assert list(result.table["status"]) == ["filtered", "valid", "duplicate"]
    assert result.table["duplicate_of"][2] == 1
    assert result[0].GetConformer().GetPositions() == pytest.approx(places, abs=1e-3)


@pytest.mark.parametrize("suffix", [".sdf", ".smi", ".csv", ".parquet"])
def test_one_worker_or_two_give_the_same_bytes(tmp_path: Path, suffix: str) -> None:
    found = []
    for workers, isolated in ((1, False), (2, True)):
        out = tmp_path / f"{workers}" / f"best{suffix}"
        options = FilterOptions(
            criteria=Criteria.of(where="mw<120", alerts="brenk"), workers=workers, isolated=isolated
        )
        write_filtered(library_of([SAMPLE, DRUGS]), options, out)
        found.append((out.read_bytes(), (out.parent / "best.records.csv").read_bytes()))
    assert found[0] == found[1]


def test_ranks(tmp_path: Path) -> None:
    library = [Chem.MolFromSmiles(text) for text in ("C" * n for n in (5, 2, 9, 7, 1))]

    def names(**words: object) -> list[str]:
        return [Chem.MolToSmiles(mol) for mol in moldiff.filter(library, **words)]  # type: ignore[arg-type]

    assert names(rank="mw", n=2) == ["C" * 9, "C" * 7]
    assert names(rank="mw:low", n=2) == ["C", "CC"]
    assert names(rank="heavy_atom_count=6", n=3) == ["C" * 5, "C" * 7, "C" * 9]  # 5 and 7 are as near: in their order
    assert names(n=2) == ["C" * 5, "CC"]
    assert names(rank="heavy_atom_count>5", n=3) == ["C" * 9, "C" * 7, "C" * 5]  # 5 is outside, by one
    assert names(rank="mw", where="mw<100") == ["C" * 5, "CC", "C"]
    with pytest.raises(MoldiffError, match="unknown property 'mass'"):
        names(rank="mass")
    with pytest.raises(MoldiffError, match="n must be at least 1"):
        names(n=0)


def test_wishes_rank_as_one_number_which_stands_in_every_output(tmp_path: Path) -> None:
    library = [Chem.MolFromSmiles("C" * n) for n in (5, 2, 9, 7, 1)]
    wishes = ["heavy_atom_count:target:0..4..8", "mw:min:90..200*2"]
    result = moldiff.filter(library, rank=wishes)
    worth = {}  # from the definition: straight lines, and the mean of their logarithms by weight
    for n in (5, 2, 7, 1):
        mw = 14.027 * n + 2.016
        size, light = 1 - abs(n - 4) / 4, min(1, (200 - mw) / 110)
        worth["C" * n] = (size * light**2) ** (1 / 3)
    best_first = sorted(worth, key=worth.__getitem__, reverse=True)
    assert [mol.GetProp("smiles") for mol in result] == [*best_first, "C" * 9]  # which is too large: worth nothing
    found = dict(zip(result.table["smiles"], result.table["desirability"], strict=True))
    assert found == pytest.approx({**worth, "C" * 9: 0.0}, abs=1e-3)
    assert result[0].GetDoubleProp("desirability") == found[best_first[0]]
    assert [mol.GetProp("smiles") for mol in moldiff.filter(library, rank=wishes[1], n=3)] == ["CCCCC", "CC", "C"]

    sample = tmp_path / "sample.smi"
    sample.write_text("".join(f"{'C' * n} n{n}\n" for n in (5, 2, 9, 7, 1)))
    command = ["filter", str(sample), *(word for wish in wishes for word in ("--rank", wish)), "--number", "2"]
    assert main([*command, "--out", str(tmp_path / "best.sdf")]) == 0
    with Chem.SDMolSupplier(str(tmp_path / "best.sdf")) as kept:
        assert [mol.GetDoubleProp("desirability") for mol in kept] == pytest.approx(
            [worth[smiles] for smiles in best_first[:2]], abs=1e-3
        )
    rows = rows_of(tmp_path / "best.records.csv")
    assert [float(row["desirability"]) for row in rows] == pytest.approx(list(result.table["desirability"]), abs=1e-3)
    assert json.loads((tmp_path / "best.run.json").read_text())["options"]["rank"] == wishes


def test_without_conditions_it_is_the_table_of_properties(mixed: Path) -> None:
    result = moldiff.filter(mixed)
    assert list(result.table.columns[-len(PROPERTIES):]) == sorted(
        PROPERTIES, key=lambda name: (PROPERTIES[name].cost, list(PROPERTIES).index(name))
    )  # fmt: skip
    for mol in result:
        for name, value in compute(mol, PROPERTIES).items():
            assert mol.GetDoubleProp(name) == value


def test_the_result_is_a_sequence_that_can_be_saved(mixed: Path, tmp_path: Path) -> None:
    result = moldiff.filter(mixed, where="mw<200", rank="mw")
    assert [mol.GetProp("_Name") for mol in result] == ["phenol", "ethanol"]
    assert len(result) == 2
    assert result[0].GetIntProp("record") == 5
    assert result[0].GetDoubleProp("mw") == pytest.approx(94.11, abs=0.01)
    assert "6 requested = 2 valid" in repr(result)
    assert "<table" in result._repr_html_()
    result.save(tmp_path / "a.sdf")
    write_filtered(
        library_of([mixed]),
        FilterOptions(criteria=Criteria.of(where="mw<200"), rank=parse_rank("mw")),
        tmp_path / "b.sdf",
    )
    assert (tmp_path / "a.sdf").read_bytes() == (tmp_path / "b.sdf").read_bytes()
    with pytest.raises(MoldiffError, match="exists already"):
        result.save(tmp_path / "a.sdf")
    result.save(tmp_path / "a.sdf", overwrite=True)
    with pytest.raises(MoldiffError, match=r"must end in one of \.csv, .*, \.sdf, "):
        result.save(tmp_path / "a.xyz")


def test_what_has_no_coordinates_gets_some_for_an_sdf(tmp_path: Path) -> None:
    path = tmp_path / "flat.csv"
    path.write_text("smiles,id,activity,mw\nCCO,one,7.5,heavy\n[U],two,,\n")
    out = tmp_path / "out.sdf.gz"
    summary = write_filtered(library_of([path]), FilterOptions(), out)
    assert summary.counts["filtered"] == 1
    with gzip.open(out, "rt") as handle:
        text = handle.read()
    assert text.count("$$$$") == 1
    (record,) = read_records(out)
    assert record.mol is not None
    assert record.mol.GetConformer().Is3D()
    assert record.mol.GetNumAtoms() == 9
    assert (record.name, record.tags["activity"], record.tags["input_mw"], record.tags["mw"]) == (
        "one", "7.5", "heavy", "46.069"
    )  # fmt: skip
    rows = rows_of(tmp_path / "out.records.csv")
    assert rows[1]["stage"] == "coordinates"
    assert "embedding" in rows[1]["reason"]


def test_tables_keep_the_fields_of_the_input(tmp_path: Path) -> None:
    path = tmp_path / "mine.csv"
    path.write_text("smiles,id,activity,status,note\nCCO,one,7.5,fine,=1+1\nCCN,two,,,\n")
    for name in ("out.csv", "out.parquet"):
        write_filtered(
            library_of([path]), FilterOptions(criteria=Criteria.of(where="mw<100")), tmp_path / name, overwrite=True
        )
    table = pyarrow.parquet.read_table(tmp_path / "out.parquet").to_pylist()
    rows = rows_of(tmp_path / "out.csv")
    assert list(rows[0]) == list(table[0])
    assert (table[0]["activity"], table[0]["status"], table[1]["activity"]) == ("7.5", "fine", "")
    assert table[0]["mw"] == pytest.approx(46.069)
    assert rows[0]["note"] == "'=1+1"
    assert [text.text for text in read_texts(tmp_path / "out.csv")] == ["CCO", "CCN"]


def test_own_coordinates_and_fields_of_an_sdf_come_back(tmp_path: Path) -> None:
    out = tmp_path / "out.sdf"
    write_filtered(library_of([DRUGS]), FilterOptions(criteria=Criteria.of(where="mw<1000")), out)
    for before, after in zip(read_records(DRUGS), read_records(out), strict=True):
        assert after.name == before.name
        assert before.mol is not None
        assert after.mol is not None
        assert (before.mol.GetConformer().GetPositions() == after.mol.GetConformer().GetPositions()).all()
        # a field whose name the output needs gets another one
        for name, value in before.tags.items():
            assert after.tags.get(f"input_{name}", after.tags[name]) == value


class Poisoned(Library):
    """Molecules, some of which end the process that looks into their tags, or hold it up."""

    def __iter__(self) -> Iterator[Entry]:
        for number, deed in enumerate(["", "crash", "", "spin", ""]):
            tags = Bomb(deed=deed) if deed else {}
            yield Entry(number, "", TextRecord(number, "smiles", "", "C" * (number + 1), tags))


def test_a_molecule_that_kills_its_worker_costs_one_row() -> None:
    options = FilterOptions(workers=2, isolated=True, timeout_s=3.0, criteria=Criteria.of(where="mw<500"))
    run = FilterRun(Poisoned(), options, look_into_tags)
    rows = list(run.rows())
    assert [row.number for row in rows] == [0, 1, 2, 3, 4]
    assert [str(row.status) for row in rows] == ["valid", "failed", "valid", "failed", "valid"]
    assert rows[1].reason.startswith("crashed: ")
    assert rows[3].reason.startswith("timeout: ")
    assert {row.stage for row in rows} == {"", "worker"}
    assert run.summary(3).requested == 5


def test_the_command_line_says_the_same(mixed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bad = tmp_path / "bad.smarts"
    bad.write_text("c1ccccc1 ring\n")
    out = tmp_path / "out.csv"
    common = [str(mixed), "--where", "mw<200", "--where", "logp<5", "--workers", "1", "-o", str(out)]
    assert main(["filter", *common, "--smarts", str(bad), "--rank", "qed", "-n", "1"]) == 0
    told = capsys.readouterr().out.splitlines()
    assert told[0].startswith("6 requested = 1 valid + 1 invalid + 2 filtered + 1 duplicate + 0 withheld + 1 failed")
    assert told[1] == "left out: 1 by mw, 1 by smarts:bad.smarts"
    assert [row["smiles"] for row in rows_of(out)] == ["CCO"]
    assert main(["filter", *common]) == 2
    assert "exists already; choose another name or pass --overwrite" in capsys.readouterr().err
    assert main(["describe", str(mixed), "-o", str(tmp_path / "table.csv"), "--workers", "1"]) == 0
    assert set(PROPERTIES) < set(rows_of(tmp_path / "table.csv")[0])
    for words, message in [
        (["--where", "mww<3"], "unknown property 'mww' (did you mean 'mw'?)"),
        (["--alerts", "pain"], "unknown --alerts 'pain'"),
        (["--rank", "mass"], "unknown property 'mass'"),
        (["-o", str(tmp_path / "x.xyz")], "must end in one of"),
    ]:
        capsys.readouterr()
        assert main(["filter", str(mixed), "--overwrite", *words]) == 2
        assert message in capsys.readouterr().err


def test_salts_are_one_molecule_in_standard_form() -> None:
    salts = ["CCc1ccc(cc1)C(=O)[O-].[Na+]", "CCc1ccc(cc1)C(=O)O", "CCc1ccc(cc1)C(=O)O.O"]
    assert list(moldiff.filter(salts).table["status"]) == ["valid"] * 3
    result = moldiff.filter(salts, standardise=True)
    assert list(result.table["status"]) == ["valid", "duplicate", "duplicate"]
    assert result.table["smiles"][0] == "CCc1ccc(C(=O)O)cc1"


def test_references_known_molecules_and_commands(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    library, known, like = (tmp_path / f"{name}.smi" for name in ("library", "known", "like"))
    library.write_text("CCO\nCCN\nc1ccccc1O\nc1ccccc1N\n")
    known.write_text("NCC\n")
    like.write_text("c1ccccc1O\n")
    out = tmp_path / "out.csv"
    words = [
        "filter", str(library), "--known", str(known), "--similar-to", str(like), "--where", "similarity>0.3",
        "--command", f"length={sys.executable} -c 'import sys; print(len(sys.argv[1]))' {{smiles}}",
        "--rank", "length:low", "--workers", "1", "-o", str(out),
    ]  # fmt: skip
    assert main(words) == 0
    assert "left out: 2 by similarity" in capsys.readouterr().out
    rows = rows_of(out)
    assert [row["smiles"] for row in rows] == ["Oc1ccccc1", "Nc1ccccc1"]
    assert [row["length"] for row in rows] == ["9", "9"]
    assert rows[0]["similarity"] == "1"
    assert main([*words, "--overwrite", "--where", "similarity<=1"]) == 0
    options = json.loads((tmp_path / "out.run.json").read_text())["options"]
    assert options["known"]["molecules"] == 1
    assert options["similar_to"] == ["Oc1ccccc1"]


def test_known_records_that_leave_out_nothing_are_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    known = tmp_path / "known.smi"
    known.write_text("NCC\nC1CC ring\nOCC\nnonsense\n")
    result = moldiff.filter(["CCN", "CCO", "CCC"], known=known)
    assert list(result.table["status"]) == ["filtered", "filtered", "valid"]
    (message,) = [record.getMessage() for record in caplog.records]
    assert message.startswith("known.smi: 2 records leave out nothing; the first, record 1: smiles: RDKit cannot read")
    caplog.clear()
    known.write_text("NCC\n")
    moldiff.filter(["CCN"], known=known)
    assert not caplog.records


def test_globs_and_files_that_are_not_there(tmp_path: Path) -> None:
    for name in ("b", "a"):
        (tmp_path / f"{name}.smi").write_text("C\n")
    assert [path.name for path in library_of([str(tmp_path / "*.smi")]).files] == ["a.smi", "b.smi"]
    with pytest.raises(MoldiffError, match="no file matches"):
        library_of([str(tmp_path / "*.sdf")])
    with pytest.raises(MoldiffError, match="named twice"):
        library_of([tmp_path / "a.smi", tmp_path / "*.smi"])
    with pytest.raises(MoldiffError, match="cannot be read"):
        library_of([tmp_path / "c.smi"])
    with pytest.raises(MoldiffError, match="no molecule files"):
        library_of([])


def test_nothing_is_left_of_a_pass_that_fails(tmp_path: Path) -> None:
    path = tmp_path / "cut.sdf.gz"
    path.write_bytes(gzip.compress(SAMPLE.read_bytes())[:-2000])
    before = sorted(tmp_path.iterdir())
    with pytest.raises(MoldiffError, match="damaged"):
        write_filtered(library_of([path]), FilterOptions(), tmp_path / "out.csv")
    assert sorted(tmp_path.iterdir()) == before


FUNCTIONS = """
def refuses(molecules):
    raise ValueError("no licence")

def refuses_some(molecules):
    return [1 / (molecule.GetNumAtoms() - 2) for molecule in molecules]

def refuses_each(molecules):
    raise ValueError(str(molecules[0].GetNumAtoms()))
"""


@pytest.mark.parametrize(
    ("name", "texts", "told"),
    [
        ("refuses", ["CCO", "CC", "C"], "all 3 records failed, 3 of them: %s:refuses: error: ScoreError: the score "),
        ("refuses_each", ["CCO", "CC", "CO"], "all 3 records failed, 2 of them: %s:refuses_each: error: "),
        ("refuses_some", ["CC", "CCO"], ""),
        ("refuses", ["CC", "not_a_smiles", "C1"], "all 3 records failed, 1 of them: %s:refuses: "),
    ],
)
def test_where_every_record_failed_the_reason_is_told(
    name: str, texts: list[str], told: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    mine = tmp_path / "mine.py"
    mine.write_text(FUNCTIONS)
    wanted = told % mine if told else ""
    moldiff.filter(texts, where=f"{mine}:{name}>0")
    assert [message[: len(wanted)] for message in caplog.messages] == ([wanted] if wanted else [])
    caplog.clear()
    (tmp_path / "m.smi").write_text("".join(f"{text}\n" for text in texts))
    moldiff.screen(tmp_path / "m.smi", tmp_path / "run", where=f"{mine}:{name}>0", shard_size=1)
    assert [message[: len(wanted)] for message in caplog.messages] == ([wanted] if wanted else [])


def test_so_many_reasons_are_kept_and_no_more() -> None:
    counts = RowCounts(dedup=True)
    for number in range(5_000):
        counts.take(Row(number, "", "", Status.FAILED, "mine", f"mine: {number if number % 2 else 0}"))
    assert counts.reasons.most_common(1) == [("mine: 0", 2_500)]
    assert len(counts.reasons) == 1_000
    counts.take(Row(5_000, "", "", Status.VALID))
    assert not counts.have_all_failed
    assert not RowCounts(dedup=True).have_all_failed


def test_it_loads_no_torch() -> None:
    code = (
        "import sys; sys.modules['torch'] = None; import moldiff;"
        "print(len(moldiff.filter(['CCO', 'CCC'], alerts='pains,brenk', rank='qed')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout == "2\n"


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".sdf"])
def test_molecules_in_memory_keep_their_fields_as_those_of_a_file_do(tmp_path: Path, suffix: str) -> None:
    records = list(read_records(DRUGS))[:3]
    molecules = [record.mol for record in records]
    for number, mol in enumerate(molecules):
        mol.SetProp("_Name", f"drug {number}")
        mol.SetProp("series" if number else "batch", f"=A{number}")
        mol.SetProp("status", "fine")
    path = tmp_path / "in.sdf"
    with Chem.SDWriter(str(path)) as writer:
        for mol in molecules:
            writer.write(mol)
    found = []
    for name, source in (("file", path), ("list", molecules), ("generator", (mol for mol in molecules))):
        out = moldiff.filter(source, where="mw<1000").save(tmp_path / f"{name}{suffix}")
        found.append([record.tags for record in read_records(out)])
    assert found[1] == found[2]
    names = {name for tags in found[0] for name in tags} - {"file"}
    for given, of_file in zip(found[1], found[0], strict=True):
        assert {name: given.get(name) for name in names} == {name: of_file.get(name) for name in names}
    assert {"batch", "status"} <= set(found[1][0])


TEXTS = {"code": "007", "batch": "1E5", "long": "12345678901234567890", "plus": "+5", "blank": " 12 ", "logp": "high"}


def told() -> Chem.Mol:
    mol = Chem.MolFromSmiles("CCO")
    for name, text in TEXTS.items():
        mol.SetProp(name, text)
    mol.SetDoubleProp("half", 0.5)
    return mol


def test_texts_that_look_like_numbers_stay_texts(tmp_path: Path) -> None:
    found = moldiff.filter([told()])
    wanted = {("input_logp" if name == "logp" else name): text for name, text in TEXTS.items()} | {"half": "0.5"}
    kept = found[0].GetPropsAsDict(autoConvertStrings=False)
    assert {name: kept[name] for name in wanted} == wanted
    rows = list(csv.DictReader(found.save(tmp_path / "x.csv").open()))
    assert {name: plain_cell(rows[0][name]) for name in wanted} == wanted


def test_molecules_of_a_file_carry_its_fields(tmp_path: Path) -> None:
    with Chem.SDWriter(str(tmp_path / "in.sdf")) as writer:
        writer.write(told())
    (kept,) = moldiff.filter(tmp_path / "in.sdf", where="mw<100")
    assert (kept.GetProp("code"), kept.GetProp("logp")) == ("007", "high"), "no column of this table is called logp"


@pytest.mark.parametrize("argument", ["molecules", "similar_to", "shape_of", "known"])
@pytest.mark.parametrize(
    ("value", "words"), [(5, "not 5"), ([], "no molecules to begin with"), (["a.sdf"], "in a list is a file")]
)
def test_a_refusal_names_the_argument_that_was_given(argument: str, value: object, words: str) -> None:
    given = {"molecules": ["CCO"], argument: value}
    with pytest.raises(MoldiffError, match=rf"^{argument}.*{words}") as caught:
        moldiff.filter(**given)  # type: ignore[arg-type]
    assert caught.value.argument == argument


def test_nothing_is_no_empty_library() -> None:
    with pytest.raises(MoldiffError, match=r"molecules must be .*, not None"):
        moldiff.filter(None, where="mw<100")  # type: ignore[arg-type]


def test_standardising_moves_no_molecule_that_needs_it_not(tmp_path: Path) -> None:
    from rdkit.Chem import AllChem

    given = tmp_path / "poses.sdf"
    with Chem.SDWriter(str(given)) as writer:
        for smiles in ("O=[N+]([O-])c1ccc(N)cc1", "CCC(=O)[O-].[Na+].[Cl-]", "CCS(=O)c1ccncc1"):
            mol = Chem.AddHs(Chem.MolFromSmiles(smiles))
            AllChem.EmbedMolecule(mol, randomSeed=5)
            AllChem.CanonicalizeConformer(mol.GetConformer())
            mol.GetConformer().SetPositions(mol.GetConformer().GetPositions() + 30.0)
            mol.SetProp("vina_kcal_mol", "-5.5")
            writer.write(mol)
    out = tmp_path / "standard.sdf"
    write_filtered(library_of([given]), FilterOptions(standardise=True, rank=parse_rank("tag:vina_kcal_mol:low")), out)
    before, after = (list(Chem.SDMolSupplier(str(path), removeHs=False)) for path in (given, out))
    assert before[0].GetConformer().GetPositions() == pytest.approx(after[0].GetConformer().GetPositions(), abs=1e-3)
    for old, new in zip(before, after, strict=True):
        places = [mol.GetConformer().GetPositions() for mol in (old, new)]
        heavy = [atom.GetIdx() for atom in new.GetAtoms() if atom.GetAtomicNum() > 1]
        for place in places[1][heavy]:
            assert abs(places[0] - place).sum(1).min() < 2e-3
        assert new.GetProp("vina_kcal_mol") == "-5.5"


def test_a_pickled_result_keeps_the_properties_of_its_molecules() -> None:
    result = moldiff.filter(["CCO", "CCN"], where="mw<100")
    before = [mol.GetPropsAsDict() for mol in result.molecules]
    assert "mw" in before[0]
    assert [mol.GetPropsAsDict() for mol in pickle.loads(pickle.dumps(result))] == before
