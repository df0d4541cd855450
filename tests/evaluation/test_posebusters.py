"""PoseBusters through our door gives what PoseBusters gives."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import poison
import pytest
from posebusters import PoseBusters
from rdkit.Chem import Mol
from rdkit.Geometry import Point3D

from moldiff.chem.io.records import mol_to_sdf_record
from moldiff.evaluation import posebusters
from moldiff.evaluation.assess import Assessment, assess_file, unreadable
from moldiff.evaluation.posebusters import run_posebusters
from moldiff.worker_process import idle


def shaken(mol: Mol, noise: float, seed: int) -> Mol:
    copy = Mol(mol)
    conformer, generator = copy.GetConformer(), np.random.default_rng(seed)
    for k, position in enumerate(conformer.GetPositions()):
        conformer.SetAtomPosition(k, Point3D(*(position + noise * generator.normal(size=3))))
    return copy


@pytest.fixture(scope="module")
def distorted(sample_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """24 real molecules, every second one shaken until some checks fail."""
    mols = [row.mol for row in assess_file(sample_path)[0][:24]]
    path = tmp_path_factory.mktemp("distorted") / "molecules.sdf"
    texts = [mol_to_sdf_record(shaken(m, 0.12 * (k % 2), k), str(k), {}) for k, m in enumerate(mols) if m is not None]
    path.write_text("".join(texts))
    return path


@pytest.fixture(scope="module")
def rows(distorted: Path) -> list[Assessment]:
    return assess_file(distorted)[0]


def test_agrees_with_posebusters_on_the_file(distorted: Path, rows: list[Assessment]) -> None:
    table = PoseBusters(config="mol_fast").bust([distorted])
    result = run_posebusters(rows, most=1000)
    assert len(table) == len(rows) == result.sampled == 24
    expected = [tuple(table.columns[~line]) for line in table.fillna(False).to_numpy(dtype=bool)]
    assert [result.failed[k] for k in range(24)] == expected
    assert not any(expected[0::2])
    assert sum(map(bool, expected[1::2])) >= 6
    rates = result.rates()
    assert rates["posebusters"].count == sum(not names for names in expected)
    failures = result.to_json()["failures"]
    assert isinstance(failures, dict)
    assert sum(failures.values()) == sum(map(len, expected))
    assert list(failures.values()) == sorted(failures.values(), reverse=True)


def test_invalid_records_count_as_failed_without_being_run(rows: list[Assessment]) -> None:
    mixed = [*rows[0:6:2], unreadable(30, "", "mol block: RDKit cannot read it")]
    result = run_posebusters(mixed, most=1000)
    rates = result.rates()
    assert (rates["posebusters"].count, rates["posebusters"].n) == (3, 4)
    assert (rates["posebusters_of_valid"].count, rates["posebusters_of_valid"].n) == (3, 3)
    assert 30 not in result.failed


def test_a_cap_draws_from_all_records_and_says_so(rows: list[Assessment]) -> None:
    first, again, other = (run_posebusters(rows, most=5, seed=seed) for seed in (0, 0, 1))
    assert first.sampled == 5
    assert set(first.failed) == set(again.failed) != set(other.failed)
    assert max(first.failed) > 4  # not simply the first five
    assert first.to_json()["sampled"] == 5


def test_worker_processes_give_the_same(rows: list[Assessment]) -> None:
    seen: list[int] = []
    parallel = run_posebusters(rows[:10], most=1000, workers=2, progress=seen.append)
    assert parallel == run_posebusters(rows[:10], most=1000)
    assert seen == list(range(1, 11))


def test_molecules_that_cost_their_worker_are_not_checked(
    rows: list[Assessment], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each kind of end once, in a chunk with others: the others are checked, the rates are over what was checked."""
    ends = {1: "crash", 4: "exit", 5: "hang", 9: "stop", 11: "raise"}
    texts = iter([ends.get(index, "") for index in range(16)])
    monkeypatch.setattr(posebusters, "_bust", poison.bust)
    monkeypatch.setattr(posebusters, "load_posebusters", idle)  # nobody asks it, and each end starts a worker
    monkeypatch.setattr(posebusters, "TIMEOUT_S", 3.0)
    monkeypatch.setattr(posebusters, "mol_to_sdf_record", lambda *_: next(texts))
    result = run_posebusters([*rows[:16], unreadable(16, "", "x")], most=1000, workers=2)
    assert result.failed == {k: () for k in range(16) if k not in ends}
    assert {index: reason.split()[0] for index, reason in result.unchecked.items()} == {
        1: "crashed:", 4: "crashed:", 5: "timeout:", 9: "timeout:", 11: "error:",
    }  # fmt: skip
    assert (result.rates()["posebusters"].count, result.rates()["posebusters"].n) == (11, 12)
    assert result.to_json()["not_checked"] == {str(k): result.unchecked[k] for k in result.unchecked}
    assert result.told(1) == "not checked: crashed: the worker process ended on this record (SIGSEGV)"
    assert (result.told(0), result.told(16)) == ("pass", "")


def test_nothing_to_check() -> None:
    result = run_posebusters([unreadable(0, "", "empty: no atoms")], most=10, workers=4)
    assert result.rates()["posebusters"].value == 0.0
    assert result.rates()["posebusters_of_valid"].value is None


def test_a_check_that_could_not_run_is_no_pass(write: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    import pandas as pd

    def bust(self: PoseBusters, molecules: list[Mol]) -> pd.DataFrame:
        return pd.DataFrame({"loading": [True], "bond_lengths": [np.nan]})

    monkeypatch.setattr(PoseBusters, "bust", bust)
    water = "w\n\n\n  1  0  0  0  0  0  0  0  0  0999 V2000\n    0.0000    0.0000    0.0000 Ar  0\nM  END\n"
    assert posebusters._bust(water) == ("bond_lengths",)
    assert posebusters._bust("nothing") == ("loading",)
