"""A model folder comes back as it was saved, and no damaged, foreign or hostile one is read."""

import hashlib
import json
import os
import pickle
import random
import shutil
import struct
import subprocess
from pathlib import Path

import pytest
import torch

from moldiff.errors import MoldiffError
from moldiff.models import folder as module
from moldiff.models.folder import load_model_folder, save_model_folder

CONFIG = {"vocabulary": {"elements": ["H", "C"]}, "width": 64, "sigma_max": 25.0}
REFERENCES = {"keys": torch.tensor([3, 2**63 + 5], dtype=torch.uint64), "histogram": torch.linspace(0, 1, 5)}
MINIMAL = {"weights": {"w": torch.ones(1)}, "config": {}, "references": {}, "card": "", "half": False}


def make_weights() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    shared = torch.randn(4, 3, generator=generator)
    return {"a.weight": shared, "a.tied": shared, "b.transposed": shared.T, "steps": torch.tensor([7])}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "model"
    save_model_folder(
        path, weights=make_weights(), config=CONFIG, references=REFERENCES, card="# Card\nåäö", half=False
    )
    return path


def rehash(folder: Path) -> None:
    """Write a SHA256SUMS that agrees with the folder, as whoever forges a folder would."""
    names = [name for name in module.HASHED_FILES if (folder / name).exists()]
    lines = [f"{hashlib.sha256((folder / name).read_bytes()).hexdigest()}  {name}\n" for name in names]
    (folder / "SHA256SUMS").write_text("".join(lines))


def refused(folder: Path, match: str) -> None:
    with pytest.raises(MoldiffError, match=match) as caught:
        load_model_folder(folder)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


def test_a_saved_folder_comes_back_bit_for_bit(folder: Path) -> None:
    model = load_model_folder(folder)
    assert model.weights.keys() == make_weights().keys()
    for name, tensor in make_weights().items():
        assert torch.equal(model.weights[name], tensor)
        assert model.weights[name].dtype == tensor.dtype
    assert model.config == CONFIG
    assert torch.equal(model.references["keys"], REFERENCES["keys"])
    assert model.references["keys"].dtype == torch.uint64
    assert torch.equal(model.references["histogram"], REFERENCES["histogram"])
    assert model.card == "# Card\nåäö"
    assert model.name == "model"
    assert model.sha256 == hashlib.sha256((folder / "SHA256SUMS").read_bytes()).hexdigest()


def test_saving_returns_the_hash_and_writes_the_same_bytes_twice(folder: Path, tmp_path: Path) -> None:
    sha256 = save_model_folder(
        tmp_path / "again", weights=make_weights(), config=CONFIG, references=REFERENCES, card="# Card\nåäö", half=False
    )
    assert sha256 == load_model_folder(folder).sha256
    assert sorted(os.listdir(tmp_path)) == ["again", "model"], "no temporary folder is left"


def test_half_precision_halves_the_file_and_loads_as_float32(folder: Path, tmp_path: Path) -> None:
    weights = {"w": torch.randn(100, 100, generator=torch.Generator().manual_seed(1))}
    for half in (False, True):
        save_model_folder(tmp_path / f"half-{half}", weights=weights, config={}, references={}, card="", half=half)
    full, small = ((tmp_path / f"half-{half}" / "model.safetensors").stat().st_size for half in (False, True))
    assert 19_900 < full - small < 20_100
    loaded = load_model_folder(tmp_path / "half-True").weights["w"]
    assert loaded.dtype == torch.float32
    assert torch.equal(loaded, weights["w"].half().float())


def test_vectors_keep_their_precision(tmp_path: Path) -> None:
    # the mean of a total energy, for example
    weights = {"property_mean": torch.tensor([-11178.966]), "huge": torch.tensor([1e30])}
    save_model_folder(tmp_path / "m", weights=weights, config={}, references={}, card="", half=True)
    loaded = load_model_folder(tmp_path / "m").weights
    assert all(torch.equal(loaded[name], weight) for name, weight in weights.items())


def test_sha256sum_agrees(folder: Path) -> None:
    if shutil.which("sha256sum") is None:
        pytest.skip("sha256sum is not installed")
    result = subprocess.run(["sha256sum", "-c", "SHA256SUMS"], cwd=folder, capture_output=True, text=True, check=False)
    assert result.returncode == 0
    assert result.stdout.count("OK") == 4


