"""Scores by tables of rings and bonds: numbers from 0 to 1, and of a run's own model."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from rdkit import Chem

import moldiff
from moldiff.chem.descriptors.rarity import RarityTables
from moldiff.errors import MoldiffError
from moldiff.models.folder import save_model_folder
from moldiff.models.molecule_model import MoleculeModel
from moldiff.scoring.named import named_score
from moldiff.scoring.rarity import rarity_score

REFERENCE = ["Cc1ccccc1"] * 15 + ["CCO"] * 5


def mols(*smiles: str) -> list[Chem.Mol]:
    return [Chem.AddHs(Chem.MolFromSmiles(text)) for text in smiles]


@pytest.fixture(scope="module")
def tables() -> RarityTables:
    return RarityTables.of(mols(*REFERENCE))


@pytest.fixture
def knowing(tiny_model: MoleculeModel, tables: RarityTables, tmp_path: Path) -> Path:
    """A model folder that carries the tables."""
    save_model_folder(
        tmp_path / "knowing",
        weights=tiny_model.denoiser.state_dict(),
        config=tiny_model.config_json(),
        references={name: torch.from_numpy(one) for name, one in tables.to_tensors().items()},
        card="# Test",
        half=True,
    )
    return tmp_path / "knowing"


def test_known_rings_and_weakest_bonds_score_high(tables: RarityTables) -> None:
    molecules = mols("Cc1ccccc1", "CC1CC1", "CCO")
    assert rarity_score("known_rings", tables)(molecules) == [15 / 20, 0.0, 20 / 25]
    usual, odd, _ = rarity_score("weakest_bond", tables)(molecules)
    assert usual == tables.weakest_bond(molecules[0]).association > 0.4
    assert odd == 0.0


def test_without_tables_the_score_is_not_known() -> None:
    assert named_score("known_rings").name == "known_rings"
    with pytest.raises(MoldiffError, match="only known together with the tables"):
        named_score("weakest_bond")(mols("CCO"))


def test_a_run_scores_and_tells_by_its_models_tables(
    knowing: Path, model: Path, tables: RarityTables, tmp_path: Path, run: Callable[..., Any]
) -> None:
    files = ("-o", tmp_path / "m.sdf", "--evaluations", "3", "--n-atoms", "5", "--overwrite")
    score = ("--score", "weakest_bond", "--score-weight", "2", "--particles", "2", "--rarity")
    run("generate", "-n", "4", "--model", knowing, *files, *score)  # of random weights: perhaps nothing is valid
    options = json.loads((tmp_path / "m.run.json").read_text())["options"]
    assert (options["rarity"], options["ring_table"], options["score"]) == (True, None, "weakest_bond")
    rows = list(csv.DictReader((tmp_path / "m.csv").open()))
    assert {"rarest_ring", "rarest_ring_count", "weakest_bond", "weakest_bond_association"} <= rows[0].keys()
    run("generate", "-n", "2", "--model", model, *files, "--rarity").assert_refused("carries no tables of ring systems")
    run("generate", "-n", "2", "--model", model, *files, "--ring-table", knowing).assert_refused(
        "--ring-table needs what asks it"
    )
    assert run("generate", "-n", "2", "--model", model, *files, "--rarity", "--ring-table", knowing).status == 0


def test_told_facts_are_those_of_the_tables(knowing: Path, tables: RarityTables) -> None:
    found = moldiff.generate(
        6, model=knowing, n_atoms=5, evaluations=8, elements="C,H", rarity=True, keep_invalid=True, seed=3
    )
    told = found.table[found.table["smiles"] != ""]
    for smiles, name, association in zip(
        told["smiles"], told["weakest_bond"], told["weakest_bond_association"], strict=True
    ):
        assert association == pytest.approx(tables.weakest_bond(Chem.MolFromSmiles(smiles)).association, rel=1e-5)
        assert bool(name) == (Chem.MolFromSmiles(smiles).GetNumBonds() > 0)
