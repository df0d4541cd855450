"""Files that people really have, at the command line: good ones in odd shapes work, bad ones are one line, exit 2."""

import errno
import gzip
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import moldiff
from moldiff.datasets.prepare import prepare
from moldiff.errors import MoldiffError
from moldiff.models.folder import load_model_folder, save_model_folder

TOO_LONG = """
generate -n 1 --model L -o q.sdf
generate -n 1 --rarity --ring-table L -o q.sdf
generate -n 1 --config L
generate -n 1 -o L.sdf
vary a.sdf -o M.sdf
conformers a.sdf -o M.sdf.gz
likelihood a.sdf -o M.csv
filter a.sdf -o M.csv
data relax a.sdf -o M.sdf
models info ./L
models verify ./L
models pack ./L -o q
models average ./L qm9 -o q
evaluate a.sdf --reference L -o r
evaluate a.sdf --ring-table L -o r
evaluate L/x.sdf -o r
filter L.sdf -o q.csv
show L.sdf -o q.png
screen run L.smi -o s
screen run L*.smi -o s
screen run a.sdf -o L
screen run a.sdf --reference L -o s
screen run a.sdf -c L -o s
screen status L
screen resume L
screen report L
screen merge L
train L
train finetune --resume L -o q
likelihood a.sdf --calibrate L -o q.csv
data info L
hazard-list L -o l
data prepare a.sdf --vocabulary-of ./L -o q
""".strip().splitlines()
LOCKED = """
filter locked/s.smi -o q.csv
vary locked/s.smi -o q.sdf
evaluate locked/s.smi -o r
show locked/s.smi -o q.png
data prepare locked/s.smi -o q
models info locked/m
generate -n 1 --model locked/m -o q.sdf
data info locked/d
screen status locked/s
screen run a.sdf -o locked/s
evaluate a.sdf --reference locked/d
""".strip().splitlines()
Run = Callable[..., Any]

RECORDS = [f"{text}$$$$\n" for text in (Path(__file__).parents[2] / "data" / "sample.sdf").read_text().split("$$$$\n")]
GOOD = "".join(RECORDS[:12])
NOISE = np.random.default_rng(0).integers(0, 256, 3000, dtype=np.uint8).tobytes()
BARE = """bare carbon skeleton
  test    3D

  2  1  0  0  0  0  0  0  0  0999 V2000
    0.0000    0.0000    0.2000 C   0  0
    1.5200    0.0000    0.0000 C   0  0
  1  2  1  0
M  END
$$$$
"""
V3000 = """water
  test    3D

  0  0  0     0  0            999 V3000
M  V30 BEGIN CTAB
M  V30 COUNTS 3 2 0 0 0
M  V30 BEGIN ATOM
M  V30 1 O 0.0 0.0 0.1 0
M  V30 2 H 0.96 0.0 0.0 0
M  V30 3 H -0.24 0.93 0.0 0
M  V30 END ATOM
M  V30 BEGIN BOND
M  V30 1 1 1 2
M  V30 2 1 1 3
M  V30 END BOND
M  V30 END CTAB
M  END
$$$$
"""


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in an empty folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def put(name: str, content: str | bytes) -> None:
    Path(name).write_bytes(content.encode() if isinstance(content, str) else content)


