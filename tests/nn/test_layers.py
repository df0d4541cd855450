"""Parts of a layer against e3nn's own code."""

import pytest
import torch
from e3nn import o3
from torch import Tensor

from moldiff.nn.layers import EquivariantLinear, GeometryFeatures, equivariant_irreps


def components(l_max: int) -> list[int]:
    return [2 * l + 1 for l in range(1, l_max + 1)]


def by_e3nn(linear: EquivariantLinear, features: Tensor, l_max: int) -> Tensor:
    """Map features (..., V, M) by e3nn's forward, on e3nn's layout."""
    widths = components(l_max)
    mapped = linear.linear(torch.cat([part.flatten(-2) for part in features.split(widths, dim=-1)], dim=-1))
    channels = mapped.shape[-1] // sum(widths)
    parts = mapped.split([channels * width for width in widths], dim=-1)
    return torch.cat([part.unflatten(-1, (channels, -1)) for part in parts], dim=-1)


@pytest.mark.parametrize("l_max", [1, 2])
@pytest.mark.parametrize(("channels_in", "channels_out"), [(6, 6), (6, 4), (1, 5)])
def test_the_linear_map_is_that_of_e3nn_and_so_are_its_gradients(
    l_max: int, channels_in: int, channels_out: int
) -> None:
    torch.manual_seed(0)
    linear = EquivariantLinear(channels_in, channels_out, l_max).double()
    features = torch.randn(2, 5, channels_in, sum(components(l_max)), dtype=torch.float64, requires_grad=True)
    toward = torch.randn(2, 5, channels_out, sum(components(l_max)), dtype=torch.float64)
    found, expected = linear(features), by_e3nn(linear, features, l_max)
    torch.testing.assert_close(found, expected, rtol=1e-13, atol=1e-13)
    of = (features, linear.linear.weight)
    for one, other in zip(
        torch.autograd.grad((found * toward).sum(), of), torch.autograd.grad((expected * toward).sum(), of), strict=True
    ):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("l_max", [1, 2])
def test_directions_are_the_spherical_harmonics_of_e3nn(l_max: int) -> None:
    torch.manual_seed(0)
    pos = torch.randn(2, 7, 3, dtype=torch.float64)
    difference = pos[:, None] - pos[:, :, None]
    unit = difference / (torch.sqrt((difference**2).sum(-1, keepdim=True) + 1e-6) + 0.1)
    expected = o3.spherical_harmonics(list(range(1, l_max + 1)), unit, normalize=False, normalization="component")
    torch.testing.assert_close(GeometryFeatures(l_max).double()(pos).directions, expected, rtol=1e-13, atol=1e-13)


def test_weights_have_the_names_and_the_layout_of_e3nn() -> None:
    linear = EquivariantLinear(3, 4, 2)
    theirs = o3.Linear(equivariant_irreps(3, 2), equivariant_irreps(4, 2))
    names = {f"linear.{name}": value.shape for name, value in theirs.state_dict().items()}
    assert {name: value.shape for name, value in linear.state_dict().items()} == names
