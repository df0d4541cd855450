"""Categories ride along exactly: with the exact p(x_0 | x_t) of one variable, every solver keeps its law at any stride,
also with corrector noise and churn. The law is propagated by enumeration; only the test of the whole loop draws.
"""

import itertools

import pytest
import torch
from torch import Tensor

from moldiff.config import CurveConfig
from moldiff.diffusion import categorical
from moldiff.diffusion.categorical import CategoricalProcess, sample_index
from moldiff.diffusion.joint import CATEGORIES, JointDiffusion
from moldiff.diffusion.levels import Levels
from moldiff.models.molecule_model import schedule_from_config
from moldiff.molecules import MolBatch, MolPrediction
from moldiff.randomness import NoiseSource
from moldiff.sampling.context import SamplerContext, SolverState
from moldiff.sampling.sampler import sample
from moldiff.sampling.solvers import SOLVERS, Ancestral, Corrected, EulerMaruyama, Heun, Solver
from moldiff.sampling.time_grids import GRIDS

K = 3
DATA = {
    "atom_type": torch.tensor([0.7, 0.25, 0.05], dtype=torch.float64),
    "charge": torch.tensor([0.02, 0.95, 0.03], dtype=torch.float64),
    "bond_type": torch.tensor([0.8, 0.0, 0.2], dtype=torch.float64),  # a class that never occurs
}
LIMITS = {
    "atom_type": torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64),
    "charge": torch.full((K,), 1 / K, dtype=torch.float64),
    "bond_type": torch.tensor([0.6, 0.1, 0.3], dtype=torch.float64),
}
CURVE = schedule_from_config(CurveConfig())
SPREAD = 1.7  # angstrom
DIFFUSION = JointDiffusion(LIMITS, torch.ones(3))
REDRAWING: dict[str, Solver] = {
    "ddpm": Ancestral(1.0, redraw=3.0),
    "dpmpp": Ancestral(0.0, second_order=True, redraw=3.0),
    "sde": EulerMaruyama(redraw=3.0),
    "langevin": Corrected(Ancestral(0.0, redraw=3.0), 1, 0.5),
    "ode": Heun(redraw=3.0),
    "edm": Heun(churn=1.0, redraw=3.0),
}
ALL = {**SOLVERS, **{f"{name}, redrawing": solver for name, solver in REDRAWING.items()}}


def exact_denoiser(batch: MolBatch, levels: Levels, condition: Tensor, previous: MolPrediction | None) -> MolPrediction:
    """Bayes' rule for each variable of its own."""
    logits = {}
    for field, process in DIFFUSION.categories.items():
        x_t = getattr(batch, field)
        count = len(x_t)
        every = torch.arange(K).expand(count, K)
        kernel = process.marginal(every, levels.abar(field))  # (B, x_0, x_t)
        evidence = (kernel.transpose(1, 2) * DATA[field])[torch.arange(count)[:, None], x_t.reshape(count, -1)]
        logits[field] = evidence.log().reshape(*x_t.shape, K)
    return MolPrediction(batch.pos, **logits)


def molecules(classes: Tensor) -> MolBatch:
    """Return two-atom molecules whose variables all have the given class (B,)."""
    count = len(classes)
    atoms = classes[:, None].expand(count, 2)
    return MolBatch(
        pos=torch.zeros(count, 2, 3),
        atom_type=atoms,
        charge=atoms,
        bond_type=classes[:, None, None] * (1 - torch.eye(2, dtype=torch.int64)),
        mask=torch.ones(count, 2, dtype=torch.bool),
        properties=torch.zeros(count, 0),
        ids=torch.arange(count),
    )


class Enumeration:
    """Stands for `sample_index`: notes the chances it is asked to draw from, and answers from a script.

    Row i of the batch is a pair (class before, class after the churn); the first question of a step with churn is
    answered with the latter, and what is drawn last is not needed.
    """

    def __init__(self, churned: Tensor) -> None:
        self.churned = churned
        self.chances: list[Tensor] = []

    def __call__(self, probabilities: Tensor, uniform: Tensor) -> Tensor:
        flat = probabilities.reshape(len(probabilities), -1, K)
        self.chances.append(flat[:, 1] / flat[:, 1].sum(-1, keepdim=True))  # an atom, or the pair (0, 1)
        return self.churned.reshape(-1, *[1] * (uniform.dim() - 1)).expand(uniform.shape)


