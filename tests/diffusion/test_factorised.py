"""Two correlated variables sampled independently given x_t: how fast the error falls with the number of steps."""

import itertools
import math

import pytest
import torch
from torch import Tensor

from moldiff.diffusion.categorical import CategoricalProcess
from moldiff.diffusion.schedule import uniform_grid

STEPS = (80, 160, 320)
# joint distributions of two variables: without zeros, with one impossible pair, of three classes
JOINTS = {
    "often equal": torch.tensor([[0.45, 0.05], [0.05, 0.45]], dtype=torch.float64),
    "never both": torch.tensor([[0.4, 0.3], [0.3, 0.0]], dtype=torch.float64),
    "three classes": torch.tensor([[0.30, 0.02, 0.08], [0.05, 0.20, 0.05], [0.02, 0.18, 0.10]], dtype=torch.float64),
}


def pair_kernel(process: CategoricalProcess, abar: Tensor) -> Tensor:
    """Return q(x_t | x_0) of two independent variables as a matrix [(x_0, y_0), (x_t, y_t)]."""
    classes = len(process.limit)
    one = process.marginal(torch.arange(classes), abar.expand(classes))
    return torch.einsum("ac,bd->abcd", one, one).reshape(classes**2, classes**2)


def factorised_error(joint: Tensor, steps: int, *, independent: bool = True) -> float:
    """Return the total variation between a joint distribution and what ``steps`` reverse steps make of it.

    The denoiser knows the exact p(x_0 | x_t, y_t) and p(y_0 | x_t, y_t). The law is propagated, nothing is drawn.

    Args:
        independent: draw x_s and y_s independently, as the package does; False = from their exact joint posterior.
    """
    classes = len(joint)
    process = CategoricalProcess(0.5 * (joint.sum(0) + joint.sum(1)))
    abar = torch.cos(uniform_grid(steps) * math.pi / 2).square()
    abar[0], abar[-1] = 1e-12, 1
    states = torch.cartesian_prod(torch.arange(classes), torch.arange(classes))  # (classes^2, 2)
    data = joint.flatten()
    law = data @ pair_kernel(process, abar[0])
    for at, to in itertools.pairwise(abar):
        noised = data[:, None] * pair_kernel(process, at)
        bayes = (noised / noised.sum(0)).T.unflatten(-1, (classes, classes))  # [(x_t, y_t), x_0, y_0]
        level_at, level_to = at.expand(len(states)), to.expand(len(states))
        if independent:
            clean = torch.stack([bayes.sum(2), bayes.sum(1)], dim=1)
            x_s, y_s = process.posterior(states, clean, level_at, level_to).unbind(1)
            step = torch.einsum("ta,tb->tab", x_s, y_s)
        else:
            every = torch.nn.functional.one_hot(torch.arange(classes), classes).double()
            known = [
                process.posterior(states, every[c].expand(len(states), 2, -1), level_at, level_to)
                for c in range(classes)
            ]
            x_s, y_s = torch.stack(known).unbind(2)  # [x_0, (x_t, y_t), x_s]
            step = torch.einsum("txy,xta,ytb->tab", bayes, x_s, y_s)
        law = law @ step.flatten(1)
    return float(0.5 * (law - data).abs().sum())


def order(joint: Tensor) -> list[float]:
    """Return the measured order of convergence between successive numbers of steps."""
    errors = [factorised_error(joint, steps) for steps in STEPS]
    return [math.log2(coarse / fine) for coarse, fine in itertools.pairwise(errors)]


@pytest.mark.parametrize("joint", JOINTS.values(), ids=JOINTS.keys())
def test_the_error_falls_as_one_over_the_number_of_steps(joint: Tensor) -> None:
    assert order(joint) == pytest.approx([1, 1], abs=0.05)


def test_two_equal_binary_variables_converge_faster() -> None:
    assert order(torch.tensor([[0.5, 0.0], [0.0, 0.5]], dtype=torch.float64)) == pytest.approx([2, 2], abs=0.1)


@pytest.mark.parametrize("joint", JOINTS.values(), ids=JOINTS.keys())
def test_the_error_is_the_factorisation_alone(joint: Tensor) -> None:
    assert factorised_error(joint, 10, independent=False) < 1e-12
    assert factorised_error(joint, 10) > 1e-3


def test_independent_variables_have_no_error() -> None:
    one = torch.tensor([0.3, 0.7], dtype=torch.float64)
    assert factorised_error(torch.outer(one, one), 10) < 1e-12
