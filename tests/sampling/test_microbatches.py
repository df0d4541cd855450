"""Rows of a micro-batch on a CPU: at multiples of four, what comes of a molecule is the same to the last bit."""

import math
import platform
import subprocess
import sys

import numpy as np
import pytest
import torch

import moldiff
from moldiff.datasets.batching import bucket_width
from moldiff.errors import MoldiffError
from moldiff.models.molecule_model import MoleculeModel
from moldiff.molecules import FIELDS, MolPrediction, empty_batch, map_tensors
from moldiff.randomness import NoiseSource
from moldiff.sampling.context import SamplerContext
from moldiff.sampling.microbatches import (
    CPU_ROWS,
    PAIRS,
    ROWS,
    SIDE_BY_SIDE,
    USUAL_WIDTH,
    MicroBatches,
    side_by_side,
)
from moldiff.sampling.molecule_sampler import MoleculeSampler
from moldiff.sampling.solvers import SOLVERS

SIZES = {"qm9": (9, 15, 18, 22, 27), "drugs": (14, 22, 30)}


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize(("name", "size"), [(name, size) for name, sizes in SIZES.items() for size in sizes])
def test_a_row_does_not_depend_on_the_number_of_rows(name: str, size: int, precision: str) -> None:
    """The built-in models with self-conditioning, half-way down, in micro-batches that there are of a width.
    Without self-conditioning there are zeros in its place, and the same products of the same shapes."""
    model, width = moldiff.load(name, device="cpu", precision=precision).model, bucket_width(size)
    most = MicroBatches(torch.device("cpu"), precision=getattr(torch, precision)).rows_of(width)
    assert most >= 2 * CPU_ROWS
    template = empty_batch(torch.full((most,), size), torch.arange(most), width, len(model.conditions))
    levels = model.schedule.levels(torch.full((most,), 0.5, dtype=torch.float64))
    context = SamplerContext(model.denoiser, model.diffusion, model.schedule, template.properties, NoiseSource(0))
    noisy = model.diffusion.sample_prior(template, levels, context.noise(template, 0))

    def predicted(rows: int, before: MolPrediction | None) -> MolPrediction:
        some, at = noisy[:rows], model.schedule.levels(torch.full((rows,), 0.5, dtype=torch.float64))
        previous = None if before is None else map_tensors(lambda tensor: tensor[:rows], before)
        return model.denoiser(some, at, some.properties, previous)

    with torch.no_grad():
        first = predicted(most, None)
        full = predicted(most, first)
        # in bfloat16 not all of them: processors that do not know it take twenty times as long
        for rows in range(CPU_ROWS, most, CPU_ROWS if precision == "float32" else 5 * CPU_ROWS):
            found = predicted(rows, first)
            for field in FIELDS:
                assert torch.equal(getattr(found, field), getattr(full, field)[:rows]), (rows, field)


def test_on_a_card_rows_follow_from_pairs_and_are_always_full() -> None:
    batches = MicroBatches(torch.device("cuda"))
    assert batches.rows == PAIRS // USUAL_WIDTH**2
    batches.budget = 500
    seen: list[list[int]] = []

    def work(items: list[int]) -> list[int]:
        seen.append(items)
        return [10 * item for item in items]

    found = list(batches.run(list(range(8)), [10] * 6 + [15, 30], work))
    assert sorted(found) == [(place, 10 * place) for place in range(8)]
    # 5 rows of 10 atoms, 2 of 15; 30 atoms are more than there should be, and one at a time; the most work first
    assert seen == [[7], [0, 1, 2, 3, 4], [6, 6], [5] * 5]


def test_a_card_works_on_so_many_that_its_micro_batches_are_full() -> None:
    assert side_by_side(torch.device("cpu"), 32) == side_by_side(torch.device("cpu"), 512) == SIDE_BY_SIDE
    batches = MicroBatches(torch.device("cuda"))
    filled = 0  # pairs of padded atoms
    sizes = np.random.default_rng(3).normal(24, 5, side_by_side(batches.device, batches.rows)).clip(10, 40)
    widths = [2 * math.ceil(size / 2) for size in sizes]

    def work(items: list[int]) -> list[int]:
        nonlocal filled
        filled += len(items) * widths[items[0]] ** 2
        return items

    assert len(list(batches.run(range(len(widths)), widths, work))) == len(widths)
    assert sum(width**2 for width in widths) / filled > 0.6, "with 256 it is a twentieth"
    assert side_by_side(torch.device("cuda"), 2) == SIDE_BY_SIDE


