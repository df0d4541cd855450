"""Whole training steps on fixed shapes: one CUDA graph for each padded width and kind of step."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import fields
from typing import Any

import torch
from torch import Tensor

from moldiff.config import DensityConfig, OptimizerConfig
from moldiff.diffusion.joint import JointNoise
from moldiff.diffusion.levels import Levels
from moldiff.diffusion.schedule import TrainingDensity
from moldiff.models.molecule_model import MoleculeModel
from moldiff.molecules import FIELDS, MolBatch, MolPrediction
from moldiff.training.optimizers import build_optimizers, set_learning_rates

WEIGHTS = (1.0, 0.5, 0.5, 3.0)  # of the losses, in the order of FIELDS
GAP = 0.1  # of self-conditioning, see `moldiff.training.denoiser_module`
NOTHING_GIVEN, FEW_GIVEN = 0.4, 0.3  # shares of rows whose condition is empty, and is one or two properties
COARSE_GEOMETRY = 0.2  # angstrom: below this noise, a force field's minima are another thing than those of GFN2-xTB


def put(into: Any, values: Any) -> None:
    """Copy a batch or a prediction into static tensors."""
    for one in fields(into):
        getattr(into, one.name).copy_(getattr(values, one.name), non_blocking=True)


class Inputs:
    """Static inputs of all steps of one padded width: B rows, N atoms."""

    def __init__(self, model: MoleculeModel, rows: int, width: int, device: torch.device) -> None:
        def zeros(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
            return torch.zeros(rows, *shape, dtype=dtype, device=device)

        def batch() -> MolBatch:
            return MolBatch(
                zeros(width, 3),
                zeros(width, dtype=torch.int64),
                zeros(width, dtype=torch.int64),
                zeros(width, width, dtype=torch.int64),
                zeros(width, dtype=torch.bool),
                zeros(len(model.conditions)).fill_(math.nan),
                zeros(dtype=torch.int64),
            )

        sizes = model.vocabulary.sizes
        self.clean, self.noisy = batch(), batch()
        self.t, self.s, self.last = (zeros(dtype=torch.float64) for _ in range(3))
        self.previous = MolPrediction(
            zeros(width, 3),
            zeros(width, sizes["atom_type"]),
            zeros(width, sizes["charge"]),
            zeros(width, width, sizes["bond_type"]),
        )


class Trainer:
    """Steps of the package's training; numbers of a step are read later, so that nothing waits for the device.

    Args:
        model: to train, on its device.
        rows: of a batch.
        kinds: names of the sources that losses are told apart by.
        ema: decay of the moving average.
        graphs: capture the steps.

    Attributes:
        average: moving average of ``parameters``.
    """

    def __init__(self, model: MoleculeModel, rows: int, kinds: tuple[str, ...], ema: float, graphs: bool) -> None:
        self.model, self.rows, self.kinds, self.ema, self.graphs = model, rows, kinds, ema, graphs
        self.device = device = model.device
        model.denoiser.requires_grad_(True).train()
        self.density = TrainingDensity(**DensityConfig().model_dump())
        # rates of 1: the share that a step takes of them is its rate
        self.optimizers = build_optimizers(
            model.denoiser, OptimizerConfig(learning_rate=1.0, muon_learning_rate=1.0, weight_decay=0.0)
        )
        self.parameters: list[Tensor] = list(model.denoiser.parameters())
        self.average = [parameter.detach().clone() for parameter in self.parameters]
        self.weights = torch.tensor(WEIGHTS, device=device)
        self.kind = torch.zeros(len(kinds), device=device)
        self.positions = torch.ones(2, device=device)  # weights of coordinates' losses: above COARSE_GEOMETRY, below
        self.sums = torch.zeros(len(kinds), len(FIELDS) + 2, device=device)  # losses, gradient norm, steps
        self._inputs: dict[int, Inputs] = {}
        self._captured: dict[tuple[Any, ...], tuple[Any, Any]] = {}
        self._pool: Any = None

    def inputs(self, width: int) -> Inputs:
        """Return the static inputs of a width."""
        if width not in self._inputs:
            self._inputs[width] = Inputs(self.model, self.rows, width, self.device)
        return self._inputs[width]

    def run(self, key: tuple[Any, ...], work: Callable[[], Any], warm: int) -> Any:
        """Return what ``work`` gives on its static inputs, by its graph; the first call warms up and captures."""
        if not self.graphs:
            return work()
        if key not in self._captured:
            stream = torch.cuda.Stream()
            stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(stream):
                for _ in range(warm):
                    work()
            torch.cuda.current_stream().wait_stream(stream)
            self._forget_gradients()
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph, pool=self._pool):
                result = work()
            self._pool = self._pool or graph.pool()
            self._captured[key] = (graph, result)
        graph, result = self._captured[key]
        graph.replay()
        return result

    def autocast(self) -> AbstractContextManager[None]:
        """Products in bfloat16 on a card; nothing cached, which a capture would not survive."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.device.type == "cuda", cache_enabled=False)

    def noise(self, width: int) -> JointNoise:
        """Return noise of the device's own generator."""
        rows, device = self.rows, self.device
        pairs = torch.rand(rows, width, width, device=device).triu(1)
        return JointNoise(
            torch.randn(rows, width, 3, device=device),
            torch.rand(rows, width, device=device),
            torch.rand(rows, width, device=device),
            pairs + pairs.mT,
        )

    def set_step(self, kind: str, rates: tuple[float, float], positions: tuple[float, float]) -> None:
        """Say what the next step is of.

        Args:
            kind: its source.
            rates: of AdamW and Muon.
            positions: weights of the coordinates' loss where the noise is at least COARSE_GEOMETRY, and below.
        """
        self.kind.zero_()
        self.kind[self.kinds.index(kind)] = 1.0
        for place, weight in enumerate(positions):
            self.positions[place].fill_(weight)
        for optimizer, rate in zip(self.optimizers, rates, strict=True):
            set_learning_rates([optimizer], rate)

    def step_on_data(self, clean: MolBatch, self_conditioned: bool) -> None:
        """Train on molecules of the data."""
        width = clean.mask.shape[1]
        inputs = self.inputs(width)
        put(inputs.clean, clean)
        self.run(("data", width, self_conditioned), lambda: self._on_data(inputs.clean, self_conditioned), 2)

    def step_on_states(self, clean: MolBatch, noisy: MolBatch, t: Tensor, previous: MolPrediction) -> None:
        """Train on states of own walks, see `moldiff.training.on_policy.states`."""
        width = clean.mask.shape[1]
        inputs = self.inputs(width)
        put(inputs.clean, clean)
        put(inputs.noisy, noisy)
        put(inputs.previous, previous)
        inputs.t.copy_(t)
        self.run(("own", width), lambda: self._on_states(inputs), 2)

    def _on_data(self, clean: MolBatch, self_conditioned: bool) -> None:
        self._forget_gradients()
        model, width = self.model, clean.mask.shape[1]
        with self.autocast():
            t_pos, t_graph = self.density.sample(torch.rand(self.rows, 5, device=self.device), model.schedule)
            levels = model.schedule.levels(t_pos, t_graph)
            noisy, condition = model.diffusion.noise(clean, levels, self.noise(width)), self._condition(clean)
            previous = None
            if self_conditioned:
                with torch.no_grad():
                    gap = torch.rand(self.rows, device=self.device).double() * GAP
                    t_graph = torch.where(t_graph > 0, t_graph + gap, t_graph)  # a clean graph is clean at every step
                    to = model.schedule.levels((t_pos + gap).clamp(max=1), t_graph.clamp(max=1))
                    earlier = model.diffusion.noise_further(noisy, levels, to, self.noise(width))
                    previous = model.denoiser(earlier, to, condition, None).detach()
            prediction = model.denoiser(noisy, levels, condition, previous)
        self._update(clean, levels, prediction)

    def _on_states(self, inputs: Inputs) -> None:
        self._forget_gradients()
        with self.autocast():
            levels = self.model.schedule.levels(inputs.t)
            prediction = self.model.denoiser(inputs.noisy, levels, self._condition(inputs.clean), inputs.previous)
        self._update(inputs.clean, levels, prediction)

    def _condition(self, clean: MolBatch) -> Tensor:
        """Return (B, P) properties: of some rows none, of some one or two, of the others each with probability 1/2."""
        rows, count = clean.properties.shape
        kind, place = torch.rand(rows, 1, device=self.device), torch.rand(rows, count, device=self.device)
        most = 1 + (torch.rand(rows, 1, device=self.device) < 0.5).long()
        few = place.argsort(1).argsort(1) >= most
        dropped = torch.where(kind < NOTHING_GIVEN + FEW_GIVEN, few, place < 0.5) | (kind < NOTHING_GIVEN)
        return torch.where(dropped, torch.full_like(clean.properties, math.nan), clean.properties)

    def _update(self, clean: MolBatch, levels: Levels, prediction: MolPrediction) -> None:
        losses = self.model.diffusion.loss(clean, levels, prediction)
        positions = torch.where(levels.sigma < COARSE_GEOMETRY, self.positions[1], self.positions[0])
        means = torch.stack([losses[field].mean() for field in FIELDS])
        taught = torch.cat([(losses["pos"] * positions).mean()[None], means[1:]])
        (taught * self.weights).sum().backward()
        norm = torch.nn.utils.clip_grad_norm_(self.parameters, 1.0, foreach=True)
        for optimizer in self.optimizers:
            optimizer.step()
        torch._foreach_lerp_(self.average, self.parameters, 1 - self.ema)
        with torch.no_grad():
            one = torch.ones(1, device=self.device)
            self.sums.add_(self.kind[:, None] * torch.cat([means.detach(), norm.detach().reshape(1), one])[None])

    def read(self) -> dict[str, list[float]]:
        """Return mean losses and gradient norm by source since the last call; waits for the device."""
        sums = self.sums.tolist()
        self.sums.zero_()
        return {
            kind: [round(value / row[-1], 4) for value in row[:-1]]
            for kind, row in zip(self.kinds, sums, strict=True)
            if row[-1]
        }

    def to_average(self) -> None:
        """Set the weights to their average."""
        with torch.no_grad():
            torch._foreach_copy_(self.parameters, self.average)

    def back_to(self, weights: list[Tensor]) -> None:
        """Set weights and average, and forget what the optimisers remember."""
        with torch.no_grad():
            torch._foreach_copy_(self.parameters, weights)
            torch._foreach_copy_(self.average, weights)
            for state in (state for optimizer in self.optimizers for state in optimizer.state.values()):
                for name, value in state.items():
                    if torch.is_tensor(value) and name != "step":
                        value.zero_()

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Let the denoiser have the averaged weights."""
        kept = [parameter.detach().clone() for parameter in self.parameters]
        self.to_average()
        try:
            yield
        finally:
            with torch.no_grad():
                torch._foreach_copy_(self.parameters, kept)

    def weights_of_average(self) -> Mapping[str, Tensor]:
        """Return the averaged weights by name, on the CPU, in half precision, as model folders have them."""
        names = [name for name, _ in self.model.denoiser.named_parameters()]
        state = self.model.denoiser.state_dict() | dict(zip(names, self.average, strict=True))
        halves = {name: value.half() if value.is_floating_point() else value for name, value in state.items()}
        return {name: value.detach().cpu().contiguous().clone() for name, value in halves.items()}

    def _forget_gradients(self) -> None:
        for parameter in self.parameters:
            parameter.grad = None
