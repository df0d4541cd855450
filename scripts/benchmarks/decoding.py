"""Measure structured decoding and re-noising against plain argmax on the same draws. Writes Markdown.

    python -m scripts.benchmarks.decoding qm9 -n 1000 -o scripts/benchmarks/results/decoding.md

The model must carry what was seen in training (``moldiff models pack`` adds it). All draws count in every row.
"""

from __future__ import annotations

import argparse
import datetime
import math
import os
import platform
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import scipy.optimize  # here, so that its import is in nobody's time
import torch

from moldiff.choices import DEFAULTS
from moldiff.datasets.chemistry import TrainingChemistry
from moldiff.files import write_text
from moldiff.generation.decoding.decoders import (
    LENGTH_WIDENING,
    ArgmaxDecoder,
    DecodedMolecule,
    Decoder,
    StructuredDecoder,
    length_problem,
)
from moldiff.generation.renoise import RENOISE_TIME
from moldiff.models.loaded import load_model
from moldiff.provenance import hardware
from moldiff.sampling.molecule_sampler import MoleculeSampler
from moldiff.sampling.partial_walks import PartialWalks
from moldiff.sampling.solvers import SOLVERS
from moldiff.sampling.time_grids import GRIDS
from moldiff.threads import Workers, workers_for

ATTEMPTS = 2


@dataclass(frozen=True)
class Result:
    """What a way of decoding makes of one draw.

    Attributes:
        success: whether it counts as valid and connected, by the rules of this way.
        fitting: whether it is valid and connected and all bond lengths lie in the ranges of training.
        changed: whether the molecule is another one than that of argmax.
    """

    success: bool
    fitting: bool
    changed: bool


class Bench:
    """Draws of one model, and the ways to decode them.

    Args:
        arguments: of the command line.
        workers: run the micro-batches.
    """

    def __init__(self, arguments: argparse.Namespace, workers: Workers) -> None:
        loaded = load_model(arguments.model, device=arguments.device)
        self.folder, model = loaded.folder, loaded.model
        self.vocabulary = model.vocabulary
        self.seen = TrainingChemistry.from_tensors(self.folder.references, str(self.folder.path))
        self.argmax, self.structured = ArgmaxDecoder(model.vocabulary), StructuredDecoder(model.vocabulary, self.seen)
        self.fitted = StructuredDecoder(model.vocabulary, self.seen, fitted=True)
        solver, grid = SOLVERS[arguments.sampler], GRIDS[arguments.grid]
        self.sampler = MoleculeSampler(
            model, solver, arguments.evaluations, arguments.seed, None, True, grid, workers=workers
        )
        self.walks = PartialWalks.late(self.sampler, RENOISE_TIME)
        started = time.perf_counter()
        self.draws = sorted(self.sampler.draw(0, arguments.n), key=lambda draw: draw.number)
        self.seconds = time.perf_counter() - started

    def judged(self, decoder: Decoder) -> tuple[list[DecodedMolecule | None], list[float]]:
        """Return what a decoder makes of each draw (None if the draw is not finite), and the seconds for each."""
        found, seconds = [], []
        for draw in self.draws:
            started = time.perf_counter()
            found.append(None if draw.arrays is None else decoder.decode(draw))
            seconds.append(time.perf_counter() - started)
        return found, seconds

    def renoised(
        self, judged: list[DecodedMolecule | None], decoder: Decoder
    ) -> tuple[list[DecodedMolecule | None], int, float]:
        """Noise what is not valid and walk down again: (new judgements, attempts, seconds)."""
        found, attempts, started = list(judged), 0, time.perf_counter()
        for number in range(1, ATTEMPTS + 1):
            failed = [d for d, one in zip(self.draws, found, strict=True) if one is None or one.reason]
            for draw in self.walks.run(failed, number):
                attempts += 1
                one = None if draw.arrays is None else decoder.decode(draw)
                if one is not None and not one.reason:
                    found[draw.number] = one
        return found, attempts, time.perf_counter() - started

    def results(
        self, judged: list[DecodedMolecule | None], plain: list[DecodedMolecule | None], lengths: bool
    ) -> list[Result]:
        """Count the molecules; ``lengths``: those of structured decoding must have lengths like training's."""
        results = []
        for one, argmax in zip(judged, plain, strict=True):
            sound = one is not None and not (one.reason if lengths else one.problem)
            mol = None if one is None or one.problem else one.conversion.mol
            fitting = mol is not None and not length_problem(mol, self.vocabulary, self.seen)
            results.append(Result(sound, fitting, one is not argmax and sound))
        return results


def line(name: str, results: list[Result], evaluations: float, seconds: float) -> str:
    """Return a line of the table; ``evaluations`` are those of the network over all draws."""
    n, successes = len(results), sum(result.success for result in results)
    shares = [percent(sum(getattr(result, key) for result in results), n) for key in ("success", "fitting", "changed")]
    cost = f"{evaluations / successes:.1f}" if successes else "-"
    return f"| {name} | {' | '.join(shares)} | {evaluations / n:.1f} | {cost} | {seconds:.2f} |"


