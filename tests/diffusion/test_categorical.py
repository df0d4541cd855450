"""Categorical diffusion of one variable against closed forms: kernels, posteriors, and the law of what is sampled.

Each check is a function of the process under test and returns an error; the same function must reject every mutant.
"""

import itertools
from collections.abc import Callable

import pytest
import torch
from scipy import stats
from torch import Tensor

from moldiff.config import CurveConfig
from moldiff.diffusion.categorical import CategoricalProcess, sample_index
from moldiff.diffusion.schedule import uniform_grid
from moldiff.models.molecule_model import schedule_from_config
from moldiff.randomness import NoiseSource, Stream

Record = Callable[[str, object], None]
STEPS = 100
EXACT = 1e-12


def skewed(classes: int) -> Tensor:
    """Return a distribution whose entries all differ, (K,) float64."""
    weights = torch.arange(1, classes + 1, dtype=torch.float64) ** 1.5
    return (weights / weights.sum()).roll(1)


def uniform(classes: int) -> Tensor:
    return torch.full((classes,), 1 / classes, dtype=torch.float64)


LIMITS = {
    f"{name}-{classes}": limit(classes)
    for name, limit in {"marginal": skewed, "uniform": uniform}.items()
    for classes in (2, 3, 8, 16)
}
every_limit = pytest.mark.parametrize("limit", LIMITS.values(), ids=LIMITS.keys())


def schedule(steps: int = STEPS) -> Tensor:
    """Return abar at times 0 to 1, (steps + 1,) float64, with abar = 1 at time 0."""
    abar = schedule_from_config(CurveConfig()).levels(uniform_grid(steps)).abar("bond_type").flip(0)
    abar[0] = 1
    return abar


def kernel(limit: Tensor, ratio: Tensor) -> Tensor:
    """Return Q[from, to] = r I + (1 - r) 1 pi^T, written out entry by entry."""
    classes = len(limit)
    rows = [
        [float(ratio) * (start == end) + (1 - float(ratio)) * float(limit[end]) for end in range(classes)]
        for start in range(classes)
    ]
    return torch.tensor(rows, dtype=torch.float64)


def marginals(process: CategoricalProcess, abar: Tensor) -> Tensor:
    """Return the process's q(x_t | x_0) as a matrix [x_0, x_t]."""
    classes = len(process.limit)
    return process.marginal(torch.arange(classes), abar.expand(classes))


def forward_error(process: CategoricalProcess) -> float:
    """Return the largest difference between the closed form and the product of one-step kernels, over every t."""
    abar = schedule()
    product, error = torch.eye(len(process.limit), dtype=torch.float64), 0.0
    for before, after in itertools.pairwise(abar):
        product = product @ kernel(process.limit, after / before)
        error = max(error, float((marginals(process, after) - product).abs().max()))
    return error


