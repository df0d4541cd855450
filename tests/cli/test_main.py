"""The command line itself: calls, exit statuses, what it shows of models and of the installation."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from started import started

import moldiff.datasets.prepare
import moldiff.devices
import moldiff.evaluation.evaluate
import moldiff.processes
from moldiff.__main__ import main as program
from moldiff.cli import main as cli
from moldiff.cli import shared
from moldiff.errors import MoldiffError
from moldiff.models import folder as model_folder
from moldiff.models.folder import save_model_folder
from moldiff.version import VERSION

Run = Callable[..., Any]


def test_help_and_version(run: Run) -> None:
    for arguments in ([], ["--help"]):
        status, out, _ = run(*arguments)
        assert status == 0
        assert all(name in out for name in ("generate", "train", "evaluate", "data", "models", "doctor"))
    assert run("--version") == (0, f"moldiff {VERSION}\n", "")
    for group, command in (("data", "prepare"), ("models", "list")):
        status, out, _ = run(group)
        assert (status, command in out) == (0, True)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["genrate"], ["genrate", "generate"]),
        (["generate", "--stepps", "5"], ["--stepps"]),
        (["generate", "-n", "-3"], ["-n", "moldiff generate --help"]),
        (["generate", "-n", "many"], ["-n"]),
        (["generate", "--seed", "-1"], ["--seed"]),
        (["generate", "--batch-size", "0"], ["--batch-size"]),
        (["data", "prepare"], ["data prepare"]),
        (["data", "prepare", "x.sdf", "-o", "out", "--bonds", "dashed"], ["dashed", "kekule"]),
        (["data", "prepare", "x.sdf", "-o", "out", "--workers", "0"], ["--workers"]),
        (["models", "info", "no-such-model"], ["no-such-model"]),
        (["generate", "-n", "1", "--model", ""], ["--model must be a path or a text, not ''"]),
        (["generate", "-n", "1", "-o", ""], ["--out is empty; give the name of a file or folder"]),
        (["generate", "-n", "1", "--out="], ["--out is empty"]),
        (["train", "smoke", "-o", ""], ["--out is empty"]),
        (["train", "smoke", "--set", "output=''"], ["output is empty"]),
        (["filter", "a.smi", "", "-o", "out.sdf"], ["files is empty"]),
    ],
)
def test_a_wrong_call_is_one_line_and_status_2(
    run: Run,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    words: list[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    run(*arguments).assert_refused(*words)
    assert os.listdir(tmp_path) == []


def test_an_error_of_several_lines_is_printed_as_one(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: object, **options: object) -> None:
        raise MoldiffError("first\n  second")

    monkeypatch.setattr(moldiff.datasets.prepare, "prepare", fail)
    assert run("data", "prepare", "x.sdf", "-o", "out") == (2, "", "error: first second\n")


def test_letters_that_no_terminal_should_get_are_question_marks(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: object, **options: object) -> None:
        raise MoldiffError("columns \x1b[2J\x07 and \u00e9")

    monkeypatch.setattr(moldiff.datasets.prepare, "prepare", fail)
    assert run("data", "prepare", "x.sdf", "-o", "out") == (2, "", "error: columns ?[2J? and \u00e9\n")


@pytest.mark.parametrize(("options", "expected"), [([], 3), (["--workers", "2"], 2)])
def test_every_usable_core_works_by_default(
    run: Run, monkeypatch: pytest.MonkeyPatch, options: list[str], expected: int
) -> None:
    def tell(*arguments: object, workers: int, **others: object) -> None:
        raise MoldiffError(f"{workers} workers")

    monkeypatch.setattr(moldiff.devices, "usable_cores", lambda: 3)
    monkeypatch.setattr(moldiff.datasets.prepare, "prepare", tell)
    monkeypatch.setattr(moldiff.evaluation.evaluate, "evaluate", tell)
    for command in (["data", "prepare", "x.sdf", "-o", "out"], ["evaluate", "x.sdf"]):
        assert run(*command, *options) == (2, "", f"error: {expected} workers\n")


@pytest.mark.parametrize(
    ("options", "cores", "node", "kind", "expected"),
    [
        ([], 8, True, "cuda", 7),
        ([], 1, True, "cuda", 1),
        ([], 200, True, "cuda", 32),
        (["--workers", "3"], 8, True, "cuda", 3),
        (["--workers", "0"], 8, True, "cuda", 0),
        (["--device", "cpu"], 8, True, "cuda", 1),
        ([], 8, True, "cpu", 1),  # a PyTorch that knows no cards
        ([], 8, False, "cuda", 1),  # without a card, PyTorch is not asked
    ],
)
@pytest.mark.parametrize(
    "command",
    [["generate"], ["vary", "x.sdf"], ["conformers", "x.smi"], ["likelihood", "x.sdf"]],
    ids=lambda words: words[0],
)
def test_a_card_keeps_several_processes_for_chemistry_busy(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, command: list[str], options: list[str], cores: int,
    node: bool, kind: str, expected: int,
) -> None:  # fmt: skip
    def tell(workers: int) -> None:
        raise MoldiffError(f"{workers} workers")

    (tmp_path / "node").touch()
    monkeypatch.setattr(shared, "_CARDS", ("/nowhere", str(tmp_path / ("node" if node else "none"))))
    monkeypatch.setattr(moldiff.devices, "usable_cores", lambda: cores)
    monkeypatch.setattr(moldiff.devices, "resolve_device", lambda device: SimpleNamespace(type=kind))
    monkeypatch.setattr(moldiff.processes, "standing_pool", tell)
    assert run(*command, "-o", "y.sdf", *options) == (2, "", f"error: {expected} workers\n")


def test_a_bug_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: object, **options: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(moldiff.datasets.prepare, "prepare", fail)
    with pytest.raises(ZeroDivisionError):
        cli.main(["data", "prepare", "x.sdf", "-o", "out"])


def test_ctrl_c_is_status_130(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*arguments: object, **options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(moldiff.datasets.prepare, "prepare", interrupt)
    assert run("data", "prepare", "x.sdf", "-o", "out") == (130, "", "interrupted\n")


def test_models_info_shows_classes_ranges_and_card(run: Run, model: Path) -> None:
    status, out, err = run("models", "info", model)
    assert (status, err) == (0, "")
    assert "model[1]" in out, "brackets in a path are not markup"
    for words in (
        "H C N O",
        "-1 0 +1",
        "single double triple aromatic",
        "5 to 15 in 60",
        "logp",
        "-2.25",
        "2.75",
        "Test card",
    ):
        assert words in out


def test_models_info_refuses_a_damaged_model(run: Run, model: Path) -> None:
    data = bytearray((model / "model.safetensors").read_bytes())
    data[-1] ^= 1
    (model / "model.safetensors").write_bytes(data)
    run("models", "info", model).assert_refused("model.safetensors", "corrupt")


def test_models_info_refuses_a_configuration_without_vocabulary(run: Run, tmp_path: Path) -> None:
    weights = {"w": torch.ones(1)}
    save_model_folder(tmp_path / "m", weights=weights, config={"vocabulary": {}}, references={}, card="", half=False)
    run("models", "info", tmp_path / "m").assert_refused("vocabulary")


def test_models_list_and_doctor(run: Run, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_folder, "pretrained_folder", lambda: model.parent)
    sha256 = model_folder.load_model_folder(model).sha256
    status, out, _ = run("models", "list")
    assert status == 0
    assert "model[1]" in out
    assert sha256 in out
    status, out, _ = run("doctor")
    assert "with products in bfloat16 (" in out
    assert status == 0
    for words in (f"moldiff {VERSION}", "torch", "rdkit", "cpu: ", sha256):
        assert words in out
    (model / "card.md").write_text("another card")
    for command in (["models", "list"], ["doctor"]):
        status, out, _ = run(*command)
        assert status == 2
        assert "corrupt" in out


def test_a_terminal_interrupt_ends_a_real_process_with_130(tmp_path: Path) -> None:
    """A process that is busy in a command, and Ctrl-C: status 130, one line, no traceback."""
    code = (
        "import signal, sys, time, moldiff.datasets.prepare as module, moldiff.cli.main as cli\n"
        # a shell that started the tests in the background lets its children ignore Ctrl-C
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "module.prepare = lambda *a, **k: (print('busy', flush=True), time.sleep(60))\n"
        "sys.exit(cli.main(['data', 'prepare', 'x.sdf', '-o', 'out']))"
    )
    folder = Path(cli.__file__).parents[2]
    command = [sys.executable, "-c", code]
    with started(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=folder) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "busy\n"
        start = time.monotonic()
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (130, "interrupted\n")
    assert time.monotonic() - start < 10


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
@pytest.mark.parametrize("command", [["models", "list"], ["--help"], ["models", "info", "qm9"]])
def test_a_full_disk_behind_the_output_is_one_line(command: list[str]) -> None:
    with open("/dev/full", "w") as full:
        ended = subprocess.run(
            [sys.executable, "-m", "moldiff", *command], stdout=full, stderr=subprocess.PIPE, text=True
        )
    assert (ended.returncode, ended.stderr) == (2, "error: the output cannot be written: No space left on device\n")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_an_error_that_nobody_can_read_keeps_its_status() -> None:
    with open("/dev/full", "w") as full:
        ended = subprocess.run([sys.executable, "-m", "moldiff", "generate", "-n", "0"], stdout=full, stderr=full)
    assert ended.returncode == 2


def test_a_reader_that_has_seen_enough_is_no_error() -> None:
    read, write = os.pipe()
    os.close(read)
    ended = subprocess.run([sys.executable, "-m", "moldiff", "models", "list"], stdout=write, stderr=subprocess.PIPE)
    os.close(write)
    assert (ended.returncode, ended.stderr) == (1, b"")


def test_too_little_memory_is_one_line(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: object, **options: object) -> None:
        raise MemoryError

    monkeypatch.setattr(moldiff.datasets.prepare, "prepare", fail)
    assert run("data", "prepare", "x.sdf", "-o", "out") == (2, "", "error: the memory does not suffice\n")


START = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)
def come(*arguments, **options):
    signal.raise_signal({number})
class AtImport:
    def find_spec(self, name, path=None, target=None):
        if name == {name!r}: come()
sys.meta_path.insert(0, AtImport())
import moldiff.__main__
{change}
sys.argv[1:] = ["--version"]
sys.exit(moldiff.__main__.main())
"""
STATUS = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGHUP: 129}


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="Windows has no such signals")
@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("typer", ""),
        ("moldiff.cli.main", ""),
        ("", "import typer.main; typer.main.get_command = come"),
        ("", "import moldiff.cli.main as cli; cli._open_standard_streams = come"),
    ],
)
@pytest.mark.parametrize("number", STATUS)
def test_a_signal_before_a_command_begins_is_one_line(name: str, change: str, number: signal.Signals) -> None:
    code = START.format(number=int(number), name=name, change=change)
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    said = "interrupted\n" if number == signal.SIGINT else "terminated\n"
    assert (ended.returncode, ended.stdout, ended.stderr) == (STATUS[number], "", said)


