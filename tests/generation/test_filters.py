"""Filters of a generation: what fails one is filtered with its reason, and draws go on until enough pass."""

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from generating import generate_files, nonzero
from methane import METHANE, METHYL
from rdkit import Chem

import moldiff
from moldiff.arrays import MolArrays, RawSample
from moldiff.chem.filters.criteria import Criteria
from moldiff.errors import MoldiffError
from moldiff.generation.generate_run import GenerateRun
from moldiff.sampling.molecule_sampler import MoleculeSampler
from moldiff.scoring.targets import parse_target

AMMONIA = MolArrays(METHANE.pos[:4], np.array([2, 0, 0, 0]), METHANE.charge[:4], METHANE.bonds[:3])


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Draws 0, 3, 6, ... are methane, 1, 4, ... ammonia, 2, 5, ... a methyl radical."""

    def draw(self: MoleculeSampler, first: int, count: int) -> Iterator[RawSample]:
        for number in range(first, first + count):
            yield RawSample(number, [METHANE, AMMONIA, METHYL][number % 3], -1)

    monkeypatch.setattr(MoleculeSampler, "draw", draw)


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_what_fails_is_filtered_with_its_reason(scripted: None, model: Path, tmp_path: Path) -> None:
    out = tmp_path / "m.sdf"
    criteria = Criteria.of(where="heteroatoms<1", smarts={"any": "[Cl]"})
    summary = generate_files(out, n=6, model=str(model), criteria=criteria)
    assert nonzero(summary.counts) == {"valid": 2, "invalid": 2, "filtered": 2}
    rows = rows_of(tmp_path / "m.csv")
    assert rows[1]["reason"] == "heteroatoms: 1, must be <1"
    assert rows[1]["smiles"] == "N"  # it was sound, and says what it was
    assert [Chem.MolToSmiles(mol) for mol in Chem.SDMolSupplier(str(out))] == ["C", "C"]
    options = json.loads((tmp_path / "m.run.json").read_text())["options"]
    assert options["where"] == ["heteroatoms<1"]
    assert options["smarts"] == [{"source": "", "patterns": {"any": "[Cl]"}}]


@pytest.mark.parametrize("batch_size", [1, 5, 512])
@pytest.mark.parametrize(("until", "drawn"), [("valid", 5), ("passed", 10)])
def test_draws_go_on_until_enough_are_as_wanted(
    scripted: None, model: Path, until: str, drawn: int, batch_size: int
) -> None:
    result = moldiff.generate(4, model=model, until=until, where="heteroatoms<1", batch_size=batch_size)
    assert result.summary.drawn == drawn
    assert len(result) == (2 if until == "valid" else 4)
    assert result.summary.requested == 4


def test_until_valid_is_another_word(scripted: None, model: Path) -> None:
    old, new = (moldiff.generate(4, model=model, **words) for words in ({"until_valid": True}, {"until": "valid"}))
    assert old.table.equals(new.table)


def test_draws_end_at_the_most_that_were_allowed(scripted: None, model: Path) -> None:
    with pytest.raises(MoldiffError, match="only 0 of 2 molecules that pass the filters in 7 draws"):
        moldiff.generate(2, model=model, until="passed", where="mw>100", max_draws=7)


def test_targets_that_are_missed_are_told(scripted: None, packed: Path) -> None:
    # Crippen's logp is 0.6361 for methane and 0.1620 for ammonia
    result = moldiff.generate(3, model=packed, until="met", targets="logp=0.6", evaluations=2)
    assert [str(status) for status in result.table["status"]][:4] == ["valid", "filtered", "invalid", "valid"]
    assert result.table["reason"][1].startswith("logp: 0.162, must be in 0.35..0.85")
    assert len(result) == 3


@pytest.mark.parametrize(
    ("targets", "n", "line"),
    [
        ("logp=0.6", 6, "2 of 6 draws (1 different molecule) met the target by condition: 2.0 network evaluations per "
         "draw, 12.0 per different molecule that did"),
        ("logp=0.6", 3, "1 of 3 draws met the target by condition: 2.0 network evaluations per draw, 6.0 per different "
         "molecule that did"),
        ("logp<1", 9, "6 of 9 draws (2 different molecules) met the target by condition: 2.0 network evaluations per "
         "draw, 9.0 per different molecule that did"),
        ("logp>3", 6, "0 of 6 draws met the target by condition: 2.0 network evaluations per draw"),
    ],
)  # fmt: skip
def test_copies_among_those_that_met_are_one_molecule(
    scripted: None, packed: Path, targets: str, n: int, line: str
) -> None:
    result = moldiff.generate(n, model=packed, targets=targets, target_method="condition", evaluations=2)
    assert result.summary.lines()[-1] == line


def test_all_targets_are_met_by_different_molecules(scripted: None, packed: Path) -> None:
    targets = ["logp<1", "heavy_atom_count>0", "tpsa>0"]
    for n, line in ((2, "1 of 2 draws met every"), (5, "2 of 5 draws (1 different molecule) met every")):
        result = moldiff.generate(n, model=packed, targets=targets, target_moves=0, evaluations=2)
        assert result.summary.lines()[-1] == (
            f"{line} target by mcmc: 2.0 network evaluations per draw, {2.0 * n:.1f} per different molecule that did"
        )


def test_draws_until_they_met_count_copies_and_the_summary_tells(scripted: None, packed: Path) -> None:
    result = moldiff.generate(
        3, model=packed, until="met", targets="logp=0.6", target_method="condition", evaluations=2
    )
    assert [mol.GetProp("smiles") for mol in result] == ["C"] * 3
    assert result.summary.lines()[-1].startswith("3 of 7 draws (1 different molecule) met the target by condition: ")


@pytest.mark.parametrize(
    ("text", "changed"), [("rings>1", True), ("tpsa <60", True), ("rings>=1", False), ("logp=1..2", False)]
)
def test_what_bounds_mean_since_they_exclude_their_ends_has_other_ids(text: str, changed: bool) -> None:
    steering = SimpleNamespace(fragment=None, targets=(parse_target(text),))
    asked = SimpleNamespace(options=SimpleNamespace(steering=steering, score=None), _table_sha256=None)
    assert GenerateRun.identity(asked) == ({"ends": "excluded"} if changed else {})
