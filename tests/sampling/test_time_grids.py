"""Grids: times that fall to 0, laid out as their formulas say."""

import math

import pytest
import torch

from moldiff.config import CurveConfig
from moldiff.models.molecule_model import schedule_from_config
from moldiff.sampling.time_grids import GRIDS, KarrasGrid, LogSnrGrid, UniformGrid, WindowGrid

CURVE = schedule_from_config(CurveConfig())
SPREAD = 1.7  # angstrom


@pytest.mark.parametrize("name", GRIDS)
@pytest.mark.parametrize("steps", [1, 2, 3, 10, 1000])
def test_times_fall_to_zero(name: str, steps: int) -> None:
    times = GRIDS[name].times(CURVE, steps, SPREAD)
    assert times.dtype == torch.float64
    assert len(times) == steps + 1
    assert float(times[0]) == 1 or name == "window"
    assert float(times[0]) <= 1
    assert float(times[-1]) == 0
    assert (times.diff() < 0).all()


def test_uniform_is_even_in_t() -> None:
    assert torch.allclose(UniformGrid().times(CURVE, 4, SPREAD), torch.tensor([1, 0.75, 0.5, 0.25, 0]).double())


def test_karras_is_the_papers_formula() -> None:
    grid = KarrasGrid(rho=7, sigma_last=0.02)
    sigma = CURVE.levels(grid.times(CURVE, 20, SPREAD)[:-1]).sigma
    for i in range(20):  # Karras et al. 2022, eq. 5
        expected = (25 ** (1 / 7) + i / 19 * (0.02 ** (1 / 7) - 25 ** (1 / 7))) ** 7
        assert float(sigma[i]) == pytest.approx(expected, rel=1e-6)


def test_log_snr_has_equal_ratios() -> None:
    log_sigma = CURVE.levels(LogSnrGrid(sigma_last=0.05).times(CURVE, 11, SPREAD)[:-1]).pos
    assert torch.allclose(log_sigma.diff(), torch.full((10,), math.log(0.05 / 25) / 10).double(), atol=1e-6)


def test_a_large_rho_is_even_in_the_logarithm() -> None:
    assert torch.allclose(KarrasGrid(rho=1e6).times(CURVE, 9, SPREAD), LogSnrGrid().times(CURVE, 9, SPREAD), atol=1e-4)


def test_a_window_is_a_power_of_t_between_its_noise_levels() -> None:
    times = WindowGrid(sigma_last=0.05, exponent=2.0).times(CURVE, 7, 3.0)
    assert torch.allclose(CURVE.levels(times[[0, 6]]).sigma.double(), torch.tensor([3.0, 0.05]).double(), rtol=1e-6)
    places = ((times[:-1] - times[6]) / (times[0] - times[6])).sqrt()
    assert torch.allclose(places, torch.linspace(1, 0, 7).double(), atol=1e-6)


def test_few_steps_of_a_window_lie_closer_to_its_end() -> None:
    def power(steps: int) -> float:
        times = WindowGrid().times(CURVE, steps, 2.7)[:-1]
        places = (times - times[-1]) / (times[0] - times[-1])
        return math.log(float(places[1])) / math.log(1 - 1 / (steps - 1))

    assert [round(power(steps), 6) for steps in (4, 9, 10, 100)] == [1.5, 1.5, 1, 1]


def test_a_single_step_of_a_window_starts_at_its_first_level() -> None:
    times = WindowGrid().times(CURVE, 1, 3.0)
    assert float(CURVE.levels(times[:1]).sigma) == pytest.approx(3.0, rel=1e-6)


def test_a_window_never_starts_above_the_curve() -> None:
    assert float(WindowGrid().times(CURVE, 3, 100.0)[0]) == 1