def test_on_a_cpu_a_very_wide_molecule_has_a_micro_batch_of_its_own() -> None:
    batches, seen = MicroBatches(torch.device("cpu")), list[list[int]]()

    def work(items: list[int]) -> list[int]:
        seen.append(items)
        return items

    found = list(batches.run([0, 1, 2, 3], [128, 128, 144, 144], work))
    assert found == [(0, 0), (1, 1), (2, 2), (3, 3)]
    assert seen == [[0, 1, 1, 1], [2], [3]]


def test_on_a_cpu_wider_molecules_have_fewer_rows_multiples_of_four() -> None:
    cpu, widths = torch.device("cpu"), (8, 24, 28, 32, 36, 64, 128, 144)
    assert [MicroBatches(cpu).rows_of(width) for width in widths] == [32, 16, 12, 8, 8, 4, 4, 1]
    half = MicroBatches(cpu, precision=torch.bfloat16)
    assert [half.rows_of(width) for width in widths] == [48, 32, 20, 16, 12, 4, 4, 1]
    assert [MicroBatches(cpu, cpu_rows=64).rows_of(width) for width in widths] == [64, 36, 24, 20, 16, 4, 4, 1]
    assert [MicroBatches(cpu, rows=6).rows_of(width) for width in widths] == [6] * 7 + [1], "as it is asked for"
    assert MicroBatches(torch.device("cuda"), rows=6).rows_of(144) == 6
    half.budget = 2  # memory does not suffice for more
    assert [half.rows_of(width) for width in widths] == [2] * 7 + [1]


@pytest.mark.parametrize("rows", [1, 3, 5, 20, 31, 1001])
@pytest.mark.parametrize("precision", ROWS)
def test_rows_of_a_model_are_such_that_a_row_does_not_depend_on_them(rows: int, precision: torch.dtype) -> None:
    for width in (10, 30, 60, 100):
        found = MicroBatches(torch.device("cpu"), precision=precision, cpu_rows=rows).rows_of(width)
        assert found >= CPU_ROWS and found % CPU_ROWS == 0


def test_where_memory_does_not_suffice_there_are_fewer_pairs(caplog: pytest.LogCaptureFixture) -> None:
    batches = MicroBatches(torch.device("cuda"))
    batches.budget, seen = 400, list[list[int]]()

    def work(items: list[int]) -> list[int]:
        if len(items) > 2:
            raise torch.OutOfMemoryError
        seen.append(items)
        return items

    assert [place for place, _ in batches.run(list(range(5)), [10] * 5, work)] == [0, 1, 2, 3, 4]
    assert (seen, batches.budget) == ([[0, 1], [2, 3], [4, 4]], 200)
    assert "going on with 2 molecules at a time" in caplog.text

    def never(items: list[int]) -> list[int]:
        raise torch.OutOfMemoryError

    with pytest.raises(MoldiffError, match="one molecule of up to 10 atoms on cuda"):
        list(batches.run([0], [10], never))


def test_a_draw_that_is_watched_is_made_in_as_many_rows_as_at_first(
    tiny_model: MoleculeModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    sampler = MoleculeSampler(tiny_model, SOLVERS["ddpm"], 3, 0, sizes=(9, 9))
    sampler.micro_batches = MicroBatches(torch.device("cuda"))
    made: list[int] = []
    monkeypatch.setattr(sampler, "_micro_batch", lambda items, after_step=None: made.append(len(items)) or items)
    list(sampler.draw(0, 1))
    sampler.watch(0, lambda *_: None)
    assert made[0] == made[1] == PAIRS // bucket_width(9) ** 2


def test_after_a_shortage_rows_are_still_a_multiple_of_four() -> None:
    batches, seen = MicroBatches(torch.device("cpu"), precision=torch.bfloat16), list[int]()

    def work(items: list[int]) -> list[int]:
        seen.append(len(items))
        if len(items) > 4:
            raise MemoryError
        return items

    assert sorted(place for place, _ in batches.run(range(48), [12] * 48, work)) == list(range(48))
    assert seen[:4] == [48, 24, 12, 4] and set(seen[4:]) == {4}


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another allocator")
def test_memory_that_was_freed_is_used_again() -> None:
    code = (
        "import resource, torch\n"
        "from moldiff.sampling.microbatches import MicroBatches\n"
        "def faults():\n    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt\n"
        "def work():\n    return [torch.ones(5 << 18) for _ in range(4)]\n"  # 5 MiB each
        "torch.set_num_threads(1)\n"
        "MicroBatches(torch.device('cpu'))\n"
        "del_ = [work() and None for _ in range(3)]\n"
        "first = faults()\n"
        "del_ = [work() and None for _ in range(20)]\n"
        "print(faults() - first)\n"
    )
    ran = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert int(ran.stdout) < 5000, "20 MiB are 5120 pages"
