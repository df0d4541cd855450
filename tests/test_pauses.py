"""Deadlines that pass while the process stands still."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest
from started import started

import moldiff
from moldiff import pauses as module
from moldiff.pauses import Pauses


class Clock:
    """A clock of the day that a test sets."""

    def __init__(self) -> None:
        self.now = 1000.0

    def time(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    monkeypatch.setattr(module, "_TICK_S", 3600.0)  # the thread of the test looks
    return clock


def test_a_pause_is_one_after_the_moment_that_is_asked_for(clock: Clock) -> None:
    pauses = Pauses()
    assert not pauses.since(0.0)
    clock.now += 1.9
    assert not pauses.since(0.0), "a busy machine"
    clock.now += 60
    assert pauses.since(1000.0)
    clock.now += 1
    assert pauses.since(1061.0) and not pauses.since(1062.0)
    pauses.stop()


def test_a_clock_that_is_put_back_is_no_pause(clock: Clock) -> None:
    pauses = Pauses()
    clock.now -= 3600
    assert not pauses.since(0.0)
    clock.now += 1
    assert not pauses.since(0.0)
    pauses.stop()


def test_a_clock_that_goes_forward_and_back_makes_one_pause(clock: Clock) -> None:
    pauses = Pauses()
    clock.now += 3600
    assert pauses.since(1000.0)
    clock.now -= 3600
    assert pauses.since(999.0), "it was one"
    for _ in range(3):  # what is sent from now on has its deadline
        sent = clock.now
        clock.now += 1
        assert not pauses.since(sent)
    clock.now += 60
    assert pauses.since(1010.0)
    pauses.stop()


def test_the_thread_looks_by_itself_and_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_TICK_S", 0.01)
    monkeypatch.setattr(module, "_LONG_S", 3.0)
    before = threading.enumerate()
    pauses = Pauses()
    time.sleep(3.5)
    assert not pauses.since(0.0), "nobody else had looked"
    (thread,) = [one for one in threading.enumerate() if one.name == "moldiff-pauses" and one not in before]
    pauses.stop()
    thread.join(30)
    assert not thread.is_alive()


SCRIPT = """
import json, sys, time
from moldiff.chem.filters.commands import CommandMeasure
from moldiff.chem.filters.checks import Subject
from moldiff.processes import pool_of
from rdkit import Chem

PID = __file__ + ".pid"

def slow(n):
    time.sleep(0.25)
    return n

def measured(n):
    code = f"import os, time; open({PID!r}, 'w').write(str(os.getpid())); time.sleep(1.5); print(5)"
    measure = CommandMeasure("five", (sys.executable, "-c", code), 3.0)
    return measure(Subject(Chem.MolFromSmiles("C"), 0)).value

if __name__ == "__main__":
    with pool_of(1) as pool:
        print("begun", flush=True)
        found = list(pool.map_items(%s, range(%d), chunk=2, timeout_s=%s))
    print(json.dumps([str(one) for one in found]))
"""


@pytest.mark.skipif(os.name != "posix", reason="signals")
@pytest.mark.parametrize(("work", "count", "deadline"), [("slow", 24, 1.0), ("measured", 2, 20.0)])
def test_what_was_stopped_and_goes_on_loses_nothing(work: str, count: int, deadline: float, tmp_path: Path) -> None:
    """As by Ctrl-Z, for longer than an item may take."""
    script = tmp_path / "script.py"
    script.write_text(textwrap.dedent(SCRIPT) % (work, count, deadline))
    environment = {**os.environ, "PYTHONPATH": str(Path(moldiff.__file__).parents[1])}
    command = [sys.executable, str(script)]
    with started(command, stdout=subprocess.PIPE, start_new_session=True, env=environment) as process:
        assert process.stdout is not None and process.stdout.readline() == "begun\n"
        time.sleep(3.0)
        os.killpg(process.pid, signal.SIGSTOP)
        _send(tmp_path / "script.py.pid", signal.SIGSTOP)  # in a session of its own
        time.sleep(4.5)
        os.killpg(process.pid, signal.SIGCONT)
        time.sleep(0.2)
        _send(tmp_path / "script.py.pid", signal.SIGCONT)
        found, _ = process.communicate(timeout=120)
    wanted = [str(n) for n in range(count)] if work == "slow" else ["5.0"] * count
    assert json.loads(found) == wanted


def _send(pid: Path, number: signal.Signals) -> None:
    """Send a signal to the process whose number a file holds, if there is one."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        os.kill(int(pid.read_text()), number)
