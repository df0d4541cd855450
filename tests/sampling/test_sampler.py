"""The sampling loop: symmetry of whole molecules, what is passed on from step to step, and the guard against NaN."""

import copy
import dataclasses
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
import torch
from separate_noise import SeparateNoise
from torch import Tensor

from moldiff.diffusion.joint import draw_noise
from moldiff.diffusion.levels import Levels
from moldiff.diffusion.schedule import uniform_grid
from moldiff.geometry import rotations_from_normals
from moldiff.models.molecule_model import MoleculeModel
from moldiff.molecules import FIELDS, MolBatch, MolPrediction, empty_batch
from moldiff.randomness import NoiseSource, Stream
from moldiff.sampling.sampler import Sample, sample
from moldiff.sampling.solvers import SOLVERS

SIZES = torch.tensor([5, 9, 9])
WIDTH = 10
EYE = torch.eye(3, dtype=torch.float64)


@dataclasses.dataclass(frozen=True)
class MovedNoise(SeparateNoise):
    """Float64 noise of atoms taken in another order, turned and shifted.

    Attributes:
        order: (B, N).
        turn: (3, 3) orthogonal.
        shift: (3,) in units of the noise.
    """

    order: Tensor
    turn: Tensor = EYE
    shift: Tensor = EYE[0] * 0

    def normal(self, ids: Tensor, draw: int, stream: Stream, n: int) -> Tensor:
        numbers = super().normal(ids, draw, stream, n).double()
        return numbers.gather(1, self.order[..., None].expand(-1, -1, 3)) @ self.turn.T + self.shift

    def uniform(self, ids: Tensor, draw: int, stream: Stream, n: int) -> Tensor:
        return super().uniform(ids, draw, stream, n).gather(1, self.order)

    def uniform_pairs(self, ids: Tensor, draw: int, stream: Stream, n: int) -> Tensor:
        return take_pairs(super().uniform_pairs(ids, draw, stream, n), self.order)


def take_pairs(values: Tensor, order: Tensor) -> Tensor:
    rows = torch.arange(len(order))[:, None, None]
    return values[rows, order[:, :, None], order[:, None, :]]


Watch = Callable[[int, MolBatch, MolPrediction], None]


def draw(
    model: MoleculeModel,
    solver: str,
    steps: int,
    source: NoiseSource,
    denoiser: object = None,
    watch: Watch | None = None,
    sizes: Tensor = SIZES,
) -> Sample:
    template = empty_batch(sizes, torch.arange(len(sizes)), WIDTH, len(model.conditions))
    return sample(
        denoiser or model.denoiser,  # type: ignore[arg-type]
        model.diffusion,
        model.schedule,
        template,
        uniform_grid(steps),
        SOLVERS[solver],
        source,
        watch,
    )


@pytest.mark.parametrize("solver", SOLVERS)
def test_moved_noise_makes_moved_molecules(
    tiny_model: MoleculeModel, solver: str, record_property: Callable[[str, object], None]
) -> None:
    model = dataclasses.replace(tiny_model, denoiser=copy.deepcopy(tiny_model.denoiser).double())
    generator = torch.Generator().manual_seed(0)
    sizes, steps = (SIZES.repeat(7)[:20], 100) if solver == "ddpm" else (SIZES, 6)
    as_is = torch.arange(WIDTH).expand(len(sizes), -1)
    order = torch.stack([torch.cat([torch.randperm(n, generator=generator), torch.arange(n, WIDTH)]) for n in sizes])
    mirror = -rotations_from_normals(torch.randn(1, 4, generator=generator, dtype=torch.float64))[0]
    noise = MovedNoise(1, order, mirror, torch.tensor([1.0, -2.0, 0.5]).double())
    plain = draw(model, solver, steps, MovedNoise(1, as_is), sizes=sizes).molecules
    moved = draw(model, solver, steps, noise, sizes=sizes).molecules
    assert float(plain.pos.abs().max()) > 0.1
    expected = plain.pos.gather(1, order[..., None].expand(-1, -1, 3)) @ mirror.T
    apart = float((moved.pos - expected).abs().max())
    record_property("coordinates apart, angstrom", apart)
    assert apart < 1e-8
    assert torch.equal(moved.atom_type, plain.atom_type.gather(1, order))
    assert torch.equal(moved.charge, plain.charge.gather(1, order))
    assert torch.equal(moved.bond_type, take_pairs(plain.bond_type, order))


@pytest.mark.parametrize("solver", SOLVERS)
def test_molecules_are_well_formed_at_every_step(tiny_model: MoleculeModel, solver: str) -> None:
    states: list[MolBatch] = []
    draw(tiny_model, solver, 4, NoiseSource(0), watch=lambda number, state, prediction: states.append(state))
    assert len(states) == 4
    for state in states:
        scale = float(state.pos.abs().max())
        assert float(state.pos.sum(1).abs().max()) < 1e-5 * scale
        assert torch.equal(state.bond_type, state.bond_type.transpose(1, 2))
        assert not state.bond_type[~state.pair_mask].any()
        assert not any(getattr(state, field)[~state.mask].any() for field in FIELDS[:3])
        assert state.n_atoms.tolist() == SIZES.tolist()
        assert state.ids.tolist() == [0, 1, 2]


class Watched:
    """A denoiser that notes what it is given and may spoil what it gives.

    Args:
        model: whose denoiser it calls.
        spoil: changes a prediction, given the number of the evaluation, from 1.
    """

    def __init__(
        self, model: MoleculeModel, spoil: Callable[[int, MolPrediction], MolPrediction] | None = None
    ) -> None:
        self.model, self.spoil = model, spoil
        self.calls: list[tuple[MolBatch, Levels, Tensor, MolPrediction | None]] = []
        self.answers: list[MolPrediction] = []

    def __call__(
        self, batch: MolBatch, levels: Levels, condition: Tensor, previous: MolPrediction | None
    ) -> MolPrediction:
        self.calls.append((batch, levels, condition, previous))
        answer = self.model.denoiser(batch, levels, condition, previous)
        self.answers.append(answer if self.spoil is None else self.spoil(len(self.calls), answer))
        return self.answers[-1]


