"""Features: how finely distances are told apart, and how absent properties are hidden."""

import copy
import itertools
import math

import pytest
import torch
from torch import Tensor

from moldiff.nn.embedding import FourierFeatures, GlobalEmbedding, RadialBasis, tempered

LEVELS = torch.tensor([[-3.0, 2.0, 1.0, 0.0], [3.0, -2.0, -1.0, 5.0]])
SIZES = torch.tensor([9, 18])
NAN = torch.nan


@pytest.fixture
def embedding() -> GlobalEmbedding:
    """An embedding of two properties, of very different scales."""
    torch.manual_seed(0)
    return GlobalEmbedding(16, torch.tensor([0.5, 250.0]), torch.tensor([1.0, 40.0]), 20)


def embed(embedding: GlobalEmbedding, *condition: list[float]) -> Tensor:
    rows = len(condition)
    with torch.no_grad():
        return embedding(LEVELS[:1].expand(rows, -1), SIZES[:1].expand(rows), torch.tensor(condition), False)


def test_radial_functions_are_dense_where_bonds_are() -> None:
    centers = RadialBasis().centers
    assert float(centers.diff()[centers[1:] < 2.5].max()) <= 0.1
    assert float(centers.max()) >= 12
    assert bool((centers.diff() > 0).all())


def test_radial_functions_are_the_same_with_gradients_and_without() -> None:
    basis, distance = RadialBasis(), torch.linspace(0, 20, 2001)
    before = distance.clone()
    with torch.no_grad():
        without = basis(distance)
    assert torch.equal(without, basis(distance)) and torch.equal(distance, before)
    z = (distance[:, None] - basis.centers) * basis.inverse_widths
    torch.testing.assert_close(without, torch.exp(-0.5 * z**2), rtol=1e-5, atol=1e-30)


def test_every_distance_is_seen_and_told_from_its_neighbours() -> None:
    basis = RadialBasis().double()
    distance = torch.linspace(0, 12, 2401, dtype=torch.float64)
    features = basis(distance)
    assert features.shape == (2401, basis.size)
    assert float(features.amax(1).min()) > 0.8
    rate = features.diff(dim=0).norm(dim=1) / distance.diff()  # per angstrom
    assert float(rate[distance[1:] < 2.5].min()) > 8
    assert float(rate.min()) > 0.5
    # C-C, C=C, C#C and aromatic bonds lie far apart
    lengths = basis(torch.tensor([1.54, 1.34, 1.20, 1.40], dtype=torch.float64))
    assert min(float((a - b).norm()) for a, b in itertools.combinations(lengths, 2)) > 0.6


def test_fourier_features_are_sines_and_cosines() -> None:
    features = FourierFeatures(3, 0.5, 2.0)(torch.tensor([[1.0, -2.0]]))
    angles = torch.tensor([0.5, 1.0, 2.0, -1.0, -2.0, -4.0])
    torch.testing.assert_close(features, torch.cat([angles.sin(), angles.cos()])[None])


def test_a_property_that_is_not_given_leaves_no_trace(embedding: GlobalEmbedding) -> None:
    nothing = copy.deepcopy(embedding)
    nothing.properties = None
    free = embed(embedding, [NAN, NAN])
    assert torch.equal(free, embed(nothing, [NAN, NAN]))
    # whatever the statistics of an absent property are
    other = copy.deepcopy(embedding)
    other.property_mean[1], other.property_std[1] = -7.0, 0.1
    assert torch.equal(embed(embedding, [1.5, NAN]), embed(other, [1.5, NAN]))
    assert torch.equal(embed(embedding, [1.5, torch.inf]), embed(embedding, [1.5, NAN]))


def test_given_and_absent_differ_even_at_the_mean(embedding: GlobalEmbedding) -> None:
    rows = embed(embedding, [0.5, 250.0], [0.5, NAN], [NAN, 250.0], [NAN, NAN], [0.6, 250.0])
    assert min(float((a - b).abs().max()) for a, b in itertools.combinations(rows, 2)) > 1e-4


def test_a_value_counts_in_standard_deviations(embedding: GlobalEmbedding) -> None:
    other = copy.deepcopy(embedding)
    other.property_mean[1], other.property_std[1] = 0.0, 1.0
    torch.testing.assert_close(embed(embedding, [NAN, 290.0]), embed(other, [NAN, 1.0]))


def test_rows_do_not_see_each_other_and_weights_get_finite_gradients(embedding: GlobalEmbedding) -> None:
    assert torch.equal(embed(embedding, [1.0, NAN], [NAN, 300.0])[0], embed(embedding, [1.0, NAN], [5.0, NAN])[0])
    embedding(LEVELS, SIZES, torch.tensor([[1.0, NAN], [NAN, NAN]]), False).sum().backward()
    assert all(bool(torch.isfinite(parameter.grad).all()) for parameter in embedding.parameters())  # type: ignore[arg-type]


@pytest.mark.parametrize("field", range(4))
def test_every_level_the_size_and_self_conditioning_matter(embedding: GlobalEmbedding, field: int) -> None:
    free = torch.full((1, 2), NAN)
    plain = embedding(LEVELS[:1], SIZES[:1], free, False)
    raised = LEVELS[:1].index_add(1, torch.tensor([field]), torch.tensor([[0.1]]))
    for changed in (
        embedding(raised, SIZES[:1], free, False),
        embedding(LEVELS[:1], SIZES[1:], free, False),
        embedding(LEVELS[:1], SIZES[:1], free, True),
    ):
        assert float((changed - plain).detach().abs().max()) > 1e-4


def test_a_model_without_properties_needs_none() -> None:
    embedding = GlobalEmbedding(16, torch.zeros(0), torch.zeros(0), 20)
    assert bool(torch.isfinite(embedding(LEVELS, SIZES, torch.zeros(2, 0), False)).all())


def test_ordinary_properties_enter_as_they_are_and_far_ones_are_tempered() -> None:
    ordinary = torch.linspace(-4, 4, 33, dtype=torch.float64)
    assert torch.equal(tempered(ordinary), ordinary)
    far = torch.tensor([4.0, 4.5, 6.0, 20.0, 1e6], dtype=torch.float64)
    assert bool((tempered(far).diff() > 0).all())  # the order stays
    assert float(tempered(far)[3]) == pytest.approx(4 + math.log(17))
    assert torch.equal(tempered(-far), -tempered(far))
    assert float(tempered(far)[-1]) < 20
    just = torch.tensor(4.0 + 1e-6, dtype=torch.float64)
    assert float(tempered(just) - 4) == pytest.approx(1e-6, rel=1e-3)  # no step, no kink
