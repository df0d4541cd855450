import errno
import itertools
import multiprocessing
import os
import re
import resource
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from pathlib import Path

import pytest
from pebble import ProcessFuture
from poison import broken_ready, has_loaded, noted, slowly_ready, time_left, total, work, worker_number

import moldiff
from moldiff import batch_slots, processes
from moldiff.errors import MoldiffError
from moldiff.processes import Lost, WorkerPool, pool_of, standing_pool


def map_items(function, items, *, workers, chunk=1, timeout_s=60.0, isolated=True):
    with pool_of(workers, isolated=isolated) as pool:
        yield from pool.map_items(function, items, chunk=chunk, timeout_s=timeout_s)


@pytest.mark.parametrize(("workers", "chunk"), [(1, 1), (2, 1), (2, 4)])
def test_results_come_in_the_order_of_the_items(workers: int, chunk: int) -> None:
    assert list(map_items(work, range(20), workers=workers, chunk=chunk)) == [2 * n for n in range(20)]


@pytest.mark.parametrize("chunk", [1, 3])
def test_what_kills_its_worker_costs_that_item_alone(chunk: int) -> None:
    items = [1, 2, "crash", 3, 4, "exit", 5, "end", 6, 7]
    results = list(map_items(work, items, workers=2, chunk=chunk))
    lost = {item: result.reason for item, result in zip(items, results, strict=True) if isinstance(result, Lost)}
    assert lost == {
        "crash": "crashed: the worker process ended on this record (SIGSEGV)",
        "exit": "crashed: the worker process ended on this record (exit status 3)",
        "end": "crashed: the worker process ended on this record (exit status 0)",
    }
    assert [result for result in results if not isinstance(result, Lost)] == [2, 4, 6, 8, 10, 12, 14]


@pytest.mark.parametrize(("deed", "chunk"), [("hang", 2), ("spin", 4), ("stop", 2)])
def test_what_hangs_is_ended_at_its_deadline(deed: str, chunk: int) -> None:
    """Asleep, holding the interpreter, or stopped: even then somebody else can end it."""
    started = time.monotonic()
    results = list(map_items(work, [1, deed, 2, 3], workers=2, chunk=chunk, timeout_s=1.0))
    assert results == [2, Lost("timeout: not done within 1 s"), 4, 6]
    assert time.monotonic() - started < 60


@pytest.mark.parametrize("items", [[*range(40), "deaf", *range(40)], ["alarm", *range(40), "hang", *range(40)]])
def test_an_alarm_that_a_function_takes_over_holds_up_nothing(items: list[object]) -> None:
    """Not for as long as all of its batch may take: a user's function may limit its own time by the same signal."""
    started = time.monotonic()
    results = list(map_items(work, items, workers=1, chunk=len(items), timeout_s=2.0))
    assert [k for k, result in enumerate(results) if isinstance(result, Lost)] == [41 if "hang" in items else 40]
    assert time.monotonic() - started < 60


def test_the_start_of_a_process_takes_no_time_of_an_item(tmp_path: Path) -> None:
    """Nor does that of one that replaces it."""
    seen, items = tmp_path / "seen", [1, "crash", 2, 3]
    with pool_of(1, ready=partial(slowly_ready, 2.3, seen)) as pool:
        results = list(pool.map_items(work, items, chunk=2, timeout_s=2.0))
    assert [isinstance(result, Lost) for result in results] == [False, True, False, False]
    assert len(set(seen.read_text().split())) == len(seen.read_text().split()) >= 2


def test_what_goes_wrong_at_the_start_is_left_to_the_items() -> None:
    with pool_of(2, ready=broken_ready) as pool:
        assert list(pool.map_items(work, [1, 2], timeout_s=60.0)) == [2, 4]


def test_what_ends_the_process_at_the_start_costs_the_records() -> None:
    """With a reason: a library that crashes as it is loaded is no fault of the pool."""
    with pool_of(1, ready=partial(work, "crash")) as pool:
        results = list(pool.map_items(work, [1, 2], chunk=2, timeout_s=60.0))
    assert results == [Lost("crashed: the worker process ended on this record (SIGSEGV)")] * 2


