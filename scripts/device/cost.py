"""Ceilings of a device, measured, and the floor that they give the network: by bytes and by operations."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from moldiff.datasets.batching import bucket_width
from moldiff.diffusion.joint import draw_noise
from moldiff.diffusion.levels import Levels
from moldiff.models.molecule_model import MoleculeModel
from moldiff.molecules import MolBatch, empty_batch
from moldiff.nn.layers import EquivariantLayer, GeometryFeatures
from moldiff.randomness import NoiseSource
from scripts.device.setting import Figure, Setting

BACKWARD = 2  # a backward pass takes twice the products of the forward pass, and moves twice its bytes


@dataclass(frozen=True)
class Cost:
    """One evaluation of a network.

    Attributes:
        operations: FLOP of its matrix products.
        bytes: that pass through memory if every layer reads what goes in and its weights once, writes what comes out,
            and keeps all else to itself.
    """

    operations: float
    bytes: float

    def floor(self, setting: Setting, rows: int, evaluations: float, what: str) -> Iterator[Figure]:
        """Return molecules/s at the device's ceilings, for so many evaluations a molecule."""
        if setting.bandwidth is None or setting.throughput is None:
            yield Figure(f"floor of {what}", "not known", note="the ceilings were not measured")
            return
        seconds = self.bytes / setting.bandwidth
        note = f"{self.bytes / 1e9:.3g} GB an evaluation of {rows} rows, at the memory's measured speed"
        yield Figure(f"{what}, bound by bytes", rows / (evaluations * seconds), "molecules/s", note)
        seconds = self.operations / setting.throughput
        note = f"{self.operations / 1e9:.4g} GFLOP an evaluation of {rows} rows, at that of matrix products"
        yield Figure(f"{what}, bound by FLOP", rows / (evaluations * seconds), "molecules/s", note)


def ceilings(setting: Setting, seconds: float) -> Iterator[Figure]:
    """Measure the device's memory and matrix products, and remember them."""
    setting.bandwidth = _bandwidth(setting, seconds / 2)
    note = f"a copy of {4 * setting.copied / 2**20:.0f} MiB, bytes read and bytes written"
    yield Figure("memory", setting.bandwidth / 1e9, "GB/s", note)
    size = setting.matrix
    matrix = torch.randn(size, size, device=setting.device).to(setting.precision)
    setting.throughput = 2 * size**3 / setting.median(lambda: matrix @ matrix, seconds / 2)
    note = f"{size} x {size} x {size}, {setting.precision_name}"
    yield Figure("matrix products", setting.throughput / 1e12, "TFLOP/s", note)


def _bandwidth(setting: Setting, seconds: float) -> float:
    """Return bytes/s, read and written, of a copy within the device's memory."""
    source = torch.ones(setting.copied, device=setting.device)
    target = torch.empty_like(source)
    return 2 * source.nbytes / setting.median(lambda: target.copy_(source), seconds)


def noisy_batch(model: MoleculeModel, n_atoms: int, rows: int, device: torch.device) -> tuple[MolBatch, Levels]:
    """Return molecules of noise in the middle of the schedule, and their levels."""
    width = bucket_width(n_atoms)
    template = empty_batch(torch.full((rows,), n_atoms), torch.arange(rows), width, len(model.conditions)).to(device)
    levels = model.schedule.levels(torch.full((rows,), 0.5, dtype=torch.float64, device=device))
    noise = draw_noise(NoiseSource(0), template.ids, 0, width)
    return model.diffusion.sample_prior(template, levels, noise), levels


def cost_of(denoiser: nn.Module, evaluate: Callable[[], object]) -> Cost:
    """Return the cost of an evaluation, by doing it."""
    moved = 0

    def note(module: nn.Module, given: tuple[Any, ...], result: Any) -> None:
        nonlocal moved
        tensors = [value for value in tree_leaves((given, result)) if isinstance(value, Tensor)]
        moved += sum(tensor.nbytes for tensor in [*tensors, *module.parameters()])

    hooks = [
        module.register_forward_hook(note)
        for module in denoiser.modules()
        if isinstance(module, EquivariantLayer | GeometryFeatures)
    ]
    try:
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            evaluate()
    finally:
        for hook in hooks:
            hook.remove()
    return Cost(float(counter.get_total_flops()), float(moved))
