"""Workers that are started, and signals that all processes of a terminal get."""

import importlib.util
import multiprocessing
import os
import signal
import subprocess
import sys
import textwrap
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from poison import begin_processes

from moldiff import spawning
from moldiff.processes import pool_of
from moldiff.spawning import program_left_alone

REPOSITORY = Path(__file__).parents[1]

pytestmark = pytest.mark.skipif(not hasattr(signal, "pthread_sigmask"), reason="Windows has no such signals")


def run(folder: Path, code: str) -> subprocess.CompletedProcess[str]:
    """Run a script in a process group of its own, whose workers read it, too."""
    script = folder / "script.py"
    script.write_text(textwrap.dedent(code))
    path = os.pathsep.join((str(REPOSITORY), str(REPOSITORY / "tests" / "fixtures")))
    return subprocess.run(
        [sys.executable, str(script)],
        capture_output=True,
        text=True,
        timeout=120,
        start_new_session=True,
        env={**os.environ, "PYTHONPATH": path},
    )


def test_ctrl_c_does_not_reach_workers_that_have_hardly_begun(tmp_path: Path) -> None:
    ended = run(
        tmp_path,
        """
        import os, signal
        from poison import work
        from moldiff.processes import pool_of
        signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell may have had it ignored
        if __name__ == "__main__":
            with pool_of(1) as pool:
                print(list(pool.map_items(work, [1, 2], timeout_s=60)))
        else:
            os.kill(os.getpid(), signal.SIGINT)
        """,
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "[2, 4]\n", "")


def test_nobody_holds_signals_back_for_good(tmp_path: Path) -> None:
    ended = run(
        tmp_path,
        """
        import signal
        from moldiff.processes import pool_of
        def held_back(item):
            return signal.pthread_sigmask(signal.SIG_BLOCK, ())
        if __name__ == "__main__":
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1, signal.SIGTERM})
            with pool_of(1) as pool:
                in_worker = list(pool.map_items(held_back, [1], timeout_s=60))
            print([sorted(map(int, one)) for one in (*in_worker, held_back(1))])
        """,
    )
    expected = sorted((int(signal.SIGUSR1), int(signal.SIGTERM)))
    assert (ended.stdout, ended.stderr) == (f"{[expected, expected]}\n", "")


def test_a_closing_terminal_does_not_end_the_account_of_locks(tmp_path: Path) -> None:
    ended = run(
        tmp_path,
        """
        import os, signal
        from poison import work
        from moldiff.interruption import orderly_end
        from moldiff.processes import pool_of
        if __name__ == "__main__":
            signal.signal(signal.SIGHUP, signal.SIG_DFL)
            with orderly_end(), pool_of(1) as pool:
                assert list(pool.map_items(work, [1, 2], timeout_s=60)) == [2, 4]
                os.killpg(0, signal.SIGHUP)
        """,
    )
    assert (ended.returncode, ended.stderr) == (129, "")