def transitions(solver: Solver, t: float, s: float, monkeypatch: pytest.MonkeyPatch) -> dict[str, Tensor]:
    """Return the (x_t, x_s) matrix of one step for each categorical field."""
    pairs = torch.cartesian_prod(torch.arange(K), torch.arange(K))
    before, churned = pairs.T
    context = SamplerContext(exact_denoiser, DIFFUSION, CURVE, torch.zeros(len(pairs), 0), NoiseSource(0))
    enumeration = Enumeration(churned)
    times = [torch.full((len(pairs),), value, dtype=torch.float64) for value in (t, s)]
    with monkeypatch.context() as patch:
        patch.setattr(categorical, "sample_index", enumeration)
        solver.step(context, SolverState(molecules(before)), 1, *times)
    result = {}
    for place, field in enumerate(CATEGORIES):
        asked = [chances.reshape(K, K, K) for chances in enumeration.chances[place :: len(CATEGORIES)]]
        if len(asked) == 1:
            result[field] = asked[0][:, 0]
        else:
            forward, backward = asked  # [x_t, any, x_hat] and [any, x_hat, x_s]
            result[field] = forward[:, 0] @ backward[0]
    return result


def law(field: str, t: float) -> Tensor:
    """Return the exact distribution of a variable at time t."""
    level = CURVE.levels(torch.full((K,), t, dtype=torch.float64))
    return DATA[field] @ DIFFUSION.categories[field].marginal(torch.arange(K), level.abar(field))


def error(solver: Solver, times: list[float], monkeypatch: pytest.MonkeyPatch) -> float:
    """Return the largest total variation along a walk that starts from the exact law."""
    laws = {field: law(field, times[0]) for field in CATEGORIES}
    largest = 0.0
    for t, s in itertools.pairwise(times):
        step = transitions(solver, t, s, monkeypatch)
        for field in CATEGORIES:
            laws[field] = laws[field] @ step[field]
            largest = max(largest, float(0.5 * (laws[field] - law(field, s)).abs().sum()))
    return largest


WALKS = {
    "two steps": [1.0, 0.4, 0.01],
    "uneven": [1.0, 0.97, 0.5, 0.45, 0.1, 0.0],
    "karras": GRIDS["karras"].times(CURVE, 12, SPREAD)[:-1].tolist(),
    "many": torch.linspace(1, 0.02, 50).double().tolist(),
}


@pytest.mark.parametrize("times", WALKS.values(), ids=WALKS.keys())
@pytest.mark.parametrize("solver", ALL.values(), ids=ALL.keys())
def test_one_variable_keeps_its_law_at_any_stride(
    solver: Solver, times: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert error(solver, times, monkeypatch) < 1e-12


def test_churn_that_leaves_the_categories_is_rejected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        CategoricalProcess, "sample_marginal", lambda process, x_0, abar, uniform: keep(process, x_0, uniform)
    )
    assert error(SOLVERS["edm"], WALKS["two steps"], monkeypatch) > 1e-3


def keep(process: CategoricalProcess, x_0: Tensor, uniform: Tensor) -> Tensor:
    return categorical.sample_index(process.marginal(x_0, torch.ones(len(x_0))), uniform)


def test_redrawing_at_the_wrong_level_is_rejected(monkeypatch: pytest.MonkeyPatch) -> None:
    right = CategoricalProcess.redrawn
    monkeypatch.setattr(
        CategoricalProcess, "redrawn", lambda process, probabilities, abar: right(process, probabilities, 0.9 * abar)
    )
    assert error(REDRAWING["ddpm"], WALKS["two steps"], monkeypatch) > 1e-2


