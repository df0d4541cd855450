"""A host that forks: what a process of several OpenMP threads has loaded, its children use all the same."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import multiprocessing, os, sys
import moldiff

def draw(seed):
    return len(moldiff.generate(2, seed=seed, model="qm9_fast", evaluations=4).table)

def aim(seed):
    return len(moldiff.generate(1, seed=seed, model="qm9_fast", evaluations=4, targets="logp=1", target_moves=0).table)

if __name__ == "__main__":
    print(draw(0))
    for function in (draw, aim):
        with multiprocessing.get_context("fork").Pool(1) as pool:
            print(pool.apply_async(function, (1,)).get(timeout=60))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no process is forked there")
def test_a_child_of_a_process_that_has_drawn_draws(tmp_path: Path) -> None:
    """GNU's OpenMP does not survive a fork: an operation on several threads would wait for ever."""
    script = tmp_path / "forks.py"
    script.write_text(SCRIPT)
    environment = {**os.environ, "OMP_NUM_THREADS": "2", "MKL_NUM_THREADS": "2"}
    done = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, timeout=200, env=environment, cwd=tmp_path
    )
    assert (done.returncode, done.stdout.split()) == (0, ["2", "2", "1"]), done.stderr[-500:]