def posterior_error(process: CategoricalProcess, stride: int) -> float:
    """Return the largest difference to Bayes' rule over all x_0, x_t, x_s and all t = s + stride.

    The transition between s and t is the product of one-step kernels, so the stride itself is under test.
    """
    abar, classes, error = schedule(), len(process.limit), 0.0
    steps = [kernel(process.limit, after / before) for before, after in itertools.pairwise(abar)]
    x_0, x_t = torch.meshgrid(torch.arange(classes), torch.arange(classes), indexing="ij")
    clean = torch.nn.functional.one_hot(x_0, classes).double()
    for s in range(0, STEPS - stride + 1, max(1, stride // 2)):
        t = s + stride
        to_s, s_to_t = kernel(process.limit, abar[s]), torch.linalg.multi_dot(steps[s:t]) if stride > 1 else steps[s]
        joint = to_s[:, None, :] * s_to_t.T[None, :, :]  # [x_0, x_t, x_s]
        truth = joint / joint.sum(-1, keepdim=True)
        found = process.posterior(x_t, clean, abar[t].expand(classes), abar[s].expand(classes))
        error = max(error, float((found - truth).abs().nan_to_num(nan=torch.inf).max()))
    return error


def sampling_error(process: CategoricalProcess, data: Tensor, stride: int) -> float:
    """Return the total variation between the data and what the reverse chain makes of it, without any sampling.

    The distribution itself is pushed through the reverse kernel, whose denoiser is Bayes' rule.
    """
    abar, classes = schedule()[::stride].flip(0), len(process.limit)
    law = data @ kernel(process.limit, abar[0])
    for at, to in itertools.pairwise(abar):
        joint = data[:, None] * kernel(process.limit, at)
        bayes = (joint / joint.sum(0)).T  # [x_t, x_0]
        law = law @ process.posterior(torch.arange(classes), bayes, at.expand(classes), to.expand(classes))
    return float(0.5 * (law - data).abs().sum())


def redrawing_error(process: CategoricalProcess, data: Tensor, stride: int) -> float:
    """Return the largest total variation to the exact law at s of variables redrawn at t under Bayes' rule."""
    abar, classes, error = schedule(), len(process.limit), 0.0
    for s in range(0, STEPS - stride + 1):
        joint = data[:, None] * kernel(process.limit, abar[s + stride])
        bayes = (joint / joint.sum(0)).T  # [x_t, x_0]
        law = joint.sum(0) @ process.redrawn(bayes, abar[s].expand(classes))
        error = max(error, float(0.5 * (law - data @ kernel(process.limit, abar[s])).abs().sum()))
    return error


class TransposedKernel(CategoricalProcess):
    """Q[to, from] in place of Q[from, to]."""

    def marginal(self, x_0: Tensor, abar: Tensor) -> Tensor:
        forward = torch.stack(
            [super(TransposedKernel, self).marginal(c, abar[:1]) for c in torch.arange(len(self.limit))[:, None]]
        )
        return forward[:, 0].T[x_0]

    def posterior(self, x_t: Tensor, probabilities: Tensor, abar_t: Tensor, abar_s: Tensor) -> Tensor:
        ratio = (abar_t / abar_s).reshape(-1, *[1] * x_t.dim())
        right = super().posterior(x_t, probabilities, abar_t, abar_s)
        here = torch.nn.functional.one_hot(x_t, len(self.limit)).double()
        wrong = right / (ratio * here + (1 - ratio) * self.limit[x_t][..., None])
        wrong = wrong * (ratio * here + (1 - ratio) * self.limit)
        return wrong / wrong.sum(-1, keepdim=True)


class OneStepLate(CategoricalProcess):
    """t off by one: every abar is that of the next step."""

    def _late(self, abar: Tensor) -> Tensor:
        table = schedule()
        return table[((table[:, None] - abar).abs().argmin(0) + 1).clamp(max=STEPS)]

    def marginal(self, x_0: Tensor, abar: Tensor) -> Tensor:
        return super().marginal(x_0, self._late(abar))

    def posterior(self, x_t: Tensor, probabilities: Tensor, abar_t: Tensor, abar_s: Tensor) -> Tensor:
        return super().posterior(x_t, probabilities, self._late(abar_t), self._late(abar_s))


class OneStepKernel(CategoricalProcess):
    """The transition of a single step used for a longer stride."""

    def posterior(self, x_t: Tensor, probabilities: Tensor, abar_t: Tensor, abar_s: Tensor) -> Tensor:
        table = schedule()
        before = table[(table[:, None] - abar_t).abs().argmin(0) - 1]
        return super().posterior(x_t, probabilities, abar_t * abar_s / before, abar_s)


class NoEvidence(CategoricalProcess):
    """q(x_t | x_0) left out of the mixture over x_0."""

    def posterior(self, x_t: Tensor, probabilities: Tensor, abar_t: Tensor, abar_s: Tensor) -> Tensor:
        evidence = self.marginal(torch.arange(len(self.limit)), abar_t[:1].expand(len(self.limit)))
        weighted = probabilities * evidence.T[x_t]
        return super().posterior(x_t, weighted / weighted.sum(-1, keepdim=True), abar_t, abar_s)


class OnePercentOff(CategoricalProcess):
    """One hundredth of each reverse step goes to the limit distribution."""

    def posterior(self, x_t: Tensor, probabilities: Tensor, abar_t: Tensor, abar_s: Tensor) -> Tensor:
        return 0.99 * super().posterior(x_t, probabilities, abar_t, abar_s) + 0.01 * self.limit


@every_limit
def test_closed_form_marginals_are_products_of_one_step_kernels(limit: Tensor, record_property: Record) -> None:
    error = forward_error(CategoricalProcess(limit))
    record_property("forward kernels", error)
    assert error < EXACT


@pytest.mark.parametrize("mutant", [TransposedKernel, OneStepLate])
def test_wrong_marginals_are_rejected(mutant: type[CategoricalProcess]) -> None:
    assert forward_error(mutant(skewed(3))) > 1e-3


@every_limit
@pytest.mark.parametrize("stride", [1, 7, 50])
def test_posterior_is_bayes_rule_at_any_stride(limit: Tensor, stride: int, record_property: Record) -> None:
    error = posterior_error(CategoricalProcess(limit), stride)
    record_property("posteriors", error)
    assert error < EXACT


@pytest.mark.parametrize("mutant", [TransposedKernel, OneStepLate, OneStepKernel, OnePercentOff])
def test_wrong_posteriors_are_rejected(mutant: type[CategoricalProcess]) -> None:
    assert posterior_error(mutant(skewed(3)), stride=7) > 1e-3


@every_limit
@pytest.mark.parametrize("stride", [1, 10])
def test_the_reverse_chain_returns_the_data_exactly(limit: Tensor, stride: int, record_property: Record) -> None:
    data = torch.softmax(torch.sin(torch.arange(len(limit), dtype=torch.float64) * 2), 0)
    error = sampling_error(CategoricalProcess(limit), data, stride)
    record_property("total variation", error)
    assert error < EXACT


def test_the_reverse_chain_returns_data_with_an_empty_class() -> None:
    assert (
        sampling_error(CategoricalProcess(skewed(3)), torch.tensor([0.7, 0.0, 0.3], dtype=torch.float64), stride=10)
        < EXACT
    )


@pytest.mark.parametrize("stride", [1, 50])
def test_redrawn_variables_have_the_exact_law(stride: int) -> None:
    data = torch.tensor([0.2, 0.7, 0.1], dtype=torch.float64)
    assert redrawing_error(CategoricalProcess(skewed(3)), data, stride) < EXACT


@pytest.mark.parametrize("mutant", [TransposedKernel, OneStepLate, OneStepKernel, NoEvidence, OnePercentOff])
def test_wrong_reverse_chains_are_rejected(mutant: type[CategoricalProcess]) -> None:
    assert sampling_error(mutant(skewed(3)), torch.tensor([0.2, 0.7, 0.1], dtype=torch.float64), stride=10) > 1e-3


def drawn_p_value(process: CategoricalProcess, chains: int = 100_000) -> float:
    """Return the chi-square p-value of chains drawn with the package's own random numbers, under Bayes' denoiser."""
    data, abar, source = (
        torch.tensor([0.5, 0.2, 0.2, 0.1], dtype=torch.float64),
        schedule()[::10].flip(0),
        NoiseSource(7),
    )
    ids = torch.arange(1)

    def numbers(draw: int) -> Tensor:
        return source.uniform(ids, draw, Stream.CHARGE, chains)[0]

    state = sample_index((data @ kernel(process.limit, abar[0])).expand(chains, -1), numbers(0))
    for draw, (at, to) in enumerate(itertools.pairwise(abar), start=1):
        joint = data[:, None] * kernel(process.limit, at)
        bayes = (joint / joint.sum(0)).T[state]
        state = process.reverse_step(state, bayes, at.expand(chains), to.expand(chains), numbers(draw))
    return float(stats.chisquare(torch.bincount(state, minlength=4), data.numpy() * chains).pvalue)


def test_drawn_chains_have_the_frequencies_of_the_data() -> None:
    assert drawn_p_value(CategoricalProcess(skewed(4))) > 1e-3


@pytest.mark.parametrize("mutant", [OnePercentOff, NoEvidence, TransposedKernel])
def test_drawn_chains_that_are_wrong_are_rejected(mutant: type[CategoricalProcess]) -> None:
    assert drawn_p_value(mutant(skewed(4))) < 1e-6


def test_draws_follow_the_probabilities_they_are_made_from() -> None:
    process, cells = CategoricalProcess(skewed(5)), 10_000
    u = (torch.arange(cells, dtype=torch.float64) + 0.5) / cells
    x_0, abar = torch.full((1, cells), 2), torch.tensor([0.4])
    drawn = torch.bincount(process.sample_marginal(x_0, abar, u[None])[0], minlength=5) / cells
    assert torch.allclose(drawn.double(), process.marginal(x_0, abar)[0, 0], atol=2 / cells)
    drawn = torch.bincount(process.sample_prior(u[None])[0], minlength=5) / cells
    assert torch.allclose(drawn.double(), process.limit, atol=2 / cells)


def test_a_class_of_probability_zero_is_never_drawn() -> None:
    ends = torch.tensor([2.0**-24, 0.5, 1 - 2.0**-24])
    probabilities = torch.tensor([0.0, 0.3, 0.0, 0.7, 0.0], dtype=torch.float64).expand(3, -1)
    assert sample_index(probabilities, ends).tolist() == [1, 3, 3]
    assert sample_index(4.2 * probabilities, ends).tolist() == [1, 3, 3]


def test_a_variable_at_level_zero_stays_as_it_is() -> None:
    process, one = CategoricalProcess(skewed(3)), torch.ones(1)
    impossible = torch.tensor([[0.0, 1e-12, 1.0]], dtype=torch.float64)
    found = process.posterior(torch.tensor([1]), impossible, one, one)
    assert found.tolist() == [[0.0, 1.0, 0.0]]


def test_batches_of_levels_act_row_by_row() -> None:
    process, abar = CategoricalProcess(skewed(3)), torch.tensor([0.9, 0.2])
    x_t, p = (
        torch.tensor([[0, 1, 2], [2, 1, 0]]),
        torch.softmax(torch.randn(2, 3, 3, generator=torch.Generator().manual_seed(0)), -1),
    )
    both = process.posterior(x_t, p, abar, abar.sqrt())
    for row in range(2):
        alone = process.posterior(x_t[row : row + 1], p[row : row + 1], abar[row : row + 1], abar[row : row + 1].sqrt())
        assert torch.equal(both[row : row + 1], alone)


def test_divergences_are_sums_over_classes() -> None:
    process = CategoricalProcess(skewed(3))
    x_t, x_0 = torch.tensor([0, 1, 2]), torch.tensor([2, 1, 0])
    p, at, to = torch.softmax(torch.eye(3).double(), -1), torch.full((3,), 0.3), torch.full((3,), 0.6)
    truth = process.posterior(x_t, torch.nn.functional.one_hot(x_0, 3).double(), at, to)
    model = process.posterior(x_t, p, at, to)
    by_hand = [sum(a * (a / b).log() for a, b in zip(*rows, strict=True)) for rows in zip(truth, model, strict=True)]
    assert torch.allclose(process.kl_step(x_t, x_0, p, at, to), torch.stack(by_hand), rtol=0, atol=EXACT)
    marginal = process.marginal(x_0, at)
    assert torch.allclose(
        process.kl_prior(x_0, at), (marginal * (marginal / process.limit).log()).sum(-1), rtol=0, atol=EXACT
    )
    exact = process.kl_step(x_t, x_0, torch.nn.functional.one_hot(x_0, 3).double(), at, torch.ones(3))
    assert torch.equal(exact, torch.zeros(3).double())


def test_loss_is_the_cross_entropy_of_the_true_class() -> None:
    logits = torch.tensor([[1.0, 2.0, 3.0], [0.0, 0.0, 0.0]])
    loss = CategoricalProcess(skewed(3)).loss(logits, torch.tensor([2, 0]))
    assert torch.allclose(loss, torch.tensor([0.40760596, 1.0986123]))


@pytest.mark.parametrize("limit", [[0.5, 0.5, 0.0], [0.5, 0.6], [1.5, -0.5]])
def test_a_limit_that_is_no_positive_distribution_is_refused(limit: list[float]) -> None:
    with pytest.raises(ValueError, match="limit distribution"):
        CategoricalProcess(torch.tensor(limit))
