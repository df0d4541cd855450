"""Values of wrong kinds or out of all range, for every argument of every public function: one line that names it."""

import inspect
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, get_type_hints

import numpy as np
import pandas as pd
import pytest
import typer
from rdkit import Chem

import moldiff
from moldiff.cli.main import app
from moldiff.errors import MoldiffError
from moldiff.nll.files import score_file

HUGE = 10**30
NO_WHOLE_NUMBER = [1.5, True, "2", math.nan, [1], 10**5000]
NO_FLAG = [1, 0, "no", None, math.nan, [True]]
NO_PATH = [1, 1.5, b"x", [None], {"a": 1}, True, ""]
FUNCTIONS: dict[str, dict[str, Any]] = {  # with arguments that are fine
    "generate": {"n": 1},
    "vary": {"molecules": ["CCO"]},
    "conformers": {"molecules": ["CCO"]},
    "filter": {"molecules": ["CCO"]},
    "screen": {"files": "a.smi", "out": "run"},
    "evaluate": {"molecules": ["CCO"]},
    "likelihood": {"molecules": ["CCO"]},
    "load": {},
    "prepare": {"files": "a.smi", "out": "set"},
}


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in a folder with a file of molecules."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.smi").write_text("CCO ethanol\n")
    return tmp_path


def arguments(kind: str) -> Iterator[tuple[str, str]]:
    """Yield (function, argument) of all arguments that are annotated as this, None apart."""
    for name in FUNCTIONS:
        for one in inspect.signature(getattr(moldiff, name)).parameters.values():
            parts = {part.strip() for part in str(one.annotation).split("|")} - {"None"}
            if parts == {kind} or (kind == "Path" and "Path" in parts and parts <= {"Path", "str", "LoadedModel"}):
                yield name, one.name


def may_be_none(function: str, argument: str) -> bool:
    return "None" in str(inspect.signature(getattr(moldiff, function)).parameters[argument].annotation)


def refused(function: str, argument: str, value: object, here: Path) -> str:
    """Return the line by which a value is refused, before anything is written."""
    before = sorted(here.rglob("*"))
    extra = {"score": "qed", "score_weight": 1.0} if argument == "particles" else {}
    extra |= {"until": "valid"} if argument == "max_draws" else {}
    extra |= {"targets": "logp=1"} if argument == "target_moves" else {}
    extra |= {"from_model": "qm9"} if (function, argument) == ("screen", "n") else {}
    extra |= {"n": 1} if (function, argument) == ("screen", "from_model") else {}
    extra |= {"rarity": True} if (function, argument) == ("generate", "ring_table") else {}
    if argument == "exhaustiveness":
        pytest.importorskip("vina")
    extra |= {"dock": "r.pdbqt", "dock_box": "0,0,0,9,9,9"} if argument == "exhaustiveness" else {}
    with pytest.raises(MoldiffError) as caught:
        getattr(moldiff, function)(**{**FUNCTIONS[function], **extra, argument: value})
    assert caught.value.argument in (argument, "evaluations" if argument == "steps" else argument)
    assert len(str(caught.value)) < 250 and "\n" not in str(caught.value)
    assert sorted(here.rglob("*")) == before
    return str(caught.value)


@pytest.mark.parametrize(("function", "argument"), list(arguments("bool")))
def test_a_flag_is_true_or_false(function: str, argument: str, here: Path) -> None:
    for value in NO_FLAG:
        assert refused(function, argument, value, here).startswith(f"{argument} must be True or False, not ")


@pytest.mark.parametrize(("function", "argument"), list(arguments("int")))
def test_a_count_is_a_whole_number_of_sense(function: str, argument: str, here: Path) -> None:
    least = [] if argument == "charge" else [-1, np.int64(-5)]
    none = [] if may_be_none(function, argument) else [None]
    for value in (*NO_WHOLE_NUMBER, HUGE, *least, *none):
        refused(function, argument, value, here)


@pytest.mark.parametrize(("function", "argument"), list(arguments("Path")))
def test_a_path_is_a_path_or_a_text(function: str, argument: str, here: Path) -> None:
    if argument == "dock":
        pytest.importorskip("vina")
    none = [] if may_be_none(function, argument) else [None]
    for value in (*NO_PATH, *none):
        refused(function, argument, value, here)


