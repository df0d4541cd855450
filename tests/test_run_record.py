"""The cost of a file is told from the run record beside it, and only from one that belongs to it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from moldiff.run_record import Generation, read_generation

HASH = "a" * 64
RECORD: dict[str, Any] = {
    "output_sha256": HASH,
    "request": {"sampler": "ddpm", "decode": "argmax", "batch_size": 64},
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
    request = RECORD["request"] | {"decode": "structured", "renoise": 3}
    (tmp_path / "run.json").write_text(json.dumps(RECORD | {"request": request}))
    found = read_generation(tmp_path / "new.sdf", HASH)
    assert found is not None
    assert "structured decoding, failed ones re-noised up to 3 times" in found.line()


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{", json.dumps(RECORD | {"output_sha256": "c" * 64}), json.dumps(RECORD | {"drawn": 0}),
     json.dumps(RECORD | {"request": None}), json.dumps({"output_sha256": HASH})],
)  # fmt: skip
def test_a_record_of_something_else_tells_nothing(tmp_path: Path, text: str) -> None:
    (tmp_path / "run.json").write_text(text)
    assert read_generation(tmp_path / "new.sdf", HASH) is None


def test_a_file_from_elsewhere_has_no_record(tmp_path: Path) -> None:
    assert read_generation(tmp_path / "new.sdf", HASH) is None