def percent(count: int, n: int) -> str:
    """Return a share with its standard error, "93.1 ± 0.8"."""
    share = count / n
    return f"{100 * share:.1f} ± {100 * math.sqrt(share * (1 - share) / n):.1f}"


def table(bench: Bench) -> list[str]:
    """Return the lines of the table and what structured decoding cost."""
    plain, plain_seconds = bench.judged(bench.argmax)
    structured, structured_seconds = bench.judged(bench.structured)
    fitted, fitted_seconds = bench.judged(bench.fitted)
    failed = {k for k, one in enumerate(plain) if one is not None and one.problem}
    milliseconds = 1000 * np.array([structured_seconds[k] for k in failed] or [math.nan])
    structured, fitted = (
        [made[k] if k in failed else one for k, one in enumerate(plain)] for made in (structured, fitted)
    )
    again, attempts, again_seconds = bench.renoised(plain, bench.argmax)
    both, both_attempts, both_seconds = bench.renoised(fitted, bench.fitted)
    draws, attempt = len(bench.draws) * bench.sampler.evaluations, bench.walks.evaluations
    reasons = Counter(one.reason.partition(" (argmax")[0] for one in fitted if one is not None and one.reason)
    return [
        "| | valid & connected | the same, all bond lengths as in training | changed | evaluations a draw | "
        "evaluations a success | decoding, s |",
        "|---|---|---|---|---|---|---|",
        line("argmax", bench.results(plain, plain, False), draws, sum(plain_seconds)),
        line("structured", bench.results(structured, plain, False), draws, sum(structured_seconds)),
        line("structured, length rule", bench.results(structured, plain, True), draws, sum(structured_seconds)),
        line("fitted", bench.results(fitted, plain, True), draws, sum(fitted_seconds)),
        line("argmax, re-noised", bench.results(again, plain, True), draws + attempts * attempt, again_seconds),
        line(
            "fitted, re-noised",
            bench.results(both, plain, True),
            draws + both_attempts * attempt,
            sum(fitted_seconds) + both_seconds,
        ),
        "",
        f"Structured decoding ran on the {len(failed)} draws whose argmax fails: {milliseconds.mean():.0f} ms each "
        f"(median {np.median(milliseconds):.0f}, longest {milliseconds.max():.0f}). Failures of fitted decoding: "
        + (", ".join(f"{count} {reason}" for reason, count in reasons.most_common()) or "none")
        + f". Drawing took {bench.seconds:.1f} s.",
    ]


def report(arguments: argparse.Namespace) -> str:
    """Measure and return the text."""
    with workers_for(torch.device(arguments.device)) as workers:
        bench = Bench(arguments, workers)
        lines = table(bench)
    molecule_sampler, walks = bench.sampler, bench.walks
    command = (
        f"python -m scripts.benchmarks.decoding {Path(arguments.model).name} -n {arguments.n} "
        f"--evaluations {arguments.evaluations} --sampler {arguments.sampler} --grid {arguments.grid} "
        f"--seed {arguments.seed}"
    )
    head = [
        "# Structured decoding and re-noising",
        "",
        f"`{command}`, {datetime.date.today()}, {hardware(molecule_sampler.device)}, {os.cpu_count()} cores, Python "
        f"{platform.python_version()}, torch {torch.__version__}, scipy {scipy.__version__}, model hash "
        f"`{bench.folder.sha256[:16]}`. All {arguments.n} draws count in every row; shares in %, ± standard error.",
        "",
        "- Structured: where the molecule of argmax is not valid and connected, the most probable one that is.",
        "- Length rule: a bond of such a molecule that is shorter or longer than any of its kind (elements, order or "
        f"aromatic) in the training split, by more than {LENGTH_WIDENING} angstrom, makes it a failure. The third "
        "column applies this to every molecule, plain ones too.",
        "- Fitted: the most probable one of those that keep the length rule.",
        f"- Re-noised: failures are noised to t = {float(walks.grid[0]):.2f} and walked down again, up to "
        f"{ATTEMPTS} times, at {walks.evaluations} network evaluations an attempt; a draw costs "
        f"{molecule_sampler.evaluations}. Drawing afresh until it works costs the evaluations a success of the first "
        f"row.",
        "",
    ]
    return "\n".join([*head, *lines, ""])


def main() -> None:
    """Read the arguments, measure, write the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("model", help="built-in model or model folder")
    parser.add_argument("-n", type=int, default=1000)
    parser.add_argument("--evaluations", type=int, default=DEFAULTS.evaluations, help="network evaluations a draw")
    parser.add_argument("--sampler", default=DEFAULTS.sampler, choices=SOLVERS)
    parser.add_argument("--grid", default=DEFAULTS.grid, choices=GRIDS)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("-o", "--out", type=Path, help="Markdown file to write")
    arguments = parser.parse_args()
    text = report(arguments)
    print(text)
    if arguments.out is not None:
        write_text(arguments.out, text)


if __name__ == "__main__":
    main()