def test_the_tables_above_find_their_arguments() -> None:
    flags, counts, paths = (list(arguments(kind)) for kind in ("bool", "int", "Path"))
    assert {("evaluate", "fcd"), ("filter", "isolated"), ("prepare", "fragments")} <= set(flags)
    assert {("generate", "evaluations"), ("screen", "top"), ("evaluate", "requested")} <= set(counts)
    assert {("load", "model"), ("evaluate", "out"), ("likelihood", "calibration"), ("screen", "out")} <= set(paths)
    assert len(flags) > 25 and len(counts) > 40 and len(paths) > 14


@pytest.mark.parametrize("value", ["Explicit", "nonsense", "", 1, None, ["auto"]])
def test_hydrogens_of_a_file_are_one_of_three_words(value: object, here: Path) -> None:
    refused("evaluate", "hydrogens", value, here)


@pytest.mark.parametrize("function", ["generate", "vary", "conformers", "filter", "screen"])
def test_hazard_lists_are_paths(function: str, here: Path) -> None:
    for value in (None, 7, [None], [["x"]], True, b"x", ""):
        refused(function, "hazard_lists", value, here)


@pytest.mark.parametrize("function", ["filter", "screen"])
def test_commands_are_a_mapping(function: str, here: Path) -> None:
    for value in (None, "one=x {sdf}", ["x"], 3, {1: "x {sdf}"}, {"x": None}):
        refused(function, "commands", value, here)


def test_files_and_patterns_of_screen_are_paths(here: Path) -> None:
    for name in ("files", "smarts"):
        for value in (None, 7, [7], [None]):
            refused("screen", name, value, here)


@pytest.mark.parametrize("value", [np.array([1.0, 2.0]), pd.Series(["qed"]), 3, ["qed"], True, b"qed"], ids=repr)
@pytest.mark.parametrize("method", [None, "smc"])
def test_a_score_is_a_function_or_a_name(value: object, method: str | None) -> None:
    wanted = {} if method is None else {"targets": "logp=1", "target_method": method}
    with pytest.raises(MoldiffError, match=r"^score must be a function or a name, not ") as caught:
        moldiff.generate(1, score=value, score_weight=1.0, **wanted)  # type: ignore[arg-type]
    assert caught.value.argument == "score"


@pytest.mark.parametrize("function", ["generate", "vary", "conformers", "likelihood", "load"])
def test_devices_and_number_types_are_words_or_those_of_pytorch(function: str, here: Path) -> None:
    import torch

    for value in (0, None, True, ["cpu"], {}, "gpu", torch.float32, torch.device("meta"), torch.device("cpu", 3)):
        refused(function, "device", value, here)
    if function != "likelihood":
        for value in (1, None, True, ["float32"], "half", torch.float16, torch.device("cpu")):
            refused(function, "precision", value, here)


def test_a_device_of_pytorch_is_as_good_as_its_word() -> None:
    import torch

    words: dict[str, Any] = {"evaluations": 2, "n_atoms": 5, "keep_invalid": True}
    there = {"device": torch.device("cpu"), "precision": torch.float32}
    model = moldiff.load(**there)
    expected = moldiff.generate(1, device="cpu", precision="float32", **words)
    for found in (moldiff.generate(1, **there, **words), model.generate(1, **there, **words)):
        assert [Chem.MolToMolBlock(mol) for mol in found] == [Chem.MolToMolBlock(mol) for mol in expected]
        assert [str(name) for name in found.table["moldiff_id"]] == [str(name) for name in expected.table["moldiff_id"]]
    with pytest.raises(MoldiffError, match=r"^precision bfloat16: the model is loaded in float32"):
        model.generate(1, precision=torch.bfloat16, **words)


