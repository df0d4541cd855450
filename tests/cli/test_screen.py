"""moldiff screen on the command line: what begins with files is a run; its words are those of filter."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import moldiff
from moldiff.cli.main import main
from moldiff.errors import MoldiffError
from moldiff.screening.runs.funnel import funnel_lines, read_funnel

ROOT = Path(__file__).parents[2]
DRUGS = ROOT / "tests" / "fixtures" / "drugs.sdf"


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    path = Path("library.smi")
    path.write_text("CCO ethanol\nCCCCCC hexane\nOCC again\n")
    return path


@pytest.fixture(scope="module")
def barren(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nobody writes into, in which nothing passes: its tables are made anew without a worker."""
    folder = tmp_path_factory.mktemp("barren")
    (folder / "library.smi").write_text("CCO ethanol\nCCCCCC hexane\nOCC again\n")
    found = moldiff.screen(folder / "library.smi", folder / "run", where="mw<1")
    assert found is not None and found.funnel["ranked"] == 0
    return folder / "run"


def test_a_run_and_what_is_done_with_its_folder(library: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = [str(library), "--where", "mw<60", "--rank", "mw:max:0..100", "--shard-size", "2", "-o", "run"]
    assert main(["screen", *words, "--dry-run"]) == 0
    assert "3 records in 2 shards; looked at 3 of them" in capsys.readouterr().out
    assert not Path("run").exists()
    assert main(["screen", *words, "--shard", "2/2"]) == 0
    assert "part 2/2 of run is done" in capsys.readouterr().out
    assert main(["screen", "report", "run"]) == 2
    assert "the tables are not there yet" in capsys.readouterr().err
    assert main(["screen", "merge", "run"]) == 2
    assert "1 of 2 shards are not done yet (0)" in capsys.readouterr().err
    assert main(["screen", "status", "run"]) == 0
    assert "1 of 2 shards, 1 of 3 records" in capsys.readouterr().out
    assert main(["screen", "resume", "run"]) == 0
    told = capsys.readouterr().out
    assert "3 requested = 1 valid + 0 invalid + 1 filtered + 1 duplicate + 0 withheld + 0 failed" in told
    assert main(["screen", "report", "run"]) == 0
    assert capsys.readouterr().out == told.replace("written to run\n", "")


def test_the_example_of_the_repository_works(library: Path) -> None:
    example = ROOT / "configs" / "screen.yaml"
    assert main(["screen", str(DRUGS), "-c", str(example), "--top", "1", "-o", "run"]) == 0
    options = json.loads(Path("run/plan.json").read_text())["options"]
    assert options["where"] == ["mw=200..500", "rotatable_bonds<=8"]
    assert (options["alerts"], options["top"], options["shard_size"]) == (["pains", "brenk"], 1, 2000)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["nothing.smi"], "nothing.smi cannot be read"),
        (["library.smi", "--where", "mass<3"], "unknown property 'mass'"),
        (["library.smi", "--rank", "qed:max:1..0"], "2 numbers that rise"),
        (["library.smi", "--shard", "3/2"], "shard '3/2'"),
        (["library.smi", "--smarts", "none.txt"], "none.txt cannot be read"),
        (["resume", "library.smi"], "is no screening run"),
        (["status", "elsewhere"], "elsewhere is no screening run"),
    ],
    ids=lambda value: value if isinstance(value, str) else " ".join(value),
)
def test_what_means_nothing_is_one_line_and_leaves_nothing(
    library: Path, words: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["screen", *words]) == 2
    message = capsys.readouterr().err
    assert told in message
    assert message.count("\n") == 1
    assert [path.name for path in Path().iterdir()] == ["library.smi"]


@pytest.mark.parametrize(
    "text",
    [
        "{}", "[]", "null", "3", '"x"', "[1]", '{"format": "moldiff-funnel"}',
        '{"format": "moldiff-funnel", "version": 1}',
        '{"format": "moldiff-funnel", "version": 1, "stages": 3, "requested": 1, "counts": {}}', "{", "",
    ],
)  # fmt: skip
def test_a_funnel_of_another_shape_is_one_line(
    barren: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(barren, "run")
    good = Path("run/funnel.json").read_text()
    Path("run/funnel.json").write_text(text)
    assert main(["screen", "report", "run"]) == 2
    message = capsys.readouterr().err
    assert message.startswith("error: run/funnel.json is ")
    assert message.count("\n") == 1
    assert main(["screen", "resume", "run"]) == 0
    assert Path("run/funnel.json").read_text() == good


@pytest.mark.parametrize("key", ["requested", "counts", "stages", "ranked", "top", "without_coordinates", "lost"])
@pytest.mark.parametrize("value", [None, "x", [1], {"a": 1}, 1])
def test_a_funnel_with_a_value_of_another_kind_is_one_line_or_told(tmp_path: Path, key: str, value: object) -> None:
    funnel = {"format": "moldiff-funnel", "version": 1, "requested": 1, "counts": {"valid": 1}, "ranked": 1, "top": 1}
    stage = {"stage": "mw", "asked": 1, "left_out": 1, "passed": 0}
    path = tmp_path / "funnel.json"
    path.write_text(json.dumps({**funnel, "stages": [stage], "without_coordinates": [], "lost": [], key: value}))
    try:
        assert funnel_lines(read_funnel(path))
    except MoldiffError as error:
        assert str(path) in str(error)


def test_the_script_is_the_same_command(library: Path) -> None:
    script = ROOT / "scripts" / "screen_library.py"
    done = subprocess.run([sys.executable, str(script), "nothing.smi"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "nothing.smi cannot be read" in done.stderr
