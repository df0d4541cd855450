"""Rarity in reports: of each molecule, of the sample, and of held-out molecules beside it."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rdkit import Chem

from moldiff.chem.descriptors.rarity import RarityTables
from moldiff.errors import MoldiffError
from moldiff.evaluation import rarity
from moldiff.evaluation.evaluate import evaluate
from moldiff.evaluation.load_reference import reference_from_sdf
from moldiff.evaluation.rarity import READ, Rarities, load_tables, tables_for
from moldiff.evaluation.reference import Reference
from moldiff.models.folder import built_in_with, list_models, load_model_folder, save_model_folder
from moldiff.models.molecule_model import MoleculeModel
from moldiff.models.references import RARITY

DRUGS = Path(__file__).parents[1] / "fixtures" / "drugs.sdf"
COUNTED = ["Cc1ccccc1", "Cc1ccccc1", "CCO"]


def mols(*smiles: str) -> list[Chem.Mol]:
    return [Chem.MolFromSmiles(text) for text in smiles]


@pytest.fixture(scope="module")
def tables() -> RarityTables:
    return RarityTables.of(mols(*COUNTED))


def test_shares_are_of_the_molecules(tables: RarityTables) -> None:
    found = Rarities.of(mols("Cc1ccccc1", "CC1CC1", "CCO", "NOF"), tables)
    assert found.counts.tolist() == [2, 0, 3, 3], "without a ring, as usual as can be"
    assert (found.associations == 0).tolist() == [False, True, False, True]
    assert found.shares() == {
        "rarest_ring": {"unseen": 0.25, "rare": 1.0, "median": 2.5},
        "weakest_bond": {"unseen": 0.5, "weak": 0.5, "median": pytest.approx(float(sorted(found.associations)[2]) / 2)},
    }
    assert Rarities.of([], tables).shares()["rarest_ring"]["unseen"] is None


def test_a_report_tells_of_every_valid_molecule_and_of_held_out_ones(tmp_path: Path) -> None:
    table = tmp_path / "counted.smi"
    table.write_text("".join(f"{smiles}\n" for smiles in COUNTED))
    reference = reference_from_sdf(DRUGS)
    fewer = evaluate(DRUGS, replace(reference, smiles=reference.smiles[:3]), posebusters=0, ring_table=table)
    counts = fewer.to_json()["rarity"]
    assert (counts["n"], counts["reference_n"]) == (fewer.counts()["valid"], 3)
    report = evaluate(DRUGS, reference, tmp_path / "report", posebusters=0, ring_table=table)
    assert report.rarity is not None
    found: dict[str, Any] = report.to_json()["rarity"]
    assert (found["source"], found["molecules"], found["n"]) == ("counted.smi", 3, report.counts()["valid"])
    assert found["reference_n"] == len(reference.smiles)
    assert found["rarest_ring"]["unseen"] == found["rarest_ring"]["reference"]["unseen"] > 0, "the same molecules"
    assert {name: found[name]["read"] for name in READ} == READ
    assert (tmp_path / "report" / "rarity.png").stat().st_size > 1000
    with (tmp_path / "report" / "molecules.csv").open() as file:
        rows = list(csv.DictReader(file))
    for row, assessed in zip(rows, report.rows, strict=True):
        mol = assessed.mol
        assert mol is not None
        known = load_tables(table)
        assert row["rarest_ring"] == known.rarest_ring(mol).smiles
        assert row["rarest_ring_count"] == str(known.rarest_ring(mol).count)
        assert row["weakest_bond"] == known.weakest_bond(mol).name
    assert report.table["rarest_ring_count"].dtype == "Int64"


def test_a_reference_carries_the_tables_of_its_training_set_or_there_is_no_rarity(tmp_path: Path) -> None:
    reference = reference_from_sdf(DRUGS)
    assert evaluate(DRUGS, reference, posebusters=0).rarity is None
    tables = RarityTables.of(mols(*COUNTED))
    report = evaluate(DRUGS, replace(reference, rarity=tables), posebusters=0)
    assert report.rarity is not None and report.rarity.molecules == 3
    import torch

    tensors = reference.to_tensors() | {name: torch.from_numpy(one) for name, one in tables.to_tensors().items()}
    assert Reference.from_tensors(tensors).rarity == tables
    assert Reference.from_tensors(reference.to_tensors()).rarity is None


def test_held_out_molecules_are_from_all_over_the_file(tables: RarityTables, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 15 that are sorted by size, 10."""
    monkeypatch.setattr(rarity, "_HELD_OUT", 10)
    seen: list[int] = []
    whole = Rarities.of

    def counted(found: Sequence[Chem.Mol], known: RarityTables) -> Rarities:
        seen.extend(mol.GetNumAtoms() for mol in found)
        return whole(found, known)

    monkeypatch.setattr(Rarities, "of", counted)
    rarity.measure_rarity([], tables, "x", ["C" * n for n in range(1, 16)])
    assert len(seen) == 10 and min(seen) == 1 and max(seen) >= 14


