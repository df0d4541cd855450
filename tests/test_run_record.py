"""The cost of a file is told from the run record beside it, and only from one that belongs to it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from moldiff.run_record import Generation, read_generation, record_path, run_record

HASH = "a" * 64
RECORD: dict[str, Any] = {
    "format": "moldiff-run",
    "version": 1,
    "output_sha256": HASH,
    "options": {"sampler": "ddpm", "decode": "argmax", "batch_size": 64},
    "network_evaluations_per_molecule": 50,
    "drawn": 40,
    "seconds": 8.0,
    "device": "cpu",
    "model_sha256": "b" * 64,
}


@pytest.mark.parametrize("name", ["run.json", "new.run.json"])
def test_seconds_are_for_a_thousand_draws(tmp_path: Path, name: str) -> None:
    (tmp_path / "run.json").write_text("{}")
    (tmp_path / name).write_text(json.dumps(RECORD))
    found = read_generation(tmp_path / "new.sdf", HASH)
    assert found == Generation("ddpm", "argmax", 0, 50, 40, 200.0, "cpu", 64, "b" * 64)
    assert "40 drawn by ddpm, argmax decoding: 50 network evaluations each, 200 s per 1,000" in found.line()


def test_a_file_with_repaired_molecules_says_so(tmp_path: Path) -> None:
    request = RECORD["options"] | {"decode": "structured", "renoise": 3}
    (tmp_path / "run.json").write_text(json.dumps(RECORD | {"options": request}))
    found = read_generation(tmp_path / "new.sdf", HASH)
    assert found is not None
    assert "structured decoding, failed ones re-noised up to 3 times" in found.line()


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{", json.dumps(RECORD | {"output_sha256": "c" * 64}), json.dumps(RECORD | {"drawn": 0}),
     json.dumps(RECORD | {"options": None}), json.dumps({"output_sha256": HASH})],
)  # fmt: skip
def test_a_record_of_something_else_tells_nothing(tmp_path: Path, text: str) -> None:
    (tmp_path / "run.json").write_text(text)
    assert read_generation(tmp_path / "new.sdf", HASH) is None


def test_a_file_from_elsewhere_has_no_record(tmp_path: Path) -> None:
    assert read_generation(tmp_path / "new.sdf", HASH) is None


def test_a_record_of_before_the_format_is_read(tmp_path: Path) -> None:
    old = {name: value for name, value in RECORD.items() if name not in ("format", "version", "options")}
    (tmp_path / "run.json").write_text(json.dumps(old | {"request": RECORD["options"]}))
    assert read_generation(tmp_path / "new.sdf", HASH) == Generation(
        "ddpm", "argmax", 0, 50, 40, 200.0, "cpu", 64, "b" * 64
    )


def test_where_graphs_were_given_nothing_was_decoded(tmp_path: Path) -> None:
    options = {name: value for name, value in RECORD["options"].items() if name != "decode"}
    (tmp_path / "new.run.json").write_text(json.dumps(RECORD | {"options": options}))
    found = read_generation(tmp_path / "new.sdf", HASH)
    assert found is not None
    assert found.decoding == "given"


def test_a_new_record_is_plain_json() -> None:
    value = run_record(
        task="vary", options={"n": 3}, output="v.sdf", output_sha256=HASH, made_by={"device": "cpu"},
        results={"drawn": 3},
    )  # fmt: skip
    assert json.loads(json.dumps(value, allow_nan=False)) == value
    assert (value["format"], value["version"], value["options"], value["drawn"]) == ("moldiff-run", 1, {"n": 3}, 3)
    assert record_path(Path("a/v.sdf")) == Path("a/v.run.json")
