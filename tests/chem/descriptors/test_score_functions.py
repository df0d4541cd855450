"""Score functions under guard: what they may return, what is refused, and the ready-made ones."""

import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from rdkit import Chem

import moldiff
from moldiff.chem.descriptors import score_functions
from moldiff.chem.descriptors.fingerprints import nearest_similarity
from moldiff.chem.descriptors.rdkit_descriptors import compute
from moldiff.chem.descriptors.score_functions import (
    Gfn2Score,
    PropertyScore,
    Score,
    ScoreError,
    SimilarityScore,
    SmartsScore,
    imported_score,
)
from moldiff.chem.io.embed import embed
from moldiff.errors import MoldiffError
from moldiff.interruption import ENDING, orderly_end


def molecule(smiles: str) -> Chem.Mol:
    mol, reason = embed(Chem.MolFromSmiles(smiles), seed=1, timeout_s=10)
    assert mol is not None, reason
    return mol


MOLECULES = [molecule(smiles) for smiles in ("CCO", "c1ccccc1", "CC(=O)N")]


def test_values_of_any_number_type_are_taken() -> None:
    for values in ([1, 2.5, None], (np.float32(1), np.int64(2), None), [True, torch.tensor(2.0), None]):
        found = Score("f", lambda molecules, values=values: values)(MOLECULES)
        assert found[0] == 1.0
        assert found[2] is None
    assert Score("f", lambda molecules: np.arange(3.0))(MOLECULES) == [0.0, 1.0, 2.0]


def test_a_distance_of_nothing_is_no_minus() -> None:
    (score,) = Score("f", lambda molecules: [-0.0])(MOLECULES[:1])
    assert str(score) == "0.0"


def test_an_empty_list_is_not_asked_for() -> None:
    def never(molecules: list[Chem.Mol]) -> list[float]:
        raise AssertionError

    assert Score("f", never)([]) == []


def raising(molecules: list[Chem.Mol]) -> list[float]:
    raise KeyError("no such\n key")


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (raising, "the score f raised KeyError: "),
        (lambda molecules: 1.0, "returned float, not a list"),
        (lambda molecules: None, "returned NoneType, not a list"),
        (lambda molecules: [1.0, 2.0], "returned 2 values for 3 molecules"),
        (lambda molecules: [1.0, float("nan"), 2.0], "returned nan for c1ccccc1; expected a finite number, or None"),
        (lambda molecules: [float("-inf"), 1.0, 2.0], "returned -inf for CCO"),
        (lambda molecules: [1.0, 1.0, "high"], "returned 'high' for CC(N)=O"),
        (lambda molecules: np.array([0.0, 1.0, np.nan]), f"returned {np.float64('nan')!r} for CC(N)=O"),
        (lambda molecules: [1.0, 10**400, 2.0], "returned one of 1329 bits for c1ccccc1"),
        (lambda molecules: [-(10**5000), 1.0, 2.0], "returned one of 16610 bits for CCO"),
        (lambda molecules: 1 / 0, "raised ZeroDivisionError: division by zero"),
        (lambda molecules: sys.exit(3), "raised SystemExit: 3"),
        (lambda molecules: sys.exit(), "raised SystemExit"),
        (lambda molecules: (sys.exit(number) for number in (0, 1)), "raised SystemExit: 0"),
        (lambda molecules: (1 / number for number in (1, 0, 1)), "raised ZeroDivisionError: division by zero"),
    ],
)
def test_bad_scores_are_one_line(function: object, words: str) -> None:
    with pytest.raises(ScoreError) as caught:
        Score("f", function)(MOLECULES)  # type: ignore[arg-type]
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_module_that_exits_when_it_is_imported_is_one_line(tmp_path: Path) -> None:
    file = tmp_path / "exits.py"
    file.write_text("import sys\n\n\ndef score(molecules):\n    return [0.0]\n\n\nsys.exit(4)\n")
    with pytest.raises(MoldiffError, match=r"exits\.py cannot be imported: SystemExit: 4"):
        imported_score(f"{file}:score")


@pytest.mark.parametrize("late", [False, True])
def test_ctrl_c_is_no_failure_of_a_score(late: bool, usual_signals: None) -> None:
    def interrupted(molecules: list[Chem.Mol]) -> Iterator[float]:
        if not late:
            raise KeyboardInterrupt
        return (signal.raise_signal(signal.SIGINT) or 0.0 for _ in molecules)  # type: ignore[func-returns-value]

    with pytest.raises(KeyboardInterrupt):
        Score("f", interrupted)(MOLECULES)  # type: ignore[arg-type]


@pytest.mark.parametrize("number", ENDING)
def test_a_signal_is_no_failure_of_the_code_that_runs(
    number: signal.Signals, tmp_path: Path, usual_signals: None
) -> None:
    file = tmp_path / "struck.py"
    file.write_text(f"import signal\n\nsignal.raise_signal({int(number)})\n\n\ndef score(molecules): ...\n")

    def struck(molecules: list[Chem.Mol]) -> list[float]:
        signal.raise_signal(number)
        return [0.0] * len(molecules)

    for work in (lambda: imported_score(f"{file}:score"), lambda: Score("f", struck)(MOLECULES)):
        with pytest.raises(SystemExit) as caught, orderly_end():
            work()
        assert caught.value.code == 128 + number


