"""Whole commands on real files: what they write, and what they refuse in one line without leaving anything behind."""

import os
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from moldiff.models.molecule_model import MoleculeModel

Run = Callable[..., Any]

SAMPLE = Path(__file__).parents[2] / "data" / "sample.sdf"


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
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    if name in BAD_FILES:
        Path(name).write_text(BAD_FILES[name])
    before = os.listdir(tmp_path)
    arguments = ["data", "prepare"] if command == "prepare" else ["evaluate"]
    run(*arguments, name, "-o", "out").assert_refused(name)
    assert os.listdir(tmp_path) == before


def test_coordinates_that_are_no_numbers_never_become_data(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("nan.sdf").write_text(BAD_FILES["nan.sdf"])
    run("data", "prepare", "nan.sdf", "-o", "out").assert_refused()
    assert os.listdir(tmp_path) == ["nan.sdf"]
    status, out, _ = run("evaluate", "nan.sdf", "--posebusters", "0")
    assert status == 0
    assert "1 molecules = 0 valid + 1 invalid" in out


def test_prepare_and_evaluate_on_real_molecules(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    records = SAMPLE.read_text().split("$$$$\n")[:40]
    Path("in.sdf").write_text("".join(f"{record}$$$$\n" for record in records))
    status, out, err = run("data", "prepare", "in.sdf", "-o", "set", "-p", "logp, gfn2_gap_eV", "--workers", "1")
    assert (status, err) == (0, "")
    assert "40 read = 40 kept" in out
    status, out, err = run("evaluate", "in.sdf", "--reference", "set", "--posebusters", "0", "-o", "report")
    assert (status, err) == (0, "")
    assert "40 valid + 0 invalid" in out
    assert (tmp_path / "report" / "report.json").is_file()
    status, out, err = run("data", "info", "set")
    assert (status, err) == (0, "")
    assert out.startswith("set: 40 molecules, 40 distinct\n")
    for command in (["data", "prepare", "in.sdf", "-o", "set"], ["evaluate", "in.sdf", "-o", "report"]):
        run(*command).assert_refused("exists already", "--overwrite")
    run("data", "prepare", "in.sdf", "-o", "new", "-p", "lopg").assert_refused("lopg", "did you mean 'logp'")
    run("evaluate", "in.sdf", "--reference", "in.csv").assert_refused("in.csv")
    run("data", "info", "report").assert_refused("report")
    assert sorted(os.listdir(tmp_path)) == ["in.sdf", "report", "set"]


def test_a_set_for_fine_tuning_takes_the_vocabulary_of_the_model(
    run: Run,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    model: Path,
    tiny_model: MoleculeModel,
) -> None:
    from moldiff.datasets.prepared import PreparedDataset

    monkeypatch.chdir(tmp_path)
    Path("in.sdf").write_text("$$$$\n".join(SAMPLE.read_text().split("$$$$\n")[:20]) + "$$$$\n")
    status, _, err = run("data", "prepare", "in.sdf", "-o", "set", "--vocabulary-of", model, "--workers", "1")
    assert (status, err) == (0, "")
    assert PreparedDataset.open(tmp_path / "set").vocabulary == tiny_model.vocabulary


@pytest.mark.parametrize("command", ["prepare", "evaluate", "generate"])
def test_a_full_disk_is_one_line_and_leaves_nothing(run_python: Run, tmp_path: Path, model: Path, command: str) -> None:
    """A limit of 2 kB for every file stands for the full disk: the write fails in the same place."""
    arguments = {
        "prepare": ["data", "prepare", str(SAMPLE), "-o", "out", "--workers", "1"],
        "evaluate": ["evaluate", "--posebusters", "0", str(SAMPLE), "-o", "out"],
        "generate": [
            "generate",
            "-n",
            "50",
            "--evaluations",
            "1",
            "--n-atoms",
            "5",
            "--model",
            str(model),
            "--keep-invalid",
            "-o",
            "out.sdf",
        ],
    }[command]
    before = os.listdir(tmp_path)
    code = (
        "import os, resource, sys\nfrom moldiff.cli.main import main\nfree = resource.RLIM_INFINITY\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (2048, free))\n"
        # of processes with this limit for good, coverage.py could write nothing, and would say so
        "os.environ.pop('COVERAGE_PROCESS_CONFIG', None)\n"
        f"status = main({arguments})\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (free, free))\n"  # coverage.py writes at the end, where it runs
        "sys.exit(status)"
    )
    written = {"prepare": "out/positions.npy", "evaluate": "out/bonds.png", "generate": "out."}[command]
    run_python("-c", code, cwd=tmp_path).assert_refused(f"error: {written}", "could not be written: File too large")
    assert set(os.listdir(tmp_path)) - set(before) <= {"out.sdf.unfinished"}, "but for what a later run takes over"


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
    run: Run,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    text: str,
    options: list[str],
    words: list[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("config.yaml").write_text(text)
    run("train", "config.yaml", *options).assert_refused(*words)
    assert os.listdir(tmp_path) == ["config.yaml"]


def test_the_defaults_in_the_help_are_the_defaults(run: Run) -> None:
    from moldiff.choices import DEFAULTS, Sampler, TimeGrid
    from moldiff.models.folder import DEFAULT_MODEL

    _, out, _ = run("generate", "--help")
    words = " ".join(out.replace("│", " ").split())
    for default in (DEFAULTS.sampler, DEFAULTS.grid):
        assert f"{default} by default" in words
    assert f"by default {DEFAULTS.evaluations} (qm9_fast: 8)" in words
    for name in (*Sampler, *TimeGrid):
        assert name in words
    assert f"by default {DEFAULT_MODEL}" in words


@pytest.fixture
def generate(run: Run, model: Path) -> Run:
    """The command ``generate`` with a tiny model and few steps."""
    return partial(run, "generate", "--model", model, "--evaluations", "3", "--device", "cpu")


def test_generate_accounts_for_every_molecule(generate: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    status, out, err = generate("-n", "4", "-o", "new.sdf", "--n-atoms", "5..6", "--keep-invalid")
    none = "warning: none of the 4 molecules that were drawn is valid; new.csv tells why\n"
    assert (status, err) == (0, none), "random weights make no molecules"
    assert out.startswith("4 requested = ")
    assert out.count("\n") == 1
    files = {name: Path(name).read_bytes() for name in ("new.sdf", "new.csv", "new.run.json")}
    assert files["new.csv"].count(b"\n") == 5
    generate("-n", "4", "-o", "new.sdf").assert_refused("exists already", "--overwrite")
    status, out, err = generate(
        "-n",
        "4",
        "-o",
        "new.sdf",
        "--n-atoms",
        "5..6",
        "--keep-invalid",
        "--overwrite",
        "--batch-size",
        "3",
    )
    assert (status, err) == (0, none)
    for name in ("new.sdf", "new.csv"):
        assert Path(name).read_bytes() == files[name], "the same seed gives the same files at any batch size"


def test_a_size_outside_the_training_range_is_a_warning(
    generate: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    status, out, err = generate("-n", "1", "-o", "new.sdf", "--n-atoms", "20")
    assert (status, out.startswith("1 requested = ")) == (0, True)
    assert err.startswith("warning: ")
    assert "20..20" in err
    assert "none of the 1 molecules" in err
    assert err.count("\n") == 2


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--n-atoms", "0"], ["--n-atoms"]),
        (["--n-atoms", "9..5"], ["--n-atoms"]),
        (["--n-atoms", "5000"], ["999"]),
        (["--sampler", "dddm"], ["dddm", "ddim"]),
        (["--device", "gpu"], ["gpu", "cuda"]),
        (["--model", "no-such-model"], ["no-such-model"]),
        (["--model", "."], ["SHA256SUMS"]),
        (["-o", "new.mol"], ["new.mol", ".sdf"]),
        (["-o", "file/new.sdf"], ["file"]),
        pytest.param(
            ["--device", "cuda"], ["cuda", "cpu"], marks=pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU")
        ),
    ],
    ids=" ".join,
)
def test_generate_refuses_in_one_line_and_writes_nothing(
    generate: Run,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    options: list[str],
    words: list[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("file").write_text("not a folder")
    before = sorted(os.listdir(tmp_path))
    generate("-n", "2", *options).assert_refused(*words)
    assert sorted(os.listdir(tmp_path)) == before


def test_the_script_is_the_same_command(run_python: Run, tmp_path: Path) -> None:
    script = SAMPLE.parents[1] / "scripts" / "generate_molecules.py"
    run_python(script, "-n", "-3", cwd=tmp_path).assert_refused("-n", "moldiff generate --help")


@pytest.mark.parametrize("command", ["filter a.smi -o b.csv", "generate -n 1", "screen a.smi -o c", "evaluate a.smi"])
def test_a_folder_at_hand_that_is_gone_is_said(
    run: Callable[..., Any], command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    found = run(*command.split())
    told = "error: the folder at hand is gone (No such file or directory); change into another one\n"
    assert (found.status, found.out, found.err) == (2, "", told)


def test_closed_standard_streams_change_nothing(tmp_path: Path, model: Path) -> None:
    """Not even in what is written: the next file opened must not get the number that C code sends its words to."""
    command = f"{sys.executable} -m moldiff generate -n 3 --evaluations 2 --model {model} --device cpu --keep-invalid"
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    for name, streams in enumerate(("", "0<&-", "1>&-", "2>&-", "0<&- 1>&- 2>&-")):
        done = subprocess.run(
            f"exec {command} -o {name}.sdf {streams}", shell=True, cwd=tmp_path, env=environment, capture_output=True
        )
        assert done.returncode == 0, (streams, done.stderr)
        assert (tmp_path / f"{name}.sdf").read_bytes() == (tmp_path / "0.sdf").read_bytes(), streams
