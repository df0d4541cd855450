"""Parts of a layer against e3nn's own code."""

import pytest
import torch
from e3nn import o3
from torch import Tensor

from moldiff.nn.layers import EquivariantLinear, GeometryFeatures, NarrowNorm


def irreps(channels: int, l_max: int) -> o3.Irreps:
    """So many copies of each l from 1 to l_max, parity (-1)^l."""
    return o3.Irreps([(channels, (l, (-1) ** l)) for l in range(1, l_max + 1)])


def components(l_max: int) -> list[int]:
    return [2 * l + 1 for l in range(1, l_max + 1)]


def by_e3nn(linear: o3.Linear, features: Tensor, l_max: int) -> Tensor:
    """Map features (..., M, V) by e3nn's forward, on e3nn's layout."""
    widths = components(l_max)
    mapped = linear(torch.cat([part.mT.flatten(-2) for part in features.split(widths, dim=-2)], dim=-1))
    channels = mapped.shape[-1] // sum(widths)
    parts = mapped.split([channels * width for width in widths], dim=-1)
    return torch.cat([part.unflatten(-1, (channels, -1)).mT for part in parts], dim=-2)


@pytest.mark.parametrize("l_max", [1, 2])
@pytest.mark.parametrize(("channels_in", "channels_out"), [(6, 6), (6, 4), (1, 5)])
def test_the_linear_map_is_that_of_e3nn_and_so_are_its_gradients(
    l_max: int, channels_in: int, channels_out: int
) -> None:
    torch.manual_seed(0)
    linear = EquivariantLinear(channels_in, channels_out, l_max).double()
    theirs = o3.Linear(irreps(channels_in, l_max), irreps(channels_out, l_max)).double()
    theirs.load_state_dict(linear.linear.state_dict())
    features = torch.randn(2, 5, sum(components(l_max)), channels_in, dtype=torch.float64, requires_grad=True)
    toward = torch.randn(2, 5, sum(components(l_max)), channels_out, dtype=torch.float64)
    found, expected = linear(features), by_e3nn(theirs, features, l_max)
    torch.testing.assert_close(found, expected, rtol=1e-13, atol=1e-13)
    ours = torch.autograd.grad((found * toward).sum(), (features, linear.linear.weight))
    others = torch.autograd.grad((expected * toward).sum(), (features, theirs.weight))
    for one, other in zip(ours, others, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("l_max", [1, 2])
def test_directions_are_the_spherical_harmonics_of_e3nn(l_max: int) -> None:
    torch.manual_seed(0)
    pos = torch.randn(2, 7, 3, dtype=torch.float64)
    difference = pos[:, None] - pos[:, :, None]
    unit = difference / (torch.sqrt((difference**2).sum(-1, keepdim=True) + 1e-6) + 0.1)
    expected = o3.spherical_harmonics(list(range(1, l_max + 1)), unit, normalize=False, normalization="component")
    torch.testing.assert_close(GeometryFeatures(l_max).double()(pos).directions, expected, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("l_max", [1, 2])
def test_weights_have_the_names_the_layout_and_the_first_values_of_e3nn(l_max: int) -> None:
    torch.manual_seed(0)
    linear = EquivariantLinear(3, 4, l_max)
    torch.manual_seed(0)
    theirs = o3.Linear(irreps(3, l_max), irreps(4, l_max))
    expected = theirs.state_dict(prefix="linear.")
    assert linear.state_dict().keys() == expected.keys()
    assert all(torch.equal(value, expected[name]) for name, value in linear.state_dict().items())


@pytest.mark.parametrize("channels", [1, 2, 3, 6, 7, 12, 32, 48, 100])
def test_matrices_are_normalised_as_by_e3nn_bit_by_bit(channels: int) -> None:
    linear, theirs = EquivariantLinear(channels, 2, 2), o3.Linear(irreps(channels, 2), irreps(2, 2))
    theirs.load_state_dict(linear.linear.state_dict())
    matrices = [weight * path.path_weight for _, path, weight in theirs.weight_views(yield_instruction=True)]
    assert torch.equal(linear.linear(), torch.stack(matrices))


class OnCard(Tensor):
    """A tensor that says that it lies on a card."""

    is_cuda = True  # type: ignore[assignment]


def narrow_norm(width: int) -> NarrowNorm:
    norm = NarrowNorm(width).double()
    with torch.no_grad():
        norm.weight.uniform_(0.5, 2)
        norm.bias.normal_()
    return norm


@pytest.mark.parametrize("spread", [3.0, 1e-3, 0.0])
def test_the_norm_of_a_card_is_the_norm(spread: float) -> None:
    torch.manual_seed(1)
    norm, features = narrow_norm(7), 5 + spread * torch.randn(2, 4, 4, 7, dtype=torch.float64)
    with torch.no_grad():
        torch.testing.assert_close(norm.by_operations(features), norm(features), rtol=1e-10, atol=1e-10)


def test_the_norm_of_a_card_is_taken_there_where_nothing_is_learnt(monkeypatch: pytest.MonkeyPatch) -> None:
    taken = list[Tensor]()
    monkeypatch.setattr(NarrowNorm, "by_operations", lambda self, features: taken.append(features) or features)
    norm, features = narrow_norm(3), torch.randn(2, 3, dtype=torch.float64)
    norm(features)
    with torch.no_grad():
        norm(features)
        assert not taken
        norm(features.as_subclass(OnCard))
    assert len(taken) == 1
    norm(features.as_subclass(OnCard))
    assert len(taken) == 1