@pytest.mark.parametrize("name", module.HASHED_FILES)
def test_every_bit_flip_and_every_truncation_is_refused(folder: Path, name: str) -> None:
    path = folder / name
    original = path.read_bytes()
    positions = random.Random(0).sample(range(len(original) * 8), min(300, len(original) * 8))
    for position in positions:
        damaged = bytearray(original)
        damaged[position // 8] ^= 1 << position % 8
        path.write_bytes(damaged)
        refused(folder, "corrupt")
    for length in random.Random(1).sample(range(len(original)), min(60, len(original))):
        path.write_bytes(original[:length])
        refused(folder, "corrupt")
    path.write_bytes(original)
    load_model_folder(folder)


def test_every_bit_flip_and_truncation_of_the_list_of_hashes_is_refused(folder: Path) -> None:
    path = folder / "SHA256SUMS"
    original = path.read_bytes()
    for position in range(len(original) * 8):
        damaged = bytearray(original)
        damaged[position // 8] ^= 1 << position % 8
        path.write_bytes(damaged)
        refused(folder, "corrupt|SHA256SUMS|missing")
    for length in range(len(original)):
        path.write_bytes(original[:length])
        refused(folder, "SHA256SUMS")


@pytest.mark.parametrize("name", [*module.HASHED_FILES, "SHA256SUMS"])
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    refused(folder, f"not a moldiff model folder: {name} is missing")


def test_a_file_that_is_not_listed_is_not_read(folder: Path) -> None:
    lines = (folder / "SHA256SUMS").read_text().splitlines(keepends=True)
    (folder / "SHA256SUMS").write_text("".join(line for line in lines if "reference" not in line))
    refused(folder, "does not list reference.safetensors")


def test_the_list_cannot_reach_outside_the_folder(folder: Path) -> None:
    with open(folder / "SHA256SUMS", "a") as handle:
        handle.write(f"{'0' * 64}  ../secret\n")
    refused(folder, "not a list")


def test_a_file_is_listed_once(folder: Path) -> None:
    lines = (folder / "SHA256SUMS").read_text().splitlines(keepends=True)
    (folder / "SHA256SUMS").write_text("".join([*lines, lines[0]]))
    refused(folder, "not a list")


def test_a_pickle_in_place_of_the_weights_is_never_executed(folder: Path, tmp_path: Path) -> None:
    marker = tmp_path / "executed"

    class Payload:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.system, (f"touch {marker}",)

    for name, data in {"plain": pickle.dumps(Payload()), "torch": None}.items():
        if name == "torch":
            torch.save(Payload(), folder / "model.safetensors")
        else:
            (folder / "model.safetensors").write_bytes(data or b"")
        rehash(folder)
        refused(folder, "not a safetensors file")
    assert not marker.exists()


def safetensors_file(header: bytes, body: bytes = b"") -> bytes:
    return struct.pack("<Q", len(header)) + header + body


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\0" * 7,
        b"\xff" * 64,
        safetensors_file(b"{"),
        safetensors_file(b"[]"),
        safetensors_file(b"{}"),
        safetensors_file(b'{"w":{"dtype":"F32","shape":[1000000000],"data_offsets":[0,4000000000]}}', b"\0" * 4),
        safetensors_file(b'{"w":{"dtype":"F32","shape":[4],"data_offsets":[0,4]}}', b"\0" * 4),
        safetensors_file(b'{"w":{"dtype":"F32","shape":[18446744073709551615,2],"data_offsets":[0,4]}}', b"\0" * 4),
        safetensors_file(b'{"w":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}}', b"\0" * 4),
        safetensors_file(b'{"w":{"dtype":"F99","shape":[1],"data_offsets":[0,4]}}', b"\0" * 4),
        safetensors_file(b'{"w":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}', b"\0" * 8),
        safetensors_file(b"[" * 100_000),
        struct.pack("<Q", 2**63) + b"{}",
    ],
    ids=lambda data: f"{len(data)} bytes {data[8:40]!r}",
)
def test_a_malformed_weights_file_with_the_right_hash_is_refused(folder: Path, data: bytes) -> None:
    (folder / "model.safetensors").write_bytes(data)
    rehash(folder)
    refused(folder, "model.safetensors")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_weights_that_are_not_finite_are_neither_saved_nor_loaded(folder: Path, tmp_path: Path, value: float) -> None:
    from safetensors.torch import save_file

    weights = {"fine": torch.ones(3), "bad": torch.tensor([0.0, value])}
    with pytest.raises(MoldiffError, match="'bad'"):
        save_model_folder(tmp_path / "new", weights=weights, config={}, references={}, card="", half=False)
    assert not (tmp_path / "new").exists()
    save_file(weights, folder / "model.safetensors")
    rehash(folder)
    refused(folder, "not finite numbers, in 'bad'")


