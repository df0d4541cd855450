"""A solver whose steps are captured as CUDA graphs: see `moldiff.device_graphs`.

A step is a function of tensors: the state, the condition, two times, and two numbers that key the noise. So one graph
serves all steps of one shape, in every walk.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Hashable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from moldiff.device_graphs import captured, has_graphs
from moldiff.devices import is_out_of_memory
from moldiff.diffusion.joint import JointDiffusion
from moldiff.diffusion.levels import Denoiser
from moldiff.errors import first_line
from moldiff.molecules import map_tensors
from moldiff.randomness import walk_counter
from moldiff.sampling.context import Number, SamplerContext, SolverState
from moldiff.sampling.solvers import Solver

logger = logging.getLogger(__name__)

STEPS_BEFORE = 8  # of a shape, step by step: one that hardly ever occurs is not worth a capture


@dataclass(frozen=True)
class _Inputs:
    """All that a step reads anew.

    Attributes:
        state, t, s: see `Solver.step`.
        condition: (B, P).
        number, walk: () int64, of the step and of the walk; they key the noise.
    """

    state: SolverState
    condition: Tensor
    t: Tensor
    s: Tensor
    number: Tensor
    walk: Tensor


@dataclass
class _Slot:
    """Buffers of the steps of one shape, and their graph once it is captured.

    Attributes:
        context: with a condition and a walk in buffers.
        inputs: buffers.
        steps: taken so far.
        graph: None before the capture.
        result: what the graph fills.
    """

    context: SamplerContext
    inputs: _Inputs
    steps: int = 0
    graph: torch.cuda.CUDAGraph | None = None
    result: SolverState | None = None


class CapturedSolver:
    """Takes the steps of another solver: on a CUDA device by replaying a graph, elsewhere from the same buffers.

    Nothing in a step may wait for the device, so this is for denoisers that compute there alone. Where a step cannot be
    captured, a warning says why, and steps are taken one operation after another.

    Args:
        solver: whose steps they are.
        denoiser, diffusion: steps with these are captured. With others (a walk around a given graph has a diffusion of
            its own) they are those of the solver.
    """

    def __init__(self, solver: Solver, denoiser: Denoiser, diffusion: JointDiffusion) -> None:
        self.solver, self.denoiser, self.diffusion = solver, denoiser, diffusion
        self._slots: dict[Hashable, _Slot] = {}
        self._fails = False

    @property
    def evaluations(self) -> int:
        """Network evaluations of one step."""
        return self.solver.evaluations

    @property
    def is_stochastic(self) -> bool:
        """Coordinates are drawn, so that two walks from one state part."""
        return self.solver.is_stochastic

    def step(self, context: SamplerContext, state: SolverState, number: Number, t: Tensor, s: Tensor) -> SolverState:
        """Return the state at the cleaner time s, see `Solver.step`; the same as from the solver itself."""
        known = context.denoiser is self.denoiser and context.diffusion is self.diffusion
        if self._fails or not known or isinstance(number, Tensor):
            return self.solver.step(context, state, number, t, s)
        walk_counter(number, 0, int(context.attempt))  # tensors are taken on trust
        slot = self._slot(context, state, t, s)
        map_tensors(torch.Tensor.copy_, slot.inputs.state, state)
        for buffer, value in ((slot.inputs.condition, context.condition), (slot.inputs.t, t), (slot.inputs.s, s)):
            buffer.copy_(value)
        slot.inputs.number.fill_(number)
        slot.inputs.walk.fill_(context.attempt)
        slot.steps += 1
        if slot.graph is None and slot.steps > STEPS_BEFORE and has_graphs(t.device):
            self._capture(slot)
        if slot.graph is None or slot.result is None:
            made = self._taken(slot)
        else:
            slot.graph.replay()
            made = slot.result
        made = map_tensors(torch.clone, made)
        # what no step changes is the caller's, not the buffers'
        same = {name: getattr(state.molecules, name) for name in ("mask", "properties", "ids")}
        return replace(made, molecules=made.molecules.replace(**same))

    def _slot(self, context: SamplerContext, state: SolverState, t: Tensor, s: Tensor) -> _Slot:
        """Return the buffers for a step; threads have their own."""
        key = (
            threading.get_ident(), id(context.schedule), context.source, state.molecules.mask.shape,
            state.prediction is None, state.at is None,
        )  # fmt: skip
        if key not in self._slots:
            zero = torch.zeros((), dtype=torch.int64, device=t.device)
            inputs = map_tensors(torch.clone, _Inputs(state, context.condition, t, s, zero, zero))
            own = replace(context, condition=inputs.condition, attempt=inputs.walk)
            self._slots[key] = _Slot(own, inputs)
        return self._slots[key]

    def _taken(self, slot: _Slot) -> SolverState:
        inputs = slot.inputs
        return self.solver.step(slot.context, inputs.state, inputs.number, inputs.t, inputs.s)

    def _capture(self, slot: _Slot) -> None:
        """Capture the steps of a slot; where that fails, there are no graphs any more."""
        other = next((one.graph for one in self._slots.values() if one.graph is not None), None)
        try:
            slot.graph, slot.result = captured(lambda: self._taken(slot), slot.inputs.t.device, beside=other)
        except RuntimeError as error:
            if is_out_of_memory(error):
                self._slots.clear()  # their memory is not given back otherwise
                raise
            logger.warning("no graph of a step: %s; steps are taken one operation at a time", first_line(error, 200))
            self._fails = True