def test_what_is_large_at_the_start_holds_up_no_broken_pool(tmp_path: Path) -> None:
    """A process that dies as it starts is told, however much it would have been given."""
    script = """
        from functools import partial
        from moldiff.errors import MoldiffError
        from moldiff.processes import pool_of
        try:
            with pool_of(1, ready=partial(len, bytes(2**22))) as pool:
                list(pool.map_items(abs, [1], timeout_s=60.0))
        except MoldiffError as error:
            print(error)
    """
    process = run(tmp_path, script)
    out, _ = process.communicate(timeout=120)
    assert "__main__" in out


def test_processes_that_replace_others_load_the_same() -> None:
    with WorkerPool(1) as pool:
        pool.load("colorsys", "poison:broken_ready")
        results = list(pool.map_items(has_loaded, ["colorsys", "crash", "colorsys", "wave"], timeout_s=60.0))
    assert [one for one in results if not isinstance(one, Lost)] == [True, True, False]


def test_the_deadline_is_that_of_an_item_however_many_are_sent_at_once() -> None:
    started = time.monotonic()
    results = list(map_items(work, [*range(60), "hang"], workers=1, chunk=61, timeout_s=1.0))
    assert results == [*range(0, 120, 2), Lost("timeout: not done within 1 s")]
    assert time.monotonic() - started < 40  # not 60 times as long


def test_each_item_has_all_of_its_time() -> None:
    """Also behind one whose function has taken the alarm over, and in a batch that takes much longer."""
    left = list(map_items(time_left, [*range(20), "alarm", *range(3)], workers=1, chunk=24, timeout_s=2.0))
    assert all(1.8 < seconds <= 2 for seconds in left)


def test_many_items_that_cost_their_worker() -> None:
    items = ["exit", 1, "crash", "exit", "exit", 2, *["crash"] * 6, 3]
    results = list(map_items(work, items, workers=2, chunk=5))
    assert [result for result in results if not isinstance(result, Lost)] == [2, 4, 6]
    assert len(results) == len(items)


def test_batches_that_cost_their_worker_come_back_one_by_one() -> None:
    batches = [[1, 2], [3, "crash", 4], [5]]
    with pool_of(1) as pool:
        found = list(pool.map_batches(total, batches, timeout_s=60.0))
    assert [batch for batch, _ in found] == [[1, 2], [3], ["crash"], [4], [5]]
    assert [result for _, result in found if not isinstance(result, Lost)] == [6, 6, 8, 10]


@pytest.mark.parametrize(("deed", "times"), [("hang", 1), ("crash", 2), ("greedy", 2)])
def test_of_a_batch_the_one_to_blame_is_known(deed: str, times: int, tmp_path: Path) -> None:
    """What took too long is not given the same time again, what crashed is; nothing else is tried one by one."""
    seen = tmp_path / "seen"
    items = [*range(4), deed, *range(5, 20)]
    results = list(map_items(partial(noted, seen), items, workers=1, chunk=20, timeout_s=2.0))
    assert isinstance(results.pop(4), Lost)
    assert results == [2 * n for n in range(20) if n != 4]
    counted = Counter(seen.read_text().split())
    assert counted[deed] == times
    assert [counted[str(n)] for n in range(4)] == [2] * 4
    assert [counted[str(n)] for n in range(5, 20)] == [1] * 15


