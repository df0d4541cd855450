"""An error names the argument of the function called that is to blame, whichever part of the package found it."""

import inspect
import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rdkit import Chem

import moldiff
from moldiff.chem.io.tables import Columns
from moldiff.chem.picture import draw_file
from moldiff.datasets.relax import relax_files
from moldiff.errors import MoldiffError, blaming, blaming_for
from moldiff.training.train import train

SAMPLE = Path(__file__).parents[1] / "data" / "sample.sdf"
ALL = ["H", "C", "N", "O"]
FLAT = Chem.AddHs(Chem.MolFromSmiles("CCO"))
MOLECULE = Chem.MolFromMolBlock(SAMPLE.read_text().split("$$$$")[0], removeHs=False)
NO_FILE: list[object] = [
    Path("no.smi"),
    "no.smi",
    Path("*.no"),
    Path("t.csv"),
    Path("bad.sdf"),
    Path("e.smi"),
    Path("x.foo"),
    3,
]
MOLECULES = [*NO_FILE, [Path("s.sdf"), Path("s.sdf")], [], "C1CC", ["x.sdf"], {"a": 1}, b"x", [3], None, ""]
CONDITIONS = ["mw<<3", "no<3", 3, "not_there.py:f>2", "mw=5..2", ["mw<3", "mw>5"], "mw<" + "9" * 400]
NO_MODEL: list[object] = ["no", "./no", "a.smi", "", 3]
LOGP = {"targets": "logp=1"}
NO_TABLES = {"rarity": True}

Table = dict[str, Sequence[object]]
GENERATE: Table = {
    "targets": [
        {"logp": math.nan}, {"logp": (None, None)}, {"logp": (3, 1)}, {"logp": np.ones(3)}, {"logp": 1e300},
        {"no": 1}, {1: 2}, {"logp": None}, {"logp": "x"}, {"logp": True}, {"logp": 10**400}, 3, "logp", "no=2",
        "rings=2.5", "known_rings=1", ["logp=1", "logp=2"], {"logp": moldiff.Target("tpsa", 1)},
    ],
    "rarity": [True, 1],
    "familiar": [True, 1],
    "charge": [9, 10**5, "x", 1.5],
    "formula": ["", "Xx", "C99999", 3, "Si2", "CH", "C2x", "H9"],
    "where": [*CONDITIONS, "tag:x=3"],
    "fragment": [
        "x.sdf", FLAT, "C1CC", "bad.sdf", "a.smi", "t.csv", "e.smi", 3, b"x", MOLECULE, [MOLECULE], "s.sdf", "CC",
        "[Fe]C*",
        *(moldiff.Fragment(MOLECULE, **asked) for asked in ({"attach_at": [99]}, {"keep_smarts": "[Fe]"}, {"grow": 3})),
    ],
    "property_model": [*NO_MODEL, "qm9"],
    "property_scale": [1, "x"],
    "guidance": [2, "x", {"tpsa": 1}],
    "elements": [[], "Fe", 3, "Xx"],
    "exclude_elements": [ALL, "Xx", 3],
    "n_atoms": [0, "x", (5, 2)],
    "target_method": ["x", "mcmc"],
    "score": ["no", 3, "qed", "not_there.py:f", "network:x:y=2"],
    "score_weight": [1.0],
    "model": NO_MODEL,
    "until": ["x", "met"],
    "hazard_lists": ["no", "a.smi", 3],
    "ring_table": ["a.smi"],
    "rules": ["no", 3],
    "alerts": ["no"],
    "smarts": ["no", {"a": "[no"}, 3],
    "device": ["x"],
    "heavy_only": [True],
    "decode": ["x"],
    "evaluations": [0],
}  # fmt: skip
TOGETHER: list[tuple[dict[str, object], Table]] = [
    (LOGP, {"guidance": [{"tpsa": 2}, -1, "x", {"logp": "x"}, {1: 2}, "logp=1,logp=2"], "property_model": ["x"]}),
    (NO_TABLES, {"ring_table": ["no", "qm9", "e.smi", "t.csv", "bad.sdf"]}),
    ({"score_weight": 1.0}, {"score": ["known_rings"]}),
]
BY_FILTERS: Table = {
    "where": [*CONDITIONS, "similarity>0.5"],
    "rules": ["no"],
    "alerts": ["no"],
    "smarts": ["no"],
    "similar_to": ["no.smi", Path("t.csv"), Path("e.smi"), 3],
    "shape_of": ["no.sdf", Path("bad.sdf"), 3],
    "known": ["no.smi", Path("t.csv"), 3],
    "commands": [{"x": "no_such_program {sdf}"}, {"mw": "cat {sdf}"}, 3],
    "dock": ["r.pdbqt"],
    "dock_box": ["0,0,0,9,9,9"],
    "hazard_lists": ["no"],
    "rank": ["no", "not_there.py:f", 3],
    "columns": [Columns("no"), 3],
    "timeout_s": [0],
}
OUT: Sequence[object] = ["a.smi/x", "n" * 300, 3]

