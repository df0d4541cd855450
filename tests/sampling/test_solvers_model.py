"""Every solver on a real network: the same molecule in any batch, cost counted in evaluations, also in the files."""

import csv
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from generating import generate_files

from moldiff.arrays import MolArrays
from moldiff.errors import MoldiffError
from moldiff.models.molecule_model import MoleculeModel
from moldiff.molecules import FIELDS, empty_batch
from moldiff.randomness import NoiseSource
from moldiff.sampling.context import SamplerContext, SolverState
from moldiff.sampling.molecule_sampler import MoleculeSampler
from moldiff.sampling.sampler import evaluations_of, steps_within
from moldiff.sampling.solvers import SOLVERS, Ancestral, Corrected, Heun, Solver
from moldiff.sampling.time_grids import GRIDS

OTHERS = {"redrawing": Ancestral(0.5, True, redraw=2.0), "corrected": Corrected(Heun(1.0, redraw=2.0), 2, 0.3)}
ALL: dict[str, Solver] = {**SOLVERS, **OTHERS}


def draws(model: MoleculeModel, solver: Solver, numbers: list[range], seed: int = 0) -> dict[int, MolArrays]:
    molecule_sampler = MoleculeSampler(model, solver, 7, seed, grid=GRIDS["karras"])
    found = {draw.number: draw.arrays for part in numbers for draw in molecule_sampler.draw(part.start, len(part))}
    return {number: arrays for number, arrays in found.items() if arrays is not None}


@pytest.mark.parametrize("solver", ALL.values(), ids=ALL.keys())
def test_a_molecule_is_the_same_in_any_batch(tiny_model: MoleculeModel, solver: Solver) -> None:
    together = draws(tiny_model, solver, [range(10)])
    apart = draws(tiny_model, solver, [range(9, 10), range(3, 9), range(3)])
    assert together.keys() == apart.keys() == set(range(10))
    for number, arrays in together.items():
        for name in ("pos", "atom_type", "charge", "bonds"):
            assert np.array_equal(getattr(arrays, name), getattr(apart[number], name)), (number, name)
    again = draws(tiny_model, solver, [range(2)], seed=1)
    assert not all(np.array_equal(again[k].pos, together[k].pos) for k in again)


@pytest.mark.parametrize("solver", ALL.values(), ids=ALL.keys())
def test_a_step_keeps_molecules_apart(tiny_model: MoleculeModel, solver: Solver) -> None:
    """A mate whose coordinates are not numbers changes no bit of the others, in state or memory."""
    template = empty_batch(torch.tensor([9, 9, 9]), torch.tensor([0, 1, 2]), 12, 1)
    model = tiny_model
    context = SamplerContext(model.denoiser, model.diffusion, model.schedule, template.properties, NoiseSource(0))
    times = [torch.full((3,), t, dtype=torch.float64) for t in (1.0, 0.7, 0.4)]
    prior = model.diffusion.sample_prior(template, model.schedule.levels(times[0]), context.noise(template, 0))
    sick = prior.replace(pos=torch.where(template.ids[:, None, None] == 1, torch.nan, prior.pos))
    results = []
    for start in (prior, sick):
        state = SolverState(start)
        for number in (1, 2):
            state = solver.step(context, state, number, times[number - 1], times[number])
        results.append(state)
    healthy, other = results
    assert healthy.prediction is not None
    assert other.prediction is not None
    for row in (0, 2):
        for name in FIELDS:
            assert torch.equal(getattr(healthy.molecules, name)[row], getattr(other.molecules, name)[row])
            assert torch.equal(getattr(healthy.prediction, name)[row], getattr(other.prediction, name)[row])
    assert not torch.isfinite(other.prediction.pos[1]).all()


@pytest.mark.parametrize("solver", ALL.values(), ids=ALL.keys())
def test_no_more_evaluations_than_asked_for_and_no_step_more_would_fit(solver: Solver) -> None:
    for asked in range(1, 40):
        steps = steps_within(solver, asked)
        assert steps >= 1
        assert evaluations_of(solver, steps) <= asked < evaluations_of(solver, steps + 1)


@pytest.mark.parametrize(("sampler", "real"), [("ddpm", 6), ("dpmpp", 6), ("ode", 5), ("langevin", 5)])
def test_the_real_number_of_evaluations_is_in_the_files(model: Path, tmp_path: Path, sampler: str, real: int) -> None:
    generate_files(tmp_path / "m.sdf", n=2, model=str(model), evaluations=6, sampler=sampler, grid="logsnr")
    record = json.loads((tmp_path / "m.run.json").read_text())
    assert record["network_evaluations_per_molecule"] == real
    assert record["options"]["evaluations"] == 6
    assert record["options"]["grid"] == "logsnr"
    assert {row["evaluations"] for row in csv.DictReader((tmp_path / "m.csv").open())} == {str(real)}


def test_the_help_names_every_sampler_and_grid(run: Callable[..., tuple[int, str, str]]) -> None:
    _, out, _ = run("generate", "--help")
    words = {word.strip(",;.") for word in out.replace("│", " ").split()}
    assert {*SOLVERS, *GRIDS} <= words


@pytest.mark.parametrize(("moves", "share"), [(-1, 0.5), (61, 0.5), (1, -0.1), (1, 1.1)])
def test_moves_out_of_range_are_refused(moves: int, share: float) -> None:
    with pytest.raises(ValueError, match="moves of a share"):
        Corrected(Ancestral(0.0), moves, share)


def test_an_unknown_grid_is_one_line_with_a_hint(model: Path, tmp_path: Path) -> None:
    with pytest.raises(MoldiffError, match=r"unknown grid 'karas'.*did you mean 'karras'"):
        generate_files(tmp_path / "m.sdf", n=1, model=str(model), grid="karas")
    assert list(tmp_path.glob("m.*")) == []
