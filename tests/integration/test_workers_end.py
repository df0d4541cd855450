"""Commands with workers end when they are asked to, at once, and leave nothing behind."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from started import started

CHILDREN = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children")
MOLDIFF = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); " \
    "import sys; from moldiff.cli.main import main; sys.exit(main())"  # fmt: skip
PATIENCE_S = 20.0  # half a second on an idle machine; a worker that is waited for takes minutes
SMILES = "CCCC(=O)NC1CCCC1Oc1ccc(CCN2CCOCC2)cc1"

COMMANDS = {
    "prepare": ("data", "prepare", "many.smi", "-o", "out"),
    "relax": ("data", "relax", "many.smi", "-o", "out.sdf", "--method", "mmff94s"),
    "evaluate": ("evaluate", "many.sdf", "-o", "out"),
}


def workers_of(process: subprocess.Popen[str]) -> list[int]:
    """Processes that have been started by a process and have worked for a moment."""
    path = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    found = []
    for child in path.read_text().split():
        try:
            times = Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(times[11]) > 100:  # hundredths of a second on a processor: imports are done, or nearly so
            found.append(int(child))
    return found


@pytest.mark.skipif(not CHILDREN.exists(), reason="needs Linux's /proc to see the workers")
@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_two_workers_end_with_their_command(
    name: str, number: signal.Signals, tmp_path: Path, sample_texts: list[str]
) -> None:
    (tmp_path / "many.smi").write_text("".join(f"{SMILES} m{k}\n" for k in range(3000)))
    (tmp_path / "many.sdf").write_text("".join(sample_texts * 4))
    before = {entry.name for entry in tmp_path.iterdir()}
    command = [sys.executable, "-c", MOLDIFF, *COMMANDS[name], "--workers", "2"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with started(command, cwd=tmp_path, start_new_session=True, **pipes) as process:
        deadline = time.monotonic() + 120
        while len(workers := workers_of(process)) < 2 and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.05)
        assert process.poll() is None and len(workers) >= 2
        asked = time.monotonic()
        os.killpg(process.pid, number) if number == signal.SIGINT else process.send_signal(number)
        _, err = process.communicate(timeout=60)
        took = time.monotonic() - asked
    assert process.returncode == {signal.SIGINT: 130, signal.SIGTERM: 143}[number]
    assert err.strip().splitlines()[-1] == {signal.SIGINT: "interrupted", signal.SIGTERM: "terminated"}[number]
    assert not [pid for pid in workers if Path(f"/proc/{pid}").exists() and alive(pid)]
    left = {entry.name for entry in tmp_path.iterdir()} - before
    assert left <= {"out.sdf.unfinished"}, "but for the results that a later run goes on from, nothing"
    assert took < PATIENCE_S


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