def test_without_room_for_shared_memory_items_are_tried_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    context = type(multiprocessing.get_context("spawn"))
    monkeypatch.setattr(context, "RawArray", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    results = list(map_items(work, [1, "crash", 2], workers=1, chunk=3))
    assert (results[0], results[2]) == (2, 4)
    assert isinstance(results[1], Lost)


def test_one_worker_can_be_this_process() -> None:
    assert list(map_items(worker_number, [0, 0], workers=1, isolated=False)) == [os.getpid()] * 2
    assert os.getpid() not in list(map_items(worker_number, [0, 0], workers=1))


@pytest.mark.parametrize(("deed", "chunk"), [("crash", 1), ("crash", 20), ("hang", 1), ("hang", 20), ("greedy", 20)])
def test_one_of_a_thousand_costs_itself_alone(
    deed: str, chunk: int, record_property: Callable[[str, object], None]
) -> None:
    deadline, items = 1.0, [*range(500), deed, *range(500, 999)]
    with pool_of(2) as pool:
        seconds = []
        for thousand in (range(1000), range(1000), items):  # the first one waits for the processes
            started = time.monotonic()
            results = list(pool.map_items(work, thousand, chunk=chunk, timeout_s=deadline))
            seconds.append(time.monotonic() - started)
    assert isinstance(results.pop(500), Lost)
    assert results == [2 * n for n in range(999)]
    lost = seconds[2] - seconds[1] - (deadline if deed == "hang" else 0.0)
    record_property(f"seconds lost by a {deed} beyond its deadline, {chunk} sent at once", lost)
    assert lost < 20


def test_an_error_of_the_function_is_raised() -> None:
    with pytest.raises(KeyError):
        list(map_items(work, [1, "raise"], workers=1))


def test_items_are_read_as_they_are_needed() -> None:
    taken = []

    def items():
        for number in range(10_000):
            taken.append(number)
            yield number

    results = map_items(work, items(), workers=1)
    assert next(results) == 0
    results.close()
    assert len(taken) < 10


def run(tmp_path: Path, script: str) -> subprocess.Popen[str]:
    path = tmp_path / "script.py"
    path.write_text(textwrap.dedent(script))
    folders = (str(Path(moldiff.__file__).parents[1]), str(Path(__file__).parent / "fixtures"))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(folders)}
    return subprocess.Popen(
        [sys.executable, str(path)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    )


def test_processes_that_cannot_start_are_an_error_in_one_line(tmp_path: Path) -> None:
    # no "if __name__": each worker runs the script again and dies of it
    process = run(
        tmp_path,
        """
        from poison import total, work, worker_number
        from moldiff.errors import MoldiffError
        from moldiff.processes import pool_of
        try:
            with pool_of(1) as pool:
                print(list(pool.map_items(work, [1, 2], timeout_s=60)))
        except MoldiffError as error:
            print("refused", error)
        """,
    )
    out, _ = process.communicate(timeout=120)
    assert out == (
        "refused worker processes die before they see a molecule "
        "(they run script.py again, which needs its: if __name__ == '__main__')\n"
    )


def test_processes_that_die_of_something_else_are_not_told_to_lack_a_guard(tmp_path: Path) -> None:
    process = run(
        tmp_path,
        """
        import os
        from poison import total, work, worker_number
        from moldiff.errors import MoldiffError
        from moldiff.processes import pool_of
        if __name__ == "__main__":
            try:
                with pool_of(1) as pool:
                    print(list(pool.map_items(work, [1, 2], timeout_s=60)))
            except MoldiffError as error:
                print("refused", error)
        else:
            raise OSError("no library of this name")
        """,
    )
    out, said = process.communicate(timeout=120)
    assert out == "refused worker processes die before they see a molecule (what they said stands above)\n"
    assert "no library of this name" in said


@pytest.mark.parametrize("before", [False, True])
def test_processes_that_the_system_does_not_start_are_an_error_in_one_line(tmp_path: Path, before: bool) -> None:
    """What a process inherits may be too large: an environment variable has 128 kB at most."""
    process = run(
        tmp_path,
        f"""
        import os
        from poison import total, work, worker_number
        from moldiff.errors import MoldiffError
        from moldiff.processes import pool_of
        if __name__ == "__main__":
            for first in [True, False][{1 - before}:]:
                if not first:
                    os.environ["LONG"] = "x" * 1_000_000
                try:
                    with pool_of(2) as pool:
                        pool.load("json")
                        print(list(pool.map_items(work, [1, 2], timeout_s=60)), flush=True)
                except MoldiffError as error:
                    print("refused", error)
        """,
    )
    out, said = process.communicate(timeout=60)
    *works, refused = out.splitlines()
    assert len(works) == before
    assert re.match("refused worker processes (cannot be started: |die before they see a molecule)", refused), said
    assert process.returncode == 0


@pytest.mark.parametrize("loads", [True, False])
def test_what_the_system_says_of_processes_is_one_line(loads: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    with WorkerPool(1) as pool:
        monkeypatch.setattr(pool._pool, "schedule", refuse)
        with pytest.raises(MoldiffError, match="worker processes cannot be started: Resource temporarily unavailable"):
            pool.load("json") if loads else list(pool.map_items(work, [1], timeout_s=60))


def test_a_batch_that_a_breaking_pool_has_forgotten_is_sent_again() -> None:
    found: list[int] = []
    with WorkerPool(1) as pool:
        assert list(pool.map_items(work, [1], timeout_s=60)) == [2]
        broken = pool._pool
        broken.stop()
        broken.join()
        broken.schedule = lambda *_, **__: ProcessFuture()  # type: ignore[method-assign]  # which nobody will set
        again = threading.Thread(target=lambda: found.extend(pool.map_items(work, [1, 2], timeout_s=60)), daemon=True)
        again.start()  # beside this one, which would wait for ever
        again.join(30)
        assert found == [2, 4]
        assert pool._pool is not broken


def test_workers_end_when_their_parent_is_killed(tmp_path: Path) -> None:
    process = run(
        tmp_path,
        """
        import multiprocessing
        from poison import total, work, worker_number
        from moldiff.processes import standing_pool
        if __name__ == "__main__":
            found = standing_pool(1).map_items(work, [1, 2, "hang"], timeout_s=600)
            next(found), next(found)
            print([child.pid for child in multiprocessing.active_children()], flush=True)
            next(found)
        """,
    )
    assert process.stdout is not None
    children = [int(word) for word in process.stdout.readline().strip("[]\n").split(",")]
    assert children
    process.send_signal(signal.SIGKILL)
    process.wait()
    deadline = time.monotonic() + 30
    while any(Path(f"/proc/{pid}").exists() for pid in children) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not any(Path(f"/proc/{pid}").exists() for pid in children)


def test_what_needs_more_memory_than_there_may_be_costs_that_item_alone() -> None:
    with pool_of(1, memory_mb=600) as pool:
        results = list(pool.map_items(work, [1, "greedy", 2], timeout_s=60.0))
    assert [result for result in results if not isinstance(result, Lost)] == [2, 4]
    assert isinstance(results[1], Lost) and results[1].reason.startswith("memory: ")


def test_workers_take_the_limit_that_the_system_lets_them_have(tmp_path: Path) -> None:
    """A shell's `ulimit -d` below ours stays; where the system refuses any, as macOS does, workers go without."""
    script = """
        import resource
        from moldiff.processes import pool_of
        {before}

        def limit(items):
            return [resource.getrlimit(resource.RLIMIT_DATA)[0] // 2**20 for _ in items]

        if __name__ == "__main__":
            with pool_of(1, memory_mb=3000) as pool:
                print([*pool.map_batches(limit, [[0]], timeout_s=60.0)][0][1])
    """
    for before, told in (
        ("", "[3000]"),
        ("size = 2000 * 2**20; resource.setrlimit(resource.RLIMIT_DATA, (1500 * 2**20, size))", "[2000]"),
        (
            "resource.setrlimit = lambda *_: int('no')",  # ValueError
            f"[{resource.getrlimit(resource.RLIMIT_DATA)[0] // 2**20}]",
        ),
    ):
        process = run(tmp_path, script.replace("{before}", before))
        out, _ = process.communicate(timeout=100)
        assert out.strip() == told, before


def test_a_standing_pool_works_for_many_in_turn_and_at_once() -> None:
    pool = standing_pool(1)
    first = list(pool.map_items(worker_number, [0, 0], timeout_s=60.0))
    left = pool.map_items(work, [1, "hang", "hang", 2], timeout_s=60.0)
    assert next(left) == 2
    left.close()  # what nobody waits for any more holds nobody up
    started = time.monotonic()
    outer, inner = pool.map_items(work, range(9), timeout_s=60.0), pool.map_items(work, range(9, 18), timeout_s=60.0)
    assert [*zip(outer, inner, strict=True)] == [(2 * n, 2 * n + 18) for n in range(9)]
    assert time.monotonic() - started < 30
    assert standing_pool(1) is pool and first[0] == first[1] != os.getpid()
    assert list(standing_pool(0).map_items(worker_number, [0], timeout_s=60.0)) == [os.getpid()]


def test_threads_that_come_at_once_share_a_standing_pool(monkeypatch: pytest.MonkeyPatch) -> None:
    class Slow(WorkerPool):
        def __init__(self, workers: int) -> None:
            time.sleep(0.1)
            super().__init__(workers)

    monkeypatch.setattr(processes, "WorkerPool", Slow)
    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(lambda _: standing_pool(7), range(4)))
    assert len(set(map(id, found))) == 1 and isinstance(found[0], Slow)


def test_a_program_with_a_standing_pool_ends_at_once(tmp_path: Path) -> None:
    process = run(
        tmp_path,
        """
        import time
        from poison import work
        from moldiff.processes import standing_pool
        if __name__ == "__main__":
            found = standing_pool(1).map_items(work, [1, "hang"], timeout_s=600)
            next(found)
            print(time.time(), flush=True)
        """,
    )
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0 and err == ""
    assert time.time() - float(out) < 10


def test_so_does_a_process_of_multiprocessing_whose_workers_have_hardly_begun(tmp_path: Path) -> None:
    process = run(
        tmp_path,
        """
        from multiprocessing import get_context
        from moldiff.processes import standing_pool
        def begin():
            standing_pool(2).load("moldiff.chem.convert")
        if __name__ == "__main__":
            for _ in range(3):
                child = get_context("forkserver").Process(target=begin)
                child.start()
                child.join(30)
                print(child.exitcode, end=" ")
                child.kill()
        """,
    )
    out, err = process.communicate(timeout=120)
    assert (out, err) == ("0 0 0 ", "")


def test_workers_that_have_hardly_begun_say_nothing_when_their_pool_is_stopped(tmp_path: Path) -> None:
    process = run(
        tmp_path,
        """
        import time
        import pebble.pool.process as pebble
        from moldiff.processes import WorkerPool
        end = pebble.stop_process
        def end_late(worker):
            time.sleep(2)
            end(worker)
        if __name__ != "__main__":
            time.sleep(1)
        else:
            pebble.stop_process = end_late
            with WorkerPool(2) as pool:
                pool.load("moldiff.chem.convert")
        """,
    )
    out, err = process.communicate(timeout=120)
    assert (process.returncode, out, err) == (0, "", "")


def test_maps_that_are_given_up_or_fail_keep_no_slots(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a pool that lives on, whatever became of the maps before: the item to blame is known."""
    monkeypatch.setattr(batch_slots, "_SLOTS", 20)
    seen, items = tmp_path / "seen", [*range(4), "crash", *range(5, 20)]
    with pool_of(2) as pool:
        for _ in range(4):
            given_up = pool.map_items(work, itertools.count(), chunk=5, timeout_s=60.0)
            assert next(given_up) == 0
            given_up.close()
            with pytest.raises(KeyError):
                list(pool.map_items(work, [*range(9), "raise", *range(90)], chunk=5, timeout_s=60.0))
        with monkeypatch.context() as patch:
            ends = iter([BrokenProcessPool(), KeyboardInterrupt()])
            patch.setattr(processes, "awaited", lambda *_: (_ for _ in ()).throw(next(ends)))
            with pytest.raises(KeyboardInterrupt):
                list(pool.map_items(work, range(100), chunk=5, timeout_s=60.0))
        results = list(pool.map_items(partial(noted, seen), items, chunk=20, timeout_s=60.0))
        assert len(list(iter(lambda: pool.slots.take(2), None))) == 20
    assert isinstance(results.pop(4), Lost)
    counted = Counter(seen.read_text().split())
    assert counted["crash"] == 2
    assert [counted[str(n)] for n in range(5, 20)] == [1] * 15, "not tried one by one"
