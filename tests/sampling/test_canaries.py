"""Canaries: what the built-in models drew at their release, they draw here; a change is told."""

import copy
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from moldiff.models.folder import list_models, load_model_folder, save_model_folder
from moldiff.sampling.canaries import DRAWS, FILE, check_canaries, known_canaries
from moldiff.sampling.canaries import pretrained_folder as models

QM9 = load_model_folder("qm9")
KNOWN = known_canaries()


def test_every_built_in_model_has_its_canaries() -> None:
    assert KNOWN.keys() == {load_model_folder(name).sha256 for name in list_models()}
    assert all(len(draws) == DRAWS and all("pos_mA" in draw for draw in draws) for draws in KNOWN.values())


def test_the_default_model_draws_what_it_drew() -> None:
    result = check_canaries(QM9, KNOWN)
    assert result is not None and result.passed
    assert result.draws == DRAWS and result.largest <= 0.02


def test_each_way_to_differ_is_seen() -> None:
    changed = copy.deepcopy(KNOWN)
    first, second, third, fourth = changed[QM9.sha256]
    first["pos_mA"][0][2] += 30
    second["charges"][0] += 1
    third["bonds"] = third["bonds"][:-1]
    fourth["pos_mA"][-1][0] += 10
    result = check_canaries(QM9, changed)
    assert result is not None and not result.passed
    assert result.differ == (0, 1, 2)
    assert 0.009 <= result.largest <= 0.04


def test_a_model_of_other_weights_sings_another_song(tmp_path: Path) -> None:
    """Its hashes are right, its weights are not: what a hash of the files cannot tell."""
    weights = {name: value * 1.01 for name, value in QM9.weights.items()}
    save_model_folder(tmp_path / "m", weights=weights, config=QM9.config, references={}, card="", half=False)
    other = load_model_folder(tmp_path / "m")
    assert check_canaries(other, KNOWN) is None
    result = check_canaries(replace(other, sha256=QM9.sha256), KNOWN)
    assert result is not None and not result.passed


def test_the_command(run: Callable, packed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    good = run("models", "verify", "qm9", packed)
    assert (good.status, good.err) == (0, "")
    assert f"sha256 {QM9.sha256}; 4 draws are as they were, to 0.0" in good.out
    assert "no canary is known of it" in good.out
    broken = tmp_path / "broken"
    shutil.copytree(packed, broken)
    with open(broken / "model.safetensors", "r+b") as handle:
        handle.seek(-1, 2)
        handle.write(b"\x7f")
    bad = run("models", "verify", broken)
    assert bad.status == 2
    assert "DAMAGED" in bad.out and "model.safetensors is corrupt" in bad.out
    run("models", "verify", "qm8").assert_refused("no model 'qm8'")
    changed = {key: list(reversed(draws)) for key, draws in KNOWN.items()}
    (tmp_path / FILE).write_text(json.dumps({"draws": changed}))
    (tmp_path / "qm9").symlink_to(models() / "qm9")
    monkeypatch.setattr("moldiff.sampling.canaries.pretrained_folder", lambda: tmp_path)
    other = run("models", "verify", "qm9")
    assert other.status == 2
    assert "DIFFERENT: of 4 draws, 0, 1, 2, 3" in other.out
