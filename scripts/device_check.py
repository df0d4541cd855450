"""Check this package on a device, and measure it: one command, four minutes on one card. Writes JSON and Markdown.

    python -m scripts.device_check -o scripts/benchmarks/results/device.md
    python -m scripts.device_check --generate qm9=100000 --generate drugs=20000 --seconds 300
    python -m scripts.device_check --short --device cpu

It needs torch, numpy, safetensors and this checkout (a model of l_max 2 also e3nn); where RDKit, pydantic, PyYAML or
PyTorch Lightning are missing it says what that leaves out. It asks whether losses and molecules are the same when
repeated, by graph and when compiled; how many molecules/s are trained on and drawn; where the time goes, and beside it
the floor that the device's memory and arithmetic give.

Each measurement has a share of the time. One that fails, or takes longer than its share, is a row that says so, and
what no time is left for is listed as not measured. The files are written anew after each. On a CPU the check is a short
one, whose figures show that all of it runs and nothing else. Exit status 1 if a measurement failed.
"""

from __future__ import annotations

import argparse
import gc
import math
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from scripts.device.stand_ins import missing, stand_in

if TYPE_CHECKING:
    import torch

    from scripts.device.setting import Figure, Setting

SECONDS = 230
LEAST = 0.4  # share of its time without which a measurement is not begun
END_TO_END = "drawing, end to end"
OPTIONAL = ("rdkit", "pydantic", "yaml", "pytorch_lightning")


class OutOfTime(BaseException):
    """A measurement takes longer than it may. Not an `Exception`, which compilers catch and go on."""


@dataclass(frozen=True)
class Measurement:
    """One of the things that are measured.

    Attributes:
        name: of it.
        seconds: that it may take.
        work: measures by the setting, with so many seconds for repeating it; gives figures as they come.
        needs: packages without which it is skipped.
    """

    name: str
    seconds: float
    work: Callable[[Setting, float], Iterator[Figure]]
    needs: tuple[str, ...] = ()


@dataclass(frozen=True)
class Outcome:
    """What came of a measurement.

    Attributes:
        name: of it.
        state: "measured", "failed", "skipped" (a package is missing) or "not measured" (no time was left).
        reason: of the last three.
        seconds: that it took.
        figures: that it gave.
    """

    name: str
    state: str
    reason: str = ""
    seconds: float = 0.0
    figures: tuple[Figure, ...] = ()


def measurements() -> tuple[Measurement, ...]:
    """Return all of them, in the order of their worth; what may take longest comes last."""
    from scripts.device import cost, sampling, training

    return (
        Measurement("ceilings", 3, cost.ceilings),
        Measurement("one evaluation", 4, sampling.agreement),
        Measurement("draws repeated", 7, sampling.repeated),
        Measurement("trainings compared", 17, training.equality),
        Measurement("training, eager", 10, partial(training.speed, graphs=False)),
        Measurement("training, by graph", 10, partial(training.speed, graphs=True)),
        Measurement("parts of a training step", 6, training.parts),
        Measurement("drawing by rows", 20, sampling.by_rows),
        Measurement("drawing by model", 24, sampling.by_model),
        Measurement("parts of drawing", 10, sampling.parts),
        Measurement(END_TO_END, 17, sampling.end_to_end, ("rdkit", "pydantic", "yaml")),
        Measurement("training, compiled", 102, training.compiled),
    )


