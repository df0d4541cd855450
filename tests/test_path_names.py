"""Names of files that no shell has read, and of dots alone: refused in one line, by every way into the package."""

import re
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from rdkit import Chem

import moldiff
from moldiff.errors import MoldiffError
from moldiff.files import refuse_existing, refuse_existing_file
from moldiff.path_names import with_stem, written_out


@pytest.mark.parametrize("name", ["~/a.sdf", "~", "~/runs/", "~nobody_here/a.sdf"])
def test_a_home_folder_is_to_be_written_out(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/ann")
    known = {"~/a.sdf": ": /home/ann/a.sdf", "~": ": /home/ann", "~/runs/": ": /home/ann/runs"}
    with pytest.raises(MoldiffError, match=re.escape(f"write the home folder out{known.get(name, '')}") + "$"):
        written_out(Path(name))


@pytest.mark.parametrize(("name", "holds"), [("a\0b.sdf", "a zero byte"), ("a\ud800.sdf", "half a character")])
def test_a_name_that_no_file_can_have_is_refused_before_anything_is_opened(name: str, holds: str) -> None:
    for use in (written_out, lambda path: refuse_existing(path, False)):
        with pytest.raises(MoldiffError, match=rf"^a\\[xu]\w+.sdf cannot be used: no name of a file holds {holds}$"):
            use(Path(name))


@pytest.mark.parametrize("name", ["~a.sdf", "a/~/b.sdf", "/tmp/~/b.sdf", "a~", "", ".", "~$mine.csv", "a.sdf"])
def test_other_paths_stay_as_they_are(name: str) -> None:
    assert written_out(Path(name)) == Path(name)


@pytest.mark.parametrize(
    ("name", "is_one"),
    [("...sdf", False), ("..sdf.gz", False), (".sdf.gz", False), ("....html", False), ("..json", False),
     ("a.sdf", True), ("..a.sdf", True), (".hidden", True), (".hidden.csv", True), ("a..sdf", True), ("a", True)],
)  # fmt: skip
def test_a_file_has_a_name_before_its_suffix(name: str, is_one: bool, tmp_path: Path) -> None:
    if is_one:
        assert with_stem(tmp_path / name) == tmp_path / name
        return
    with pytest.raises(MoldiffError, match=r"no name before its suffix; choose one, such as a\.[a-z]"):
        refuse_existing_file(tmp_path / name, overwrite=False)


COMMANDS = {
    "generate": ["-n", "1", "-o", "~/q.sdf"],
    "generate report": ["-n", "1", "-o", "q.sdf", "--report", "~/q.html"],
    "generate trajectory": ["-n", "1", "-o", "q.sdf", "--trajectory", "~/q.xyz"],
    "generate model": ["-n", "1", "-o", "q.sdf", "--model", "~/model"],
    "generate config": ["--config", "~/steer.yaml", "-o", "q.sdf"],
    "generate by file": ["--config", "own.yaml"],
    "generate score": ["-n", "1", "-o", "q.sdf", "--score", "~/mine.py:score"],
    "generate ring-table": ["-n", "1", "-o", "q.sdf", "--ring-table", "~/rings.smi"],
    "filter": ["~/in.smi", "-o", "q.csv"],
    "filter many": ["~/*.smi", "-o", "q.csv"],
    "filter out": ["in.smi", "-o", "~/q.csv"],
    "filter dock": ["in.smi", "-o", "q.csv", "--dock", "~/receptor.pdbqt", "--dock-box", "0,0,0,9,9,9"],
    "conformers": ["in.smi", "-o", "~/q.sdf"],
    "likelihood": ["in.smi", "-o", "~/q.csv"],
    "evaluate": ["in.smi", "-o", "~/report"],
    "evaluate reference": ["in.smi", "--reference", "~/known.sdf"],
    "data prepare": ["in.smi", "-o", "~/data"],
    "data info": ["~/data"],
    "train": ["smoke", "-o", "~/runs"],
    "train data": ["smoke", "--set", "data=~/data"],
    "train output": ["smoke", "--set", "data=data", "--set", "output=~/runs"],
    "screen": ["in.smi", "-o", "~/run"],
    "show": ["in.smi", "-o", "~/q.png"],
    "configs": ["smoke", "-o", "~/mine.yaml"],
    "hazard-list": ["in.smi", "--source", "mine", "-o", "~/list.json"],
    "models info": ["~/model"],
}


LONG = "n" * 300 + "/"  # more letters than a name may have
REFUSED = {"~/": "write the home folder out", LONG: "File name too long"}


@pytest.mark.parametrize("place", REFUSED, ids=["home", "long"])
@pytest.mark.parametrize("case", COMMANDS)
def test_no_command_takes_a_home_folder_that_no_shell_has_read_or_a_name_that_is_too_long(
    case: str, place: str, run: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in.smi").write_text("CCO\n")
    (tmp_path / "own.yaml").write_text(f"number: 1\nout: {place}q.sdf\n")
    command = case.split() if case.startswith(("data", "models")) else case.split()[:1]
    run(*command, *(word.replace("~/", place) for word in COMMANDS[case])).assert_refused(REFUSED[place])
    assert not (tmp_path / "~").exists() and not (tmp_path / "q.sdf").exists()


@pytest.mark.parametrize("place", REFUSED, ids=["home", "long"])
def test_no_function_takes_one(place: str, sample_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in.smi").write_text("CCO\n")
    result = moldiff.filter([Chem.MolFromSmiles("CCO")])
    calls: list[Callable[[], object]] = [
        lambda: result.save(f"{place}a.sdf"),
        lambda: result.save(Path(f"{place}a.csv")),
        lambda: moldiff.filter(f"{place}in.smi"),
        lambda: moldiff.load(f"{place}model"),
        lambda: moldiff.generate(1, model=f"{place}model"),
        lambda: moldiff.generate(1, ring_table=f"{place}rings.smi", targets="known_rings>0.5"),
        lambda: moldiff.generate(1, fragment=f"{place}core.sdf"),
        lambda: moldiff.vary(f"{place}in.sdf", n=1),
        lambda: moldiff.conformers(f"{place}in.smi"),
        lambda: moldiff.likelihood(f"{place}in.sdf"),
        lambda: moldiff.prepare(f"{place}in.sdf", "data"),
        lambda: moldiff.prepare("in.smi", f"{place}data"),
        lambda: moldiff.screen(f"{place}in.smi", "run"),
        lambda: moldiff.screen("in.smi", f"{place}run"),
        lambda: moldiff.evaluate(f"{place}in.sdf"),
        lambda: moldiff.evaluate(sample_path, out=f"{place}report"),
        lambda: moldiff.evaluate(sample_path, reference=f"{place}known.sdf"),
        lambda: moldiff.evaluate(sample_path, ring_table=f"{place}rings.smi"),
        lambda: refuse_existing(Path(f"{place}folder"), overwrite=True),
    ]
    if find_spec("vina") is not None:
        calls.append(lambda: moldiff.filter("in.smi", dock=f"{place}r.pdbqt", dock_box="0,0,0,9,9,9"))
    for number, call in enumerate(calls):
        with pytest.raises(MoldiffError, match=REFUSED[place]):
            call()
            pytest.fail(f"call {number} took it")
    assert {path.name for path in tmp_path.iterdir()} == {"in.smi"}


@pytest.mark.parametrize("name", ["...sdf", "..smi.gz", ".csv.gz", "..parquet", "....sdf"])
def test_no_command_writes_a_name_of_dots(
    name: str, run: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in.smi").write_text("CCO\n")
    run("generate", "-n", "1", "-o", name).assert_refused("no name before its suffix")
    run("filter", "in.smi", "-o", name).assert_refused("no name before its suffix")
    with pytest.raises(MoldiffError, match="no name before its suffix"):
        moldiff.filter("in.smi").save(name)
    run("generate", "-n", "1", "-o", "a.sdf", "--report", "...html").assert_refused("no name before its suffix")
    assert {path.name for path in tmp_path.iterdir()} == {"in.smi"}
