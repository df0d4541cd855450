"""Familiar rings and bonds as targets: what is wanted, who is moved, and what it needs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from rdkit import Chem

import moldiff
from moldiff.chem.descriptors.rarity import RarityTables
from moldiff.errors import MoldiffError
from moldiff.evaluation.rarity import load_tables
from moldiff.generation.options.steering_options import DEFAULT_MOVES, MOVES_INTO_RANGES, SteeringOptions
from moldiff.models.folder import save_model_folder
from moldiff.models.molecule_model import MoleculeModel
from moldiff.scoring.named import targets_score
from moldiff.scoring.rarity import FAMILIAR, RARITY_STATISTICS, known_rings, rarity_calculators


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Reference molecules: chains, and the single rings that QM9 is rich in."""
    path = tmp_path_factory.mktemp("table") / "known.smi"
    known = ["CCCO", "CCOCC", "CC(C)CN", "CC1CC1", "CC1CN1", "CC1CO1", "C1CCC1", "C1COC1", "CC1CCCC1", "C1CCOC1"]
    path.write_text("\n".join(known * 6) + "\n")
    return path


def test_familiar_is_two_targets_of_which_the_users_own_go_first() -> None:
    assert SteeringOptions.of(familiar=True).targets == FAMILIAR
    own = SteeringOptions.of(familiar=True, targets=["logp=2", "known_rings>0.9"]).targets
    assert [target.name + target.text for target in own] == ["logp=2", "known_rings>0.9", "weakest_bond>=0.05"]
    assert SteeringOptions.of(familiar=True).most_moves == MOVES_INTO_RANGES
    assert SteeringOptions.of(familiar=True, targets="logp=2").most_moves == MOVES_INTO_RANGES
    assert SteeringOptions.of(targets=["logp=2", "tpsa=40"]).most_moves == DEFAULT_MOVES
    with pytest.raises(MoldiffError, match="familiar must be True or False"):
        SteeringOptions.of(familiar="yes")  # type: ignore[arg-type]


def test_draws_move_until_their_rings_are_known(table: Path) -> None:
    tables = load_tables(table)
    plain = moldiff.generate(8, model="qm9_fast", seed=4)
    asked = moldiff.generate(8, model="qm9_fast", seed=4, targets="known_rings>0.5", ring_table=table, target_moves=5)
    odd = [sum(known_rings(mol, tables) < 0.5 for mol in found) / len(found) for found in (plain, asked)]
    assert odd[0] > 0.4 and odd[1] < odd[0]
    rows = asked.table
    for mol, (_, row) in zip(asked, rows[rows["status"] == "valid"].iterrows(), strict=True):
        assert row["known_rings"] == pytest.approx(known_rings(mol, tables), rel=1e-5)
        assert row["moves"] == 5 if row["known_rings"] < 0.5 else row["moves"] <= 5  # who is familiar has stopped


def test_groups_go_by_the_same_distances(table: Path) -> None:
    tables = load_tables(table)
    score = targets_score(FAMILIAR, RARITY_STATISTICS, rarity_calculators(tables))
    known, odd = (Chem.AddHs(Chem.MolFromSmiles(text)) for text in ("CCCO", "c1ccccc1"))
    assert score([known]) == [0.0]
    far = (0.5 - 0.0) / RARITY_STATISTICS["known_rings"].std + 0.05 / RARITY_STATISTICS["weakest_bond"].std
    assert score([odd]) == [pytest.approx(-far)]


def test_what_cannot_be_met_is_refused(run: Callable[..., Any], table: Path, tmp_path: Path) -> None:
    files = ("-n", "2", "-o", tmp_path / "m.sdf", "--model", "qm9_fast", "--familiar")
    run("generate", *files).assert_refused("carries no tables of ring systems and bonds")
    run("generate", *files, "--ring-table", table, "--guidance", "2").assert_refused(
        "target known_rings: the model was never told of it"
    )
    run("generate", "-n", "2", "-o", tmp_path / "m.sdf", "--ring-table", table).assert_refused(
        "ring-table needs what asks it"
    )
    assert not list(tmp_path.glob("m.*"))


def test_other_tables_of_a_model_of_the_same_name_are_another_request(
    run: Callable[..., Any], tiny_model: MoleculeModel, model: Path, tmp_path: Path
) -> None:
    def packed(*counted: str) -> None:
        tables = RarityTables.of(Chem.MolFromSmiles(text) for text in counted)
        save_model_folder(
            tmp_path / "tables", weights=tiny_model.denoiser.state_dict(), config=tiny_model.config_json(), card="",
            references={name: torch.from_numpy(one) for name, one in tables.to_tensors().items()}, half=True,
            overwrite=True,
        )  # fmt: skip

    packed("CCO", "Cc1ccccc1")
    asked = ["generate", "-n", "2", "--evaluations", "2", "--keep-invalid", "--model", model, "--rarity", "--resume",
             "-o", tmp_path / "m.sdf", "--ring-table"]  # fmt: skip
    run(*asked, tmp_path / "tables")
    made = (tmp_path / "m.csv").read_bytes()
    packed("CCO", "C1CC1")
    run(*asked, tmp_path / "tables").assert_refused("m.sdf exists already")
    packed("CCO", "Cc1ccccc1")
    (tmp_path / "tables").rename(tmp_path / "elsewhere")
    again = run(*asked, tmp_path / "elsewhere")
    assert "nothing is left to do" in again.out + again.err
    assert (tmp_path / "m.csv").read_bytes() == made
