"""Rows of a micro-batch on a CPU: at multiples of four, what comes of a molecule is the same to the last bit."""

import pytest
import torch

import moldiff
from moldiff.datasets.batching import bucket_width
from moldiff.molecules import FIELDS, MolPrediction, empty_batch
from moldiff.randomness import NoiseSource
from moldiff.sampling.context import SamplerContext
from moldiff.sampling.microbatches import CPU_ROWS

SIZES = {"qm9": (9, 15, 18, 22, 27), "drugs": (14, 22, 30)}


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize(("name", "size"), [(name, size) for name, sizes in SIZES.items() for size in sizes])
def test_a_row_does_not_depend_on_the_number_of_rows(name: str, size: int, precision: str) -> None:
    """The built-in models, twice (the second time with self-conditioning), half-way down."""
    model, most = moldiff.load(name, device="cpu", precision=precision).model, 16
    template = empty_batch(torch.full((most,), size), torch.arange(most), bucket_width(size), len(model.conditions))
    levels = model.schedule.levels(torch.full((most,), 0.5, dtype=torch.float64))
    context = SamplerContext(model.denoiser, model.diffusion, model.schedule, template.properties, NoiseSource(0))
    noisy = model.diffusion.sample_prior(template, levels, context.noise(template, 0))

    def predicted(rows: int) -> MolPrediction:
        some, at = noisy[:rows], model.schedule.levels(torch.full((rows,), 0.5, dtype=torch.float64))
        first = model.denoiser(some, at, some.properties, None)
        return model.denoiser(some, at, some.properties, first)

    with torch.no_grad():
        full = predicted(most)
        for rows in range(CPU_ROWS, most, CPU_ROWS):
            found = predicted(rows)
            for field in FIELDS:
                assert torch.equal(getattr(found, field), getattr(full, field)[:rows]), (rows, field)
