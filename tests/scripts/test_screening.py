"""What the benchmark of screening is made of: libraries in three formats, costs of a molecule, memory by progress."""

import csv
import itertools
import sys
from pathlib import Path

import numpy as np
import pytest
from rdkit import Chem

ROOT = Path(__file__).parents[2]
sys.path.append(str(ROOT))  # behind an installed package

from moldiff.chem.io.records import read_records  # noqa: E402
from scripts.benchmarks import enumerated, plain_screen, screening, watched  # noqa: E402

DRUGS = ROOT / "tests" / "fixtures" / "drugs.sdf"


def test_enumerated_molecules_are_different_and_sound() -> None:
    some = list(itertools.islice(enumerated.amides(), 0, 1_000_000, 5000))
    molecules = [Chem.MolFromSmiles(smiles) for smiles in some]
    assert None not in molecules
    assert len({Chem.MolToSmiles(mol) for mol in molecules}) == len(some)


def test_libraries_hold_the_same_molecules(tmp_path: Path) -> None:
    records = [record for record in read_records(DRUGS) if record.mol is not None]
    condition = screening.write_libraries(records, tmp_path, [3, 6])
    keys = []
    for suffix in screening.SUFFIXES:
        plain_screen.screen(tmp_path / f"library_6{suffix}", tmp_path / "out.csv", everything=False)
        with (tmp_path / "out.csv").open(newline="") as file:
            keys.append([(row[0], row[2]) for row in csv.reader(file)])
    assert [name for name, _ in keys[0]] == [f"m{number}" for number in range(6)]
    assert keys[0] == keys[1] == keys[2]
    heavier = sum(Chem.Descriptors.MolWt(record.mol) >= float(condition[3:]) for record in records)
    assert abs(heavier - len(records) / 2) <= 1  # the bound is rounded


def test_a_molecule_costs_what_the_larger_library_costs_more() -> None:
    found = {}
    for name, slope in (("plain", 2.0), ("filter", 1.0), ("screen", 4.0)):
        for size in (1000, 4000):
            cpu = 5.0 + slope * size / 1000
            found["all", ".smi", name, size] = screening.Cost(0.1 * cpu, 0.9 * cpu, cpu)
    line = screening.table(found, [1000, 4000])[-1]
    assert line == "| all | .smi | 2.00 | 1.00 | 2.00 | 10 % | 4.00 | 0.50 | 10 % |"


def test_memory_grows_by_what_is_done() -> None:
    done = np.arange(101.0)
    main = np.where(done < 25, 500.0, 100.0 + 0.2 * done)  # what is there at first does not count
    main[-1] = 900.0  # nor what comes when all is done
    seen = watched.Watched(0, 1.0, 1.0, done, main, np.zeros(101))
    assert seen.slope(seen.main, 100) == pytest.approx(20.0)
    assert seen.slope(seen.worker, 100) == 0.0
    assert seen.most == 900.0


def test_a_command_is_watched_to_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watched, "EVERY_S", 0.1)
    enumerated.write_library(tmp_path / "a.smi", 5)
    words = ["screen", "a.smi", "--where", "mw<500", "--top", "1", "--workers", "1", "-o", "run"]
    seen = watched.watch(words, tmp_path, lambda: len(list(tmp_path.glob("run/rows/*/*.parquet"))))
    assert seen.status == 0 and seen.done[-1] == 1
    assert 20 < seen.main.max() < 2000 and 20 < seen.worker.max() < 2000
    assert 0.2 < seen.cpu < 60
    assert watched.watch(["screen", "none.smi"], tmp_path, lambda: 0).status == 2