def test_weights_too_large_for_half_precision_are_not_saved(tmp_path: Path) -> None:
    weights = {"large": torch.tensor([[70_000.0]])}
    with pytest.raises(MoldiffError, match="half precision"):
        save_model_folder(tmp_path / "m", weights=weights, config={}, references={}, card="", half=True)
    save_model_folder(tmp_path / "m", weights=weights, config={}, references={}, card="", half=False)


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("", "not valid JSON"),
        ("{", "not valid JSON"),
        ("[" * 100_000, "not valid JSON"),
        ("[]", "not the configuration of a moldiff model"),
        ('{"model_type": "bert"}', "not the configuration of a moldiff model"),
        (
            json.dumps({"format": "moldiff-model", "format_version": 2, "config": {}}),
            "version 2; this moldiff reads version 1",
        ),
        (json.dumps({"format": "moldiff-model", "config": {}}), "version None"),
        (json.dumps({"format": "moldiff-model", "format_version": "\n" * 999, "config": {}}), "format version"),
        (json.dumps({"format": "moldiff-model", "format_version": 1}), "holds no configuration"),
    ],
)
def test_a_foreign_configuration_is_refused(folder: Path, text: str, match: str) -> None:
    (folder / "config.json").write_text(text)
    rehash(folder)
    refused(folder, match)


def test_a_file_above_its_cap_is_refused_unread(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(module.SIZE_CAPS, "card.md", 4)
    refused(folder, "larger than the 4 bytes")


def test_a_pipe_is_refused_unopened(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    os.mkfifo(folder / "model.safetensors")
    refused(folder, "not a regular file")


def test_an_unknown_name_is_refused_and_the_nearest_is_named(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    monkeypatch.setattr(module, "pretrained_folder", lambda: folder.parent)
    assert module.list_models() == ["model"]
    assert load_model_folder("model").path == folder
    with pytest.raises(MoldiffError, match=r"no model 'modle' \(did you mean 'model'\?\)"):
        load_model_folder("modle")
    with pytest.raises(MoldiffError, match="is not a model folder but a file"):
        load_model_folder(folder / "card.md")


def test_an_existing_folder_is_replaced_only_on_request_and_only_if_it_is_a_model(folder: Path, tmp_path: Path) -> None:
    arguments = {**MINIMAL, "card": "new"}
    with pytest.raises(MoldiffError, match="exists already"):
        save_model_folder(folder, **arguments)
    assert load_model_folder(folder).card != "new"
    save_model_folder(folder, **arguments, overwrite=True)
    assert load_model_folder(folder).card == "new"
    assert not (folder / "reference.safetensors").exists()
    documents = tmp_path / "documents"
    documents.mkdir()
    (documents / "thesis.txt").write_text("years of work")
    with pytest.raises(MoldiffError, match="not a model folder"):
        save_model_folder(documents, **arguments, overwrite=True)
    assert (documents / "thesis.txt").exists()
    assert sorted(os.listdir(tmp_path)) == ["documents", "model"]


def test_a_failed_write_leaves_the_previous_folder_and_nothing_else(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = load_model_folder(folder).sha256
    real_fsync, calls = os.fsync, []

    def disk_full(descriptor: int) -> None:
        calls.append(descriptor)
        if len(calls) == 3:
            raise OSError(28, "No space left on device")
        real_fsync(descriptor)

    monkeypatch.setattr(os, "fsync", disk_full)
    with pytest.raises(MoldiffError, match="No space left on device"):
        save_model_folder(folder, **MINIMAL, overwrite=True)
    assert load_model_folder(folder).sha256 == before
    assert os.listdir(folder.parent) == ["model"]


def test_a_failed_rename_puts_the_previous_folder_back(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before, real_replace = load_model_folder(folder).sha256, os.replace

    def fail_on_the_new_folder(source: Path, target: Path) -> None:
        if str(source).endswith(".part") and Path(source).is_dir():
            raise OSError(5, "Input/output error")
        real_replace(source, target)

    monkeypatch.setattr(os, "replace", fail_on_the_new_folder)
    with pytest.raises(MoldiffError, match="Input/output error"):
        save_model_folder(folder, **MINIMAL, overwrite=True)
    assert load_model_folder(folder).sha256 == before
    assert os.listdir(folder.parent) == ["model"]


def test_a_folder_that_was_being_replaced_when_its_run_was_killed_is_found(folder: Path) -> None:
    before = load_model_folder(folder).sha256
    folder.rename(folder.with_name(".model.old"))
    assert load_model_folder(folder).sha256 == before


def test_notes_in_a_model_folder_outlive_the_model(folder: Path) -> None:
    (folder / "notes.txt").write_text("mine")
    save_model_folder(folder, **MINIMAL, overwrite=True)
    assert (folder / "notes.txt").read_text() == "mine"
    assert not (folder / "reference.safetensors").exists()  # of the old model


@pytest.mark.parametrize("config", [{"x": float("nan")}, {"x": torch.ones(1)}, {"x": Path("a")}])
def test_a_configuration_that_is_not_plain_json_is_refused(tmp_path: Path, config: dict[str, object]) -> None:
    with pytest.raises((TypeError, ValueError)):
        save_model_folder(tmp_path / "m", **{**MINIMAL, "config": config})
    assert os.listdir(tmp_path) == []
