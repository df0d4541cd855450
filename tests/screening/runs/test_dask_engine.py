"""Dask as the engine: the tables of the processes of one machine, byte for byte, also where a worker is killed."""

import contextlib
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import moldiff
from moldiff.cli.main import main
from moldiff.errors import MoldiffError
from moldiff.screening.runs import dask_engine
from moldiff.screening.runs.run import status_of
from moldiff.screening.screen import Screening

pytest.importorskip("distributed")
ROOT = Path(__file__).parents[3]
DRUGS = ROOT / "tests" / "fixtures" / "drugs.sdf"
TABLES = ("records.parquet", "ranked.parquet", "ranked.csv", "top.sdf.gz", "funnel.json")
SLOW = """
import os, time
def slow(molecules):
    time.sleep(0.3)
    sizes = [mol.GetNumHeavyAtoms() for mol in molecules]
    if 25 in sizes:
        os.abort()
    return sizes
"""


@pytest.fixture
def words(tmp_path: Path) -> dict[str, Any]:
    (tmp_path / "slow.py").write_text(SLOW)
    where = ["mw<420", f"{tmp_path / 'slow.py'}:slow>3"]
    return {"where": where, "alerts": "brenk", "rank": ["qed:max:0..0.9"], "top": 3, "shard_size": 2}


def tables(run: Screening | None) -> dict[str, bytes]:
    assert run is not None
    return {name: (run.folder / name).read_bytes() for name in TABLES}


def test_a_cluster_of_its_own_gives_the_same_tables(words: dict[str, Any], tmp_path: Path) -> None:
    told: list[int] = []
    here = moldiff.screen(DRUGS, tmp_path / "here", **words)
    multiprocessing.set_start_method(None, force=True)
    there = moldiff.screen(DRUGS, tmp_path / "there", engine="dask", workers=2, progress=told.append, **words)
    assert multiprocessing.get_start_method(allow_none=True) is None, "left to the program"
    assert tables(here) == tables(there)
    assert here is not None and [one["reason"][:8] for one in here.funnel["lost"]] == ["crashed:"]
    assert told[-1] == 12 and sorted(told) == told and len(told) > 2
    # what is there already is not handed out again
    again = moldiff.screen(DRUGS, tmp_path / "there", engine="dask", scheduler="tcp://127.0.0.1:1", **words)
    assert tables(again) == tables(here)


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[SimpleNamespace]:
    """A scheduler and two workers, started by Dask's own commands; all are stopped in the end."""
    file, started = tmp_path / "scheduler.json", []
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}

    def start(*words: str) -> subprocess.Popen[bytes]:
        log = open(tmp_path / f"{len(started)}.log", "wb")  # noqa: SIM115 - of the process
        started.append(
            subprocess.Popen(
                [sys.executable, "-m", "dask", *words, "--scheduler-file", str(file), "--no-dashboard"],
                stdout=log, stderr=log, cwd=tmp_path, env=environment,
            )
        )  # fmt: skip
        return started[-1]

    try:
        start("scheduler", "--host", "127.0.0.1", "--port", "0")
        common = ("worker", "--nthreads", "1", "--no-nanny", "--memory-limit", "0")
        workers = [start(*common), start(*common, "--resources", "GPU=1")]
        until(lambda: file.exists() and file.read_text().rstrip().endswith("}"))  # at first it is empty
        address = json.loads(file.read_text())["address"]
        from distributed import Client

        with Client(address, timeout=30) as client:
            client.wait_for_workers(2, timeout=60)
        yield SimpleNamespace(address=address, workers=workers)
    finally:
        for process in reversed(started):
            process.kill()
            process.wait(timeout=20)


