"""The Frechet ChemNet distance: the formula against closed forms; the network where the extra is installed."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from moldiff.errors import MoldiffError
from moldiff.evaluation import fcd
from moldiff.evaluation.evaluate import evaluate
from moldiff.evaluation.fcd import ChemNetDistance, chemnet_distance, frechet
from moldiff.extras import Extra


def test_one_dimension_is_the_textbook_formula() -> None:
    """(m1 - m2)^2 + (s1 - s2)^2, with the standard deviations of the points themselves."""
    first, second = np.array([[0.0], [2.0], [4.0]]), np.array([[10.0], [11.0], [12.0]])
    assert frechet(first, second) == pytest.approx((2 - 11) ** 2 + (2 - 1) ** 2)


def test_commuting_covariances_add_up_axis_by_axis() -> None:
    signs = np.array([[a, b] for a in (-1.0, 1.0) for b in (-1.0, 1.0)])
    scale = np.sqrt(4 / 3)  # the standard deviation of -1, -1, 1, 1 with n - 1
    turn = np.array([[np.cos(0.3), -np.sin(0.3)], [np.sin(0.3), np.cos(0.3)]])
    first, second = signs * [1.0, 5.0] @ turn, (signs * [3.0, 2.0] + [1.0, -2.0]) @ turn
    assert frechet(first, second) == pytest.approx(1 + 4 + scale**2 * ((1 - 3) ** 2 + (5 - 2) ** 2))


def test_fewer_points_than_dimensions_stay_finite_and_symmetric() -> None:
    points = np.random.default_rng(0).normal(size=(9, 40))
    assert frechet(points, points) == pytest.approx(0.0, abs=1e-10)
    assert frechet(points[:4], points[4:]) == pytest.approx(frechet(points[4:], points[:4]), rel=1e-6)
    assert frechet(points[:4], points[4:]) > 1


def test_the_floor_is_as_many_reference_molecules(monkeypatch: pytest.MonkeyPatch) -> None:
    """Activations that are the numbers in the texts; each reference molecule is in one of the floor's two sets."""
    seen: list[tuple[int, int]] = []

    def record(first: np.ndarray, second: np.ndarray) -> float:
        seen.append((len(first), len(second)))
        return float(len(first))

    monkeypatch.setattr(Extra, "require", lambda *words: None)
    monkeypatch.setattr(fcd, "activations", lambda texts: np.array([[float(text)] for text in texts]))
    monkeypatch.setattr(fcd, "frechet", record)
    assert chemnet_distance(["1", "2", "3"], [str(k) for k in range(8)]) == ChemNetDistance(3.0, 3.0, 3, 8)
    assert seen == [(3, 5), (3, 8)]
    assert chemnet_distance(["1"] * 5, [str(k) for k in range(8)]).floor is None
    assert chemnet_distance(["1"], ["1", "2"]) == ChemNetDistance(None, None, 1, 2)


def test_without_the_extra_or_a_reference_it_is_one_line(
    water: str, write: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MoldiffError, match=r"moldiff\[eval\]"):
        evaluate(write(water), fcd=True)
    monkeypatch.setattr(Extra, "require", lambda *words: None)
    with pytest.raises(MoldiffError, match="needs a reference"):
        evaluate(write(water), fcd=True)


@pytest.mark.parametrize("session", ["plain", "meta", "float64"])
def test_a_session_changes_no_activations_and_keeps_its_random_numbers(session: str) -> None:
    load = pytest.importorskip("fcd").load_ref_model
    smiles = ["C" * k + "O" for k in range(1, fcd.BATCH + 20)]
    wanted = fcd.activations(smiles)
    load.cache_clear()  # the network is built anew, which draws its first weights
    before = torch.manual_seed(3).get_state()
    try:
        torch.set_default_device("meta" if session == "meta" else None)
        torch.set_default_dtype(torch.float64 if session == "float64" else torch.float32)
        found = fcd.activations(smiles)
    finally:
        torch.set_default_device(None)
        torch.set_default_dtype(torch.float32)
        load.cache_clear()
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-5 if session == "float64" else 0)
    assert torch.equal(torch.get_rng_state(), before)


def test_repeated_molecules_are_seen_once_and_counted_each_time() -> None:
    pytest.importorskip("fcd")
    found = fcd.activations(["CCO", "c1ccccc1", "CCO"])
    assert found.shape == (3, 512)
    np.testing.assert_array_equal(found[0], found[2])
    assert np.abs(found[0] - found[1]).max() > 0.1
