"""Measure the data path: preparing a file, and assembling batches by indexing. Writes a Markdown table.

    python -m scripts.benchmarks.data qm9.sdf.gz --workers 2 -o scripts/benchmarks/results/data.md

Bars (QM9, 122,666 molecules): prepared in under 180 s on 2 cores without qed and sa, under 2 GiB of memory in all
processes, under 45 MB of output; at least 100,000 molecules/s assembled in batches of 512.
"""

from __future__ import annotations

import argparse
import os
import platform
import resource
import statistics
import tempfile
import threading
import time
from datetime import UTC, datetime
from pathlib import Path

import rdkit
import torch

from moldiff.datasets.batching import BatchPlan
from moldiff.datasets.prepare import prepare
from moldiff.datasets.prepared import DeviceArrays, PreparedDataset
from moldiff.devices import usable_cores
from moldiff.files import write_text
from moldiff.provenance import hardware
from moldiff.version import VERSION

PROPERTIES = ["logp", "tpsa", "mw", "hbd", "hba", "rotatable_bonds", "rings", "fsp3", "heavy_atom_count"]
BATCH = 512
WARM_UP = 20


class MemoryWatch(threading.Thread):
    """Samples the resident memory of this process and all its descendants (shared pages are counted in each)."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.peak = 0
        self._over = threading.Event()

    def run(self) -> None:
        """Sample until `stop`."""
        while not self._over.wait(0.1):
            self.peak = max(self.peak, _tree_memory(os.getpid()))

    def stop(self) -> int:
        """End the sampling and return the peak in bytes."""
        self._over.set()
        self.join()
        return self.peak


def _tree_memory(pid: int) -> int:
    """Return the resident bytes of a process and its descendants; one that has just ended counts nothing."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        tasks = list(Path(f"/proc/{pid}/task").iterdir())
        children = [child for task in tasks for child in (task / "children").read_text().split()]
    except OSError:
        return 0
    return pages * resource.getpagesize() + sum(_tree_memory(int(child)) for child in children)


def _cpu_seconds() -> float:
    usages = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def measure_preparation(file: Path, out: Path, workers: int) -> list[tuple[str, str]]:
    """Prepare ``file`` and return rows of (what, figure)."""
    watch = MemoryWatch()
    watch.start()
    wall, cpu, load = time.perf_counter(), _cpu_seconds(), os.getloadavg()[0]
    report = prepare([file], out, properties=PROPERTIES, workers=workers)
    wall, cpu = time.perf_counter() - wall, _cpu_seconds() - cpu
    peak = watch.stop()
    size = sum(path.stat().st_size for path in out.iterdir())
    return [
        ("records read = kept + dropped", f"{report.read:,} = {report.kept:,} + {report.read - report.kept:,}"),
        (f"preparation, {workers} workers, {len(PROPERTIES)} RDKit properties, wall", f"{wall:.0f} s"),
        ("of that, CPU of all processes", f"{cpu:.0f} s"),
        ("load of the machine when it began and ended", f"{load:.1f} and {os.getloadavg()[0]:.1f}"),
        ("peak memory of all processes together", f"{peak / 2**30:.2f} GiB"),
        ("output", f"{size / 1e6:.1f} MB"),
    ]


def measure_assembly(folder: Path, device: torch.device, steps: int) -> list[tuple[str, str]]:
    """Assemble training batches of a prepared folder and return rows of (what, figure)."""
    dataset = PreparedDataset.open(folder)
    arrays = DeviceArrays(dataset, device)
    train = dataset.indices("train")
    plan = BatchPlan(dataset.sizes[train], BATCH, seed=0, indices=train)
    start = time.perf_counter()
    batches = [plan.batch(step) for step in range(WARM_UP + steps)]
    planned = BATCH * len(batches) / (time.perf_counter() - start)
    seconds = []
    for rows, width in batches:
        start = time.perf_counter()
        arrays.assemble(rows, width)
        if device.type == "cuda":
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - start)
    rate = BATCH * steps / sum(seconds[WARM_UP:])
    median = BATCH / statistics.median(seconds[WARM_UP:])
    where = f"{device.type}, {torch.get_num_threads()} threads" if device.type == "cpu" else device.type
    return [
        (f"molecules/s assembled in batches of {BATCH}, {where}: mean", f"{rate:,.0f}"),
        ("median", f"{median:,.0f}"),
        ("molecules/s drawn by the batch plan", f"{planned:,.0f}"),
    ]


def main() -> None:
    """Read the arguments, measure, print and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", type=Path, help="molecule file to prepare")
    parser.add_argument("--workers", type=int, default=usable_cores(), help="processes; by default one for each core")
    parser.add_argument("--steps", type=int, default=400, help="batches to assemble")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("-o", "--out", type=Path, help="Markdown file to write")
    arguments = parser.parse_args()

    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "prepared"
        rows = measure_preparation(arguments.file, folder, arguments.workers)
        rows += measure_assembly(folder, torch.device(arguments.device), arguments.steps)
    text = "\n".join(
        [
            "# The data path, measured",
            "",
            f"`python -m scripts.benchmarks.data {arguments.file.name} --workers {arguments.workers} --steps "
            f"{arguments.steps} --device {arguments.device}`, {datetime.now(UTC).date().isoformat()}, "
            f"{hardware(torch.device('cpu'))}, {usable_cores()} cores, moldiff {VERSION}, "
            f"Python {platform.python_version()}, torch {torch.__version__}, RDKit {rdkit.__version__}.",
            "",
            "| what | figure |",
            "|---|---|",
            *(f"| {what} | {figure} |" for what, figure in rows),
            "",
        ]
    )
    print(text)
    if arguments.out is not None:
        write_text(arguments.out, text)


if __name__ == "__main__":
    main()
