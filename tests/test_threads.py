"""Workers: order kept, errors passed on, threads of PyTorch given back, nothing begun that nobody waits for."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future

import pytest
import torch

from moldiff.interruption import awaited
from moldiff.threads import INLINE, stop_if_unwanted, workers_for

CPU = torch.device("cpu")
INTERRUPTED = """
import os, signal, threading, time
import torch
from rdkit import Chem
from moldiff.threads import workers_for
signal.signal(signal.SIGINT, signal.default_int_handler)
Chem.MolFromSmiles("CCO").HasSubstructMatch(Chem.MolFromSmarts("CO"))  # takes Ctrl-C over, and gives it back
with workers_for(torch.device("cpu")) as workers:
    try:
        begun = workers.map(time.sleep, [20])
        threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)).start()
        started = time.monotonic()
        list(begun)
    except KeyboardInterrupt:
        print(time.monotonic() - started, flush=True)
        os._exit(0)  # the thread sleeps on
"""


@pytest.fixture
def three_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


def test_results_come_in_the_order_of_the_items(three_threads: None) -> None:
    gates = [threading.Event() for _ in range(3)]

    def work(number: int) -> int:
        if number < 2:
            assert gates[number + 1].wait(10)  # the later one ends first
        gates[number].set()
        return number

    with workers_for(CPU) as workers:
        assert list(workers.map(work, range(3))) == [0, 1, 2]


def test_a_cpu_gets_a_worker_for_each_thread_and_each_computes_on_one(three_threads: None) -> None:
    with workers_for(CPU) as workers:
        assert workers.count == 3 and torch.get_num_threads() == 1
        assert list(workers.map(lambda _: torch.get_num_threads(), range(6))) == [1] * 6
    assert torch.get_num_threads() == 3


def test_who_comes_last_gives_the_threads_back(three_threads: None) -> None:
    """Two callers that overlap, each in a thread of its own: the second sees, and leaves, what the first found."""
    inside, first_is_out = threading.Event(), threading.Event()
    seen: list[int] = []

    def second() -> None:
        with workers_for(CPU) as workers:
            inside.set()
            assert first_is_out.wait(10)
            seen.append(workers.count)
            seen.extend(workers.map(lambda _: torch.get_num_threads(), range(6)))

    other = threading.Thread(target=second)
    with workers_for(CPU):
        other.start()
        assert inside.wait(10)
    first_is_out.set()
    other.join()
    assert seen == [3, *[1] * 6]
    fresh: list[int] = []
    late = threading.Thread(target=lambda: fresh.append(torch.get_num_threads()))
    late.start()
    late.join()
    assert (torch.get_num_threads(), fresh) == (3, [3])


def test_a_caller_within_a_caller_leaves_the_threads_as_it_found_them(three_threads: None) -> None:
    with workers_for(CPU) as outer:
        with workers_for(CPU) as inner:
            assert (outer.count, inner.count, torch.get_num_threads()) == (3, 3, 1)
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == 3


def test_another_device_gets_one_worker(three_threads: None) -> None:
    with workers_for(torch.device("meta")) as workers:
        assert workers.count == 1


def test_threads_are_given_back_after_an_error(three_threads: None) -> None:
    def work(number: int) -> float:
        return 1 / number

    with pytest.raises(ZeroDivisionError), workers_for(CPU) as workers:
        list(workers.map(work, [1, 0, 2]))
    assert torch.get_num_threads() == 3


def test_work_begins_before_it_is_asked_for(three_threads: None) -> None:
    begun = threading.Event()
    with workers_for(CPU) as workers:
        results = workers.map(lambda _: begun.set(), [0])
        assert begun.wait(10)
        assert list(results) == [None]


def test_what_nobody_waits_for_is_not_begun() -> None:
    gate, entered, begun = threading.Event(), threading.Event(), []

    def work(number: int) -> None:
        begun.append(number)
        entered.set()
        assert gate.wait(10)

    with workers_for(torch.device("meta")) as workers:
        workers.map(work, range(5))
        assert entered.wait(10)
        threading.Timer(1.0, gate.set).start()  # the context cancels the others while the first one is held
    assert begun == [0]


def test_inline_work_waits_until_it_is_asked_for() -> None:
    begun: list[int] = []
    results = INLINE.map(begun.append, range(3))
    assert begun == []
    assert list(results) == [None] * 3
    assert begun == [0, 1, 2]


def test_work_that_nobody_waits_for_any_more_ends(three_threads: None) -> None:
    running, ended = threading.Event(), threading.Event()

    def endless(_: int) -> None:
        running.set()
        try:
            while True:
                stop_if_unwanted()
        finally:
            ended.set()

    with workers_for(CPU) as workers:
        workers.map(endless, [0])
        assert running.wait(10)
        assert not ended.is_set()
    assert ended.is_set()
    stop_if_unwanted()  # in no worker, nothing happens


def test_ctrl_c_ends_the_waiting_after_a_substructure_search() -> None:
    command = [sys.executable, "-c", INTERRUPTED]
    process = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert float(process.stdout) < 10


@pytest.mark.skipif(not hasattr(signal, "SIGUSR1"), reason="there are no such signals")
def test_a_signal_that_wakes_nobody_ends_a_wait_all_the_same() -> None:
    """It may come just before the wait begins, or where system calls are begun anew behind it."""

    def handle(number: int, frame: object) -> None:
        raise InterruptedError

    future: Future[int] = Future()
    before = signal.signal(signal.SIGUSR1, handle)
    signal.siginterrupt(signal.SIGUSR1, False)
    timers = [
        threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGUSR1)),
        threading.Timer(10.0, future.set_result, (7,)),  # so that a failure has an end
    ]
    for timer in timers:
        timer.daemon = True
        timer.start()
    started = time.monotonic()
    try:
        with pytest.raises(InterruptedError):
            awaited(future)
    finally:
        signal.signal(signal.SIGUSR1, before)
        for timer in timers:
            timer.cancel()
    assert time.monotonic() - started < 5
