"""Setting of a device check: the device, the sizes of what is measured on it, and clocks that wait for it."""

from __future__ import annotations

import resource
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch

from moldiff.config import NetworkConfig
from moldiff.datasets.batching import bucket_width
from moldiff.datasets.statistics import DatasetStatistics
from moldiff.devices import name_of
from moldiff.models.loaded import load_model
from moldiff.models.molecule_model import MoleculeModel

GIB = 2**30


@dataclass(frozen=True)
class Figure:
    """One measured figure.

    Attributes:
        name: of the figure.
        value: a number in ``unit``, or a word.
        unit: of the number.
        note: on how it came about.
    """

    name: str
    value: float | str
    unit: str = ""
    note: str = ""


@dataclass
class Setting:
    """All that measurements share.

    Attributes:
        device: that is checked.
        precision: number type of the network's products when molecules are drawn.
        models: names of models that molecules are drawn from; network and molecules of the training are the first's.
        rows: of micro-batches.
        evaluations: of a draw; None = each model's own number.
        network: sizes of the network under training; None = those of the first model.
        batch: molecules of a training batch.
        widths: padded widths of training batches, the most frequent ones of the model.
        compared: steps after which two trainings are compared.
        matrix, copied: size of the matrices, and number of float32, by which the device's ceilings are measured.
        patience: times its time that a measurement may take.
        pace: share of its time that a measurement spends on repeating what it measures.
        generated: molecules of a whole generation, by model; none = as many as there is time for.
        bandwidth: of the device's memory, bytes/s, once it is measured.
        throughput: of matrix products, FLOP/s, likewise.
    """

    device: torch.device
    precision: torch.dtype
    models: tuple[str, ...]
    rows: tuple[int, ...]
    evaluations: int | None
    network: NetworkConfig | None
    batch: int
    widths: int
    compared: int
    matrix: int
    copied: int
    patience: float
    pace: float
    generated: Mapping[str, int] = field(default_factory=dict)
    bandwidth: float | None = field(default=None)
    throughput: float | None = field(default=None)

    @classmethod
    def on_card(cls, device: torch.device, precision: torch.dtype) -> Setting:
        """Return the setting of the whole check."""
        return cls(
            device, precision, ("drugs", "qm9", "qm9_fast"), (64, 256, 1024), None, None, 256, 3, 20, 8192, 1 << 28,
            patience=1, pace=0.7,
        )  # fmt: skip

    @classmethod
    def short(cls, device: torch.device, precision: torch.dtype) -> Setting:
        """Return the setting of a check that only shows that all of it runs."""
        network = NetworkConfig(
            layers=2, node_width=16, pair_width=8, pair_hidden=8, vectors=4, heads=2, global_width=8
        )
        return cls(device, precision, ("qm9_fast",), (4, 8), 2, network, 4, 1, 4, 256, 1 << 20, patience=5, pace=0.002)

    def model(self, name: str, *, device: torch.device | None = None, exact: bool = False) -> MoleculeModel:
        """Return a built-in model.

        Args:
            device: to put it on; None = the one that is checked.
            exact: products in float32.
        """
        precision = torch.float32 if exact else self.precision
        return load_model(name, device=device or self.device, precision=precision).model

    @property
    def precision_name(self) -> str:
        """What users call the number type of products when molecules are drawn."""
        return name_of(self.precision)

    def now(self) -> float:
        """Return the time once the device has done what it was given, s."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return time.perf_counter()

    def median(self, work: Callable[[], object], seconds: float, least: int = 3) -> float:
        """Return the median time of a call, s: after a warm-up, of so many calls at least, of more if there is time."""
        work()
        times, end = list[float](), self.now() + seconds
        while len(times) < least or (time.perf_counter() < end and len(times) < 100):
            start = self.now()
            work()
            times.append(self.now() - start)
        return statistics.median(times)

    def rate(self, work: Callable[[int], int], seconds: float) -> float:
        """Return how many a second: ``work`` does a piece, by its number from 0, and says how many that were."""
        start, done, number = self.now(), 0, 0
        while number == 0 or time.perf_counter() - start < seconds:
            done += work(number)
            number += 1
            self.now()  # or a queue of work on the device would outlast the time
        return done / (self.now() - start)

    def forget_peak(self) -> None:
        """Let the peak of memory count from here; that of a CPU's process cannot be reset."""
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats(self.device)

    def peak(self) -> float:
        """Return the peak of memory, GiB: of the device, or of the process on a CPU."""
        if self.device.type == "cuda":
            return torch.cuda.max_memory_allocated(self.device) / GIB
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / GIB


def common_size(statistics_of: DatasetStatistics) -> int:
    """Return the most frequent number of atoms."""
    counts = statistics_of.size_counts
    return max(counts, key=lambda n: counts[n])


def common_widths(statistics_of: DatasetStatistics, count: int) -> list[int]:
    """Return the most frequent padded widths, so many, ascending."""
    total: dict[int, int] = {}
    for size, number in statistics_of.size_counts.items():
        total[bucket_width(size)] = total.get(bucket_width(size), 0) + number
    return sorted(sorted(total, key=lambda width: -total[width])[:count])
