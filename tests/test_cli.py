"""The command line: exit codes, one line per failure, nothing half-written."""

import logging
import os
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

import moldiff.datasets.prepare
from moldiff import cli
from moldiff.checkpoint import save_model_folder
from moldiff.errors import MoldiffError
from moldiff.model import MoleculeModel
from moldiff.version import VERSION

SAMPLE = Path(__file__).parents[1] / "data" / "sample.sdf"


@pytest.fixture(autouse=True)
def restored_logging() -> Iterator[None]:
    """The command line sets up logging and warnings for its process; undo it for the next test."""
    root, package = logging.getLogger(), logging.getLogger("moldiff")
    handlers, level, package_level = root.handlers[:], root.level, package.level
    with warnings.catch_warnings():
        yield
    root.handlers[:] = handlers
    root.setLevel(level)
    package.setLevel(package_level)


@pytest.fixture
def model(tmp_path: Path, tiny_model: MoleculeModel) -> Path:
    """A model folder whose name has the brackets of rich's markup."""
    folder, weights = tmp_path / "model[1]", tiny_model.denoiser.state_dict()
    card = "# Test card\n\nFor tests."
    save_model_folder(folder, weights=weights, config=tiny_model.config_json(), references={}, card=card, half=True)
    return folder


def run(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> tuple[int, str, str]:
    status = cli.main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def assert_one_line(status: int, out: str, err: str, *words: str) -> None:
    assert status == 2
    assert out == ""
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    for word in words:
        assert word in err


def test_help_and_version(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in ([], ["--help"]):
        status, out, _ = run(capsys, *arguments)
        assert status == 0
        assert all(name in out for name in ("generate", "train", "evaluate", "data", "models", "doctor"))
    assert run(capsys, "--version") == (0, f"moldiff {VERSION}\n", "")
    for group, command in (("data", "prepare"), ("models", "list")):
        status, out, _ = run(capsys, group)
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
        (["data", "prepare"], ["files"]),
        (["data", "prepare", "x.sdf", "-o", "out", "--bonds", "dashed"], ["dashed", "kekule"]),
        (["data", "prepare", "x.sdf", "-o", "out", "--workers", "0"], ["--workers"]),
        (["models", "info", "no-such-model"], ["no-such-model"]),
    ],
)
def test_a_wrong_call_is_one_line_and_status_2(
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    words: list[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert_one_line(*run(capsys, *arguments), *words)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("text", "expected"), [("18", (18, 18)), ("15..22", (15, 22)), ("1..1", (1, 1)), (" 7 ", (7, 7))]
)
def test_a_number_or_a_range_of_atoms(text: str, expected: tuple[int, int]) -> None:
    assert cli.parse_range(text, "--n-atoms") == expected


@pytest.mark.parametrize(
    "text", ["", "0", "-3", "22..15", "0..5", "5..", "..5", "5.5", "5...7", "a", "1e3", "٣", "9" * 99]
)
def test_other_texts_are_no_range(text: str) -> None:
    with pytest.raises(MoldiffError, match="--n-atoms"):
        cli.parse_range(text, "--n-atoms")


def test_an_error_of_several_lines_is_printed_as_one(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: object, **options: object) -> None:
        raise MoldiffError("first\n  second")

    monkeypatch.setattr(moldiff.datasets.prepare, "prepare", fail)
    assert run(capsys, "data", "prepare", "x.sdf", "-o", "out") == (2, "", "error: first second\n")


def test_a_bug_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: object, **options: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(moldiff.datasets.prepare, "prepare", fail)
    with pytest.raises(ZeroDivisionError):
        cli.main(["data", "prepare", "x.sdf", "-o", "out"])


def test_ctrl_c_is_status_130(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*arguments: object, **options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(moldiff.datasets.prepare, "prepare", interrupt)
    assert run(capsys, "data", "prepare", "x.sdf", "-o", "out") == (130, "", "interrupted\n")


def test_models_info_shows_classes_ranges_and_card(capsys: pytest.CaptureFixture[str], model: Path) -> None:
    status, out, err = run(capsys, "models", "info", model)
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


def test_models_info_refuses_a_damaged_model(capsys: pytest.CaptureFixture[str], model: Path) -> None:
    data = bytearray((model / "model.safetensors").read_bytes())
    data[-1] ^= 1
    (model / "model.safetensors").write_bytes(data)
    assert_one_line(*run(capsys, "models", "info", model), "model.safetensors", "corrupt")


def test_models_info_refuses_a_configuration_without_vocabulary(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    weights = {"w": torch.ones(1)}
    save_model_folder(tmp_path / "m", weights=weights, config={"vocabulary": {}}, references={}, card="", half=False)
    assert_one_line(*run(capsys, "models", "info", tmp_path / "m"), "vocabulary")


def test_models_list_and_doctor(
    capsys: pytest.CaptureFixture[str], model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from moldiff import checkpoint

    monkeypatch.setattr(checkpoint, "pretrained_folder", lambda: model.parent)
    sha256 = checkpoint.load_model_folder(model).sha256
    status, out, _ = run(capsys, "models", "list")
    assert status == 0
    assert "model[1]" in out
    assert sha256 in out
    status, out, _ = run(capsys, "doctor")
    assert status == 0
    for words in (f"moldiff {VERSION}", "torch", "rdkit", "cpu: ", sha256):
        assert words in out
    (model / "card.md").write_text("another card")
    for command in (["models", "list"], ["doctor"]):
        status, out, _ = run(capsys, *command)
        assert status == 2
        assert "corrupt" in out


def test_a_terminal_interrupt_ends_a_real_process_with_130(tmp_path: Path) -> None:
    """A process that is busy in a command, and Ctrl-C: status 130, one line, no traceback."""
    code = (
        "import sys, time, moldiff.datasets.prepare as module, moldiff.cli as cli\n"
        "module.prepare = lambda *a, **k: (print('busy', flush=True), time.sleep(60))\n"
        "sys.exit(cli.main(['data', 'prepare', 'x.sdf', '-o', 'out']))"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=Path(cli.__file__).parents[1],
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "busy\n"
    start = time.monotonic()
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (130, "interrupted\n")
    assert time.monotonic() - start < 10


SDF = """ethanol
  test

  3  2  0  0  0  0  0  0  0  0999 V2000
    0.0000    0.0000    0.0000 C   0  0
    1.5200    0.0000    0.0000 C   0  0
    2.0000    1.3400    0.0000 O   0  0
  1  2  1  0
  2  3  1  0
M  END
$$$$
"""
BAD_FILES = {
    "empty.sdf": "",
    "text.sdf": "this is not a molecule\n" * 5,
    "nan.sdf": SDF.replace("1.5200", "   nan"),
    "wrong.xyzzy": SDF,
}


@pytest.mark.parametrize("command", ["prepare", "evaluate"])
@pytest.mark.parametrize("name", ["missing.sdf", "empty.sdf", "text.sdf", "wrong.xyzzy"])
def test_a_bad_molecule_file_is_one_line(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    if name in BAD_FILES:
        Path(name).write_text(BAD_FILES[name])
    before = os.listdir(tmp_path)
    arguments = ["data", "prepare"] if command == "prepare" else ["evaluate"]
    assert_one_line(*run(capsys, *arguments, name, "-o", "out"), name)
    assert os.listdir(tmp_path) == before


def test_coordinates_that_are_no_numbers_never_become_data(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("nan.sdf").write_text(BAD_FILES["nan.sdf"])
    assert_one_line(*run(capsys, "data", "prepare", "nan.sdf", "-o", "out"))
    assert os.listdir(tmp_path) == ["nan.sdf"]
    status, out, _ = run(capsys, "evaluate", "nan.sdf", "--posebusters", "0")
    assert status == 0
    assert "1 molecules = 0 valid + 1 invalid" in out


def test_prepare_and_evaluate_on_real_molecules(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    records = SAMPLE.read_text().split("$$$$\n")[:40]
    Path("in.sdf").write_text("".join(f"{record}$$$$\n" for record in records))
    status, out, err = run(capsys, "data", "prepare", "in.sdf", "-o", "set", "-p", "logp, gfn2_gap_eV")
    assert (status, err) == (0, "")
    assert "40 read = 40 kept" in out
    status, out, err = run(capsys, "evaluate", "in.sdf", "--reference", "set", "--posebusters", "0", "-o", "report")
    assert (status, err) == (0, "")
    assert "40 valid + 0 invalid" in out
    assert (tmp_path / "report" / "report.json").is_file()
    for command in (["data", "prepare", "in.sdf", "-o", "set"], ["evaluate", "in.sdf", "-o", "report"]):
        assert_one_line(*run(capsys, *command), "exists already", "--overwrite")
    assert_one_line(*run(capsys, "data", "prepare", "in.sdf", "-o", "new", "-p", "lopg"), "lopg", "did you mean 'logp'")
    assert_one_line(*run(capsys, "evaluate", "in.sdf", "--reference", "in.csv"), "in.csv")
    assert_one_line(*run(capsys, "data", "info", "report"), "report")
    assert sorted(os.listdir(tmp_path)) == ["in.sdf", "report", "set"]


def test_a_set_for_fine_tuning_takes_the_vocabulary_of_the_model(
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    model: Path,
    tiny_model: MoleculeModel,
) -> None:
    from moldiff.datasets.prepared import PreparedDataset

    monkeypatch.chdir(tmp_path)
    Path("in.sdf").write_text("$$$$\n".join(SAMPLE.read_text().split("$$$$\n")[:20]) + "$$$$\n")
    status, _, err = run(capsys, "data", "prepare", "in.sdf", "-o", "set", "--vocabulary-of", model)
    assert (status, err) == (0, "")
    assert PreparedDataset.open(tmp_path / "set").vocabulary == tiny_model.vocabulary


@pytest.mark.parametrize("command", ["prepare", "evaluate"])
def test_a_full_disk_is_one_line_and_leaves_nothing(tmp_path: Path, command: str) -> None:
    """A limit of 2 kB for every file stands for the full disk: the write fails in the same place."""
    arguments = ["data", "prepare"] if command == "prepare" else ["evaluate", "--posebusters", "0"]
    code = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (2048, 2048))\n"
        f"from moldiff.cli import main; sys.exit(main({[*arguments, str(SAMPLE), '-o', 'out']}))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert_one_line(result.returncode, result.stdout, result.stderr, "out", "could not be written")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("text", "options", "words"),
    [
        ("data: set\noutput: run\ntraning: {}\n", [], ["traning", "training"]),
        ("data: set\noutput: run\n", ["--set", "training.stepps=5"], ["stepps", "steps"]),
        ("data: set\noutput: run\n", ["--set", "training.steps=-5"], ["training.steps"]),
        ("data: set\noutput: run\n", ["--set", "training.steps"], ["key=value"]),
        ("data: set\noutput: run\n", [], ["set"]),
        ("data: set\noutput: run\n", ["--max-time", "soon"], ["--max-time", "soon"]),
        ("data: set\noutput: run\n", ["--resume", "nowhere"], ["nowhere"]),
        ("- a list\n", [], ["config.yaml"]),
        ("data: [\n", [], ["config.yaml"]),
    ],
)
def test_a_bad_training_file_or_option_is_one_line(
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    text: str,
    options: list[str],
    words: list[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("config.yaml").write_text(text)
    assert_one_line(*run(capsys, "train", "config.yaml", *options), *words)
    assert os.listdir(tmp_path) == ["config.yaml"]
