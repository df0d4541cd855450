"""R16: model folders and checkpoints that are damaged by a bit or cut short, and hostile ones that hold code."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import pickle
import random
import shutil
import tempfile
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import numpy as np
import torch

from moldiff.config import CurveConfig, NetworkConfig
from moldiff.datasets.statistics import DatasetStatistics, PropertyStatistics
from moldiff.errors import MoldiffError
from moldiff.evaluation.load_reference import load_reference
from moldiff.hash_sums import sums_text
from moldiff.models.folder import HASHED_FILES, SUMS_FILE, find_model, load_model_folder, save_model_folder
from moldiff.models.loaded import load_model
from moldiff.models.molecule_model import MoleculeModel
from moldiff.training.checkpoint import TrainingState, load_state, save_state
from moldiff.vocabulary import BOND_ORDERS, Vocabulary
from scripts.scoreboard import mutated
from scripts.scoreboard.findings import Finding, Share

FLIPS, CUTS = 1000, 200


@cache
def tiny_model() -> MoleculeModel:
    """Return a model of a few thousand random weights."""
    torch.manual_seed(0)
    vocabulary = Vocabulary(("H", "C", "N", "O"), (-1, 0, 1), BOND_ORDERS)
    return MoleculeModel.build(
        NetworkConfig(layers=1, node_width=16, pair_width=8, pair_hidden=8, vectors=4, heads=2, global_width=8),
        CurveConfig(),
        vocabulary,
        DatasetStatistics(
            size_counts={5: 10, 9: 20},
            marginals={name: [1 / size] * size for name, size in vocabulary.sizes.items()},
            position_std={5: 1.0, 9: 1.2},
            properties={"logp": PropertyStatistics("", 0.5, 1.0, -3.0, 4.0, -2.25, 2.75, 60)},
        ),
        ["logp"],
    )


@cache
def _packed(folder: Path) -> dict[str, bytes]:
    """Return the files of a folder of the tiny model, written once below a folder."""
    model, path = tiny_model(), folder / "whole"
    rows = torch.tensor([[5.0, 0.7], [9.0, 0.9]])
    save_model_folder(
        path,
        weights=model.denoiser.state_dict(),
        config=model.config_json(),
        references={"condition_rows": rows},
        card="# Test",
        half=True,
    )
    return {name: (path / name).read_bytes() for name in (*HASHED_FILES, SUMS_FILE)}


@cache
def _saved(folder: Path) -> dict[str, bytes]:
    """Return the files of a checkpoint of the tiny model, written once below a folder."""
    weights = tiny_model().denoiser.state_dict()
    average = {name: value.clone() for name, value in weights.items()}
    state = TrainingState(6, weights, average, 3, [{"step": torch.ones(1)}], {"seed": 0}, 1.5)
    path = save_state(folder / "checkpoints", state)
    return {file.name: file.read_bytes() for file in path.iterdir()}


def read_folder(chance: random.Random, folder: Path) -> None:
    """Load a model folder one of whose files is changed; its hashes agree, as whoever forges a folder would see to.

    Raises:
        MoldiffError: it is refused.
    """
    files = dict(_packed(folder))
    name = chance.choice(("config.json", "config.json", *files))
    if name == "config.json":
        files[name] = mutated.json_text(chance, files[name].decode()).encode("utf-8", errors="replace")
    else:
        files[name] = mutated.bytes_of(chance, files[name])
    if name != SUMS_FILE:
        files[SUMS_FILE] = _sums(files)
    load_model(_written(folder / "changed", files), device="cpu")


def read_checkpoint(chance: random.Random, folder: Path) -> None:
    """Load a checkpoint one of whose files is changed, with hashes that agree.

    Raises:
        MoldiffError: it is refused.
    """
    files = dict(_saved(folder))
    state, (tensors,) = "state.json", [name for name in files if name != "state.json"]
    if chance.random() < 0.6:
        files[state] = mutated.json_text(chance, files[state].decode()).encode("utf-8", errors="replace")
    else:
        files[tensors] = mutated.bytes_of(chance, files[tensors])
    try:
        info = json.loads(files[state])
        info["sha256"] = hashlib.sha256(files[tensors]).hexdigest()
        rest = {key: value for key, value in info.items() if key != "state_sha256"}
        info["state_sha256"] = hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()
        files[state] = json.dumps(info).encode()
    except (ValueError, TypeError, KeyError):
        pass  # no JSON any more: as it is
    load_state(_written(folder / "step-00000006", files))


def _sums(files: dict[str, bytes]) -> bytes:
    return sums_text({name: hashlib.sha256(files[name]).hexdigest() for name in HASHED_FILES}).encode()


def _written(folder: Path, files: dict[str, bytes]) -> Path:
    folder.mkdir(exist_ok=True)
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return folder


def measure(share: Share) -> Iterator[Finding]:
    """Flip bits of, and cut, the files of a built-in model and of a checkpoint; read folders that hold code."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model = folder / "model"
        shutil.copytree(find_model("qm9_fast"), model)
        saved = _written(folder / "step-00000006", _saved(folder))
        for what, path, read in (("model folder", model, load_model_folder), ("checkpoint", saved, load_state)):
            flips = _accepted(path, read, share.of(FLIPS), _flipped)
            cuts = _accepted(path, read, share.of(CUTS), _cut)
            figure = f"{what}: {share.of(FLIPS)} bit flips, {share.of(CUTS)} cuts, {flips + cuts} read with a change"
            yield Finding(figure, holds=not flips + cuts, whole=share.whole)
        yield _hostile(folder / "hostile", model, saved)


