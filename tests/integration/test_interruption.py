"""Ctrl-C, SIGTERM and SIGHUP: what is finished is written under its final name, nothing half-made is left behind."""

import contextlib
import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from started import started

from moldiff.interruption import Interruption, orderly_end, watched_signals

REPOSITORY = Path(__file__).parents[2]
# A shell that started the tests in the background lets its children ignore Ctrl-C, and nohup SIGHUP.
START = f"""
import signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)
sys.path.insert(0, {str(REPOSITORY / "tests" / "fixtures")!r})
from methane import METHANE
from moldiff.cli.main import main
from moldiff.generation import smc_run
from moldiff.sampling import molecule_sampler
from moldiff.arrays import RawSample
from moldiff.sampling.molecule_sampler import MoleculeSampler
def busy():
    print("busy", flush=True)
    time.sleep(60)
"""
FIVE = """
def draw(self, first, count):
    for number in reversed(range(first, first + 5)):
        yield RawSample(number, METHANE, -1)
    busy()
MoleculeSampler.draw = draw
"""
NONE = "MoleculeSampler.draw = lambda self, first, count: (busy() for _ in range(1))\n"
SLOW_AFTER_TWO = """
original, calls = molecule_sampler.sample, []
def sample(*arguments):
    calls.append(1)
    call = len(calls)
    if call > 2:
        time.sleep(1)
    if call == 4:
        print("busy", flush=True)  # the first two have been finished for a while
    return original(*arguments)
molecule_sampler.sample = sample
"""
SCORE = "smc_run.MoleculePotential.__call__ = lambda self, samples, final: busy()\n"
THREE_TASKS = """
def run(self, wanted):
    for task in wanted[:3]:
        yield RawSample(task.key, task.arrays, -1)
    busy()
molecule_sampler.TaskRunner.run = run
"""
SCORED = """
from moldiff.diffusion import bound
original = bound.stop_if_unwanted
def stop_if_unwanted():
    original()
    print("busy", flush=True)
bound.stop_if_unwanted = stop_if_unwanted
"""
ENDED = {129: "terminated\n", 130: "interrupted\n", 143: "terminated\n"}
Stopped = Callable[..., tuple[int, str]]


pytestmark = pytest.mark.usefixtures("usual_signals")


