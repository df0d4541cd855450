"""Rows that are measured by whole runs: kills, repeats, number types, memory, start."""

from __future__ import annotations

import json
import re
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch

from moldiff.models.equivariance import equivariance_errors
from moldiff.models.folder import list_models, load_model_folder
from moldiff.models.molecule_model import MoleculeModel
from scripts.benchmarks.costs import measured
from scripts.benchmarks.enumerated import write_library
from scripts.benchmarks.kills import TABLES, kill_runs
from scripts.benchmarks.watched import watch
from scripts.scoreboard import suite
from scripts.scoreboard.commands import run_moldiff, run_python
from scripts.scoreboard.findings import Finding, Share
from scripts.scoreboard.named_tests import ROOT, run_tests

SAMPLE = ROOT / "data" / "sample.sdf"
DRAW = ("generate", "--model", "qm9_fast", "--device", "cpu", "--seed", "5", "--keep-invalid")
_RESUMED = "integration/test_resume.py::test_a_run_that_is_killed_at_any_moment_goes_on_to_the_same_bytes"
_TRAINED = "training/test_train.py::test_a_run_that_is_killed_at_any_moment_goes_on_bit_for_bit"
_CHAINS = "sampling/test_exactness.py::test_single_categories_are_exact_in_every_solver"
_GENERATING = 5  # of the commands of that test: generate in four ways, and vary
SCREEN = ("--where", "mw<500", "--where", "logp<5", "--where", "tpsa<140", "--rules", "lipinski,veber")
"""What R18 asks of molecules."""
SHARD = 2000  # records of a shard, by default
_LIMITS = {torch.float32: 1e-5, torch.float64: 1e-10}


