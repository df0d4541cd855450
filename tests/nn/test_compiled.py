"""Layers in the form for a compiler, and compiled: the same loss and the same gradients."""

import copy
import shutil
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from moldiff.diffusion.preconditioning import PreconditionedDenoiser
from moldiff.models.molecule_model import MoleculeModel
from moldiff.molecules import FIELDS
from moldiff.nn.compiled import compile_layers
from moldiff.nn.layers import EquivariantLayer
from moldiff.nn.products import MatrixProducts, SummedProducts

Make = Callable[[MoleculeModel, torch.dtype], Any]


def loss_and_gradients(denoiser: PreconditionedDenoiser, inputs: Any) -> tuple[Tensor, list[Tensor]]:
    out = denoiser(inputs.batch, inputs.levels, inputs.condition, inputs.previous)
    masks = {field: inputs.batch.pair_mask if field == "bond_type" else inputs.batch.mask for field in FIELDS}
    loss = torch.stack([(getattr(out, field)[masks[field]] ** 2).mean() for field in FIELDS]).sum()
    parameters = [parameter for parameter in denoiser.parameters() if parameter.requires_grad]
    return loss.detach(), list(torch.autograd.grad(loss, parameters, allow_unused=True, materialize_grads=True))


def assert_near(found: tuple[Tensor, list[Tensor]], expected: tuple[Tensor, list[Tensor]], tolerance: float) -> None:
    """Assert that the losses agree, and all gradients relative to the largest of their parameter."""
    torch.testing.assert_close(found[0], expected[0], rtol=tolerance, atol=0)
    for one, other in zip(found[1], expected[1], strict=True):
        assert float((one - other).abs().max()) <= tolerance * max(float(other.abs().max()), 1e-3)


def summed(denoiser: PreconditionedDenoiser) -> PreconditionedDenoiser:
    """Return a copy whose layers work term by term."""
    other = copy.deepcopy(denoiser)
    for module in other.modules():
        if isinstance(module, EquivariantLayer):
            module.products = SummedProducts()
    return other


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-12)], ids=str)
@pytest.mark.parametrize("l_max", [1, 2])
def test_products_term_by_term_are_the_products_of_matrices(
    build_tiny_model: Callable[[int], MoleculeModel],
    make_inputs: Make,
    l_max: int,
    dtype: torch.dtype,
    tolerance: float,
) -> None:
    model = build_tiny_model(l_max)
    inputs, denoiser = make_inputs(model, dtype), model.denoiser.requires_grad_(True).to(dtype)
    assert_near(loss_and_gradients(summed(denoiser), inputs), loss_and_gradients(denoiser, inputs), tolerance)


def test_both_forms_give_the_same_number_type() -> None:
    generator = torch.Generator().manual_seed(0)
    near, far = (torch.randn(2, 5, 3, 4, generator=generator).bfloat16() for _ in range(2))
    directions, vectors = torch.randn(2, 5, 5, 3, generator=generator), torch.randn(2, 5, 3, 6, generator=generator)
    weights = [torch.randn(2, 5, 5, 6, generator=generator).bfloat16() for _ in range(2)]
    with torch.autocast("cpu", torch.bfloat16):
        one, other = (products.angles(near, far, directions) for products in (MatrixProducts(), SummedProducts()))
        sums = [products.gathered(*weights, directions, vectors) for products in (MatrixProducts(), SummedProducts())]
    for matrices, terms in zip(one, other, strict=True):
        assert matrices.dtype == terms.dtype == torch.bfloat16
        torch.testing.assert_close(matrices, terms, rtol=0.03, atol=0.03)
    torch.testing.assert_close(sums[0].float(), sums[1].float(), rtol=0.03, atol=0.1)


def test_a_compiled_layer_gives_the_same_loss_and_gradients_at_every_width(
    build_tiny_model: Callable[[int], MoleculeModel], make_inputs: Make, request: pytest.FixtureRequest
) -> None:
    if not request.config.getoption("--compiler") or shutil.which("g++") is None:
        pytest.skip("minutes of a C++ compiler: --compiler")
    model = build_tiny_model(1)
    inputs, denoiser = make_inputs(model, torch.float32), model.denoiser.requires_grad_(True)
    network = denoiser.network
    network.layers, network.to_coordinates = network.layers[:1], network.to_coordinates[:1]
    compiled = copy.deepcopy(denoiser)
    compile_layers(compiled)
    assert compiled.state_dict().keys() == denoiser.state_dict().keys()
    before = torch._dynamo.utils.counters["stats"]["unique_graphs"]
    for given in (inputs, inputs.widened(3)):
        assert_near(loss_and_gradients(compiled, given), loss_and_gradients(denoiser, given), 1e-5)
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] - before == 2  # the geometry and the layer
    assert all(layer._compiled_call_impl is None for layer in copy.deepcopy(compiled).network.layers)