@pytest.mark.parametrize(
    ("name", "content", "kept"),
    [
        ("windows.sdf", GOOD.replace("\n", "\r\n"), 12),
        ("mark.sdf", "\ufeff" + GOOD, 12),
        ("latin.sdf", GOOD.replace("gdb_", "géb_").encode("latin-1"), 12),
        ("odd [b] 'name'\n.sdf", GOOD, 12),
        ("v3000.sdf", V3000, 1),
        ("cut.sdf", GOOD[: GOOD.rindex("M  END") - 40], 11),
        ("long.sdf", GOOD + "x" * 1_100_000 + "\n$$$$\n", 12),
        ("zip.SDF.GZ", gzip.compress(GOOD.encode(), mtime=0), 12),
        ("table.csv", b"SMILES,name,note\nCCO,\xe9thanol,a\nnonsense,b,c\n,d,e\nC\x00O,f,g\n", 1),
    ],
    # by the name alone: pytest 8.2 puts all of it into an environment variable, which takes 128 kB
    ids=lambda value: value if isinstance(value, str) and len(value) < 30 else "",
)
def test_odd_but_sound_files_work(run: Run, name: str, content: str | bytes, kept: int) -> None:
    put(name, content)
    status, out, err = run("data", "prepare", name, "-o", "out", "--workers", "1")
    told = f"warning: {name} is no UTF-8; its other characters are read as Windows-1252\n"
    assert (status, err) == (0, told if name in ("latin.sdf", "table.csv") else "")
    assert f"= {kept} kept" in out


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("noise.sdf", NOISE, ["noise.sdf", "no text"]),
        ("noise.sdf.gz", NOISE, ["noise.sdf.gz", "damaged"]),
        ("noise.csv", NOISE, ["noise.csv", "no text"]),
        ("noise.smi", NOISE, ["noise.smi", "no text"]),
        ("noise.parquet", NOISE, ["noise.parquet", "not a Parquet file"]),
        ("noise.tar.bz2", NOISE, ["noise.tar.bz2", "damaged"]),
        ("cut.sdf.gz", gzip.compress(GOOD.encode(), mtime=0)[:-500], ["cut.sdf.gz", "damaged after"]),
        ("columns.csv", "name,x\na,1\n", ["columns.csv", "no column 'smiles'", "name, x"]),
        ("header.csv", "smiles\n", ["header.csv", "no molecules"]),
        ("lines.sdf", "\n" * 40, ["lines.sdf", "no molecules"]),
        ("marks.sdf", "$$$$\n" * 200, ["marks.sdf", "not an SDF"]),
        ("bare.sdf", BARE, ["hydrogens without coordinates; place them (--add-hydrogens)", "implicit hydrogens"]),
        ("big.smi", "C" * 20_000 + "\n", ["too large"]),
        ("element.sdf", BARE.replace(" C  ", " Xx "), ["RDKit cannot read it"]),
        ("", None, ["folder"]),
        ("missing.sdf", None, ["missing.sdf", "No such file"]),
    ],
)
def test_unusable_files_are_one_line(run: Run, name: str, content: str | bytes | None, words: list[str]) -> None:
    if content is not None:
        put(name, content)
    before = os.listdir()
    result = run("data", "prepare", name, "-o", "out", "--workers", "1")
    result.assert_refused(*words)
    assert result.err[:-1].isprintable(), "bytes of the file do not reach the terminal"
    assert os.listdir() == before


def test_file_names_that_are_no_text(run: Run) -> None:
    name, out = (os.fsdecode(raw) for raw in (b"n\xff.sdf", b"o\xff"))
    put(name, GOOD)
    status, text, err = run("data", "prepare", name, "-o", out, "--workers", "1")
    assert (status, err) == (0, "")
    assert "written to o?" in text
    status, text, err = run("evaluate", name, "--posebusters", "0", "--reference", out)
    assert (status, err) == (0, "")
    assert text.startswith("n?.sdf: 12 molecules = 12 valid")
    run("data", "prepare", name, "-o", out).assert_refused("o? exists already")


def test_links_that_run_in_a_circle(run: Run) -> None:
    os.symlink("loop.sdf", "loop.sdf")
    for command in (["data", "prepare", "loop.sdf", "-o", "out"], ["evaluate", "loop.sdf"]):
        run(*command).assert_refused("loop.sdf", "cannot be read")


def test_the_same_file_twice(run: Run) -> None:
    put("a.sdf", GOOD)
    run("data", "prepare", "a.sdf", "./a.sdf", "-o", "out").assert_refused("named twice")


@pytest.mark.parametrize("command", TOO_LONG)
def test_names_that_are_too_long_are_one_line(run: Run, command: str) -> None:
    put("a.sdf", GOOD)
    before = sorted(os.listdir())
    # M is too long only as what is written aside
    run(*command.replace("L", "n" * 300).replace("M", "n" * 237).split()).assert_refused()
    assert sorted(os.listdir()) == before


@pytest.mark.parametrize("command", LOCKED)
def test_a_folder_that_may_not_be_entered_is_one_line(run: Run, monkeypatch: pytest.MonkeyPatch, command: str) -> None:
    put("a.sdf", GOOD)
    stat = os.stat

    def refusing(path: Any, *arguments: Any, **options: Any) -> os.stat_result:  # tests may run as root
        if isinstance(path, (str, Path)) and "locked" in Path(path).parts[:-1]:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), os.fspath(path))
        return stat(path, *arguments, **options)

    Path("locked").mkdir()
    monkeypatch.setattr(os, "stat", refusing)
    run(*command.split()).assert_refused("locked")