def _flipped(chance: random.Random, data: bytes) -> bytes:
    place = chance.randrange(8 * len(data))
    changed = bytearray(data)
    changed[place // 8] ^= 1 << place % 8
    return bytes(changed)


def _cut(chance: random.Random, data: bytes) -> bytes:
    return data[: chance.randrange(len(data))]


def _accepted(
    folder: Path, read: Callable[[Path], object], count: int, change: Callable[[random.Random, bytes], bytes]
) -> int:
    """Change one file after the other; return how often that was read, and gave something else than before."""
    chance, accepted = random.Random(f"{folder.name} {change.__name__}"), 0
    files, before = sorted(folder.iterdir()), _content(read(folder))
    for number in range(count):
        path = files[number % len(files)]
        data = path.read_bytes()
        path.write_bytes(change(chance, data))
        try:
            accepted += _content(read(folder)) != before
        except MoldiffError:
            pass
        finally:
            path.write_bytes(data)
    return accepted


def _content(found: object) -> str:
    """Return all that a folder says, as a text to compare (a blank more in its JSON is no damage)."""
    values = {name: value for name, value in vars(found).items() if name not in ("path", "sha256")}
    digest = hashlib.sha256()
    for name, value in sorted(values.items()):
        tensors = value if isinstance(value, dict) else {}
        for key, tensor in sorted(tensors.items()):
            if isinstance(tensor, torch.Tensor):
                digest.update(f"{name} {key} {tensor.dtype}".encode() + tensor.numpy().tobytes())
            else:
                digest.update(f"{name} {key} {tensor!r}".encode())
        if not tensors and not isinstance(value, list):
            digest.update(f"{name} {value!r}".encode())
    return digest.hexdigest()


class _Code:
    """What makes a file when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, (f"touch {self.marker}",)


def payloads(marker: Path) -> dict[str, bytes]:
    """Return files that make another one where somebody unpickles or runs them, by name."""
    code, zipped, array = _Code(marker), io.BytesIO(), io.BytesIO()
    torch.save({"weights": code}, zipped)
    np.save(array, np.array([code], dtype=object), allow_pickle=True)
    command = f"!!python/object/apply:os.system ['touch {marker}']\n"
    return {
        "pickle 0": pickle.dumps(code, protocol=0),
        "pickle 5": pickle.dumps(code, protocol=5),
        "torch zip": zipped.getvalue(),
        "gzipped pickle": gzip.compress(pickle.dumps(code)),
        "npy of objects": array.getvalue(),
        "YAML tag": command.encode(),
        "Python": f"import os; os.system('touch {marker}')\n".encode(),
    }


def _hostile(folder: Path, model: Path, saved: Path) -> Finding:
    """Put each payload in the place of each file, with hashes that agree where there are any, and read it."""
    folder.mkdir()
    marker, tried, read = folder / "marker", 0, list[str]()
    whole = {path.name: path.read_bytes() for path in model.iterdir()}
    kept = {path.name: path.read_bytes() for path in saved.iterdir()}
    for what, payload in payloads(marker).items():
        cases: dict[str, Callable[[], object]] = {}
        for name in HASHED_FILES:
            files = {**whole, name: payload}
            files[SUMS_FILE] = _sums(files)
            forged = _written(folder / f"{what} {name}", files)
            cases[name] = lambda path=forged: load_model(path, device="cpu")  # type: ignore[misc]
        for name in kept:
            damaged = _written(folder / f"{what} {name}", {**kept, name: payload})
            cases[name] = lambda path=damaged: load_state(path)  # type: ignore[misc]
        for suffix in (".json", ".npy", ".sdf"):
            file = folder / f"{what}{suffix}"
            file.write_bytes(payload)
            cases[suffix] = lambda path=file: load_reference(path)  # type: ignore[misc]
        for name, look in cases.items():
            tried += 1
            try:
                look()
                read.append(f"{what} as {name}")
            except MoldiffError:
                pass
    # text in the place of the card is text, and is shown as that
    wrong = [case for case in read if not case.endswith("card.md")]
    figure = f"{tried} hostile files: {len(wrong)} read, code run: {'yes' if marker.exists() else 'never'}"
    return Finding(figure + (f" ({', '.join(wrong)})" if wrong else ""), holds=not wrong and not marker.exists())