@contextmanager
def at_most(seconds: float) -> Iterator[None]:
    """Raise `OutOfTime` in the work within after so many seconds, where the system can."""
    if not hasattr(signal, "setitimer"):
        yield
        return

    def stop(number: int, frame: FrameType | None) -> None:
        raise OutOfTime(f"took longer than its {seconds:.0f} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def outcome_of(measurement: Measurement, setting: Setting, absent: Sequence[str], left: float) -> Outcome:
    """Measure, within the time that is left, s.

    Args:
        absent: packages that this Python lacks.
    """
    name, share = measurement.name, setting.patience * measurement.seconds
    if lacking := [package for package in measurement.needs if package in absent]:
        return Outcome(name, "skipped", f"needs {', '.join(lacking)}")
    if left < LEAST * share:
        return Outcome(name, "not measured", f"{max(0.0, left):.0f} s were left, it has {share:.0f}")
    figures: list[Figure] = []
    start, reason = time.perf_counter(), ""
    try:
        with at_most(min(share, left)):
            for figure in measurement.work(setting, setting.pace * min(share, left)):
                is_json = isinstance(figure.value, str) or math.isfinite(figure.value)
                figures.append(figure if is_json else replace(figure, value=str(figure.value)))
    except (Exception, OutOfTime) as error:  # noqa: BLE001 - whatever a device says must not end the run
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
    gc.collect()
    state = "failed" if reason else "measured"
    return Outcome(name, state, reason, time.perf_counter() - start, tuple(figures))


def described(device: torch.device, absent: Sequence[str], stood_in: Sequence[str], short: bool) -> dict[str, Any]:
    """Return what was checked, on what, as plain JSON."""
    import datetime
    import platform

    import torch

    from moldiff.provenance import command_line, hardware, source_commit
    from moldiff.version import VERSION

    return {
        "command": command_line(),
        "date": str(datetime.date.today()),
        "device": hardware(device),
        "short": short,
        "moldiff": VERSION,
        "commit": source_commit(),
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "python": platform.python_version(),
        "missing": list(absent),
        "stood_in_for": list(stood_in),
    }


def page(header: dict[str, Any], outcomes: Sequence[Outcome]) -> str:
    """Return the table as Markdown."""
    lines = [
        f"# Device check: {header['device']}",
        "",
        f"`{header['command']}`, {header['date']}, moldiff {header['moldiff']} {header['commit'][:12]}, torch "
        f"{header['torch']}, Python {header['python']}.",
        "",
    ]
    if header["short"]:
        lines += ["The short check, on a tiny network: its figures show that all of it runs, not how fast it is.", ""]
    if header["missing"]:
        lines += [f"Not installed: {', '.join(header['missing'])}.", ""]
    lines += ["| measurement | figure | value | how |", "|---|---|---|---|"]
    for outcome in outcomes:
        for figure in outcome.figures:
            value = figure.value if isinstance(figure.value, str) else f"{figure.value:.4g} {figure.unit}".strip()
            lines.append(f"| {outcome.name} | {figure.name} | {value} | {figure.note} |")
        if outcome.state == "failed":
            lines.append(f"| {outcome.name} | | failed: {outcome.reason.replace('|', '/')} | |")
    missed = [outcome for outcome in outcomes if outcome.state in ("skipped", "not measured")]
    if missed:
        lines += ["", "Not measured:", "", *(f"- {outcome.name}: {outcome.reason}" for outcome in missed)]
    took = ", ".join(f"{outcome.name} {outcome.seconds:.0f}" for outcome in outcomes if outcome.seconds)
    return "\n".join([*lines, "", f"Seconds: {took}.", ""])


def parse(words: Sequence[str] | None) -> argparse.Namespace:
    """Read the arguments."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--device", default="auto")
    parser.add_argument("--precision", default="auto", help="of the network when molecules are drawn")
    parser.add_argument("--short", action="store_true", help="only show that all of it runs; always so on a CPU")
    parser.add_argument("--seconds", type=float, default=SECONDS, help=f"to take at most (default: {SECONDS})")
    parser.add_argument("--compile", action="store_true", help="also compile in a short check, some minutes on a CPU")
    parser.add_argument("--only", type=lambda text: text.split(";"), help="names of measurements, with ; between")
    parser.add_argument(
        "--generate", type=_counted, action="append", metavar="MODEL=N", help="only this generation; may be repeated"
    )
    parser.add_argument("-o", "--out", type=Path, help="Markdown file to write; the JSON file lies beside it")
    return parser.parse_args(words)


def _counted(text: str) -> tuple[str, int]:
    """Read "MODEL=N"."""
    model, _, number = text.partition("=")
    return model, int(number)


def _asked(names: Sequence[str] | None) -> list[Measurement]:
    """Return the measurements of these names, or all; SystemExit for a name that none has."""
    known = {measurement.name: measurement for measurement in measurements()}
    if unknown := set(names or ()) - known.keys():
        raise SystemExit(f"error: unknown {'; '.join(sorted(unknown))}; there are {'; '.join(known)}")
    return [measurement for name, measurement in known.items() if names is None or name in names]


def main(words: Sequence[str] | None = None) -> int:
    """Measure all, write after each; return the exit status."""
    start = time.perf_counter()
    arguments, absent, stood_in = parse(words), missing(OPTIONAL), stand_in()
    from moldiff.devices import resolve_device, resolve_precision
    from moldiff.files import write_json, write_text
    from scripts.device.setting import Setting

    device = resolve_device(arguments.device)
    short = arguments.short or device.type == "cpu"
    make = Setting.short if short else Setting.on_card
    setting = make(device, resolve_precision(arguments.precision, device))
    if arguments.generate:
        arguments.only = [END_TO_END]
        setting = replace(setting, generated=dict(arguments.generate), evaluations=None)
    header, outcomes = described(device, absent, stood_in, short), list[Outcome]()
    for measurement in _asked(arguments.only):
        left = arguments.seconds - (time.perf_counter() - start)
        if arguments.generate:
            measurement = replace(measurement, seconds=left / setting.patience)
        if short and not arguments.compile and measurement.name == "training, compiled":
            outcomes.append(Outcome(measurement.name, "not measured", "a short check compiles with --compile alone"))
        else:
            outcomes.append(outcome_of(measurement, setting, absent, left))
        last = outcomes[-1]
        print(f"{last.name}: {last.state} {last.reason} ({last.seconds:.1f} s)", flush=True)
        if arguments.out is not None:
            write_text(arguments.out, page(header, outcomes))
            write_json(
                arguments.out.with_suffix(".json"), {**header, "measurements": [asdict(one) for one in outcomes]}
            )
    print(page(header, outcomes))
    return int(any(outcome.state == "failed" for outcome in outcomes))


if __name__ == "__main__":
    raise SystemExit(main())