@pytest.mark.parametrize("out", ["n" * 300, "file", "file/out", "locked/out"])
def test_places_where_nothing_can_be_written_show_at_once(run: Run, monkeypatch: pytest.MonkeyPatch, out: str) -> None:
    put("a.sdf", GOOD)
    put("file", "text")
    Path("locked").mkdir()
    access = os.access
    # Tests may run as root, to whom every folder is open.
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path).name != "locked" and access(path, mode))
    before = sorted(os.listdir())
    run("data", "prepare", "a.sdf", "-o", out, "--overwrite").assert_refused(out[:5])
    run("evaluate", "a.sdf", "-o", out, "--overwrite").assert_refused(out[:5])
    run("generate", "--model", "none", "-o", f"{out}.sdf" if out != "file" else "locked").assert_refused()
    assert sorted(os.listdir()) == before


@pytest.mark.parametrize(
    "command",
    [
        ["filter", "a.sdf", "-o", "a.sdf"],
        ["filter", "a.records.csv", "-o", "a.smi"],
        ["vary", "a.sdf", "-o", "a.sdf"],
        ["vary", "a.sdf", "b.sdf", "-o", "./b.sdf"],
        ["conformers", "c.csv", "-o", "c.sdf"],
        ["likelihood", "a.sdf", "--calibrate", "b.csv", "-o", "b.csv"],
        ["data", "relax", "c.csv", "-o", "c.sdf"],
        ["generate", "--fragment", "a.sdf", "-o", "a.sdf"],
        ["filter", "a.sdf", "--similar-to", "b.sdf", "-o", "b.sdf"],
        ["filter", "b.sdf", "--known", "a.records.csv", "-o", "a.smi"],
        ["filter", "a.sdf", "--smarts", "odd.records.csv", "-o", "odd.smi"],
        ["describe", "a.sdf", "--shape-of", "b.sdf", "-o", "b.sdf"],
        ["generate", "--rarity", "--ring-table", "c.csv", "-o", "c.sdf"],
    ],
)
def test_what_a_run_begins_with_is_not_written_over(run: Run, command: list[str]) -> None:
    """Neither by the molecules nor by the table beside them, whose name nobody gave; ``--overwrite`` is for outputs."""
    for name in ("a.sdf", "b.sdf"):
        put(name, RECORDS[0])
    for name in ("b.csv", "c.csv", "a.records.csv"):
        put(name, "smiles\nCCO\n")
    put("odd.records.csv", "[Br] bromine\n")
    before = {path.name: path.read_bytes() for path in Path().iterdir()}
    for options in ([], ["--overwrite"]):
        run(*command, *options).assert_refused("is an input; choose another name")
    assert {path.name: path.read_bytes() for path in Path().iterdir()} == before


def test_a_folder_in_the_place_of_the_output_shows_before_the_work(run: Run, model: Path) -> None:
    Path("new.sdf").mkdir()
    options = ["--model", model, "-n", "2", "--evaluations", "1", "--n-atoms", "5", "--overwrite"]
    run("generate", *options, "-o", "new.sdf").assert_refused("new.sdf", "is a folder")


@pytest.fixture
def prepared(here: Path) -> Path:
    put("a.sdf", GOOD)
    prepare(["a.sdf"], "set", properties=["logp"])
    return here / "set"


@pytest.mark.parametrize(
    ("keys", "value"),
    [
        (("vocabulary", "elements"), []),
        (("vocabulary",), None),
        (("statistics", "size_counts"), {}),
        (("statistics", "marginals"), {}),
        (("statistics", "marginals", "charge"), [0.5, 0.25, 0.25]),
        (("statistics", "properties"), {}),
        (("properties",), [{"name": "logp"}]),
        (("dropped",), 3),
        (("dropped",), {"too large": "many"}),
        (("sources",), [{"file": "a.sdf"}]),
        (("molecules",), 5),
        (("version",), 99),
        (("format",), "other"),
    ],
)
def test_a_malformed_description_of_a_prepared_set(run: Run, prepared: Path, keys: tuple[str, ...], value: Any) -> None:
    description = json.loads((prepared / "dataset.json").read_text())
    place = description
    for key in keys[:-1]:
        place = place[key]
    place[keys[-1]] = value
    (prepared / "dataset.json").write_text(json.dumps(description))
    run("data", "info", "set").assert_refused("set", "prepare")


