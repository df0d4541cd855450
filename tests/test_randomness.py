"""Counter-based noise: known answers, a function of its key alone, independent streams, the right distributions."""

import itertools

import pytest
import torch
from scipy import stats

from moldiff.randomness import NoiseSource, Stream, _to_unit, philox

IDS = torch.arange(3)


@pytest.mark.parametrize(
    ("counter", "key", "expected"),
    [  # "philox4x32 10" of Random123's kat_vectors (Salmon et al. 2011)
        ("00000000 00000000 00000000 00000000", "00000000 00000000", "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
        ("ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff", "408f276d 41c83b0e a20bc7c6 6d5451fd"),
        ("243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0", "d16cfe09 94fdcceb 5001e420 24126ea1"),
    ],
)
def test_known_answers(counter: str, key: str, expected: str) -> None:
    c0, c1, c2, c3 = (torch.tensor([int(word, 16)]) for word in counter.split())
    k0, k1 = (int(word, 16) for word in key.split())
    assert [f"{int(word):08x}" for word in philox((c0, c1, c2, c3), (k0, k1))] == expected.split()


def test_numbers_are_those_of_the_generator() -> None:
    first = NoiseSource(0).uniform(torch.tensor([0]), 0, Stream.POS, 1)
    assert float(first) == ((0x6627E8D5 >> 9) + 0.5) / 2**23


def test_the_interval_is_open() -> None:
    assert _to_unit(torch.tensor([0, 0xFFFFFFFF])).tolist() == [2.0**-24, 1 - 2.0**-24]


def test_a_number_depends_on_its_key_alone() -> None:
    source, ids = NoiseSource(5), torch.tensor([7, 3, 2**40])
    for numbers in (source.uniform, source.normal, source.uniform_pairs):
        whole = numbers(ids, 2, Stream.POS, 6)
        torch.manual_seed(1)
        assert torch.equal(numbers(ids.flip(0), 2, Stream.POS, 6), whole.flip(0))
        assert torch.equal(numbers(ids[1:2], 2, Stream.POS, 6), whole[1:2])
        narrow = whole[:, :4, :4] if numbers == source.uniform_pairs else whole[:, :4]
        assert torch.equal(numbers(ids, 2, Stream.POS, 4), narrow)


def test_no_two_keys_share_a_number() -> None:
    ids = torch.tensor([0, 1, 2, 255, 256, 2**32, 2**32 + 1, 2**40])
    words = [
        NoiseSource(seed)._words(ids, draw, stream, torch.arange(4))
        for seed, draw, stream in itertools.product((0, 1, 2**32), (0, 1), Stream)
    ]
    found = {tuple(row) for group in words for row in torch.stack(group, -1).flatten(0, 1).tolist()}
    assert len(found) == 3 * 2 * len(Stream) * len(ids) * 4


def test_streams_draws_and_molecules_are_uncorrelated() -> None:
    source, count = NoiseSource(11), 20_000
    rows = [source.uniform(IDS, draw, stream, count) for draw in (0, 1) for stream in (Stream.POS, Stream.SIZE)]
    correlation = torch.corrcoef(torch.cat(rows)) - torch.eye(4 * len(IDS))
    assert float(correlation.abs().max()) < 5 / count**0.5


def test_pairs_are_symmetric_and_their_diagonal_is_one_half() -> None:
    pairs = NoiseSource(0).uniform_pairs(IDS, 0, Stream.BOND_TYPE, 6)
    assert torch.equal(pairs, pairs.transpose(1, 2))
    assert pairs.diagonal(dim1=1, dim2=2).unique().tolist() == [0.5]
    row, column = torch.triu_indices(6, 6, offset=1)
    assert len(pairs[:, row, column].unique()) == 3 * 15


def test_uniform_numbers_are_uniform() -> None:
    assert stats.kstest(NoiseSource(1).uniform(IDS, 0, Stream.TIME, 30_000).flatten().numpy(), "uniform").pvalue > 1e-3
    pairs = NoiseSource(1).uniform_pairs(IDS, 0, Stream.BOND_TYPE, 200)
    above = torch.triu_indices(200, 200, offset=1)
    assert stats.kstest(pairs[:, above[0], above[1]].flatten().numpy(), "uniform").pvalue > 1e-3


def test_normal_numbers_are_normal_and_their_axes_independent() -> None:
    numbers = NoiseSource(1).normal(IDS, 0, Stream.POS, 30_000).flatten(0, 1).double()
    for axis in numbers.T:
        assert stats.kstest(axis.numpy(), "norm").pvalue > 1e-3
    # also the squares: axes that shared a radius would be uncorrelated and yet not independent
    both = torch.cat([numbers, numbers**2], dim=1)
    assert float((torch.corrcoef(both.T) - torch.eye(6)).abs().max()) < 5 / len(numbers) ** 0.5
    assert float((numbers**4).mean()) == pytest.approx(3, abs=0.1)


@pytest.mark.parametrize("seed", [-1, 2**64])
def test_a_seed_outside_64_bits_is_refused(seed: int) -> None:
    with pytest.raises(ValueError, match="seed must be in"):
        NoiseSource(seed)
