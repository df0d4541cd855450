"""Values as users write them, and arguments that are texts, values, or of a wrong type."""

import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from rdkit import Chem

from moldiff.arguments import (
    LONGEST_S,
    MOST_COUNT,
    MOST_OF,
    check_flag,
    check_text,
    count,
    mebibytes,
    name_list,
    number,
    parse_range,
    paths,
    seconds,
    seed_number,
    size_range,
    split_names,
    texts,
    whole_number,
)
from moldiff.chem.filters.checks import Subject
from moldiff.chem.filters.commands import command_measures
from moldiff.chem.io.embed import embed
from moldiff.cli.main import main
from moldiff.config import load_training
from moldiff.errors import MoldiffError
from moldiff.processes import pool_of
from moldiff.screening.runs.options import screen_options


@pytest.mark.parametrize(
    ("text", "expected"), [("18", (18, 18)), ("15..22", (15, 22)), ("1..1", (1, 1)), (" 7 ", (7, 7))]
)
def test_a_number_or_a_range_of_atoms(text: str, expected: tuple[int, int]) -> None:
    assert parse_range(text, "--n-atoms") == size_range(text, "n_atoms") == expected


@pytest.mark.parametrize(
    "text", ["", "0", "-3", "22..15", "0..5", "5..", "..5", "5.5", "5...7", "a", "1e3", "٣", "9" * 99]
)
def test_other_texts_are_no_range(text: str) -> None:
    with pytest.raises(MoldiffError, match="--n-atoms"):
        parse_range(text, "--n-atoms")


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("", []),
        (" a ,b,, c d,", ["a", "b", "c d"]),
        ('"Bond,type",logp', ["Bond,type", "logp"]),
        ('logp , "Bond, type" ', ["logp", "Bond, type"]),
        ('"a ""b"", c"', ['a "b", c']),
        ('5" pipe,x', ['5" pipe', "x"]),
        ('"open,x', ['"open', "x"]),
        ('"a"b,c', ['"a"b', "c"]),
        ('""', []),
    ],
)
def test_names_with_commas_stand_in_quotes(text: str, names: list[str]) -> None:
    assert split_names(text) == names


def test_values_do_as_well_as_texts() -> None:
    assert size_range(None, "x") is None
    assert size_range(9, "x") == size_range(np.int64(9), "x") == (9, 9)
    assert size_range((5, 9), "x") == size_range([5, np.int32(9)], "x") == (5, 9)
    assert name_list("C, N,", "x") == name_list(["C", "N"], "x") == ("C", "N")
    assert texts("logp=1", "x") == texts(("logp=1",), "x") == ("logp=1",)
    assert (whole_number(np.int64(3), "x"), number(np.float32(0.5), "x"), number(2, "x")) == (3, 0.5, 2.0)


@pytest.mark.parametrize("value", [b"a", {"a": 1}, pd.DataFrame({"a": ["x"]}), 5, None])
@pytest.mark.parametrize(("check", "words"), [(paths, "a path or a list of paths"), (texts, "a text or a list")])
def test_what_holds_something_else_than_items_is_no_list(check: Any, words: str, value: object) -> None:
    with pytest.raises(MoldiffError, match=f"this must be {words}"):
        check(value, "this")


@pytest.mark.parametrize(
    ("check", "value", "words"),
    [
        (whole_number, True, "this must be a whole number, not True"),
        (whole_number, 1.5, "this must be a whole number, not 1.5"),
        (whole_number, "1", "this must be a whole number, not '1'"),
        (number, None, "this must be a number, not None"),
        (number, False, "this must be a number, not False"),
        (number, 10**400, "this is too large a number"),
        (check_flag, 1, "this must be True or False, not 1"),
        (check_text, 5, "this must be a text, not 5"),
        (size_range, 2.5, "this must be a whole number, a pair of them"),
        (size_range, True, "not True"),
        (size_range, (1, 2, 3), "not (1, 2, 3)"),
        (size_range, (1, 2.0), "not (1, 2.0)"),
        (name_list, ["C", 7], "this must be a text or a list of texts, not ['C', 7]"),
        (texts, 5, "this must be a text or a list of texts, not 5"),
        (texts, None, "not None"),
    ],
)
def test_a_wrong_type_is_one_line_that_names_the_argument(
    check: Callable[[object, str], object], value: object, words: str
) -> None:
    with pytest.raises(MoldiffError) as caught:
        check(value, "this")
    assert words in str(caught.value)