@pytest.mark.parametrize("begin", ["pool.load()", "list(pool.map_items(work, [1, 2], timeout_s=60))"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_worker_is_told_all_that_it_is_to_do(tmp_path: Path, begin: str, number: signal.Signals) -> None:
    ended = run(
        tmp_path,
        f"""
        import os, signal, sys
        from multiprocessing import util
        from poison import work
        from moldiff.interruption import orderly_end
        from moldiff.processes import pool_of
        original = util.spawnv_passfds
        def spawn(*arguments):
            pid = original(*arguments)
            os.kill(os.getpid(), {int(number)})  # it has begun, and knows nothing yet
            return pid
        if __name__ == "__main__":
            signal.signal(signal.SIGINT, signal.default_int_handler)
            with orderly_end(), pool_of(2) as pool:
                util.spawnv_passfds = spawn
                try:
                    {begin}
                except KeyboardInterrupt:
                    sys.exit(130)
        """,
    )
    assert (ended.returncode, ended.stderr) == (128 + number, "")


GUARDED = """
import multiprocessing, os, sys
from poison import work
from moldiff.processes import pool_of
if __name__ == "__main__":
    {first}
    before = sys.modules["__main__"].__dict__.get("__file__"), sys.modules["__main__"].__spec__
    with pool_of(1) as pool:
        print(list(pool.map_items(work, [1, 2], timeout_s=60)), multiprocessing.get_start_method(allow_none=True))
    assert before == (sys.modules["__main__"].__dict__.get("__file__"), sys.modules["__main__"].__spec__)
"""
BY_RUNPY = "import os, runpy; os.chdir('in'); runpy.run_path('../program.py', {}, '__main__')"


@pytest.mark.parametrize(
    ("given", "first"),
    [
        (["-"], "pass"),
        (["program.py"], "os.unlink('program.py')"),
        (["-m", "program"], "os.rename('program.py', 'elsewhere.py')"),
        (["-c", f"import multiprocessing; {BY_RUNPY}"], "pass"),
        (["-c", "__file__ = 'nowhere.py'; exec(open('program.py').read())"], "pass"),
    ],
    ids=["standard input", "deleted", "moved", "by runpy, from another folder", "by exec"],
)  # fmt: skip
def test_a_program_whose_file_is_not_there_has_workers(tmp_path: Path, given: list[str], first: str) -> None:
    program = tmp_path / "program.py"
    program.write_text(GUARDED.format(first=first))
    (tmp_path / "in").mkdir()
    path = os.pathsep.join((str(REPOSITORY), str(REPOSITORY / "tests" / "fixtures")))
    with program.open() as text:
        ended = subprocess.run(
            [sys.executable, *given],
            stdin=text,
            capture_output=True,
            text=True,
            timeout=120,
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": path},
        )
    assert (ended.stdout, ended.stderr) == ("[2, 4] None\n", "")


@pytest.mark.parametrize("packed", [False, True])
def test_a_module_that_is_there_is_run_by_workers(
    packed: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also out of a zip file, of which no file has the name."""
    (tmp_path / "a_program.py").touch()
    if packed:
        with zipfile.ZipFile(tmp_path / "packed.zip", "w") as archive:
            archive.writestr("a_program.py", "")
    monkeypatch.syspath_prepend(tmp_path / "packed.zip" if packed else tmp_path)
    main = ModuleType("__main__")
    main.__spec__ = spec = importlib.util.find_spec("a_program")
    main.__file__ = str(spec.origin)
    monkeypatch.setitem(sys.modules, "__main__", main)
    with program_left_alone():
        assert (main.__spec__, main.__file__) == (spec, spec.origin)


@pytest.fixture
def start_method() -> Iterator[None]:
    before = multiprocessing.get_start_method(allow_none=True)
    yield
    multiprocessing.set_start_method(before, force=True)


@pytest.mark.usefixtures("start_method")
@pytest.mark.parametrize("chosen", [None, *multiprocessing.get_all_start_methods()])
def test_the_start_method_is_left_to_the_program(chosen: str | None) -> None:
    multiprocessing.set_start_method(chosen, force=True)
    with pool_of(2) as pool:
        pool.load()
    assert multiprocessing.get_start_method(allow_none=True) == chosen


@pytest.mark.usefixtures("start_method")
def test_what_the_program_chooses_meanwhile_stays() -> None:
    multiprocessing.set_start_method(None, force=True)
    with program_left_alone():
        multiprocessing.set_start_method("spawn")
    assert multiprocessing.get_start_method() == "spawn"


@pytest.mark.usefixtures("start_method")
def test_two_starts_at_once_leave_it_open(monkeypatch: pytest.MonkeyPatch) -> None:
    first_is_in, second_is_in = threading.Event(), threading.Event()

    def start(worker: object) -> None:
        is_first = not first_is_in.is_set()
        (first_is_in if is_first else second_is_in).set()
        if is_first:
            multiprocessing.get_start_method()
            second_is_in.wait(0.5)
        else:
            threads[0].join(5)
            multiprocessing.get_start_method()

    monkeypatch.setattr(spawning.SpawnProcess, "start", start)
    multiprocessing.set_start_method(None, force=True)
    threads = [threading.Thread(target=spawning._Worker().start) for _ in range(2)]
    threads[0].start()
    assert first_is_in.wait(60)
    threads[1].start()
    for thread in threads:
        thread.join(60)
    assert multiprocessing.get_start_method(allow_none=True) is None


def test_a_daemonic_process_is_told_that_it_may_start_none() -> None:
    with multiprocessing.get_context("spawn").Pool(1) as theirs:
        found = theirs.apply(begin_processes)
    assert [argument for argument, _ in found] == ["workers"] * 3
    for _, told in found:
        assert told.startswith("workers: this process is daemonic") and "ProcessPoolExecutor" in told