def measure_isolation(share: Share) -> Iterator[Finding]:
    """R2: what it costs that chemistry is done elsewhere: CPU seconds of further molecules, in turns."""
    if not share.long:
        yield Finding("what a worker costs (--long)", holds=None)
        return
    few, rounds, further = 100, 3, share.of(1000)
    spent: dict[str, list[float]] = {"0": [], "1": []}
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(rounds):
            for workers, seconds in spent.items():
                words = [*DRAW, "--workers", workers, "-o", f"{folder}/made.csv", "--overwrite", "-n"]
                costs = [float(measured([*words, str(n)])["cpu"]) for n in (few, few + further)]
                seconds.append(costs[1] - costs[0])
    more = sorted(one / none - 1 for none, one in zip(*spent.values(), strict=True))[rounds // 2]
    figure = f"CPU seconds of {further:,} further molecules of qm9_fast with a worker {100 * more:+.1f} %, median of "
    yield Finding(f"{figure}{rounds} rounds", holds=more <= 0.05, whole=share.whole)


def measure_kills(share: Share) -> Iterator[Finding]:
    """R3: commands, then screening runs, killed at random moments and resumed."""
    if not share.long:
        yield Finding("kills at many moments (--long)", holds=None)
        return
    each = -(-share.of(200) // _GENERATING)
    with ThreadPoolExecutor(1) as beside:  # both wait for processes, one at a time each
        screening = beside.submit(kill_runs, SAMPLE, share.of(200), workers=1)
        outcome = run_tests([_RESUMED], ["--kills", str(each)]).get(_RESUMED)
        found, _ = screening.result()
    if outcome is None:
        yield Finding("killed commands: their test cannot run", holds=None)
    else:
        commands = outcome.passed + len(outcome.failed)
        figure = f"at least {each} kills of each of {commands} commands ({_GENERATING} generate), "
        figure += f"not so in {', '.join(outcome.failed)}" if outcome.failed else "all files the same bytes"
        yield Finding(figure, holds=not outcome.failed, whole=share.whole)
    same = sum(one.same == len(TABLES) for one in found)
    yield Finding(
        f"{same} of {len(found)} killed screening runs: all tables the same bytes", same == len(found), share.whole
    )


def measure_training_kills(share: Share) -> Iterator[Finding]:
    """R4: a training killed at random moments and resumed."""
    if not share.long:
        yield Finding("kills at many moments (--long)", holds=None)
        return
    count = max(4, share.of(100))
    outcome = run_tests([_TRAINED], ["--kills", str(count)]).get(_TRAINED)
    if outcome is None or not outcome.passed + len(outcome.failed):
        yield Finding("killed trainings: their test cannot run", holds=None)
    else:
        figure = "weights differ" if outcome.failed else "all weights equal bit by bit"
        yield Finding(f"{count} kills at random moments: {figure}", holds=not outcome.failed, whole=share.whole)


def measure_chains(share: Share) -> Iterator[Finding]:
    """R9: molecules drawn by every solver from categories whose law is known."""
    if not share.long:
        yield Finding("100,000 chains of categories in every solver (--long)", holds=None)
        return
    count = share.of(100_000)
    outcome = run_tests([_CHAINS], ["--chains", str(count)]).get(_CHAINS)
    if outcome is None or not outcome.passed + len(outcome.failed):
        yield Finding("chains of categories: their test cannot run", holds=None)
    else:
        figure = f"not so in {', '.join(outcome.failed)}" if outcome.failed else "of every field in every solver"
        yield Finding(f"{count:,} chains: p > 1e-3 {figure}", holds=not outcome.failed, whole=share.whole)


def measure_equivariance(share: Share) -> Iterator[Finding]:
    """R6: the built-in models on random molecules, four at a time."""
    sets = -(-share.of(50) // 4)
    for dtype, limit in _LIMITS.items():
        for name in list_models():
            model = MoleculeModel.from_folder(load_model_folder(name))
            worst = max(max(equivariance_errors(model, dtype, seed=seed).values()) for seed in range(sets))
            figure = f"{name}, {str(dtype)[6:]}, {4 * sets} molecules: {worst:.1e}"
            yield Finding(figure, holds=worst < limit, whole=share.whole)


def measure_repeats(share: Share) -> Iterator[Finding]:
    """R13: the same draws again, in other batches, with other workers, in parts."""
    if not share.long:
        yield Finding("200 molecules in ten ways (--long)", holds=None)
        return
    number = str(max(8, share.of(200)))
    ways = {"once more": ()} | {f"batch {size}": ("--batch-size", size) for size in ("1", "7", "64")}
    ways |= {f"{count} workers": ("--workers", count) for count in ("0", "2")}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        first = _drawn(folder, "first", number, ())
        differ = [way for way, words in ways.items() if _drawn(folder, way.replace(" ", ""), number, words) != first]
        parts = [_drawn(folder, f"part{k}", number, ("--shard", f"{k}/4")) for k in range(1, 5)]
        if b"".join(part for part, _ in parts) != first[0]:
            differ.append("four parts")
    figure = f"{number} molecules, {', '.join(ways)}, four parts: "
    figure += f"bytes differ in {', '.join(differ)}" if differ else "SDF and CSV the same bytes"
    yield Finding(figure, holds=not differ, whole=share.whole)


def _drawn(folder: Path, name: str, number: str, words: Sequence[str]) -> tuple[bytes, bytes]:
    """Return the SDF and the CSV of a run."""
    run = run_moldiff([*DRAW, "-n", number, *words, "-o", f"{name}.sdf"], folder)
    assert run.status == 0, run.said
    return (folder / f"{name}.sdf").read_bytes(), (folder / f"{name}.csv").read_bytes()


def measure_precision(share: Share) -> Iterator[Finding]:
    """R15: valid molecules in bfloat16 and in float32, from the same noise; the error of bfloat16."""
    for name in list_models():
        # as it is used: matrix products alone are in bfloat16
        model = MoleculeModel.from_folder(load_model_folder(name), torch.device("cpu"), torch.bfloat16)
        worst = max(max(equivariance_errors(model, torch.float32, seed=seed).values()) for seed in range(4))
        yield Finding(f"equivariance error of {name} in bfloat16 {worst:.1e}", holds=worst < 5e-2)
    if not share.long:
        yield Finding("validity on 1,000 samples (--long)", holds=None)
        return
    number, valid = max(8, share.of(1000)), {}
    with tempfile.TemporaryDirectory() as name:
        for precision in ("float32", "bfloat16"):
            words = [*DRAW, "-n", str(number), "--precision", precision, "-o", f"{precision}.sdf"]
            run = run_moldiff(words, Path(name))
            assert run.status == 0, run.said
            record = json.loads((Path(name) / f"{precision}.run.json").read_text(encoding="utf-8"))
            valid[precision] = 100 * record["counts"]["valid"] / number
    figure = f"valid of {number} of qm9_fast: float32 {valid['float32']:.1f} %, bfloat16 {valid['bfloat16']:.1f} %"
    yield Finding(figure, holds=valid["float32"] - valid["bfloat16"] < 1.0, whole=share.whole)


def measure_memory(share: Share) -> Iterator[Finding]:
    """R18: resident memory of the processes of a screening run, watched every second."""
    if not share.long:
        yield Finding("memory over 100,000 molecules and more (--long)", holds=None)
        return
    count = share.of(1_000_000)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_library(folder / "library.smi", count)
        words = ["screen", "library.smi", *SCREEN, "--top", "1", "--workers", "1", "-o", "run"]
        seen = watch(words, folder, lambda: len(list(folder.glob("run/rows/*/*.parquet"))))
    shards = -(-count // SHARD)
    slopes = [seen.slope(memory, shards) / count * 1e5 for memory in (seen.main, seen.worker)]
    figure = (
        f"{count:,} molecules: at most {seen.main.max():.0f} MB in the main process and {seen.worker.max():.0f} MB "
    )
    figure += (
        f"in the worker, slope {slopes[0]:+.2f} and {slopes[1]:+.2f} MB for 100,000; {seen.seconds / 3600:.2f} h, "
    )
    figure += f"{1000 * seen.cpu / count:.2f} ms of processor time each"
    if seen.status:
        figure += f", status {seen.status}"
    holds = seen.status == 0 and seen.most <= 600 and max(slopes) <= 1.0
    yield Finding(figure, holds=holds, whole=share.whole)


def measure_mutants(share: Share) -> Iterator[Finding]:
    """R24: the table of mutants, as it was last written."""
    table = (ROOT / "scripts" / "benchmarks" / "results" / "mutants.md").read_text(encoding="utf-8")
    found = re.search(r"(\d+) of (\d+) killed, (\d+) not run", table)
    assert found is not None, "results/mutants.md has another form"
    killed, known, left = map(int, found.groups())
    figure = f"by results/mutants.md {killed} of {known} mutants killed, {left} not run"
    yield Finding(figure, holds=killed >= 0.95 * known, whole=not left)


def measure_suite(share: Share) -> Iterator[Finding]:
    """R24: the runs of the whole suite that were kept."""
    yield from suite.findings_of(suite.read_runs(suite.RESULTS))


def measure_start(share: Share) -> Iterator[Finding]:
    """R25: seconds until the package is there, and until what generates is; what it asks for."""
    package, generating = _seconds("import moldiff"), _seconds("import moldiff; moldiff.generate")
    yield Finding(f"import {package:.1f} s ({generating:.1f} s with PyTorch and RDKit)", holds=package < 3.0)
    asked = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    compiled = "torch-scatter" in asked.replace("_", "-")
    safe = '"pytorch-lightning>=2.6.6"' in asked
    yield Finding("no torch-scatter; lightning 2.6.2 and 2.6.3 are below the bound", holds=safe and not compiled)


def _seconds(code: str) -> float:
    """Return the seconds of a Python that runs this code and ends, the best of three."""
    best = float("inf")
    for _ in range(3):
        started = time.monotonic()
        run = run_python(["-c", code], ROOT)
        best = min(best, time.monotonic() - started)
        assert run.status == 0, run.said
    return best


def measure_verification(share: Share) -> Iterator[Finding]:
    """R26: `moldiff models verify` of every built-in model."""
    with tempfile.TemporaryDirectory() as folder:
        bad = [name for name in list_models() if run_moldiff(["models", "verify", name], Path(folder)).status]
    figure = f"models verify of {', '.join(list_models())}: " + (f"fails for {', '.join(bad)}" if bad else "passes")
    yield Finding(figure, holds=not bad)
