"""Checkpoints under bit flips, values that are not finite, foreign folders, newer ones than the run goes on from."""

import json
import logging
import os
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from moldiff.errors import MoldiffError
from moldiff.training.checkpoint import (
    TrainingState,
    latest_state,
    list_states,
    load_state,
    refuse_place,
    save_state,
    set_aside_newer,
)

STATE = TrainingState(
    step=4,
    weights={"w": torch.arange(6.0).reshape(2, 3)},
    average={"w": torch.ones(2, 3)},
    average_count=3,
    optimizers=[{"0.exp_avg": torch.full((2, 3), 0.5)}, {}],
    config={"output": "run", "training": {"steps": 8, "seed": 0}},
    seconds=1.25,
    sums=[0.1, 2.5],
    summed_from=3,
)


def test_a_checkpoint_is_read_as_it_was_written(tmp_path: Path) -> None:
    path = save_state(tmp_path, STATE)
    assert path.name == "step-00000004"
    found = load_state(path)
    assert (found.step, found.average_count, found.config, found.seconds) == (4, 3, STATE.config, 1.25)
    assert (found.sums, found.summed_from) == ([0.1, 2.5], 3)
    assert torch.equal(found.weights["w"], STATE.weights["w"])
    assert [list(moments) for moments in found.optimizers] == [["0.exp_avg"], []]


def test_a_place_where_checkpoints_cannot_be_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refuse_place(tmp_path / "new" / "checkpoints", 8)
    save_state(tmp_path, STATE)
    (tmp_path / "step-5").touch()  # no name of ours
    refuse_place(tmp_path, 8)
    (tmp_path / "step-00000006").touch()
    with pytest.raises(MoldiffError, match=r"step-00000006 is a file in the place of a checkpoint; move it away"):
        refuse_place(tmp_path, 8)
    # Tests may run as root, to whom every folder is open.
    with monkeypatch.context() as locked:
        locked.setattr(os, "access", lambda path, mode: path != tmp_path)
        with pytest.raises(MoldiffError, match="no permission to write into"):
            refuse_place(tmp_path, 8)

    def shut(path: Path) -> list[str]:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "listdir", shut)
    with pytest.raises(MoldiffError, match="cannot be read: Permission denied"):
        refuse_place(tmp_path, 8)


def test_every_flip_of_a_bit_is_seen_or_changes_nothing(tmp_path: Path) -> None:
    path = save_state(tmp_path, STATE) / "state.json"
    data = path.read_bytes()
    meant = json.loads(data)
    accepted = 0
    for place in range(len(data)):
        for bit in range(8):
            path.write_bytes(data[:place] + bytes([data[place] ^ 1 << bit]) + data[place + 1 :])
            try:
                found = load_state(path.parent)
            except MoldiffError:
                continue
            accepted += 1
            assert (found.step, found.seconds, found.config) == (4, 1.25, STATE.config), (place, bit)
            assert json.loads(path.read_bytes()) == meant  # a blank that became another blank
    assert accepted < 0.02 * 8 * len(data)


@pytest.mark.parametrize(
    "change",
    [
        {"step": 7}, {"step": -1}, {"step": True}, {"seconds": "x"}, {"seconds": 10**400}, {"seconds": -1.0},
        {"average_count": None}, {"optimizers": 10_000}, {"config": "x"}, {"sums": 3}, {"sums": ["x"]},
        {"sums": [None]}, {"summed_from": -1}, {"summed_from": 0.5},
    ],
    ids=lambda change: f"{change!r:.20}",
)  # fmt: skip
def test_a_state_that_says_something_else_is_refused(tmp_path: Path, change: dict[str, object]) -> None:
    path = save_state(tmp_path, STATE)
    info = json.loads((path / "state.json").read_text()) | change
    (path / "state.json").write_text(json.dumps(info))
    with pytest.raises(MoldiffError, match=r"damaged|is too large a number"):
        load_state(path)
    old = {key: value for key, value in info.items() if key != "state_sha256"} | {"format": 1}
    (path / "state.json").write_text(json.dumps(old))  # of a release that did not hash it
    if change == {"step": 7}:
        assert load_state(path).step == 7
    else:
        with pytest.raises(MoldiffError, match=r"not a moldiff checkpoint|is too large a number"):
            load_state(path)


def test_a_checkpoint_of_an_early_version_has_no_sums(tmp_path: Path) -> None:
    path = save_state(tmp_path, STATE)
    info = json.loads((path / "state.json").read_text())
    late = ("sums", "summed_from", "molecules_seen", "continued", "state_sha256")
    (path / "state.json").write_text(json.dumps({key: info[key] for key in info if key not in late} | {"format": 1}))
    found = load_state(path)
    assert (list(found.sums), found.summed_from, found.molecules_seen, found.seconds) == ([], 0, None, 1.25)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("where", ["weights", "average", "optimizers"])
def test_values_that_are_not_finite_are_never_saved(tmp_path: Path, where: str, value: float) -> None:
    first = save_state(tmp_path, STATE)
    bad = {"w": torch.tensor([1.0, value])}
    state = replace(STATE, step=5, **{where: [bad, {}] if where == "optimizers" else bad})
    with pytest.raises(MoldiffError, match=r"step 5: \S+w holds values that are not finite"):
        save_state(tmp_path, state)
    assert list(tmp_path.iterdir()) == [first]


def test_a_damaged_checkpoint_is_passed_over_with_a_word(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for step in (4, 6):
        save_state(tmp_path, replace(STATE, step=step))
    (tmp_path / "step-00000006" / "state.json").write_text("{")
    with caplog.at_level(logging.WARNING):
        found = latest_state(tmp_path)
    assert found is not None and found.step == 4
    assert len(caplog.messages) == 1
    assert "step-00000006" in caplog.text and "going on from step 4" in caplog.text


def test_other_names_are_no_checkpoints(tmp_path: Path) -> None:
    save_state(tmp_path, STATE)
    for name in ("step-x", "step-12", "step-00000009-mine", "set-aside-step-00000009"):
        (tmp_path / name).mkdir()
    assert [path.name for path in list_states(tmp_path)] == ["step-00000004"]
    for step in (10, 100_000_000, 99_999_999):
        save_state(tmp_path, replace(STATE, step=step))
    assert [path.name for path in list_states(tmp_path)] == ["step-99999999", "step-100000000"]
    assert (tmp_path / "step-x").is_dir()


def test_newer_checkpoints_are_set_aside(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for step in (15, 30):
        save_state(tmp_path, replace(STATE, step=step))
    set_aside_newer(tmp_path, 30)
    assert not caplog.messages
    for _ in range(2):  # what was set aside before makes room
        set_aside_newer(tmp_path, 15)
        assert [path.name for path in list_states(tmp_path)] == ["step-00000015"]
        assert load_state(tmp_path / "set-aside-step-00000030").step == 30
        save_state(tmp_path, replace(STATE, step=30))
    assert "step-00000030 is newer than the step 15" in caplog.text