def test_tables_come_from_a_model_or_a_file(tiny_model: MoleculeModel, tables: RarityTables, tmp_path: Path) -> None:
    import torch

    carried = {name: torch.from_numpy(one) for name, one in tables.to_tensors().items()}
    weights, config = tiny_model.denoiser.state_dict(), tiny_model.config_json()
    for name, references in (("with", carried), ("without", {})):
        save_model_folder(
            tmp_path / name, weights=weights, config=config, references=references, card="# Test", half=True
        )
    assert load_tables(tmp_path / "with") == tables
    shutil.copytree(tmp_path / "with", tmp_path / "run" / "model")
    assert load_tables(tmp_path / "run") == tables, "the folder of a training run"
    with pytest.raises(MoldiffError) as caught:
        load_tables(tmp_path / "without")
    assert str(caught.value) == (
        f"{tmp_path / 'without'} carries no tables of ring systems and bonds; 'moldiff models pack' with the data adds "
        "them, or take others (ring_table): drugs, a model that you packed, or a file of molecules"
    )
    with pytest.raises(MoldiffError, match="nowhere: no model and no file of molecules"):
        load_tables(tmp_path / "nowhere")


@pytest.mark.parametrize("own", [True, False])
@pytest.mark.parametrize("name", ["qm9", "qm9_fast"])
def test_nobody_is_told_to_pack_a_built_in_model(name: str, own: bool) -> None:
    folder = load_model_folder(name)
    with pytest.raises(MoldiffError) as caught:
        tables_for(None if own else name, folder.references, str(folder.path))
    assert str(caught.value) == (
        f"the built-in model {name} carries no tables of ring systems and bonds; take others (ring_table): drugs, a "
        "model that you packed, or a file of molecules"
    )


def test_built_in_models_are_found_by_what_they_carry() -> None:
    assert built_in_with(RARITY) == ["drugs"]
    assert built_in_with([*RARITY, "nothing"]) == []
    assert built_in_with([]) == list_models()


@pytest.mark.parametrize("command", ["evaluate", "generate"])
def test_records_that_tables_do_without_are_told(
    run: Callable[..., Any], command: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    table = tmp_path / "refs.smi"
    table.write_text("C1CC ring\nCCO\nnonsense\nCc1ccccc1\n")
    words = {
        "evaluate": [DRUGS, "--posebusters", "0", "--workers", "1"],
        "generate": ["-n", "1", "--n-atoms", "12", "--evaluations", "2", "--model", "qm9_fast", "--rarity",
                     "-o", tmp_path / "m.sdf"],
    }  # fmt: skip
    done = run(command, *words[command], "--ring-table", table)
    told = [line for line in done.err.splitlines() if "refs.smi" in line]
    assert len(told) == 1
    assert "refs.smi: 2 records count for nothing; the first, record 0: smiles: RDKit cannot read it" in told[0]
    assert load_tables(table).molecules == 2
    table.write_text("CCO\n")
    caplog.clear()
    load_tables(table)
    assert not caplog.records


def test_tables_of_nothing_are_refused_with_a_reason(tmp_path: Path) -> None:
    table = tmp_path / "refs.smi"
    table.write_text("C1CC ring\nnonsense\n")
    words = r"refs\.smi: there is no molecule to count; 2 records count for nothing; the first, record 0: smiles"
    with pytest.raises(MoldiffError, match=words) as caught:
        load_tables(table)
    assert caught.value.argument == "ring_table"
