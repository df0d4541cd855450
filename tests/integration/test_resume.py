"""Long work that is killed at any moment goes on from there, and its files are those of an uninterrupted run."""

import json
import random
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from killed import start_killed

from moldiff.chem.io.outputs import KINDS

Run = Callable[..., Any]

REPOSITORY = Path(__file__).parents[2]
SAMPLE = REPOSITORY / "data" / "sample.sdf"
FAST = "--model qm9_fast --batch-size 8 --device cpu"
SMALL = "--n-atoms 12..16 -o m.sdf"
COMMANDS = {
    "generate": f"generate -n 16 --keep-invalid --confidence --renoise 1 --report m.html {FAST} {SMALL}",
    "targets": f"generate -n 8 --target tpsa=20..40 --until met --target-moves 1 {FAST} {SMALL}",
    "score": f"generate -n 10 --score qed --score-weight 3 --particles 4 {FAST} {SMALL}",
    "later": f"generate -n 12 --decode structured --first 7 --seed 5 {FAST} {SMALL}",
    "vary": f"vary a.sdf b.smi -n 3 --strength 0.2..0.5 {FAST} -o m.sdf",
    "conformers": f"conformers a.sdf b.smi -n 2 --rms 0.3 --keep-invalid --evaluations 4 --redraws 1 {FAST} -o m.sdf",
    "likelihood": f"likelihood a.sdf b.smi --evaluations 2 --repeats 2 {FAST} -o m.csv",
    "relax": "data relax a.sdf c.smi --method mmff94s --workers 1 -o m.sdf",
}
"""By what is peculiar about them."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with some molecules."""
    records = SAMPLE.read_text().split("$$$$\n")
    folder = tmp_path / "work"
    folder.mkdir()
    (folder / "a.sdf").write_text("".join(f"{record}$$$$\n" for record in records[:4]))
    (folder / "c.smi").write_text("".join(f"{'C' * k}O alcohol{k}\n" for k in range(1, 12)))
    (folder / "b.smi").write_text("CC(O)C#N hydroxynitrile\nnothing none\nC[C@H](N)C=O alaninal\n")
    return folder


def outputs(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.suffix in (".sdf", ".csv", ".smi")}


def record_of(folder: Path) -> dict[str, object]:
    """The run record but for what tells of the moment."""
    for name in ("m.run.json", "m.json"):
        if (folder / name).exists():
            record = json.loads((folder / name).read_text())
            return {name: value for name, value in record.items() if name not in ("command", "seconds", "date")}
    return {}


@pytest.mark.parametrize("name", COMMANDS)
def test_a_run_that_is_killed_at_any_moment_goes_on_to_the_same_bytes(name: str, folder: Path, kills: int) -> None:
    command = COMMANDS[name].split()
    status, seconds = start_killed(command, folder, None)
    said = (folder / "said.txt").read_text()
    assert status in (0, 2), said  # 2: fewer valid ones than were asked for
    whole, record = outputs(folder), record_of(folder)
    assert {"m.csv"} <= set(whole), said
    assert not list(folder.glob("*.unfinished"))
    chance, earlier, landed = random.Random(name), 0, 0
    for _ in range(2 * kills):  # some moments come when the run is over
        if landed >= kills:
            break
        for path in folder.glob("m.*"):
            path.unlink()
        for words, latest in ((command, 1.0), ([*command, "--resume"], 0.8)):
            killed, after = start_killed(words, folder, chance.uniform(0.2, latest) * seconds)
            if killed != -signal.SIGKILL:
                seconds = min(seconds, after) if words is command else seconds  # the first run may have been a slow one
                break
            landed += 1
        resumed, said = start_killed([*command, "--resume"], folder, None)[0], (folder / "said.txt").read_text()
        assert resumed == status, said
        assert outputs(folder) == whole
        found = record_of(folder)
        earlier += found.pop("earlier", 1) > 0
        assert found == {name: value for name, value in record.items() if name != "earlier"}
        left = {path.name for path in folder.iterdir()} - set(whole)
        assert left <= {"m.run.json", "m.json", "m.targets.png", "m.html", "said.txt"}, left
    assert landed >= min(kills, 1 if kills < 4 else kills), f"{landed} of {kills} kills came before the run was over"
    # results of one batch come together: of few kills none may come after the first of them
    assert earlier or kills < 40, "the kills came too early or too late to show anything"