Case = tuple[Callable[..., object], dict[str, object], Table]
CASES: dict[str, Case] = {
    "generate": (moldiff.generate, {"n": 2}, GENERATE),
    **{f"generate with {' '.join(own)}": (moldiff.generate, {"n": 2, **own}, table) for own, table in TOGETHER},
    "vary": (moldiff.vary, {}, {"molecules": [*MOLECULES, ["CCO"], FLAT, ["C1CC"]]}),
    "vary a molecule": (moldiff.vary, {"molecules": MOLECULE}, {"strength": ["x", 2], "model": NO_MODEL}),
    "conformers": (moldiff.conformers, {}, {"molecules": [*MOLECULES, ["C1CC"], [None]]}),
    "conformers of a table": (
        moldiff.conformers, {"molecules": Path("t.csv")}, {"columns": [Columns("no"), Columns("x", "no"), 3]},
    ),
    "likelihood": (moldiff.likelihood, {}, {"molecules": [*MOLECULES, ["CCO"]]}),
    "likelihood of one": (
        moldiff.likelihood, {"molecules": MOLECULE}, {"calibration": [*NO_FILE, "a.smi"], "model": NO_MODEL},
    ),
    "evaluate": (moldiff.evaluate, {"posebusters": 0}, {"molecules": MOLECULES}),
    "evaluate one": (
        moldiff.evaluate, {"molecules": MOLECULE, "posebusters": 0},
        {"reference": NO_FILE, "out": OUT, "ring_table": ["no", "qm9", "e.smi", "t.csv"], "requested": [0]},
    ),
    "filter": (moldiff.filter, {}, {"molecules": MOLECULES}),
    "filter a file": (moldiff.filter, {"molecules": Path("a.smi")}, BY_FILTERS),
    "screen": (
        moldiff.screen, {"files": "a.smi", "out": "run"},
        {
            **BY_FILTERS, "files": [*NO_FILE, ["a.smi", "a.smi"], []], "out": ["a.smi"],
            "where": [*CONDITIONS, "tag:no=3"], "rank": ["tag:no", "logp:target:x", ["qed", "qed"]],
            "diverse": [2, "x"], "shard": ["x"], "n": [3],
            "reference": ["no", "bad.sdf"], "targets": ["logp=1"], "scheduler": ["x"], "engine": ["x"],
        },
    ),
    "screen draws": (
        moldiff.screen, {"files": [], "out": "run", "n": 3, "from_model": "qm9"},
        {"from_model": ["no", 3], "targets": ["no=1", "logp", "logp=3..1"], "familiar": [True]},
    ),
    "prepare": (
        moldiff.prepare, {"files": "a.smi", "out": "set"},
        {
            "files": [*NO_FILE, ["a.smi", "a.smi"], [], "wrong.smi", "."], "out": OUT, "columns": [Columns("no"), 3],
            "properties": ["no", "qed,qed", "tag:no", 3], "bonds": ["x"], "vocabulary": [3],
        },
    ),
    "load": (moldiff.load, {}, {"model": NO_MODEL, "device": ["x"], "precision": ["x"]}),
    "train": (
        train, {"config_path": "train.yaml"},
        {
            "config_path": ["no.yaml", "no_data.yaml", "s.sdf", "train.yaml", 3], "out": ["a.smi", 3],
            "max_time": ["x"], "overrides": ["x", "no=3", "training.steps=x", "training=3", 3],
            "teacher": ["no"], "conditions": ["a,a", 3],
        },
    ),
    "relax": (
        relax_files, {"files": "s.sdf", "out": "r.sdf"}, {"files": NO_FILE, "out": ["x.foo", 3], "progress": [True]},
    ),
    "Target": (moldiff.Target, {"name": "logp"}, {"value": ["x", 10**5000], "low": ["x", [1]], "high": ["x", True]}),
    "draw": (draw_file, {"file": "s.sdf", "out": "p.png"}, {"file": NO_FILE, "out": ["x.foo", ".", 3]}),
}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of files that are wrong in one way each, and of good ones."""
    made = tmp_path_factory.mktemp("blamed")
    texts = {
        "a.smi": "CCO ethanol\n", "wrong.smi": "C1CC\n", "t.csv": "name,x\na,1\n", "e.smi": "", "r.pdbqt": "x",
        "train.yaml": "data: no_set\noutput: o\n", "no_data.yaml": "no: 1\n", "s.sdf": SAMPLE.read_text(),
    }  # fmt: skip
    for name, text in texts.items():
        (made / name).write_text(text)
    (made / "bad.sdf").write_bytes(bytes(range(256)) * 8)
    return made


@pytest.fixture(autouse=True)
def here(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)


def blamed(function: Callable[..., object], **arguments: Any) -> str:
    with pytest.raises(MoldiffError) as caught:
        function(**arguments)
    return caught.value.argument


@pytest.mark.parametrize("name", CASES)
def test_what_is_wrong_is_blamed_by_its_name_in_the_function_called(name: str) -> None:
    function, others, table = CASES[name]
    assert {*table, *others} <= set(inspect.signature(function).parameters)
    wrong = [
        (argument, value, found)
        for argument, values in table.items()
        for value in values
        if (found := blamed(function, **{**others, argument: value})) != argument
    ]
    assert wrong == []


@pytest.mark.parametrize(
    "arguments",
    [
        {"formula": "C2H6", "n_atoms": 3}, {"formula": "C2H6", "elements": "N"}, {"formula": "C2H6", "charge": 1},
        {"formula": "C2H6", "fragment": "*c1ccoc1"}, {"elements": "C", "fragment": "*c1ccoc1"},
        {"charge": 5, "fragment": "*c1ccoc1"}, {"n_atoms": 3, "fragment": "*c1ccoc1"}, {"elements": "H", "n_atoms": 9},
        {"targets": "mw=500", "where": "mw<100"}, {"targets": "mw=500", "formula": "CH4"},
        {"rarity": True, "familiar": True},
        {"n_atoms": 5, "fragment": moldiff.Fragment(MOLECULE, attach_at=[0], grow=4)},
        {"elements": "C", "exclude_elements": "C"}, {"score": "qed", "score_weight": 1.0, "first": 3},
    ],
    ids=" ".join,
)  # fmt: skip
def test_of_two_that_contradict_each_other_one_is_blamed(arguments: dict[str, object]) -> None:
    assert blamed(moldiff.generate, n=1, **arguments) in arguments


def saves() -> Iterator[tuple[Callable[..., object], str]]:
    """Yield the methods that write results, and the argument that says whereto."""
    made = moldiff.generate(1, evaluations=1, n_atoms=5, keep_invalid=True)
    yield made.save, "path"
    yield moldiff.filter(["CCO"]).save, "path"
    yield moldiff.likelihood(MOLECULE, evaluations=2, repeats=1, chain_steps=2, device="cpu").save, "path"


def test_results_are_saved_under_a_path_and_nothing_else() -> None:
    for save, name in saves():
        for value in (None, b"o2/x.sdf", 3, "", "x.foo", "a.smi/x.csv"):
            assert blamed(save, **{name: value}) == name
        assert blamed(save, **{name: "x.csv", "overwrite": "no"}) == "overwrite"
    report = moldiff.evaluate(["CCO"], posebusters=0)
    for value in (None, b"x", 3, "", "a.smi/x"):
        assert blamed(report.save, out=value) == "out"


def test_an_error_keeps_its_words_when_another_argument_is_blamed() -> None:
    error = MoldiffError("low is more than high, or take mine (low)", argument="low", hint=", or take mine (low)")
    with pytest.raises(MoldiffError) as caught, blaming("targets", "where"):
        raise error
    assert (caught.value, error.argument, error.word) == (error, "targets", "low")
    for copy in (error.without_hint(), error.of("other")):
        assert (copy.argument, copy.word) == ("targets", "low")


def test_an_argument_beside_is_blamed_if_the_error_names_it() -> None:
    with pytest.raises(MoldiffError) as caught, blaming("targets", "where"):
        raise MoldiffError("where", argument="where")
    assert caught.value.argument == "where"


def test_whoever_uses_items_is_not_to_blame_for_their_maker() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise MoldiffError("two")

    made = blaming_for(items(), "molecules")
    assert next(made) == 1
    with pytest.raises(MoldiffError) as caught:
        next(made)
    assert caught.value.argument == "molecules"
