"""The Python functions take the texts of the command line as well as values; a wrong type is one line."""

import ast
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rdkit import Chem

import moldiff
import moldiff.errors
from moldiff.chem.io.embed import embed
from moldiff.choices import Decoding, Sampler, TimeGrid
from moldiff.cli.main import in_options
from moldiff.errors import MoldiffError
from moldiff.generation import generate as module
from moldiff.generation.decoding.decoders import DECODERS
from moldiff.generation.options.fragment import Fragment
from moldiff.generation.options.generation_options import GenerationOptions
from moldiff.sampling.solvers import SOLVERS
from moldiff.sampling.time_grids import GRIDS

ETHANOL, _ = embed(Chem.MolFromSmiles("CCO"), seed=1, timeout_s=20)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Callable[..., GenerationOptions]:
    """Return the options that arguments of `moldiff.generate` make."""

    class Asked(Exception):
        pass

    def caught(options: GenerationOptions) -> None:
        raise Asked(options)

    monkeypatch.setattr(module, "generation_run", caught)

    def call(**arguments: Any) -> GenerationOptions:
        with pytest.raises(Asked) as raised:
            moldiff.generate(3, **arguments)
        found: GenerationOptions = raised.value.args[0]
        return found

    return call


@pytest.mark.parametrize(
    ("texts", "values"),
    [
        ({"n_atoms": "15..22"}, {"n_atoms": (15, 22)}),
        ({"n_atoms": "18"}, {"n_atoms": 18}),
        ({"targets": "logp=1"}, {"targets": ["logp=1"]}),
        (
            {"targets": "logp=1", "guidance": "logp=2,tpsa=1"},
            {"targets": "logp=1", "guidance": {"logp": 2, "tpsa": np.float32(1)}},
        ),
        ({"targets": "logp=1", "guidance": "2"}, {"targets": "logp=1", "guidance": 2}),
        ({"elements": "C,N,O,H"}, {"elements": ["C", "N", "O", "H"]}),
        ({"exclude_elements": "N,O"}, {"exclude_elements": ("N", "O")}),
    ],
)
def test_texts_ask_for_the_same_as_values(
    asked: Callable[..., GenerationOptions], texts: dict[str, Any], values: dict[str, Any]
) -> None:
    assert asked(**texts) == asked(**values) != asked()


