"""Workers that are started, and signals that all processes of a terminal get."""

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

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
