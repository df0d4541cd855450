"""Weights of draws, against closed forms of the maximum-entropy distribution."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from moldiff.errors import MoldiffError
from moldiff.training.on_policy.reweight import log_weights

Counts = list[dict[str, int]]


def coins(heads: int, of: int, name: str = "head") -> Counts:
    return [{name: 1} if k < heads else {} for k in range(of)]


def weights_of(found: Counts, wanted: Counts) -> np.ndarray:
    return np.exp(log_weights(found, wanted))


def mean_of(name: str, found: Counts, weights: Sequence[float] | np.ndarray) -> float:
    return float(np.average([one.get(name, 0) for one in found], weights=weights))


@pytest.mark.parametrize(("has", "should"), [(0.1, 0.3), (0.5, 0.5), (0.6, 0.2)])
def test_one_yes_or_no_feature_gets_the_ratio_of_its_frequencies(has: float, should: float) -> None:
    found, wanted = coins(round(1000 * has), 1000), coins(round(1000 * should), 1000)
    weights = weights_of(found, wanted)
    assert weights.sum() == pytest.approx(1000)
    assert weights[0] == pytest.approx(should / has, rel=0.03)
    assert weights[-1] == pytest.approx((1 - should) / (1 - has), rel=0.03)


def test_draws_that_are_as_they_should_be_keep_equal_weights() -> None:
    rng = np.random.default_rng(0)
    same = [{"a": int(a), "b": int(b)} for a, b in rng.integers(0, 5, (200, 2))]
    assert weights_of(same, same) == pytest.approx(np.ones(200), abs=1e-6)


def test_weights_are_log_linear_and_meet_the_means_up_to_the_prior() -> None:
    """The optimum: log w = lambda . z + c, and the weighted mean of z is -0.01 lambda (z in spreads of the data)."""
    rng = np.random.default_rng(1)
    found = [{"a": int(a), "b": int(a + b)} for a, b in rng.poisson((2, 1), (3000, 2))]
    wanted = [{"a": int(a), "b": int(a + b)} for a, b in rng.poisson((1.5, 1.4), (3000, 2))]
    logs = log_weights(found, wanted)
    data, draws = (np.array([[one["a"], one["b"]] for one in some], dtype=float) for some in (wanted, found))
    z = (draws - data.mean(0)) / data.std(0)
    slopes, residual, *_ = np.linalg.lstsq(np.column_stack([z, np.ones(len(z))]), logs, rcond=None)
    assert float(residual[0]) < 1e-9
    assert np.average(z, axis=0, weights=np.exp(logs)) == pytest.approx(-0.01 * slopes[:2], abs=1e-4)
    for name in ("a", "b"):
        assert abs(mean_of(name, found, np.ones(3000)) - mean_of(name, wanted, np.ones(3000))) > 0.08
        assert mean_of(name, found, np.exp(logs)) == pytest.approx(mean_of(name, wanted, np.ones(3000)), abs=0.02)


def test_what_is_not_asked_for_keeps_its_distribution() -> None:
    """Nearest to no weights: of draws with equal features none is preferred."""
    found = [one | {"other": k % 2, "rare": int(k < 50)} for k, one in enumerate(coins(100, 400))]
    wanted = [one | {"rare": 1} if k < 2 else one for k, one in enumerate(coins(200, 1000))]
    weights = weights_of(found, wanted)
    assert np.ptp(weights[:100]) == pytest.approx(0, abs=1e-9)
    assert np.ptp(weights[100:]) == pytest.approx(0, abs=1e-9)


def test_a_feature_that_no_draw_has_does_not_run_away() -> None:
    found, wanted = coins(0, 300), coins(100, 300)
    assert weights_of(found, wanted) == pytest.approx(np.ones(300))
    weights = weights_of(coins(1, 300), wanted)
    assert 10 < weights[0] < 100, "one draw in 300 cannot stand for 100"


def test_a_feature_that_all_the_data_have_alike_is_no_feature() -> None:
    found = [one | {"atoms": 3 + k % 2} for k, one in enumerate(coins(10, 100))]
    wanted = [one | {"atoms": 3} for one in coins(10, 100)]
    assert np.isfinite(log_weights(found, wanted)).all()


@pytest.mark.parametrize(("found", "wanted"), [([], [{"a": 1}]), ([{"a": 1}], [])])
def test_nothing_to_weigh_is_an_error(found: Counts, wanted: Counts) -> None:
    with pytest.raises(MoldiffError, match="there are none"):
        log_weights(found, wanted)