def test_texts_of_a_fragment() -> None:
    one = Fragment(ETHANOL, fixed_atoms="0-2", attach_at="0,0", grow="4..10")
    assert one == Fragment(ETHANOL, fixed_atoms=[0, 1, 2], attach_at=(0, np.int64(0)), grow=(4, 10))
    assert Fragment(ETHANOL, grow="4") == Fragment(ETHANOL, grow=4)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"n": True}, "n must be a whole number, not True"),
        ({"n": "3"}, "n must be a whole number, not '3'"),
        ({"seed": 1.5}, "seed must be a whole number, not 1.5"),
        ({"evaluations": "5"}, "evaluations must be a whole number"),
        ({"batch_size": 2.0}, "batch_size must be a whole number"),
        ({"renoise": "1"}, "renoise must be a whole number"),
        ({"n_atoms": 2.5}, "n_atoms must be a whole number, a pair"),
        ({"n_atoms": "9..5"}, "n_atoms 9..5: expected a number such as 18"),
        ({"charge": "1"}, "charge must be a whole number, not '1'"),
        ({"formula": 5}, "formula must be a text, not 5"),
        ({"targets": 5}, "targets must be a text or a list of texts"),
        ({"guidance": {"logp": None}}, "guidance for 'logp' must be a number, not None"),
        ({"guidance": {1: 2.0}}, "guidance must be a scale, or scales by the names"),
        ({"guidance": "much"}, "guidance 'much'"),
        ({"guidance": [1.0]}, "guidance must be a number"),
        ({"elements": [6]}, "elements must be a text or a list of texts"),
        ({"exclude_elements": None}, "exclude_elements must be"),
        ({"property_scale": "3"}, "property_scale must be a number"),
        ({"sampler": 3}, "sampler must be a text, not 3"),
        ({"grid": ["karras"]}, "grid must be a text"),
        ({"decode": None}, "decode must be a text"),
        ({"device": 0}, "device must be a text"),
        ({"precision": 32}, "precision must be a text"),
        ({"until_valid": "yes"}, "until_valid must be True or False"),
        ({"until": "good"}, "unknown until 'good'; known are valid, passed, met"),
        ({"until": "passed", "until_valid": True}, "until_valid and until 'passed' contradict each other"),
        ({"until": "met"}, "until 'met' needs targets"),
        ({"max_draws": 5}, "max_draws needs until"),
        ({"n": 3, "until": "valid", "max_draws": 2}, "max_draws must be at least 3, not 2"),
        ({"where": "mww<5"}, "unknown property 'mww'"),
        ({"alerts": "pain"}, "unknown alerts 'pain'"),
        ({"keep_invalid": 1}, "keep_invalid must be True or False"),
        ({"fragment": 5}, "fragment must be a file, a SMILES or an RDKit molecule, not int"),
        ({"score": "qed", "score_weight": "1"}, "score_weight must be a number, not '1'"),
        ({"score": "qed", "score_weight": 1, "particles": 2.5}, "particles must be a whole number, not 2.5"),
    ],
    ids=str,
)
def test_generate_refuses_wrong_types(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(MoldiffError) as caught:
        moldiff.generate(**{"n": 1, **arguments})
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"fixed_atoms": 3}, "fixed_atoms must be a list of whole numbers"),
        ({"fixed_atoms": [0.5]}, "fixed_atoms must be a whole number, not 0.5"),
        ({"fixed_atoms": "a"}, "fixed_atoms a: expected atom numbers"),
        ({"attach_at": None}, "attach_at must be a list"),
        ({"grow": 2.5}, "grow must be a whole number"),
        ({"grow": "10..4"}, "grow 10..4"),
        ({"resample": "2"}, "resample must be a whole number"),
        ({"keep_smarts": 5}, "keep_smarts must be a text"),
    ],
    ids=str,
)
def test_a_fragment_refuses_wrong_types(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(MoldiffError) as caught:
        Fragment(ETHANOL, **arguments)
    assert words in str(caught.value)


def test_strengths_as_texts_and_values(model: Path) -> None:
    def positions(strength: Any) -> list[np.ndarray]:
        made = moldiff.vary([ETHANOL], 2, strength=strength, model=model, evaluations=2, keep_invalid=True)
        return [mol.GetConformer().GetPositions() for mol in made]

    assert np.array_equal(positions("0.3..0.5"), positions((0.3, 0.5)))
    assert np.array_equal(positions("0.3"), positions([0.3, 0.3]))


@pytest.mark.parametrize(
    ("function", "molecules", "arguments", "words"),
    [
        (moldiff.vary, [ETHANOL], {"n": True}, "n must be a whole number"),
        (moldiff.vary, [ETHANOL], {"strength": "far"}, "strength far: expected a number such as 0.4"),
        (moldiff.vary, [ETHANOL], {"strength": None}, "strength must be a number"),
        (moldiff.vary, [ETHANOL], {"strength": (0.1, 0.2, 0.3)}, "strength must be a number, a pair"),
        (moldiff.vary, [ETHANOL], {"decode": 1}, "decode must be a text"),
        (moldiff.conformers, [ETHANOL], {"redraws": 1.5}, "redraws must be a whole number"),
        (moldiff.conformers, [ETHANOL], {"seed": "0"}, "seed must be a whole number"),
        (moldiff.conformers, [ETHANOL], {"keep_invalid": None}, "keep_invalid must be True or False"),
        (moldiff.vary, 5, {}, "molecules must be a molecule file, an RDKit molecule"),
        (moldiff.vary, "CCO", {}, "the first: no 3D conformer; conformers gives it coordinates"),
        (moldiff.conformers, [7], {}, "molecules must be a molecule file, an RDKit molecule"),
    ],
)
def test_vary_and_conformers_refuse_wrong_types(
    model: Path, function: Callable[..., Any], molecules: Any, arguments: dict[str, Any], words: str
) -> None:
    with pytest.raises(MoldiffError) as caught:
        function(molecules, model=model, **arguments)
    assert words in str(caught.value)


@pytest.mark.parametrize("package", ["moldiff/generation", "moldiff/scoring", "moldiff/chem/fragments.py"])
def test_the_library_speaks_of_arguments_not_of_options(package: str) -> None:
    """No text in the source has an option of the command line; `moldiff.cli.main.in_options` puts it there."""
    place = Path(moldiff.errors.__file__).parents[1] / package
    for path in [place] if place.is_file() else sorted(place.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                assert not re.search(r"(?<![-\w])--[a-z]", node.value), f"{path.name}: {node.value}"


@pytest.mark.parametrize(
    ("message", "argument", "shown"),
    [
        ("attach_at 3: no such atom", "attach_at", "--attach-at 3: no such atom"),
        ("n must be at least 1, not 0", "n", "--number must be at least 1, not 0"),
        ("grow and n_atoms both say how large", "grow", "--grow and --n-atoms both say how large"),
        ("score needs a weight W (score_weight)", "score", "--score needs a weight W (--score-weight)"),
        ("m.sdf: a score of n_atoms", "", "m.sdf: a score of n_atoms"),
    ],
)
def test_the_command_line_speaks_of_options(message: str, argument: str, shown: str) -> None:
    assert in_options(MoldiffError(message, argument=argument)) == shown


def test_every_name_stands_for_something() -> None:
    for names, table in ((Sampler, SOLVERS), (TimeGrid, GRIDS), (Decoding, DECODERS)):
        assert set(names) == set(table)


def test_a_fragment_is_built_as_before() -> None:
    assert Fragment.of(ETHANOL, attach_at=[0], grow=4) == Fragment(ETHANOL, attach_at=[0], grow=4)
