"""The average of several trained models of one kind: one model, as fast as each of them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import torch

from moldiff.errors import MoldiffError
from moldiff.models.folder import ModelFolder, load_model_folder, save_model_folder

_ALIKE = ("network", "curve", "vocabulary", "statistics", "conditions")


def average(models: Sequence[str], out: Path, *, overwrite: bool = False) -> str:
    """Write the plain average of models' weights as a model folder and return its SHA-256.

    It helps where the models are stations of one training, each with its learning rate run down to zero (Wortsman et
    al. 2022, "Model soups", section 3); of models trained apart from the start, the average is noise. References are
    not taken along: see `moldiff.training.pack.pack`.

    Args:
        models: at least two model folders, trained on the same data.
        out: folder to write.
        overwrite: replace an existing model folder.

    Raises:
        MoldiffError: fewer than two models, models that differ in more than their weights, or a folder that cannot be
            read or written.
    """
    folders = [load_model_folder(model) for model in models]
    if len(folders) < 2:
        raise MoldiffError("an average needs at least two models")
    first, *others = folders
    for other in others:
        _check_alike(first, other)
    weights = {
        name: torch.stack([folder.weights[name].double() for folder in folders]).mean(0).to(weight.dtype)
        for name, weight in first.weights.items()
    }
    sources = [{"sha256": folder.sha256, "training": folder.config.get("training")} for folder in folders]
    training = {"data_sha256": _data_hash(first), "average_of": sources}
    cards = [f"## Model {number}\n\n{_below(folder.card)}" for number, folder in enumerate(folders, start=1)]
    card = f"# A moldiff model\n\nThe average of the weights of {len(folders)} models. Their cards:\n\n"
    return save_model_folder(
        out,
        weights=weights,
        config={**first.config, "training": training},
        references={},
        card=card + "\n".join(cards),
        half=False,
        overwrite=overwrite,
    )


def _below(card: str) -> str:
    """Return a card whose headings stand two levels lower."""
    return re.sub(r"^(?=#+ )", "##", card, flags=re.MULTILINE)


def _check_alike(one: ModelFolder, other: ModelFolder) -> None:
    """Raise MoldiffError if two models differ in more than their weights."""
    for part in _ALIKE:
        if one.config.get(part) != other.config.get(part):
            raise MoldiffError(f"{other.path} cannot be averaged with {one.path}: their {part} differ")
    if _data_hash(one) != _data_hash(other):
        raise MoldiffError(f"{other.path} cannot be averaged with {one.path}: they were trained on different data")
    if one.weights.keys() != other.weights.keys():
        raise MoldiffError(f"{other.path} cannot be averaged with {one.path}: their weights have different names")


def _data_hash(folder: ModelFolder) -> str | None:
    digest: str | None = (folder.config.get("training") or {}).get("data_sha256")
    return digest
