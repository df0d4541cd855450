"""Training steps by replaying what was captured once: a CUDA graph for each kind and width of a batch.

What a graph reads lies in buffers that stay where they are; a step only fills these. See `moldiff.device_graphs`.
"""

from __future__ import annotations

import enum
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

import torch
from torch import Tensor

from moldiff.device_graphs import captured, has_graphs
from moldiff.devices import is_out_of_memory
from moldiff.errors import first_line

logger = logging.getLogger(__name__)


class Kind(enum.Enum):
    """Kinds of steps, which differ in their arithmetic."""

    DATA = enum.auto()
    SELF_CONDITIONED = enum.auto()
    OWN_DRAWS = enum.auto()


@dataclass(frozen=True)
class StepInputs:
    """All that a step reads anew; steps of one kind and width do the same arithmetic with it.

    Attributes:
        kind: of the step.
        width: padded number of atoms.
        rows: (B,) int64 rows of the data, or of the own draws.
        turns: (B,) int64 turn of each row in the batch, see `moldiff.randomness.row_keys`.
        step: () int64 number of the step.
    """

    kind: Kind
    width: int
    rows: Tensor
    turns: Tensor
    step: Tensor

    def to(self, device: torch.device) -> StepInputs:
        """Return the inputs on a device."""
        return StepInputs(self.kind, self.width, self.rows.to(device), self.turns.to(device), self.step.to(device))


class Snapshot:
    """Copies of tensors, from which they are put back in place.

    Args:
        tensors: those to keep; they are the same objects from then on.
    """

    def __init__(self, tensors: Sequence[Tensor]) -> None:
        self._tensors = list(tensors)
        self._kept = [tensor.detach().clone() for tensor in self._tensors]

    @torch.no_grad()
    def take(self) -> None:
        """Keep the values of now."""
        for tensor, kept in zip(self._tensors, self._kept, strict=True):
            kept.copy_(tensor)

    @torch.no_grad()
    def restore(self) -> None:
        """Put the values back that were kept last."""
        for tensor, kept in zip(self._tensors, self._kept, strict=True):
            tensor.copy_(kept)


@dataclass
class _Slot:
    """Buffers of steps of one kind and width, and their graph once it is captured."""

    inputs: StepInputs
    graph: torch.cuda.CUDAGraph | None = field(default=None)

    @torch.no_grad()
    def fill(self, inputs: StepInputs) -> None:
        """Copy what a step reads into the buffers, without waiting for the device."""
        for name in ("rows", "turns", "step"):
            value: Tensor = getattr(inputs, name)
            buffer: Tensor = getattr(self.inputs, name)
            buffer.copy_(value.pin_memory() if buffer.is_cuda else value, non_blocking=True)


class StepGraphs:
    """Steps that read buffers: on a CUDA device captured and replayed, elsewhere, or if that fails, called.

    Args:
        device: that of the training.
        work: takes a step in place, whatever its inputs; nothing in it may wait for the device.
        state: returns all tensors that ``work`` changes. The steps that come before a capture are undone in them.
    """

    def __init__(
        self, device: torch.device, work: Callable[[StepInputs], None], state: Callable[[], Sequence[Tensor]]
    ) -> None:
        self._device, self._work, self._state = device, work, state
        self._slots: dict[tuple[Kind, int], _Slot] = {}
        self._fails = False

    def run(self, inputs: StepInputs) -> None:
        """Take a step."""
        key = (inputs.kind, inputs.width)
        if key not in self._slots:
            self._slots[key] = _Slot(_copied(inputs.to(self._device)))
        slot = self._slots[key]
        slot.fill(inputs)
        if slot.graph is None and not self._fails and has_graphs(self._device):
            slot.graph = self._captured(slot.inputs)
        if slot.graph is None:
            self._work(slot.inputs)
        else:
            slot.graph.replay()

    def _captured(self, inputs: StepInputs) -> torch.cuda.CUDAGraph | None:
        """Return the graph of a step, or None if it cannot be captured, and then no other will be; all is as before, as
        a capture runs nothing and the warm-up is undone."""
        other = next((slot.graph for slot in self._slots.values() if slot.graph is not None), None)
        before = Snapshot(self._state())
        work = partial(self._work, inputs)
        try:
            return captured(work, self._device, beside=other, undo=before.restore)[0]
        except RuntimeError as error:
            if is_out_of_memory(error):
                raise
            before.restore()
            logger.warning("no graph of a training step: %s; others are taken without", first_line(error, 200))
            self._fails = True
            return None


def _copied(inputs: StepInputs) -> StepInputs:
    """Return inputs with buffers of their own."""
    return StepInputs(inputs.kind, inputs.width, inputs.rows.clone(), inputs.turns.clone(), inputs.step.clone())
