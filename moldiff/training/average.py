"""The average of several trained models of one kind: one model, as fast as each of them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

import torch

from moldiff.config import LayersConfig, NetworkConfig, PropertyNetworkConfig
from moldiff.errors import MoldiffError
from moldiff.files import claimed
from moldiff.folders import refuse_folder
from moldiff.models.building import Description, described
from moldiff.models.folder import OURS, PROPERTY, ModelFolder, load_model_folder, save_model_folder
from moldiff.models.references import OF_DATA


def average(models: Sequence[str], out: Path, *, overwrite: bool = False) -> str:
    """Write the plain average of models' weights as a model folder and return its SHA-256.

    It helps where the models are stations of one training, each with its learning rate run down to zero (Wortsman et
    al. 2022, "Model soups", section 3); of models trained apart from the start, the average is noise. What all of them
    carry of their data is taken along; scores of held-out molecules are not, as they are a model's own.

    Args:
        models: at least two model folders, trained on the same data.
        out: folder to write.
        overwrite: replace an existing model folder.

    Raises:
        MoldiffError: fewer than two models, models that differ in more than their weights, or a folder that cannot be
            read or written.
    """
    with claimed(out):
        refuse_folder(out, OURS, overwrite)
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
            references=_shared(folders),
            card=card + "\n".join(cards),
            half=False,
            overwrite=overwrite,
        )


def _shared(folders: Sequence[ModelFolder]) -> dict[str, torch.Tensor]:
    """Return the reference tensors of the data that are the same in all folders."""
    first, *others = (folder.references for folder in folders)
    return {
        name: first[name]
        for name in OF_DATA
        if name in first and all(name in other and torch.equal(first[name], other[name]) for other in others)
    }


def _below(card: str) -> str:
    """Return a card whose headings stand two levels lower."""
    return re.sub(r"^(?=#+ )", "##", card, flags=re.MULTILINE)


def _check_alike(one: ModelFolder, other: ModelFolder) -> None:
    """Raise MoldiffError if two models differ in more than their weights."""
    known, others = _described(one), _described(other)
    for part in fields(known):
        if getattr(known, part.name) != getattr(others, part.name):
            name = "conditions" if part.name == "names" else part.name
            raise MoldiffError(f"{other.path} cannot be averaged with {one.path}: their {name} differ")
    if _data_hash(one) != _data_hash(other):
        raise MoldiffError(f"{other.path} cannot be averaged with {one.path}: they were trained on different data")
    if one.weights.keys() != other.weights.keys():
        raise MoldiffError(f"{other.path} cannot be averaged with {one.path}: their weights have different names")


def _described(folder: ModelFolder) -> Description[LayersConfig]:
    """Return what a folder's configuration says; keys that it lacks have their defaults, as in any comparison."""
    network, names = (PropertyNetworkConfig, "properties") if folder.kind == PROPERTY else (NetworkConfig, "conditions")
    return described(folder, network, names)


def _data_hash(folder: ModelFolder) -> str | None:
    digest: str | None = (folder.config.get("training") or {}).get("data_sha256")
    return digest