def until(holds: Any, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "it never came to pass"
        time.sleep(0.02)


def test_a_killed_worker_costs_nothing(cluster: SimpleNamespace, words: dict[str, Any], tmp_path: Path) -> None:
    run = tmp_path / "there"
    done: list[int] = []

    def kill() -> None:
        until(lambda: run.exists() and any(run.rglob("00000*.parquet")))
        done.append(len(list(run.rglob("00000*.parquet"))))
        cluster.workers[0].send_signal(signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    there = moldiff.screen(DRUGS, run, engine="dask", scheduler=cluster.address, **words)
    killer.join()
    assert done[0] < status_of(run).shards == 6, "it was killed in mid-run"
    assert cluster.workers[0].wait(timeout=20) == -signal.SIGKILL
    assert cluster.workers[1].poll() is None
    assert tables(there) == tables(moldiff.screen(DRUGS, tmp_path / "here", **words))


def test_draws_are_made_where_a_gpu_is(
    cluster: SimpleNamespace, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import distributed

    submit, asked = distributed.Client.submit, list[Any]()

    def watched(self: Any, function: Any, *arguments: Any, **options: Any) -> Any:
        asked.append((getattr(function, "__name__", ""), options.get("resources")))
        return submit(self, function, *arguments, **options)

    monkeypatch.setattr(distributed.Client, "submit", watched)
    words: dict[str, Any] = {"from_model": str(model), "n": 5, "shard_size": 3, "where": "mw<500"}
    there = moldiff.screen([], tmp_path / "there", engine="dask", scheduler=cluster.address, **words)
    assert [one for one in asked if one[0] == "make_draws"] == [("make_draws", {"GPU": 1})] * 2
    assert tables(there) == tables(moldiff.screen([], tmp_path / "here", **words))
    assert len(list((tmp_path / "there" / "draws").iterdir())) == 2


def test_what_is_wrong_is_told_in_one_line(
    words: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ["screen", str(DRUGS), "-o", str(tmp_path / "run")]
    assert main([*command, "--scheduler", "tcp://127.0.0.1:1"]) == 2
    assert capsys.readouterr().err == "error: --scheduler goes with engine dask\n"
    monkeypatch.setattr(dask_engine, "TIMEOUT_S", 0.5)
    assert main([*command, "--engine", "dask", "--scheduler", "tcp://127.0.0.1:1"]) == 2
    assert "error: --scheduler tcp://127.0.0.1:1 does not answer" in capsys.readouterr().err
    assert main([*command, "--engine", "dask", "--scheduler", "nonsense"]) == 2
    assert "error: --scheduler nonsense does not answer" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "distributed", None)
    assert main([*command, "--engine", "dask"]) == 2
    assert "engine dask needs distributed: pip install 'moldiff[cluster]'" in capsys.readouterr().err
    with pytest.raises(MoldiffError, match="known are processes, dask"):
        moldiff.screen(DRUGS, tmp_path / "run", engine="ray")
    monkeypatch.setattr(multiprocessing, "current_process", lambda: SimpleNamespace(daemon=True))
    with pytest.raises(MoldiffError, match="without a nanny"):
        dask_engine.work_on_shards(None, None, None, [0], False)  # type: ignore[arg-type]


def test_a_daemonic_process_has_no_cluster_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dask_engine, "replace", lambda tables, **_: tables)
    engine = dask_engine.DaskEngine(None, SimpleNamespace(folder=tmp_path), None)  # type: ignore[arg-type]
    monkeypatch.setattr(multiprocessing, "current_process", lambda: SimpleNamespace(daemon=True))
    with pytest.raises(MoldiffError, match=r"^workers: this process is daemonic"), engine._client():
        pass


@pytest.fixture
def heard() -> Iterator[None]:
    """Ctrl-C is heard, also where the tests run behind a shell that ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("when", ["draws", "shards"])
def test_after_a_signal_nothing_more_is_handed_out(
    words: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, heard: None, when: str
) -> None:
    calls = list[tuple[str, Any]]()

    class Client:
        def submit(self, function: Any, *arguments: Any, **options: Any) -> str:
            calls.append(("submit", function.__name__))
            return f"task {len(calls)}"

        def cancel(self, futures: Any, *, force: bool) -> None:
            calls.append(("cancel", list(futures)))

        def scheduler_info(self) -> dict[str, Any]:
            return {"workers": {"one": {"resources": {}}}}

    def finished(futures: list[Any]) -> Iterator[Any]:
        if (when == "draws") == (futures == ["draw"]):
            os.kill(os.getpid(), signal.SIGINT)
        yield from futures

    monkeypatch.setattr(dask_engine.DaskEngine, "_client", lambda self: contextlib.nullcontext(Client()))
    monkeypatch.setattr(dask_engine.DaskEngine, "_draws", lambda self, client, wanted: ["draw"])
    monkeypatch.setattr(dask_engine, "_finished", finished)
    monkeypatch.setattr(dask_engine, "_result", lambda future: None)
    with pytest.raises(KeyboardInterrupt):
        moldiff.screen(DRUGS, tmp_path / "run", engine="dask", **words)
    if when == "draws":
        assert calls == [("cancel", ["draw"])]
    else:
        assert [kind for kind, _ in calls] == ["submit"] * 3 + ["cancel"]
        assert calls[-1][1] == ["task 1", "task 2", "task 3"]