def test_what_is_saved_needs_a_path_and_a_flag(here: Path) -> None:
    report = moldiff.evaluate(["CCO"], posebusters=0)
    mol = Chem.AddHs(Chem.MolFromSmiles("CCO"))
    from rdkit.Chem import AllChem

    AllChem.EmbedMolecule(mol, randomSeed=1)
    bounds = moldiff.likelihood([mol], evaluations=2, repeats=1, device="cpu")
    saves: list[tuple[Callable[..., object], str]] = [(report.save, "out"), (bounds.save, "path")]
    for save, name in saves:
        for words, argument in (({name: "x.csv", "overwrite": "no"}, "overwrite"), ({name: None}, name)):
            with pytest.raises(MoldiffError, match=f"^{argument} must be ") as caught:
                save(**words)
            assert caught.value.argument == argument
    assert [path.name for path in here.iterdir()] == ["a.smi"]


def counting_options() -> Iterator[tuple[str, str]]:
    """Yield (command, option) of all options of the command line that take a whole number."""
    commands = [("", typer.main.get_command(app))]
    for name, one in commands:
        commands += [(f"{name} {key}".strip(), child) for key, child in getattr(one, "commands", {}).items()]
        kinds = get_type_hints(one.callback) if one.callback is not None else {}
        for parameter in one.params:
            if kinds.get(parameter.name) in (int, int | None):
                yield name, next(word for word in parameter.opts if word.startswith("--"))


@pytest.mark.parametrize(("command", "option"), list(counting_options()))
def test_no_number_of_the_command_line_is_too_large_to_be_refused(
    run: Callable[..., Any], command: str, option: str, here: Path
) -> None:
    model = Path(moldiff.__file__).parent / "pretrained" / "qm9"
    files = {
        "generate": ["-o", "x.sdf"], "vary": ["a.smi", "-o", "x.sdf"], "conformers": ["a.smi", "-o", "x.sdf"],
        "filter": ["a.smi", "-o", "x.csv"], "describe": ["a.smi", "-o", "x.csv"], "screen run": ["a.smi", "-o", "run"],
        "evaluate": ["a.smi"], "likelihood": ["a.smi", "-o", "x.csv"], "data prepare": ["a.smi", "-o", "set"],
        "data relax": ["a.smi", "-o", "x.sdf"], "show": ["a.smi", "-o", "x.png"],
        "models pack": [str(model), "-o", "packed"], "screen resume": ["run"], "screen merge": ["run"],
    }  # fmt: skip
    wanted = {
        "--particles": ["--score", "qed", "--score-weight", "1"], "--max-draws": ["--until", "valid"],
        "--target-moves": ["--target", "logp=1"], "--resample": ["--fragment", "*c1ccoc1"],
        "--exhaustiveness": ["--dock", "r.pdbqt", "--dock-box", "0,0,0,9,9,9"],
    }  # fmt: skip
    extra = ["--from-model", "qm9"] if (command, option) == ("screen run", "--number") else wanted.get(option, [])
    before = sorted(here.iterdir())
    run(*command.split(), *files[command], *extra, option, str(HUGE)).assert_refused()
    assert sorted(here.iterdir()) == before


def test_scores_of_files_are_counted_alike(here: Path) -> None:
    for name in ("chain_steps", "evaluations", "repeats", "workers", "batch_size"):
        with pytest.raises(MoldiffError, match=f"^{name} must be ") as caught:
            score_file(here / "a.smi", here / "x.csv", **{name: HUGE})
        assert caught.value.argument == name


@pytest.mark.parametrize("function", ["evaluate", "prepare", "screen"])
def test_progress_is_a_function(function: str, here: Path) -> None:
    for value in (True, "yes", np.zeros(2)):
        assert refused(function, "progress", value, here).startswith("progress must be a function, not ")


FOREIGN = [np.zeros((2, 3)), np.array(0.5), np.array("a\0b"), "a\0b", Path("a\0b.sdf"), [10**5000], {"logp": 10**5000}]


@pytest.mark.parametrize("function", FUNCTIONS)
def test_arrays_zero_bytes_and_numbers_without_end_are_refused_or_taken(function: str, here: Path) -> None:
    for argument in inspect.signature(getattr(moldiff, function)).parameters:
        for value in FOREIGN:
            try:
                getattr(moldiff, function)(**{**FUNCTIONS[function], argument: value})
            except MoldiffError as error:
                assert len(str(error)) < 3000, (argument, value)
            except Exception as error:
                raise AssertionError(f"{function}({argument}={value!r:.40})") from error