ENDED = ["generate", "-n", "3", *FAST.split(), "--n-atoms", "12..14", "--resume"]


@pytest.fixture(scope="module")
def whole_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that nobody writes into, with a run that has ended."""
    folder = tmp_path_factory.mktemp("ended")
    command = [*ENDED, "-o", "a.sdf", "--report", "r.html", "--trajectory", "t.xyz"]
    assert start_killed(command, folder, None)[0] == 0
    before = (folder / "said.txt").read_text()
    assert start_killed(command, folder, None)[0] == 0
    assert "nothing is left to do" in (folder / "said.txt").read_text().removeprefix(before)
    (folder / "said.txt").unlink()
    return folder


@pytest.fixture
def ended(whole_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a run that has ended: a.sdf, its report r.html and a trajectory t.xyz."""
    shutil.copytree(whole_run, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("options", "lost"),
    [
        ("--report other.html", "other.html is not there"),
        ("--trajectory t.html", "t.html is not there"),
        ("--trajectory t.xyz --trajectory u.xyz", "u.xyz is not there"),
        ("--keep-invalid", "what is not valid was not kept in it"),
    ],
)
def test_a_run_that_has_ended_has_not_made_what_is_asked_for_now(
    run: Run, ended: Path, options: str, lost: str
) -> None:
    before = sorted(path.name for path in ended.iterdir())
    run(*ENDED, "-o", "a.sdf", *options.split()).assert_refused(f"a.sdf is whole, but {lost}; pass --overwrite")
    assert sorted(path.name for path in ended.iterdir()) == before
    assert "nothing is left" not in run(*ENDED, "-o", "a.sdf", *options.split(), "--overwrite").out
    assert "nothing is left" in run(*ENDED, "-o", "a.sdf", *options.split()).out


@pytest.mark.parametrize("name", ["a.csv", "r.html", "t.xyz"])
@pytest.mark.parametrize("content", [None, "x"])
def test_a_file_of_a_run_that_has_ended_is_missed(run: Run, ended: Path, name: str, content: str | None) -> None:
    (ended / name).unlink()
    if content is not None:
        (ended / name).write_text(content)
    done = run(*ENDED, "-o", "a.sdf", "--report", "r.html", "--trajectory", "t.xyz")
    if name == "r.html" and content is not None:
        assert done.status == 0, "a page tells of times: it is not compared"
        return
    done.assert_refused(name, "is not there" if content is None else "is not what that run wrote")


@pytest.mark.parametrize("suffix", [kind.suffix for kind in KINDS])
def test_every_kind_of_output_that_is_whole_has_nothing_left_to_do(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(*ENDED, "-o", f"a{suffix}").status == 0
    left = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert "nothing is left to do" in run(*ENDED, "-o", f"a{suffix}").out
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == left
    (tmp_path / f"a{suffix}").write_bytes(b"x")
    assert run(*ENDED, "-o", f"a{suffix}").status == 2


def test_a_record_without_hashes_of_other_files_counts_where_they_are_there(run: Run, ended: Path) -> None:
    record = json.loads((ended / "a.run.json").read_text())
    assert {entry["file"] for entry in record.pop("beside")} == {"a.csv", "r.html", "t.xyz"}
    (ended / "a.run.json").write_text(json.dumps(record))
    (ended / "a.csv").write_text("x")
    assert "nothing is left to do" in run(*ENDED, "-o", "a.sdf", "--trajectory", "t.xyz").out
    (ended / "a.csv").unlink()
    run(*ENDED, "-o", "a.sdf").assert_refused("a.csv is not there")


def test_no_two_outputs_are_one(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for options in ("--report g.html --trajectory g.html", "--trajectory t.xyz --trajectory ./t.xyz"):
        run(*ENDED, "-o", "a.sdf", *options.split()).assert_refused("would be written twice")
    assert list(tmp_path.iterdir()) == []