@pytest.mark.parametrize("name", ["positions", "atom_type", "bonds", "split"])
@pytest.mark.parametrize("damage", ["cut", "gone", "noise", "values"])
def test_damaged_arrays_of_a_prepared_set(run: Run, prepared: Path, name: str, damage: str) -> None:
    path = prepared / f"{name}.npy"
    if damage == "gone":
        path.unlink()
    elif damage == "values":
        array = np.load(path)
        array.flat[0] = 77  # no such class
        np.save(path, array)
    else:
        path.write_bytes(path.read_bytes()[:-3] if damage == "cut" else NOISE)
    put("train.yaml", "data: set\noutput: run\ntraining: {steps: 1}\nnetwork: {layers: 1, node_width: 16, heads: 2}\n")
    for command in (["data", "info", "set"], ["train", "train.yaml"], ["evaluate", "a.sdf", "--reference", "set"]):
        run(*command).assert_refused("set", "prepare")
    assert not Path("run").exists()


@pytest.mark.parametrize("change", ["weights", "vocabulary", "statistics", "nothing"])
def test_a_foreign_model_folder(run: Run, model: Path, change: str) -> None:
    """Folders whose hashes are right and whose contents are another network's."""
    folder = load_model_folder(model)
    config, weights = json.loads(json.dumps(folder.config)), dict(folder.weights)
    if change == "weights":
        weights = {"layer": weights.popitem()[1]}
    elif change == "vocabulary":
        config["vocabulary"]["elements"].pop()
    elif change == "statistics":
        config["statistics"]["size_counts"] = {}
    else:
        config = {}
    save_model_folder(Path("other"), weights=weights, config=config, references={}, card="", half=False)
    run("generate", "--model", "other", "-n", "1", "-o", "new.sdf").assert_refused("other")
    if change in ("statistics", "nothing"):
        run("models", "info", "other").assert_refused("other")
    shutil.rmtree("other")
    assert not Path("new.sdf").exists()


def test_heads_that_do_not_divide_the_width(run: Run) -> None:
    put("train.yaml", "data: set\noutput: run\nnetwork: {heads: 5}\n")
    run("train", "train.yaml").assert_refused("train.yaml: network: heads 5 must divide node_width 192")


def test_outputs_are_inputs(run: Callable[..., Any], model: Path, tmp_path: Path) -> None:
    """A file in which no molecule is valid, and the folder of a training run instead of its model."""
    (tmp_path / "run").mkdir()
    model.rename(tmp_path / "run" / "model")
    out = tmp_path / "m.sdf"
    made = run("generate", "-n", "3", "--model", tmp_path / "run", "--evaluations", "2", "-o", out)
    assert made.status == 0, made.err
    assert out.stat().st_size == 0, "random weights make nothing valid"
    report = run("evaluate", out, "--posebusters", "0")
    assert report.status == 0 and "3 molecules = 0 valid + 3 invalid" in report.out


@pytest.mark.parametrize("value", ["inf", "1e300"])
@pytest.mark.parametrize("command", ["filter", "describe", "screen", "data relax"])
def test_a_time_that_no_clock_counts_is_refused_at_once(run: Run, here: Path, command: str, value: str) -> None:
    put("x.smi", "CCO a\nCCN b\n")
    out = {"screen": "run", "data relax": "o.sdf"}.get(command, "o.csv")
    run(*command.split(), "x.smi", "-o", out, "--timeout", value).assert_refused("--timeout must be more than 0")
    assert [path.name for path in here.iterdir()] == ["x.smi"]


def test_a_time_or_memory_that_nothing_has_is_refused_at_once(run: Run, here: Path) -> None:
    put("x.smi", "CCO a\nCCN b\n")
    year = "--timeout must be at least 1 and at most"
    run("data", "prepare", "x.smi", "-o", "set", "--timeout", "99999999999").assert_refused(year)
    memory = "--memory must be in 256"
    run("screen", "x.smi", "-o", "run", "--memory", "99999999999999").assert_refused(memory)
    for words, name in (({"timeout_s": 0}, "timeout_s"), ({"memory_mb": 10}, "memory_mb")):
        with pytest.raises(MoldiffError, match=f"^{name} ") as caught:
            moldiff.screen("x.smi", "run", **words)
        assert caught.value.argument == name
    with pytest.raises(MoldiffError, match=r"^timeout_s must be a number") as caught:
        moldiff.filter(["CCO"], timeout_s="soon")
    assert caught.value.argument == "timeout_s"
    assert [path.name for path in here.iterdir()] == ["x.smi"]
