"""The safe YAML reader: every value has one spelling, and whatever else a file holds is one line."""

import time
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from pydantic import Field

from moldiff.config import load_training
from moldiff.errors import MoldiffError
from moldiff.sections import Section, parse_yaml, validate


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1", 1),
        ("-7", -7),
        ("0", 0),
        ("1e-3", 1e-3),
        (".5", 0.5),
        ("true", True),
        ("null", None),
        ("~", None),
        ("", None),
        ("NO", "NO"),
        ("012", "012"),
        ("1_000", "1_000"),
        ("0x1f", "0x1f"),
        ("1:30", "1:30"),
        ("2026-01-31", "2026-01-31"),
        ("2026-99-99", "2026-99-99"),
        ("=", "="),
        (".nan", ".nan"),
        ("\u0663", "\u0663"),
        ("'1'", "1"),
        ("[1, [a, {b: 2}]]", [1, ["a", {"b": 2}]]),
        ("{<<: {a: 1}}", {"<<": {"a": 1}}),
        ('"caf\\u00e9 \\U0001f600 a\\tb"', "caf\u00e9 \U0001f600 a\tb"),
        (str(2**64 - 1), 2**64 - 1),
        (str(-(2**63)), -(2**63)),
    ],
)
def test_what_a_value_is(text: str, value: object) -> None:
    found = parse_yaml(text, "here")
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("!!bool maybe", "tags are not allowed: 'tag:yaml.org,2002:bool'"),
        ("!!timestamp x", "tags"),
        ("!!map [1]", "tags"),
        ("!!binary x", "tags"),
        ("!!int x", "tags"),
        ("a: !own {b: 1}", "tags"),
        ("! a", "tags"),
        ("!!python/name:os.system", "tags"),
        ("1" * 4000, "the number 11111111111111111111... is out of range"),
        (str(2**64), "out of range"),
        (str(-(2**63) - 1), "out of range"),
        ("a: 1e999", "numbers must be finite"),
        ("[-1e400]", "finite"),
        ('"a\\0b"', "'\\x00'"),
        ('a: "\\ud800"', "'\\ud800'"),
        ('"\\e[31m": 1', "'\\x1b'"),
        ("{[1]: 2}", "a key must be one word"),
        ("{a: 1, a: 2}", "key 'a' stands twice"),
        ("a\0b", "not valid YAML"),
        ("&a [*a]", "aliases"),
    ],
)
def test_what_is_refused_in_one_line(text: str, words: str) -> None:
    with pytest.raises(MoldiffError) as caught:
        parse_yaml(text, "here")
    assert str(caught.value).startswith("here is not valid YAML: ")
    assert words in str(caught.value)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 300


class Inner(Section):
    layers: Annotated[int, Field(ge=1)] = 1
    limits: tuple[Annotated[int, Field(ge=1)], ...] = ()


class Outer(Section):
    rate: float | None = None
    switch: Literal["auto"] | bool = "auto"
    rows: Literal["auto"] | int = "auto"
    name: str = ""
    place: Path | None = None
    inner: Inner = Inner()


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"rate": True}, "here: rate must be a number, not true"),
        ({"rate": "1"}, "here: rate must be a number, not '1'"),
        ({"inner": {"layers": True}}, "here: inner.layers must be a whole number, not true"),
        ({"inner": {"layers": "7"}}, "here: inner.layers must be a whole number, not '7'"),
        ({"inner": {"limits": [3, False]}}, "here: inner.limits must be a whole number, not false"),
        ({"place": ""}, "here: place is empty; give the name of a file or folder"),
    ],
)
def test_a_number_is_no_text_nor_true_and_a_path_has_a_name(values: dict[str, Any], words: str) -> None:
    with pytest.raises(MoldiffError) as caught:
        validate(Outer, values, "here")
    assert str(caught.value) == words


def test_what_is_of_the_right_kind_is_taken() -> None:
    found = validate(
        Outer, {"rate": 3, "switch": True, "rows": "auto", "name": "7", "place": "a", "inner": {"layers": 2.0}}, "here"
    )
    assert (found.rate, found.switch, found.name, found.place, found.inner.layers) == (3.0, True, "7", Path("a"), 2)
    assert validate(Outer, {"rate": None}, "here").rate is None


def test_many_keys_take_no_time_of_their_own() -> None:
    text = "\n".join(f"k{number}: 1" for number in range(4000))
    began = time.thread_time()
    assert len(parse_yaml(text, "here")) == 4000
    once = time.thread_time() - began
    began = time.thread_time()
    parse_yaml(text + "\n" + text.replace("k", "l") + "\n" + text.replace("k", "m"), "here")
    assert time.thread_time() - began < 6 * once + 0.5


@pytest.mark.parametrize(
    "line",
    [
        "training: {threads: 9223372036854775807}",
        "training: {threads: 100000}",
        "training: {steps: 9223372036854775807}",
        "training: {batch_size: 9223372036854775807}",
        "training: {devices: 9223372036854775807}",
        "optimizer: {warmup_steps: 9223372036854775807}",
        "on_policy: {draws: 9223372036854775807}",
        "on_policy: {sampler_evaluations: [9223372036854775807]}",
        "network: {layers: 9223372036854775807}",
    ],
)
def test_counts_beyond_any_machine(tmp_path: Path, line: str) -> None:
    path = tmp_path / "train.yaml"
    path.write_text(f"data: d\noutput: o\n{line}\n")
    with pytest.raises(MoldiffError, match=r"must be (below|at most)"):
        load_training(path, [])
