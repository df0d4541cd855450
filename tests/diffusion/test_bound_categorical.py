"""The bound of one categorical variable: the entropy for the exact denoiser, never below the truth for any."""

import itertools
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from moldiff.config import CurveConfig
from moldiff.diffusion.categorical import CategoricalProcess
from moldiff.diffusion.schedule import uniform_grid
from moldiff.models.molecule_model import schedule_from_config

STEPS = 25
DATA = torch.tensor([0.5, 0.2, 0.2, 0.1], dtype=torch.float64)
CLASSES = len(DATA)
EVERY = torch.arange(CLASSES)
Denoise = Callable[[int], Tensor]  # step number -> p(x_0 | x_t) as a matrix [x_t, x_0]


def schedule() -> Tensor:
    """Return abar from t = 1 to 0, ending in 1: the last step is the reconstruction."""
    abar = schedule_from_config(CurveConfig()).levels(uniform_grid(STEPS)).abar("atom_type")
    abar[-1] = 1
    return abar


def bound_terms(process: CategoricalProcess, denoise: Denoise) -> tuple[Tensor, Tensor, Tensor]:
    """Return the prior, step and reconstruction terms for each x_0, (CLASSES,) nats, averaged over x_t exactly."""
    abar, x_0 = schedule(), EVERY[:, None].expand(-1, CLASSES)
    x_t = EVERY.expand(CLASSES, -1)
    terms = []
    for number, (at, to) in enumerate(itertools.pairwise(abar)):
        clean = denoise(number)[x_t]
        weight = process.marginal(EVERY, at.expand(CLASSES))
        terms.append((weight * process.kl_step(x_t, x_0, clean, at.expand(CLASSES), to.expand(CLASSES))).sum(-1))
    prior = process.kl_prior(EVERY, abar[:1].expand(CLASSES))
    return prior, torch.stack(terms[:-1]).sum(0), terms[-1]


def exact(process: CategoricalProcess) -> Denoise:
    """Return Bayes' rule."""
    abar = schedule()

    def denoise(number: int) -> Tensor:
        joint = DATA[:, None] * process.marginal(EVERY, abar[number].expand(CLASSES))
        return (joint / joint.sum(0)).T

    return denoise


def arbitrary(seed: int) -> Denoise:
    """Return a denoiser that has learned nothing."""
    logits = 2 * torch.randn(STEPS, CLASSES, CLASSES, generator=torch.Generator().manual_seed(seed)).double()
    return lambda number: torch.softmax(logits[number], dim=-1)


def entropy_error(process: CategoricalProcess) -> float:
    """Return |bound averaged over the data - (entropy + KL(q(x_T) || limit))| for the exact denoiser."""
    bound = sum(float(DATA @ term) for term in bound_terms(process, exact(process)))
    end = DATA @ process.marginal(EVERY, schedule()[:1].expand(CLASSES))
    entropy = -torch.special.xlogy(DATA, DATA).sum()
    return abs(bound - float(entropy + (end * (end / process.limit).log()).sum()))


def margin(process: CategoricalProcess, denoise: Denoise) -> float:
    """Return the smallest difference bound - (-ln p(x_0)) over x_0; p is the law of the reverse chain, enumerated."""
    law, truth = process.limit, CategoricalProcess(process.limit)
    for number, (at, to) in enumerate(itertools.pairwise(schedule())):
        law = law @ truth.posterior(EVERY, denoise(number), at.expand(CLASSES), to.expand(CLASSES))
    return float((torch.stack(bound_terms(process, denoise)).sum(0) + law.log()).min())


class ReversedDivergence(CategoricalProcess):
    """KL(model || truth) in place of KL(truth || model)."""

    def kl_step(self, x_t: Tensor, x_0: Tensor, probabilities: Tensor, abar_t: Tensor, abar_s: Tensor) -> Tensor:
        truth = self.posterior(x_t, torch.nn.functional.one_hot(x_0, CLASSES), abar_t, abar_s).clamp(min=1e-30)
        model = self.posterior(x_t, probabilities, abar_t, abar_s)
        return torch.special.xlogy(model, model / truth).sum(-1)


class OnlyClasses(CategoricalProcess):
    """The cross-entropy of the class in place of the divergence of the step."""

    def kl_step(self, x_t: Tensor, x_0: Tensor, probabilities: Tensor, abar_t: Tensor, abar_s: Tensor) -> Tensor:
        return -probabilities.gather(-1, x_0[..., None])[..., 0].log() / STEPS


class NoPrior(CategoricalProcess):
    """The prior term forgotten."""

    def kl_prior(self, x_0: Tensor, abar: Tensor) -> Tensor:
        return torch.zeros_like(x_0, dtype=torch.float64)


class OnePercentLess(CategoricalProcess):
    """Steps that are counted one hundredth too small."""

    def kl_step(self, x_t: Tensor, x_0: Tensor, probabilities: Tensor, abar_t: Tensor, abar_s: Tensor) -> Tensor:
        return 0.99 * super().kl_step(x_t, x_0, probabilities, abar_t, abar_s)


UNIFORM = torch.full((CLASSES,), 1 / CLASSES, dtype=torch.float64)


@pytest.mark.parametrize("limit", [DATA, UNIFORM], ids=["marginal", "uniform"])
def test_the_exact_denoiser_reaches_the_entropy(limit: Tensor, record_property: Callable[[str, object], None]) -> None:
    error = entropy_error(CategoricalProcess(limit))
    record_property("bound less entropy", error)
    assert error < 1e-10


@pytest.mark.parametrize("mutant", [ReversedDivergence, OnlyClasses, OnePercentLess])
def test_a_wrong_bound_misses_the_entropy(mutant: type[CategoricalProcess]) -> None:
    assert entropy_error(mutant(DATA)) > 1e-3


def test_without_the_prior_term_the_bound_misses_the_entropy() -> None:
    # with abar_end = 1e-4 the prior term is of the order abar^2, far below a percent but above rounding
    assert entropy_error(NoPrior(UNIFORM)) > 1e-9


def test_no_denoiser_gets_below_the_truth() -> None:
    process = CategoricalProcess(UNIFORM)
    denoisers = [exact(process), *(arbitrary(seed) for seed in range(100))]
    assert min(margin(process, denoise) for denoise in denoisers) > -1e-10


def test_a_bound_that_is_a_percent_too_small_gets_below_it() -> None:
    process = OnePercentLess(UNIFORM)
    assert margin(process, exact(process)) < -1e-3


def test_each_term_by_itself() -> None:
    process = CategoricalProcess(DATA)
    prior, steps, reconstruction = bound_terms(process, exact(process))
    assert float(prior.max()) < 1e-6
    assert bool((steps > 0).all())
    cleanest = schedule()[-2:-1].expand(CLASSES)
    log_clean = exact(process)(STEPS - 1).log()
    expected = (process.marginal(EVERY, cleanest) * -log_clean.T).sum(-1)
    assert torch.allclose(reconstruction, expected, rtol=0, atol=1e-12)
    as_loss = process.loss(log_clean[EVERY].expand(CLASSES, CLASSES, -1), EVERY[:, None].expand(-1, CLASSES))
    assert torch.allclose((process.marginal(EVERY, cleanest) * as_loss).sum(-1), expected, atol=1e-6)