def test_a_long_value_is_cut_to_one_short_line() -> None:
    with pytest.raises(MoldiffError) as caught:
        number(np.zeros((40, 40)), "this")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 120


@pytest.mark.parametrize("value", [-1, 1 << 64, np.int64(-5)])
def test_other_numbers_are_no_seed(value: int) -> None:
    assert seed_number(0) == 0 and seed_number((1 << 64) - 1) == (1 << 64) - 1
    with pytest.raises(MoldiffError, match=r"seed must be in 0 .. 2\^64 - 1, not "):
        seed_number(value)


def test_every_way_to_ask_takes_the_same_seeds(tmp_path: Path) -> None:
    """What Python takes as a seed, the command line, a training file and a screen take too."""
    (tmp_path / "a.smi").write_text("CCO\n")
    largest = (1 << 64) - 1
    out = str(tmp_path / "a.csv")
    assert main(["filter", str(tmp_path / "a.smi"), "-o", out, "--seed", str(largest), "--where", "mw<100"]) == 0
    assert main(["filter", str(tmp_path / "a.smi"), "-o", out, "--seed", str(largest + 1)]) == 2
    assert screen_options({"seed": largest}).seed == largest
    with pytest.raises(MoldiffError, match="seed"):
        screen_options({"seed": largest + 1})
    file = Path(__file__).parents[1] / "configs" / "smoke.yaml"
    assert load_training(file, [f"training.seed={largest >> 1}"]).training.seed == largest >> 1


@pytest.mark.parametrize(
    "value", [0, -1.0, math.inf, -math.inf, math.nan, 1e300, 10**400, LONGEST_S + 1, True, "60", None]
)
def test_other_values_are_no_time_limit(value: object) -> None:
    assert (seconds(1e-3), seconds(LONGEST_S), seconds(np.float32(2))) == (1e-3, LONGEST_S, 2.0)
    with pytest.raises(MoldiffError, match=r"^timeout_s ") as caught:
        seconds(value)
    assert caught.value.argument == "timeout_s"


@pytest.mark.parametrize("value", [0, 255, 1 << 40, 512.0, True])
def test_other_values_are_no_limit_of_memory(value: object) -> None:
    assert mebibytes(256) == 256
    with pytest.raises(MoldiffError, match=r"^memory_mb must be ") as caught:
        mebibytes(value)
    assert caught.value.argument == "memory_mb"


def test_no_clock_or_timer_overflows_at_the_longest_time() -> None:
    with pool_of(1) as pool:
        assert list(pool.map_items(abs, [-1, -2], chunk=2, timeout_s=LONGEST_S)) == [1, 2]
    (measure,) = command_measures({"one": f"{sys.executable} -c 'print(1)' {{smiles}}"}, LONGEST_S)
    assert measure(Subject(Chem.MolFromSmiles("CCO"))).value == 1
    assert embed(Chem.MolFromSmiles("CCO"), 0, int(LONGEST_S))[1] == ""


def test_a_count_is_within_bounds() -> None:
    for name, most in (*MOST_OF.items(), ("this", MOST_COUNT)):
        assert (count(1, name), count(np.int64(most), name), count(0, name, least=0)) == (1, most, 0)
        for value, words in ((most + 1, f"at most {most}"), (0, "at least 1"), (10**5000, "not one of 16610 bits")):
            with pytest.raises(MoldiffError, match=f"^{name} must be ") as caught:
                count(value, name)
            assert words in str(caught.value) and caught.value.argument == name