@pytest.fixture
def stopped(tmp_path: Path, model: Path) -> Stopped:
    """Run a command with some functions replaced, send signals once it is busy; return status and standard error."""
    folder = tmp_path / "work"
    folder.mkdir()

    def call(change: str, arguments: list[str], *signals: int, out: str = "m.sdf") -> tuple[int, str]:
        given = [*arguments, "--model", str(model), "--device", "cpu", "-o", out]
        with started(
            [sys.executable, "-c", f"{START}{change}sys.exit(main({given}))"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        ) as process:
            assert process.stdout is not None
            line = process.stdout.readline()
            if line != "busy\n":
                raise AssertionError(process.communicate()[1])
            for number in signals:
                process.send_signal(number)
            _, err = process.communicate(timeout=55)
        return process.returncode, err

    return call


def numbers(path: Path) -> list[int]:
    with path.open(newline="") as file:
        return [int(row["moldiff_id"].rpartition("-")[2].partition(".")[0]) for row in csv.DictReader(file)]


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_finished_molecules_are_written(stopped: Stopped, tmp_path: Path, number: int, status: int) -> None:
    found, err = stopped(FIVE, ["generate", "-n", "20", "--evaluations", "2", "--renoise", "3"], number)
    assert found == status
    said = "warning: interrupted after 5 of 20 molecules; what was made is in m.sdf, and --resume goes on from there\n"
    assert err == said + ENDED[status]
    folder = tmp_path / "work"
    assert sorted(os.listdir(folder)) == ["m.csv", "m.run.json", "m.sdf"]
    assert numbers(folder / "m.csv") == [0, 1, 2, 3, 4]
    assert (folder / "m.sdf").read_text().count("$$$$") == 5
    record = json.loads((folder / "m.run.json").read_text())
    assert record["problem"] == "interrupted after 5 of 20 molecules"
    assert (record["requested"], record["drawn"]) == (20, 5)


@pytest.mark.parametrize(
    ("change", "options", "number", "status"),
    [
        (NONE, [], signal.SIGINT, 130),
        (NONE, [], signal.SIGTERM, 143),
        (SCORE, ["--score", "qed", "--score-weight", "1"], signal.SIGINT, 130),
    ],
)
def test_without_a_finished_molecule_nothing_is_left(
    stopped: Stopped, tmp_path: Path, change: str, options: list[str], number: int, status: int
) -> None:
    found, err = stopped(change, ["generate", "-n", "20", "--evaluations", "6", *options], number)
    assert (found, err) == (status, ENDED[status])
    assert os.listdir(tmp_path / "work") == []


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_scoring_ends_at_once_and_leaves_nothing_half_made(
    stopped: Stopped, tmp_path: Path, number: int, status: int
) -> None:
    sample = str(REPOSITORY / "data" / "sample.sdf")
    options = ["--evaluations", "500", "--chain-steps", "500", "--repeats", "1000", "--batch-size", "1"]
    started = time.monotonic()
    found, err = stopped(SCORED, ["likelihood", sample, *options], number, out="m.csv")
    assert (found, err) == (status, ENDED[status])
    assert time.monotonic() - started < 40, "not the end of a micro-batch of half a million evaluations"
    assert os.listdir(tmp_path / "work") == []


def test_threads_that_draw_are_stopped(stopped: Stopped, tmp_path: Path) -> None:
    options = ["-n", "400", "--evaluations", "2", "--n-atoms", "5", "--precision", "float32", "--keep-invalid"]
    found, err = stopped(SLOW_AFTER_TWO, ["generate", *options], signal.SIGINT)
    assert (found, "of 400 molecules; what was made is in m.sdf" in err) == (130, True)
    made = numbers(tmp_path / "work" / "m.csv")
    assert 16 <= len(made) < 100
    assert made == sorted(made)


def test_until_valid_counts_the_valid(stopped: Stopped, tmp_path: Path) -> None:
    stopped(FIVE, ["generate", "-n", "6", "--evaluations", "2", "--until-valid"], signal.SIGINT)
    record = json.loads((tmp_path / "work" / "m.run.json").read_text())
    assert record["problem"] == "interrupted after 5 of 6 valid molecules"


@pytest.mark.parametrize("options", [["vary"], ["conformers", "--redraws", "0"]], ids=lambda options: options[0])
def test_vary_and_conformers_write_what_is_settled(stopped: Stopped, tmp_path: Path, options: list[str]) -> None:
    folder = tmp_path / "work"
    records = (REPOSITORY / "data" / "sample.sdf").read_text().split("$$$$\n")
    (tmp_path / "in.sdf").write_text("".join(f"{record}$$$$\n" for record in records[:2]))
    more = ["../in.sdf", "-n", "4", "--evaluations", "2", "--keep-invalid"]
    found, err = stopped(THREE_TASKS, [*options, *more], signal.SIGINT)
    assert (
        found,
        "of 8 molecules; what was made is in m.sdf, and --resume goes on from there\ninterrupted\n" in err,
    ) == (130, True), err
    assert sorted(os.listdir(folder)) == ["m.csv", "m.run.json", "m.sdf"]
    made = len(numbers(folder / "m.csv"))
    assert 1 <= made <= 3
    record = json.loads((folder / "m.run.json").read_text())
    assert record["problem"] == f"interrupted after {made} of 8 molecules"
    assert (record["requested"], record["drawn"]) == (8, made)


def test_a_signal_ends_only_the_making_of_an_item() -> None:
    made, used = [], []

    def source() -> Iterator[int]:
        for k in range(9):
            if k == 3:
                signal.raise_signal(signal.SIGINT)
            made.append(k)
            yield k

    with watched_signals() as interruption:
        for k in interruption.until(source()):
            used.append(k)
        assert (made, used, interruption.number) == ([0, 1, 2], [0, 1, 2], signal.SIGINT)
        assert list(interruption.until([1])) == []
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)  # a second one is not put off
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)


