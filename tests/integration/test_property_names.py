"""Properties may be called as a file calls them: they are trained on, asked for and told apart from columns of ours."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from rdkit import Chem

import moldiff
from moldiff.chem.descriptors.rdkit_descriptors import REPORTED
from moldiff.datasets.prepare import prepare
from moldiff.datasets.prepared import PreparedDataset
from moldiff.training.train import train

SMILES = ["CCO", "CC=O", "CNC", "CCC", "CCN", "CCCO", "CCCC", "CC(C)C", "OCCO", "NCC=O", "CC#N", "C1CC1", "COC", "CCOC"]
NAMES = [
    "status",
    "n_atoms",
    "score",
    "record",
    "weakest_bond",
    "x",
    "error_x",
    "moldiff_seed",
    "a b",
    "a=b",
    "Bond,type",
]
TINY = {
    "network": {
        "layers": 1, "node_width": 16, "pair_width": 8, "pair_hidden": 8, "vectors": 4, "heads": 2, "global_width": 8,
    },
    "training": {
        "steps": 1, "batch_size": 4, "log_every": 1, "validate_every": 1, "validation_molecules": 4,
        "checkpoint_every": 1, "bf16": False, "device": "cpu", "threads": 1,
    },
}  # fmt: skip


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("names")
    with open(folder / "names.csv", "w", newline="") as handle:
        writer = csv.writer(handle)
        writer.writerow(["smiles", "step", "seconds", *NAMES])
        writer.writerows(
            [smiles, *[k + 0.5 for k in range(place, place + 2 + len(NAMES))]] for place, smiles in enumerate(SMILES)
        )
    prepare(folder / "names.csv", folder / "set", properties=["step", "seconds", *NAMES])
    return folder / "set"


@pytest.fixture(scope="module")
def named_model(data: Path) -> Path:
    path = data.parent / "train.yaml"
    path.write_text(
        yaml.safe_dump({"data": str(data), "output": str(data.parent / "run"), "conditions": NAMES, **TINY})
    )
    return train(path, [])


def test_a_measured_property_has_a_column_of_its_own(
    named_model: Path, tmp_path: Path, run: Callable[..., Any]
) -> None:
    targets = [f"{name}=2" for name in NAMES] + ["logp=1"]
    out = tmp_path / "m.sdf"
    asked = [part for text in targets[:-1] for part in ("--target", text)]
    told_by = run("generate", "-n", "3", "-o", out, "--model", named_model, *asked, "--target-method", "condition",
        "--keep-invalid", "--evaluations", "3")  # fmt: skip
    assert "what is measured of 'n_atoms' stands in the column measured_n_atoms" in told_by.err
    header, *rows = list(csv.reader(out.with_suffix(".csv").open()))
    assert len(set(header)) == len(header)
    assert {len(row) for row in rows} == {len(header)}
    told = dict(zip(header, rows[0], strict=True))
    for name in NAMES:
        assert float(told[f"target_{name}"]) == 2.0 or told["status"] == "failed"
    assert told["status"] in ("valid", "invalid", "failed")
    ours = {"status", "n_atoms", "score", "moldiff_seed", "error_x"}
    measured = {name: f"measured_{name}" if name in ours else name for name in NAMES}
    places = [header.index(measured[name]) for name in NAMES]
    assert places == [header.index(f"target_{name}") + 1 for name in NAMES]
    assert places == [header.index(f"error_{name}", header.index(f"target_{name}")) - 1 for name in NAMES]
    result = moldiff.generate(
        3, model=named_model, targets=targets[:-1], target_method="condition", keep_invalid=True, evaluations=3
    )
    assert list(result.table.columns) == header
    assert all(result.table[measured[name]].dtype == float for name in NAMES)
    assert result.table["n_atoms"].dtype == "Int64"
    result.save(tmp_path / "n.sdf")
    assert (tmp_path / "n.csv").read_text().splitlines()[0] == out.with_suffix(".csv").read_text().splitlines()[0]


def test_targets_that_are_measured_are_counted_under_their_new_name() -> None:
    from moldiff.datasets.statistics import PropertyStatistics
    from moldiff.generation.molecule_result import RESERVED, MoleculeResult
    from moldiff.generation.target_report import TargetTracker
    from moldiff.scoring.targets import parse_target
    from moldiff.status import Status

    known = {"n_atoms": PropertyStatistics("", 3.0, 1.0, 0.0, 9.0, 0.0, 9.0, 9)}
    tracker = TargetTracker(
        [parse_target("n_atoms=3")], known, ["n_atoms"], calculators={"n_atoms": lambda mol: mol.GetNumAtoms() + 0.5},
        taken=RESERVED,
    )  # fmt: skip
    assert tracker.columns == ("target_n_atoms", "measured_n_atoms", "error_n_atoms")
    mol = Chem.MolFromSmiles("CCO")
    found = tracker.measure(MoleculeResult(0, Status.VALID, mol=mol, properties={"logp": 1.0}), _condition(3.0))
    assert found.targets == {"target_n_atoms": 3.0, "measured_n_atoms": 3.5, "error_n_atoms": 0.5}
    assert found.values()["n_atoms"] == 3
    tracker.note(found, True)
    (summed,) = tracker.results()
    assert (summed.measured, summed.mean_absolute_error) == (1, 0.5)
    assert tracker.missed(found) == "n_atoms: 3.5, must be in 2.75..3.25"


def _condition(value: float) -> Any:
    import numpy as np

    return np.array([value], dtype=np.float32)


def test_what_every_run_reports_keeps_its_column() -> None:
    from moldiff.generation.molecule_result import RESERVED

    assert not RESERVED & set(REPORTED)


def test_rarity_and_a_target_of_the_weakest_bond_stand_side_by_side(tmp_path: Path) -> None:
    table = tmp_path / "known.smi"
    table.write_text("".join(f"{text}\n" for text in SMILES))
    asked: dict[str, Any] = {
        "model": "qm9_fast", "familiar": True, "ring_table": table, "target_method": "mcmc", "target_moves": 1,
        "keep_invalid": True,
    }  # fmt: skip
    both = moldiff.generate(2, rarity=True, **asked).table
    assert len(set(both.columns)) == len(both.columns)
    assert (both["weakest_bond"].dtype, both["measured_weakest_bond"].dtype) == (object, float)
    alone = moldiff.generate(2, **asked).table
    assert alone["weakest_bond"].dtype == float, "without rarity, the name is free"


def test_a_property_network_may_learn_what_is_called_as_a_column_of_its_log(data: Path, named_model: Path) -> None:
    path = data.parent / "property.yaml"
    names = ["step", "seconds", "x"]
    values = {"kind": "property", "data": str(data), "output": str(data.parent / "net"), "properties": names, **TINY}
    path.write_text(yaml.safe_dump({**values, "guided_model": str(named_model)}))
    train(path, [])
    header, *rows = list(csv.reader((data.parent / "net" / "metrics.csv").open()))
    assert header[-3:] == ["loss_step", "loss_seconds", "x"]
    assert [row[0] for row in rows] == ["1"]
    assert {len(row) for row in rows} == {len(header)}


def test_names_with_commas_stand_in_quotes_and_further_columns_of_a_name_are_told(
    tmp_path: Path, run: Callable[..., Any]
) -> None:
    path = tmp_path / "t.csv"
    path.write_text(
        'smiles,"Bond,type",y,y\n' + "".join(f"{smiles},{k},{k},{2 * k}\n" for k, smiles in enumerate(SMILES))
    )
    done = run("data", "prepare", path, "-o", tmp_path / "set", "-p", '"Bond,type", y (2)', "--workers", "1")
    assert done.status == 0
    assert "t.csv has more than one column 'y'; further ones are called 'y (2)' and so on" in done.err
    names = [entry.name for entry in PreparedDataset.open(tmp_path / "set").properties]
    assert names == ["Bond,type", "y (2)"]
    run("data", "prepare", path, "-o", tmp_path / "no", "-p", "Bond,type").assert_refused(
        "unknown property 'Bond' (if you mean 'Bond,type', write it in double quotes)"
    )


def test_values_that_cannot_be_used_are_told_with_what_to_write(tmp_path: Path, run: Callable[..., Any]) -> None:
    path = tmp_path / "t.csv"
    values = ["<5", "7%", *map(str, range(len(SMILES) - 2))]
    path.write_text("smiles,v\n" + "".join(f"{smiles},{value}\n" for smiles, value in zip(SMILES, values, strict=True)))
    done = run("data", "prepare", path, "-o", tmp_path / "set", "-p", "v", "--workers", "1")
    assert (
        "  2 values of v count as unknown, the first: '<5' is no number; a bound is no value; write a number, or leave "
        "the cell empty\n"
    ) in done.out