def test_so_is_ctrl_c_within_text_that_python_compiles(tmp_path: Path) -> None:
    """After which ``python -m`` would end by the signal."""
    change = "import typer.main; typer.main.get_command = lambda app: exec('come()')"
    (tmp_path / "start.py").write_text(START.format(number=int(signal.SIGINT), name="", change=change))
    path = os.pathsep.join((str(tmp_path), str(Path(cli.__file__).parents[2])))
    command, environment = [sys.executable, "-m", "start"], {**os.environ, "PYTHONPATH": path}
    ended = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert (ended.returncode, ended.stderr) == (130, "interrupted\n")


def test_so_is_ctrl_c_before_signals_are_known() -> None:
    code = START.format(number=int(signal.SIGINT), name="moldiff.interruption", change="").replace(
        "== 'moldiff.interruption'", "== 'moldiff.interruption' and not sys.meta_path.remove(self)"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (ended.returncode, ended.stderr) == (130, "interrupted\n")


def test_the_code_of_few_shapes_is_kept_unless_the_user_says_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    name = "ONEDNN_PRIMITIVE_CACHE_CAPACITY"
    monkeypatch.setattr(sys, "argv", ["moldiff", "--version"])
    monkeypatch.setenv(name, "7")
    assert (program(), os.environ[name]) == (0, "7")
    monkeypatch.delenv(name)
    assert program() == 0 and 64 <= int(os.environ[name]) <= 1024