def test_what_is_done_with_an_item_is_finished() -> None:
    used = []
    with watched_signals() as interruption:
        for k in interruption.until(range(9)):
            if k == 1:
                signal.raise_signal(signal.SIGTERM)
            used.append(k)
        with pytest.raises(SystemExit) as raised:
            interruption.end()
    assert used == [0, 1]
    assert raised.value.code == 143


def test_a_program_that_handles_signals_itself_goes_on_doing_so() -> None:
    seen: list[Any] = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: seen.append(number))
    try:
        with watched_signals() as interruption:
            signal.raise_signal(signal.SIGTERM)
        assert (seen, interruption.number) == ([signal.SIGTERM], None)
    finally:
        signal.signal(signal.SIGTERM, before)


def test_without_signals_everything_comes() -> None:
    assert list(Interruption().until(iter("abc"))) == ["a", "b", "c"]


class Swallower:
    """Something that a signal comes to when it is forgotten: Python swallows what the handler raises there."""

    def __init__(self, number: signal.Signals) -> None:
        self._number = number

    def __del__(self) -> None:
        signal.raise_signal(self._number)


def soon() -> Iterator[int]:
    """Numbers for five seconds, or until a signal comes."""
    end = time.monotonic() + 5
    yield from iter(lambda: (time.sleep(0.01), int(time.monotonic() < end))[1], 0)


@pytest.mark.parametrize(("number", "raised"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, SystemExit)])
def test_a_signal_that_python_swallows_comes_again(
    number: signal.Signals, raised: type[BaseException], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(raised), orderly_end():
        Swallower(number)
        list(soon())
    assert capsys.readouterr().err == ""


def test_an_error_after_ctrl_c_that_a_library_swallowed_is_ctrl_c() -> None:
    """As of a library that is imported half, where another one catches everything."""

    def broken() -> None:
        with contextlib.suppress(BaseException):
            signal.raise_signal(signal.SIGINT)
        raise AttributeError("module 'numpy._core' has no attribute '_multiarray_umath'")

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt), orderly_end():
            broken()
        with pytest.raises(BaseException) as caught, orderly_end():
            raise AttributeError  # of another time
        assert isinstance(caught.value, AttributeError)
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)


def test_one_that_is_swallowed_while_an_item_is_made_ends_its_making_all_the_same() -> None:
    used = []

    def source() -> Iterator[int]:
        yield 0
        Swallower(signal.SIGTERM)
        list(soon())
        yield 1

    with watched_signals() as interruption:
        for k in interruption.until(source()):
            used.append(k)
        assert (used, interruption.number) == ([0], signal.SIGTERM)


def test_what_else_is_swallowed_is_left_to_the_program(monkeypatch: pytest.MonkeyPatch) -> None:
    class Fails:
        def __del__(self) -> None:
            raise KeyError

    seen = list[Any]()
    monkeypatch.setattr(sys, "unraisablehook", lambda one: seen.append(one.exc_type))
    before = sys.unraisablehook
    with orderly_end(), watched_signals():
        Fails()
    assert (seen, sys.unraisablehook) == ([KeyError], before)


SOME_SIZES = """
def draw(self, first, count):
    for number in (4, 1, 7):
        yield RawSample(number, METHANE, -1)
    busy()
MoleculeSampler.draw = draw
"""


def test_molecules_that_were_finished_out_of_turn_are_written_too(stopped: Stopped, tmp_path: Path) -> None:
    found, err = stopped(SOME_SIZES, ["generate", "-n", "20", "--evaluations", "2"], signal.SIGTERM)
    assert (found, "interrupted after 3 of 20 molecules" in err) == (143, True), err
    assert numbers(tmp_path / "work" / "m.csv") == [1, 4, 7], "drawn in the order of their sizes"
