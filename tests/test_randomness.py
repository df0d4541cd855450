"""Counter-based noise: known answers, a function of its key alone, independent streams, the right distributions."""

import hashlib
import itertools
from collections.abc import Callable

import pytest
import torch
from scipy import stats
from separate_noise import SeparateNoise

from moldiff.diffusion.joint import draw_noise
from moldiff.errors import MoldiffError
from moldiff.randomness import (
    USES,
    NoiseSource,
    Stream,
    _to_unit,
    bound_counter,
    graph_key,
    on_policy_seed,
    philox,
    record_key,
    row_keys,
    training_counter,
    walk_counter,
)

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


@pytest.mark.parametrize("n", [1, 2, 9])
def test_the_noise_of_all_fields_is_that_of_each(n: int) -> None:
    for counter in (walk_counter(3, 5), torch.tensor(walk_counter(3, 5))):
        ids = torch.tensor([0, 7, 2**40, 2**56 - 1])
        together, apart = (kind(2**63 + 9).fields(ids, counter, n) for kind in (NoiseSource, SeparateNoise))
        assert all(map(torch.equal, together, apart))


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


def digest(*values: torch.Tensor) -> str:
    return hashlib.sha256(b"".join(value.contiguous().numpy().tobytes() for value in values)).hexdigest()[:16]


@pytest.mark.parametrize(
    ("counter", "expected"),
    [
        (walk_counter(0), "bd34d5889dd3fc12 31502d0af183015a 4b1ff0594092459d"),
        (training_counter(7), "4e5a33e5227d3a45 b2f25e276b3cbce5 34de26caa10a7060"),
        (walk_counter(7, 61, 63), "4c108184fd8d763b 86df36e22eccadcd f606c41e83fb73c1"),
        (training_counter(99, earlier=True), "2258f6020dde947b 6bedbca4779026bf 7f56f5bd662abb24"),
        (bound_counter(3, 25, 11), "d2c5b3e8bd6cb276 968bc51c2e892281 6944693c573831b3"),
    ],
)
def test_numbers_are_those_of_earlier_versions(counter: int, expected: str) -> None:
    """Recorded before the keys had builders."""
    source = NoiseSource(12345678901234)
    keys = [0, 5, record_key(77, 9, 3), record_key((1 << 30) - 1, (1 << 20) - 1, 63), graph_key((1 << 63) - 12345)]
    ids = torch.cat([torch.tensor(keys), row_keys(torch.tensor([8]), torch.tensor([65535]))])
    noise = draw_noise(source, ids, counter, 5)
    fields = digest(noise.pos, noise.atom_type, noise.charge, noise.bond_type)
    others = [digest(source.uniform(ids, counter, stream, n)) for stream, n in ((Stream.TIME, 5), (Stream(6), 3))]
    assert [fields, *others] == expected.split()


@pytest.mark.parametrize("step", [0, 7, 12345, 2**31 - 1])
def test_a_counter_in_a_tensor_gives_the_same_bits(step: int) -> None:
    source, ids = NoiseSource(2**40 + 5), torch.tensor([0, 5, 2**55])
    for earlier in (False, True):
        number = training_counter(step, earlier=earlier)
        tensor = training_counter(torch.tensor(step), earlier=earlier)
        assert tensor.dtype == torch.int64
        assert int(tensor) == number
        one, other = draw_noise(source, ids, number, 6), draw_noise(source, ids, tensor, 6)
        for field in ("pos", "atom_type", "charge", "bond_type"):
            assert torch.equal(getattr(one, field), getattr(other, field))


def test_a_counter_in_a_tensor_is_read_when_it_is_used() -> None:
    source, counter = NoiseSource(1), torch.zeros((), dtype=torch.int64)
    before = source.uniform(IDS, counter, Stream.TIME, 4)
    counter.fill_(9)
    assert torch.equal(source.uniform(IDS, counter, Stream.TIME, 4), source.uniform(IDS, 9, Stream.TIME, 4))
    assert torch.equal(before, source.uniform(IDS, 0, Stream.TIME, 4))


def test_builders_are_one_to_one() -> None:
    """The smallest and the largest values of every part, all together: no two give one word, and all fit."""
    ends = {bits: (0, 1, (1 << bits) - 2, (1 << bits) - 1) for bits in (6, 16, 20, 30, 31, 40)}
    walks = [walk_counter(*parts) for parts in itertools.product(ends[20], ends[6], ends[6])]
    steps = [training_counter(step, earlier=earlier) for step in ends[31] for earlier in (False, True)]
    bounds = [bound_counter(repeat, 25, number) for repeat in range(3) for number in range(25)]
    for words in (walks, steps, bounds):
        assert len(set(words)) == len(words)
        assert 0 <= min(words) <= max(words) < 1 << 32
    records = [record_key(*parts) for parts in itertools.product(ends[30], ends[20], ends[6])]
    pairs = torch.tensor(list(itertools.product(ends[40], ends[16]))).T
    for words in (records, row_keys(*pairs).tolist()):
        assert len(set(words)) == len(words)
        assert 0 <= min(words) <= max(words) < 1 << 56


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda: walk_counter(1 << 20), "step of a walk 1048576 is not in 0 .. 1048575"),
        (lambda: walk_counter(-1), "step of a walk -1"),
        (lambda: walk_counter(0, 64), "part of a step 64"),
        (lambda: walk_counter(0, 0, 64), "walk 64"),
        (lambda: training_counter(1 << 31), "training step"),
        (lambda: bound_counter(0, 25, 25), r"evaluation 25 is not in 0 \.\. 24"),
        (lambda: bound_counter(1 << 28, 25, 0), "evaluation of a bound"),
        (lambda: record_key(1 << 30, 0), "record"),
        (lambda: record_key(0, 1 << 20), "draw"),
        (lambda: record_key(0, 0, 64), "attempt"),
        (lambda: row_keys(torch.tensor([1 << 40]), torch.tensor([0])), "data row"),
        (lambda: row_keys(torch.tensor([0]), torch.tensor([1 << 16])), "turn"),
        (lambda: on_policy_seed((1 << 64) - 1), "seed"),
        (lambda: NoiseSource(0).uniform(torch.tensor([0, 1 << 56]), 0, Stream.POS, 1), "id 72057594037927936"),
        (lambda: NoiseSource(0).uniform(torch.tensor([-1]), 0, Stream.POS, 1), "id -1"),
        (lambda: NoiseSource(0).uniform(torch.tensor([0]), 1 << 32, Stream.POS, 1), "counter 4294967296"),
    ],
)
def test_what_does_not_fit_into_its_bits_is_an_error(build: Callable[[], object], words: str) -> None:
    with pytest.raises(MoldiffError, match=words):
        build()


def test_no_two_uses_of_one_seed_meet() -> None:
    for one, other in itertools.combinations(USES, 2):
        apart = one.run != other.run or not set(one.streams) & set(other.streams)
        for name in ("counters", "ids", "elements"):
            first, second = getattr(one, name), getattr(other, name)
            assert len(first)
            apart = apart or first[-1] < second[0] or second[-1] < first[0]
        assert apart, f"{one.what} and {other.what} share numbers"
    assert {stream for use in USES for stream in use.streams} == set(Stream)
    assert all(use.ids[-1] < 1 << 56 and use.counters[-1] < 1 << 32 for use in USES)
