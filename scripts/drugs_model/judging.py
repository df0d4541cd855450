"""Judging of own draws in worker processes: what is sound, by which decoding, with which properties and traits."""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from multiprocessing.pool import Pool


@dataclass(frozen=True)
class Drawn:
    """One draw as a worker takes it: classes as uint8; logits (types, charges, bonds) only to decode it anew."""

    key: Hashable
    pos: np.ndarray
    atom_type: np.ndarray
    charge: np.ndarray
    bond_type: np.ndarray
    logits: tuple[np.ndarray, np.ndarray, np.ndarray] | None = None


@dataclass(frozen=True)
class Verdict:
    """What became of a draw; graph, properties and traits of a valid one.

    Attributes:
        reason: why it is not valid.
        graph: (atom classes, charge classes, bonds (m, 3)).
        properties: (P,) float32, NaN = not measured.
        traits: `moldiff.training.on_policy.labels.Traits`.
    """

    key: Hashable
    reason: str
    graph: tuple[np.ndarray, np.ndarray, np.ndarray] | None = None
    properties: np.ndarray | None = None
    traits: Any = None

    @property
    def is_valid(self) -> bool:
        """Whether something sound came of the draw."""
        return self.graph is not None


_TOOLS: dict[str, Any] = {}


def _prepare(vocabulary: Any, seen: Any, tables: Mapping[str, np.ndarray], conditions: Sequence[str]) -> None:
    os.environ["CUDA_VISIBLE_DEVICES"] = ""
    import torch
    from rdkit import RDLogger

    from moldiff.chem.descriptors.rarity import RarityTables
    from moldiff.generation.decoding.decoders import ArgmaxDecoder, StructuredDecoder

    RDLogger.DisableLog("rdApp.*")
    torch.set_num_threads(1)
    _TOOLS.update(
        vocabulary=vocabulary,
        plain=ArgmaxDecoder(vocabulary),
        fitted=StructuredDecoder(vocabulary, seen, fitted=True),
        tables=RarityTables.from_tensors(tables, "tables"),
        conditions=tuple(conditions),
    )


def judge(draw: Drawn) -> Verdict:
    """Return what became of a draw; one that breaks a worker's chemistry is not valid."""
    try:
        return _judged(draw)
    except Exception as error:  # noqa: BLE001 - chemistry of odd molecules fails in ways that no list of types covers
        return Verdict(draw.key, f"failed: {type(error).__name__}: {error}"[:200])


def _judged(draw: Drawn) -> Verdict:
    from moldiff.arrays import LogProbabilities, MolArrays, RawSample
    from moldiff.chem.convert import classes_of
    from moldiff.generation.molecule_result import assess
    from moldiff.generation.target_report import measured_values
    from moldiff.status import Status
    from moldiff.training.on_policy.labels import Traits

    i, j = np.nonzero(np.triu(draw.bond_type, 1))
    bonds = np.stack([i, j, draw.bond_type[i, j].astype(np.int64)], axis=1).astype(np.int64)
    arrays = MolArrays(
        draw.pos.astype(np.float32), draw.atom_type.astype(np.int64), draw.charge.astype(np.int64), bonds
    )
    beliefs = None if draw.logits is None else LogProbabilities(*map(_log_softmax, draw.logits))
    decoder = _TOOLS["plain" if beliefs is None else "fitted"]
    result = assess(RawSample(0, arrays, -1, beliefs), decoder)
    if result.status != Status.VALID or result.mol is None:
        return Verdict(draw.key, result.reason or str(result.status))
    graph, known = classes_of(result.mol, _TOOLS["vocabulary"]), measured_values(result, _TOOLS["conditions"])
    return Verdict(
        draw.key,
        "",
        (graph.atom_type.astype(np.uint8), graph.charge.astype(np.uint8), graph.bonds.astype(np.uint8)),
        np.array([known.get(name, np.nan) for name in _TOOLS["conditions"]], dtype=np.float32),
        Traits.of(result.mol, _TOOLS["tables"]),
    )


def _log_softmax(logits: np.ndarray) -> np.ndarray:
    wide = logits.astype(np.float64)
    wide = wide - wide.max(-1, keepdims=True)
    return np.asarray(wide - np.log(np.exp(wide).sum(-1, keepdims=True)), dtype=np.float32)


class Judges:
    """Worker processes that judge draws; arguments as `StructuredDecoder`, `RarityTables` and a model have them.

    They begin with the first draws: before that, the cores are the compiler's.
    """

    def __init__(
        self, workers: int, vocabulary: Any, seen: Any, tables: Mapping[str, np.ndarray], conditions: Sequence[str]
    ) -> None:
        self._workers, self._tools = workers, (vocabulary, seen, tables, tuple(conditions))
        self._pool: Pool | None = None

    def verdicts(self, draws: Sequence[Drawn], meanwhile: Callable[[], None] | None = None) -> dict[Hashable, Verdict]:
        """Return the verdict of every draw by its key; ``meanwhile`` is called again and again until they are there."""
        if self._pool is None:
            self._pool = multiprocessing.get_context("spawn").Pool(self._workers, _prepare, self._tools)
        waiting = self._pool.map_async(judge, draws, chunksize=16)
        while not waiting.ready():
            if meanwhile is None:
                time.sleep(0.02)
            else:
                meanwhile()
        return {verdict.key: verdict for verdict in waiting.get()}

    def close(self) -> None:
        """End the processes."""
        if self._pool is not None:
            self._pool.terminate()
