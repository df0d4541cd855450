"""Noise levels along t, the training density and the grid against their formulas."""

import math

import pytest
import torch
from torch import Tensor

from moldiff.diffusion.schedule import NoiseSchedule, TrainingDensity, uniform_grid

CURVE = NoiseSchedule(0.01, 25.0, 1e-4, {"pos": 1.65, "atom_type": 1.0, "charge": 1.2, "bond_type": 1.3}, 1.3)
TIMES = torch.linspace(0, 1, 1001, dtype=torch.float64)
CATEGORIES = ("atom_type", "charge", "bond_type")


def test_levels_end_where_they_should() -> None:
    levels = CURVE.levels(torch.tensor([0.0, 1.0]))
    assert torch.allclose(levels.sigma, torch.tensor([0.01, 25.0], dtype=torch.float64), rtol=1e-12)
    for field in CATEGORIES:
        assert torch.allclose(levels.abar(field), torch.tensor([1 - 1e-4, 1e-4], dtype=torch.float64), rtol=1e-10)


def test_levels_are_float64_and_strictly_monotone_along_t() -> None:
    levels = CURVE.levels(TIMES.float())
    assert levels.pos.dtype == torch.float64
    assert bool((levels.pos.diff() > 0).all())
    assert all(bool((getattr(levels, field).diff() < 0).all()) for field in CATEGORIES)


@pytest.mark.parametrize("field", CATEGORIES)
def test_abar_is_a_squared_cosine_between_finite_ends(field: str) -> None:
    end = math.acos(math.sqrt(1e-4))
    start = math.pi / 2 - end
    angle = start + (end - start) * TIMES ** CURVE.exponents[field]
    assert torch.allclose(CURVE.levels(TIMES).abar(field), torch.cos(angle) ** 2, rtol=0, atol=1e-12)


def test_a_larger_exponent_keeps_a_field_cleaner() -> None:
    levels = CURVE.levels(TIMES[1:-1])
    assert bool((levels.bond_type > levels.charge).all())
    assert bool((levels.charge > levels.atom_type).all())


def test_time_of_sigma_inverts_the_curve() -> None:
    assert torch.allclose(CURVE.time_of_sigma(CURVE.levels(TIMES).sigma), TIMES, rtol=0, atol=1e-9)
    assert CURVE.time_of_sigma(torch.tensor([1e-5, 1e5])).tolist() == [0, 1]


def test_coordinates_and_graph_can_have_times_of_their_own() -> None:
    t_pos, t_graph = torch.tensor([0.2, 0.9]), torch.tensor([0.7, 0.0])
    levels, of_pos, of_graph = CURVE.levels(t_pos, t_graph), CURVE.levels(t_pos), CURVE.levels(t_graph)
    assert torch.equal(levels.pos, of_pos.pos)
    assert all(torch.equal(getattr(levels, field), getattr(of_graph, field)) for field in CATEGORIES)
    assert torch.equal(levels.stacked()[:, 3], of_graph.bond_type)


def test_the_grid_runs_from_noise_to_data() -> None:
    grid = uniform_grid(4)
    assert grid.tolist() == [1, 0.75, 0.5, 0.25, 0]
    assert grid.dtype == torch.float64


DENSITY = TrainingDensity(
    lognormal_share=0.65, sigma_median=0.3, sigma_spread=1.2, independent_share=0.2, clean_graph_share=0.25
)


def times(choice: float, place: Tensor, independent: float = 0.9, clean: float = 0.9) -> tuple[Tensor, Tensor]:
    """Return the density's times for given uniform numbers; the graph's own time is always 0.123."""
    columns = [torch.full_like(place, value) for value in (choice, independent, 0.123, clean)]
    return DENSITY.sample(torch.stack([columns[0], place, *columns[1:]], dim=-1), CURVE)


def test_the_log_normal_part_has_its_median_and_spread() -> None:
    quantiles = torch.tensor([0.5, 0.841344746, 0.158655254], dtype=torch.float64)
    sigma = CURVE.levels(times(0.64, quantiles)[0]).sigma
    assert torch.allclose(sigma, 0.3 * torch.exp(torch.tensor([0.0, 1.2, -1.2], dtype=torch.float64)), rtol=1e-6)


def test_the_other_part_is_uniform_in_t() -> None:
    place = torch.tensor([0.1, 0.5, 0.9], dtype=torch.float64)
    assert torch.equal(times(0.66, place)[0], place)


def test_a_share_of_the_rows_has_independent_times() -> None:
    place = torch.tensor([0.5], dtype=torch.float64)
    assert torch.equal(*times(0.9, place, independent=0.21))
    assert times(0.9, place, independent=0.19)[1].tolist() == [0.123]
    assert times(0.9, place, independent=0.19, clean=0.24)[1].tolist() == [0]
    assert times(0.9, place, independent=0.19, clean=0.24)[0].tolist() == [0.5]