def test_a_posterior_one_level_late_is_rejected(monkeypatch: pytest.MonkeyPatch) -> None:
    right = CategoricalProcess.posterior
    monkeypatch.setattr(
        CategoricalProcess,
        "posterior",
        lambda process, x_t, probabilities, abar_t, abar_s: right(process, x_t, probabilities, abar_t, 0.98 * abar_s),
    )
    for name in SOLVERS:
        assert error(SOLVERS[name], WALKS["uneven"], monkeypatch) > 1e-3


def test_redrawing_happens_at_its_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    t, s, rate = 0.6, 0.5, 3.0
    plain = transitions(Ancestral(1.0), t, s, monkeypatch)["atom_type"]
    often = transitions(Ancestral(1.0, redraw=rate), t, s, monkeypatch)["atom_type"]
    always = transitions(Ancestral(1.0, redraw=1e9), t, s, monkeypatch)["atom_type"]
    share = 1 - float(torch.exp(torch.tensor(-rate * (t - s))))
    assert torch.allclose(often, (1 - share) * plain + share * always, atol=1e-12)
    assert float((often - plain).abs().max()) > 0.01


@pytest.mark.parametrize("solver", ALL.values(), ids=ALL.keys())
def test_the_whole_loop_draws_the_data(solver: Solver) -> None:
    """Chi-square of 4,000 molecules before the last evaluation; 5e-4 is the level of each of 39 comparisons."""
    times, states = GRIDS["karras"].times(CURVE, 5, SPREAD), []
    template = molecules(torch.zeros(4000, dtype=torch.int64))
    sample(
        exact_denoiser, DIFFUSION, CURVE, template, times, solver, NoiseSource(7),
        lambda number, noisy, prediction: states.append(noisy),
    )  # fmt: skip
    for field in CATEGORIES:
        found = getattr(states[-2], field).reshape(4000, -1)[:, 1]
        expected = 4000 * law(field, float(times[-2]))
        counts = torch.bincount(found, minlength=K).double()
        assert float(((counts - expected) ** 2 / expected).sum()) < 15.2  # two degrees of freedom


def test_the_second_evaluation_sees_the_categories_of_the_level_it_is_made_at() -> None:
    seen: list[tuple[MolBatch, Levels]] = []

    def recording(batch: MolBatch, levels: Levels, condition: Tensor, previous: MolPrediction | None) -> MolPrediction:
        seen.append((batch, levels))
        return exact_denoiser(batch, levels, condition, previous)

    context = SamplerContext(recording, DIFFUSION, CURVE, torch.zeros(64, 0), NoiseSource(0))
    start = molecules(torch.arange(64) % K)
    t, s = torch.full((64,), 0.8, dtype=torch.float64), torch.full((64,), 0.4, dtype=torch.float64)
    for solver in (SOLVERS["ode"], SOLVERS["edm"]):
        seen.clear()
        after = solver.step(context, SolverState(start), 1, t, s).molecules
        (first, _), (second, level) = seen
        assert torch.equal(level.atom_type, CURVE.levels(s).atom_type)
        for field in CATEGORIES:
            assert torch.equal(getattr(second, field), getattr(after, field))
            assert not torch.equal(getattr(first, field), getattr(second, field))


def test_langevin_moves_hold_the_categories() -> None:
    solver = Corrected(Ancestral(0.0), 3, 0.5)
    context = SamplerContext(exact_denoiser, DIFFUSION, CURVE, torch.zeros(8, 0), NoiseSource(0))
    start = molecules(torch.arange(8) % K)
    at = CURVE.levels(torch.full((8,), 0.5, dtype=torch.float64))
    moved = solver._move(context, SolverState(start), at, context.pos_noise(start, 1, 2)).molecules
    assert all(getattr(moved, field) is getattr(start, field) for field in CATEGORIES)
    assert not torch.equal(moved.pos, start.pos)


def test_the_index_that_is_drawn_belongs_to_its_chance() -> None:
    """The enumeration above replaces `sample_index`; this is what it stands for."""
    chances = torch.tensor([0.2, 0.0, 0.8], dtype=torch.float64).expand(1000, K)
    uniform = (torch.arange(1000) + 0.5) / 1000
    assert torch.bincount(sample_index(chances, uniform), minlength=K).tolist() == [200, 0, 800]