def test_the_loop_hands_on_levels_condition_and_the_last_prediction(tiny_model: MoleculeModel) -> None:
    watched, grid = Watched(tiny_model), uniform_grid(4)
    template = empty_batch(SIZES, torch.arange(3), WIDTH, 1).replace(
        properties=torch.tensor([[1.0], [2.0], [torch.nan]])
    )
    diffusion, curve, source = tiny_model.diffusion, tiny_model.schedule, NoiseSource(3)
    found = sample(watched, diffusion, curve, template, grid, SOLVERS["ddpm"], source)
    assert len(watched.calls) == 4
    assert watched.calls[0][3] is None
    for call, answer in zip(watched.calls[1:], watched.answers[:-1], strict=True):
        assert all(torch.equal(getattr(call[3], field), getattr(answer, field)) for field in FIELDS)
    state = diffusion.sample_prior(
        template, curve.levels(grid[:1].expand(3)), draw_noise(source, template.ids, 0, WIDTH)
    )
    steps = list(pairwise(grid.tolist()))
    for number, (batch, at, condition, _) in enumerate(watched.calls):
        t, s = (torch.full((3,), time, dtype=torch.float64) for time in steps[number])
        torch.testing.assert_close(condition, template.properties, equal_nan=True)
        assert torch.equal(at.stacked(), curve.levels(t).stacked())
        for field in FIELDS:
            assert torch.equal(getattr(batch, field), getattr(state, field))
        noise = draw_noise(source, template.ids, number + 1, WIDTH)
        state = diffusion.reverse_step(batch, watched.answers[number], at, curve.levels(s), noise)
    decoded = diffusion.decode(batch, watched.answers[-1])
    assert all(torch.equal(getattr(found.molecules, field), getattr(decoded, field)) for field in FIELDS)
    assert found.prediction is watched.answers[-1]


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
@pytest.mark.parametrize("field", FIELDS)
def test_a_state_that_is_not_finite_is_found_and_harms_no_mate(
    tiny_model: MoleculeModel, field: str, value: float
) -> None:
    def spoil(number: int, prediction: MolPrediction) -> MolPrediction:
        if number != 3:  # finite again at the fourth evaluation: the row stays marked
            return prediction.replace(**{name: getattr(prediction, name).nan_to_num(0, 0, 0) for name in FIELDS})
        values = getattr(prediction, field).clone()
        values[1, 0] = value
        return prediction.replace(**{field: values})

    good = draw(tiny_model, "ddpm", 5, NoiseSource(0))
    bad = draw(tiny_model, "ddpm", 5, NoiseSource(0), Watched(tiny_model, spoil))
    assert good.failed_at.tolist() == [-1, -1, -1]
    assert bad.failed_at.tolist() == [-1, 3, -1]
    for name in FIELDS:
        assert torch.equal(getattr(bad.molecules, name)[[0, 2]], getattr(good.molecules, name)[[0, 2]])


@pytest.mark.parametrize("solver", SOLVERS)
def test_what_has_failed_is_not_shown_to_the_network_again(tiny_model: MoleculeModel, solver: str) -> None:
    """In bfloat16 some processors read past the end of a row, and take what stands there for the next."""
    seen: list[bool] = []

    class Seen:
        def __call__(self, batch: Any, levels: Any, condition: Any, previous: Any) -> MolPrediction:
            shown = [batch.pos, *([] if previous is None else [getattr(previous, name) for name in FIELDS])]
            seen.append(all(bool(torch.isfinite(values).all()) for values in shown))
            prediction = tiny_model.denoiser(batch, levels, condition, previous)
            return prediction.replace(pos=prediction.pos.index_fill(0, torch.tensor(1), torch.inf))

    failed = draw(tiny_model, solver, 6, NoiseSource(0), Seen()).failed_at.tolist()
    assert failed == [-1, 1, -1]
    # a step of two evaluations ends before anybody looks
    assert all(seen[:: SOLVERS[solver].evaluations])


@pytest.mark.parametrize("solver", SOLVERS)
def test_a_failure_at_the_last_evaluation_counts(tiny_model: MoleculeModel, solver: str) -> None:
    def spoil(_: int, prediction: MolPrediction) -> MolPrediction:
        return prediction.replace(pos=prediction.pos * torch.tensor([1.0, 1.0, torch.nan])[:, None, None])

    assert draw(tiny_model, solver, 1, NoiseSource(0), Watched(tiny_model, spoil)).failed_at.tolist() == [-1, -1, 1]


def test_a_grid_of_one_time_is_refused(tiny_model: MoleculeModel) -> None:
    template = empty_batch(SIZES, torch.arange(3), WIDTH, 1)
    with pytest.raises(ValueError, match="at least two times"):
        sample(
            tiny_model.denoiser, tiny_model.diffusion, tiny_model.schedule, template, torch.ones(1), SOLVERS["ddpm"],
            NoiseSource(0),
        )  # fmt: skip


@pytest.mark.parametrize("solver", SOLVERS)
def test_one_and_two_atoms_are_molecules_too(tiny_model: MoleculeModel, solver: str) -> None:
    result = draw(tiny_model, solver, 4, NoiseSource(0), sizes=torch.tensor([1, 2]))
    assert result.failed_at.tolist() == [-1, -1]
    assert not result.molecules.pos[0].any()
    assert bool(result.molecules.pos[1, :2].any())
