"""GFN2-xTB relaxation: minima stay, distortions cost what the force field says, failures are counted."""

from __future__ import annotations

import importlib.util
import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from moldiff.chem.descriptors.xtb import BOHR
from moldiff.cli.show_report import render
from moldiff.errors import MoldiffError
from moldiff.evaluation.assess import assess_file, unreadable
from moldiff.evaluation.evaluate import evaluate
from moldiff.evaluation.relaxation import relax, run_relaxation

WATER = [[0.0, 0.0, 0.0], [0.96, 0.0, 0.0], [-0.24, 0.93, 0.0]]


def test_without_tblite_it_is_one_line(water: str, write: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MoldiffError, match=r"^relax needs tblite and threadpoolctl: pip install 'moldiff\[xtb\]'"):
        run_relaxation([], most=1)
    with pytest.raises(MoldiffError, match=r"moldiff\[xtb\]"):
        evaluate(write(water), relax=1)


def test_a_stretched_water_sets_its_strain_free() -> None:
    pytest.importorskip("tblite")
    near = relax([8, 1, 1], WATER, 0)
    far = relax([8, 1, 1], (1.1 * np.array(WATER)).tolist(), 0)
    assert near is not None
    assert far is not None
    assert 0 <= near.energy < 1
    assert near.converged
    assert 5 < far.energy < 25  # O-H force constant about 8.5 mdyn/A: two bonds stretched by 0.1 A
    assert far.rmsd > near.rmsd


def test_the_energy_does_not_depend_on_the_frame() -> None:
    pytest.importorskip("tblite")
    turn = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]
    first = relax([8, 1, 1], (1.05 * np.array(WATER)).tolist(), 0)
    second = relax([8, 1, 1], (1.05 * np.array(WATER) @ turn + 3.0).tolist(), 0)
    assert first is not None
    assert second is not None
    assert second.energy == pytest.approx(first.energy, abs=0.02)
    assert second.rmsd == pytest.approx(first.rmsd, abs=0.005)


def test_the_gradient_is_in_atomic_units() -> None:
    """A dihydrogen molecule relaxes to the GFN2-xTB bond length from both sides."""
    pytest.importorskip("tblite")
    ends = []
    for length in (0.6, 1.0):
        found = relax([1, 1], [[0.0, 0, 0], [length, 0, 0]], 0)
        assert found is not None
        assert found.converged
        ends.append(length + (1 if length < 0.7 else -1) * 2 * found.rmsd)  # each atom moves by the RMSD
    assert ends[0] == pytest.approx(ends[1], abs=0.01)
    assert 0.7 < ends[0] < 0.85
    assert pytest.approx(0.529177, abs=1e-6) == BOHR


def test_an_element_without_parameters_fails_and_is_counted() -> None:
    pytest.importorskip("tblite")
    assert relax([110], [[0.0, 0, 0]], 0) is None


def test_only_valid_molecules_are_drawn(sample_path: Path) -> None:
    pytest.importorskip("tblite")
    rows = [unreadable(0, "", "empty: no atoms"), *assess_file(sample_path)[0][1:60]]
    first, again, other = (run_relaxation(rows, most=3, seed=seed) for seed in (0, 0, 1))
    assert first == again
    assert set(first.relaxed) != set(other.relaxed)
    assert 0 not in first.relaxed
    value = first.to_json()
    assert (value["n"], value["failed"], value["unconverged"]) == (3, 0, 0)
    assert 0.1 < value["median"] < 4  # DFT geometries
    assert value["median_rmsd"] < 0.3


def test_nothing_to_relax_is_none(write: Callable[..., Path]) -> None:
    pytest.importorskip("tblite")
    nothing = "nothing\n\n\n  0  0  0  0  0  0  0  0  0  0999 V2000\nM  END\n$$$$\n"
    report = evaluate(write(nothing), relax=5)
    assert report.to_json()["relaxation"]["median"] is None
    console = Console(file=io.StringIO(), width=140)
    render(report, console)
    assert "relaxation of 0 valid molecules" in console.file.getvalue()  # type: ignore[attr-defined]