def test_a_where_function_that_exits_fails_its_molecule_alone(tmp_path: Path) -> None:
    file = tmp_path / "quits.py"
    file.write_text(
        "import sys\n\n\ndef atoms(molecules):\n"
        "    return [sys.exit(3) if mol.GetNumAtoms() == 2 else mol.GetNumAtoms() for mol in molecules]\n"
    )
    found = moldiff.filter(["CCO", "CC", "C"], where=f"{file}:atoms>2")
    assert list(found.table["status"]) == ["valid", "failed", "filtered"]
    assert "SystemExit: 3" in found.table["reason"][1]


def test_a_function_that_spoils_its_molecules_spoils_copies() -> None:
    def spoiling(molecules: list[Chem.Mol]) -> list[float]:
        for mol in molecules:
            mol.RemoveAllConformers()
            mol.GetAtomWithIdx(0).SetAtomicNum(9)
        return [0.0] * len(molecules)

    before = [Chem.MolToMolBlock(mol) for mol in MOLECULES]
    Score("f", spoiling)(MOLECULES)
    assert [Chem.MolToMolBlock(mol) for mol in MOLECULES] == before


def test_properties() -> None:
    values = [compute(mol, ["logp"])["logp"] for mol in MOLECULES]
    assert PropertyScore("logp")(MOLECULES) == values
    assert PropertyScore("logp", lambda value: abs(value - 1))(MOLECULES) == [-abs(value - 1) for value in values]


def test_a_property_that_cannot_be_computed_is_no_score(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(score_functions, "compute", lambda mol, names: dict.fromkeys(names, float("nan")))
    assert PropertyScore("logp")(MOLECULES) == [None] * 3
    assert PropertyScore("logp", abs)(MOLECULES) == [None] * 3


def test_a_pattern_matches_or_does_not() -> None:
    assert SmartsScore("[OX2H]")(MOLECULES) == [1.0, 0.0, 0.0]
    with pytest.raises(MoldiffError, match=r"score: RDKit cannot read the SMARTS pattern '\[O'"):
        SmartsScore("[O")


def test_similarity_to_a_reference() -> None:
    found = SimilarityScore("OCC")(MOLECULES)
    assert found[0] == 1.0
    np.testing.assert_allclose(found, nearest_similarity(["CCO", "c1ccccc1", "CC(N)=O"], ["CCO"]))
    with pytest.raises(MoldiffError, match="similarity:'C1': no SMILES of a molecule: "):
        SimilarityScore("C1")
    with pytest.raises(MoldiffError, match="would be withheld"):
        SimilarityScore("ClCCSc1ccccc1")


def test_electronic_properties() -> None:
    pytest.importorskip("tblite")
    gaps = Gfn2Score("gfn2_gap_eV")(MOLECULES)
    assert all(gap is not None and 1 < gap < 20 for gap in gaps)
    flat = Chem.MolFromSmiles("[H][H]")
    flat = Chem.AddHs(flat)
    conformer = Chem.Conformer(2)  # two atoms at one place
    flat.AddConformer(conformer)
    assert Gfn2Score("gfn2_gap_eV")([flat]) == [None]


SOURCE = """
count = 3
def size(molecules):
    return [float(mol.GetNumAtoms()) for mol in molecules]
"""


def test_a_function_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "my_scores.py"
    path.write_text(SOURCE)
    assert imported_score(f"{path}:size")(MOLECULES) == [9.0, 12.0, 9.0]


def test_a_function_of_a_module_in_the_working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "smc_test_scores.py").write_text(SOURCE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    assert imported_score("smc_test_scores:size")(MOLECULES)[0] == 9.0
    sys.modules.pop("smc_test_scores")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("no_such_module_here:f", "no_such_module_here cannot be imported: ModuleNotFoundError"),
        ("nowhere/at_all.py:f", "cannot be imported: FileNotFoundError: no such file"),
        ("{path}:sise", "has no 'sise' (did you mean 'size'?)"),
        ("{path}:count", "'count' is no function"),
        ("{broken}:f", "cannot be imported: SyntaxError"),
        (":f", "expected module:function or file.py:function"),
        ("math:", "expected module:function or file.py:function"),
    ],
)
def test_functions_that_cannot_be_loaded_are_one_line(text: str, words: str, tmp_path: Path) -> None:
    path, broken = tmp_path / "good_scores.py", tmp_path / "broken_scores.py"
    path.write_text(SOURCE)
    broken.write_text("def f(:\n")
    with pytest.raises(MoldiffError) as caught:
        imported_score(text.format(path=path, broken=broken))
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_half_of_a_module_is_not_left_to_the_program(tmp_path: Path) -> None:
    (tmp_path / "half_made.py").write_text("A = 1\nraise RuntimeError('no')\n")
    with pytest.raises(MoldiffError, match="cannot be imported: RuntimeError: no"):
        imported_score(f"{tmp_path}/half_made.py:f")
    assert "half_made" not in sys.modules
