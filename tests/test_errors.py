"""The message of an error is one line, whatever it quotes."""

from pathlib import Path

import pytest

from moldiff.config import CurveConfig
from moldiff.errors import MoldiffError, first_line
from moldiff.models.folder import load_model_folder, save_model_folder
from moldiff.models.molecule_model import MoleculeModel
from moldiff.sections import validate


@pytest.mark.parametrize("line_break", ["\n", "\r\n", "\x0b", "\x85", "\u2028"])
def test_a_message_is_one_line(line_break: str) -> None:
    error = MoldiffError(f"unknown key 'a{line_break}b'", argument="config")
    assert str(error) == "unknown key 'a b'"
    assert error.argument == "config"


def test_the_first_line_of_an_error_says_something() -> None:
    assert first_line(ValueError("\n  one \ntwo")) == "one"
    assert first_line(OSError("x" * 200), 30) == "x" * 30
    for silent in (RuntimeError(), RuntimeError("\n \n")):
        assert first_line(silent) == "RuntimeError"


def test_what_has_no_line_break_stays_as_it_is() -> None:
    assert str(MoldiffError("two  blanks and a\ttab")) == "two  blanks and a\ttab"


def test_a_message_that_goes_on_and_on_is_cut_in_its_middle() -> None:
    error = MoldiffError(f"n_atoms {'9' * 5000}: no number", hint="; choose one")
    assert str(error).startswith("n_atoms 999") and str(error).endswith("999: no number; choose one")
    assert len(str(error)) < 2010
    assert str(error.without_hint()).endswith("999: no number")
    assert str(MoldiffError("x" * 2000)) == "x" * 2000


@pytest.mark.parametrize("section", ["network", "curve", "sampling"])
def test_keys_of_a_foreign_model_may_have_line_breaks(section: str, tiny_model: MoleculeModel, tmp_path: Path) -> None:
    config = tiny_model.config_json()
    key, value = next(iter(config[section].items()))
    config[section] = {f"{key[:3]}\n{key[3:]}": value} | {k: v for k, v in config[section].items() if k != key}
    weights = tiny_model.denoiser.state_dict()
    save_model_folder(tmp_path / "m", weights=weights, config=config, references={}, card="", half=False)
    with pytest.raises(MoldiffError, match="unknown key") as caught:
        MoleculeModel.from_folder(load_model_folder(tmp_path / "m"))
    assert len(str(caught.value).splitlines()) == 1


def test_so_may_those_of_a_training_file() -> None:
    with pytest.raises(MoldiffError) as caught:
        validate(CurveConfig, {"sigma\nmin": 0.1}, "curve")
    assert len(str(caught.value).splitlines()) == 1
