"""R22: does the network learn a handful of molecules by heart, and does the sampler give them back?"""

from __future__ import annotations

import csv
import resource
import tempfile
from collections.abc import Iterator
from pathlib import Path

import yaml
from rdkit import Chem

from moldiff.chem.io.records import read_records
from moldiff.datasets.prepared import PreparedDataset
from scripts.scoreboard.commands import run_moldiff
from scripts.scoreboard.findings import Finding, Share

# one of each is embedded by `moldiff data prepare`
MOLECULES = (
    "C", "N", "O", "CC", "CO", "CN", "C=C", "C=O", "C#N", "C#C", "NO", "OO", "C=N", "CCO", "C1CC1", "C1CO1", "NC=O",
    "OC=O", "CC=O",
)  # fmt: skip
DRAWS = 200
_STEPS = 1800
_LOSSES = ("pos", "atom_type", "bond_type")
_SIZES = {"layers": 3, "node_width": 64, "pair_width": 32, "pair_hidden": 48, "vectors": 16, "heads": 4}
_TRAINING = {
    "data": "set",
    "output": "run",
    "network": {**_SIZES, "global_width": 64, "geometry_every": 1},
    "density": {"independent_share": 0.0},
    "optimizer": {
        "learning_rate": 4e-3, "muon_learning_rate": 1.2e-2, "warmup_steps": 50, "decay_steps": 1500,
        "ema_decay": 0.995,
    },
    "training": {
        "steps": _STEPS, "batch_size": 64, "seed": 1, "log_every": 10, "validate_every": _STEPS,
        "checkpoint_every": _STEPS,
    },
}  # fmt: skip


def measure(share: Share) -> Iterator[Finding]:
    """Train a small network on some molecules for less than three minutes, and draw from it."""
    if not share.long:
        yield Finding("some molecules by heart (--long)", holds=None)
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "few.smi").write_text("".join(f"{smiles}\n" for smiles in MOLECULES), encoding="utf-8")
        (folder / "heart.yaml").write_text(yaml.safe_dump(_TRAINING), encoding="utf-8")
        _run(folder, "data", "prepare", "few.smi", "-o", "set", "--vocabulary-of", "qm9")
        before = _cpu_seconds()
        _run(folder, "train", "heart.yaml")
        seconds = _cpu_seconds() - before
        _run(folder, "generate", "--model", "run/model", "-n", str(DRAWS), "-o", "drawn.sdf")
        known = len(PreparedDataset.open(folder / "set").indices("train"))
        wanted = {Chem.MolToSmiles(Chem.MolFromSmiles(smiles)) for smiles in MOLECULES}
        drawn = [record.mol for record in read_records(folder / "drawn.sdf") if record.mol is not None]
        found = [Chem.MolToSmiles(Chem.RemoveHs(mol), isomericSmiles=False) for mol in drawn]
        with (folder / "run" / "metrics.csv").open(encoding="utf-8") as file:
            losses = [sum(float(row[field]) for field in _LOSSES) for row in csv.DictReader(file)]
    hits = 100 * sum(smiles in wanted for smiles in found) / DRAWS
    fallen = 100 * (1 - losses[-1] / losses[0])
    yield Finding(f"{known} molecules, {seconds:.0f} CPU seconds", holds=seconds < 180)
    yield Finding(f"{hits:.1f} % of {DRAWS} samples are one of them", holds=hits >= 95)
    yield Finding(f"loss down {fallen:.0f} % since the first ten steps", holds=fallen >= 90)


def _run(folder: Path, *words: str) -> None:
    run = run_moldiff(words, folder)
    assert run.status == 0, run.said[-300:]


def _cpu_seconds() -> float:
    """Return the CPU time of all processes that have been waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
