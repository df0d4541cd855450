"""Making a trained model ready to be given away: half precision, and what a stranger without the data set needs."""

from __future__ import annotations

from pathlib import Path

import torch

from moldiff.datasets.chemistry import seen_chemistry
from moldiff.datasets.prepared import PreparedDataset
from moldiff.devices import resolve_device
from moldiff.diffusion.bound import BoundSettings
from moldiff.errors import MoldiffError
from moldiff.evaluation.load_reference import reference_from_dataset
from moldiff.models.folder import PROPERTY, load_model_folder, save_model_folder
from moldiff.models.molecule_model import MoleculeModel
from moldiff.nll.estimator import Scorer
from moldiff.nll.reference import calibrate_on_dataset

_CONDITION_ROWS = 10_000


def pack(
    model: str, data: Path, out: Path, *, half: bool = True, score_molecules: int = 0, overwrite: bool = False
) -> str:
    """Write a model folder with references and return its SHA-256.

    Added are hashed keys of the training molecules (novelty), histograms of held-out geometry and properties
    (evaluation without the data set), the chemistry seen in training (structured decoding) and rows of (number of
    atoms, conditions), of which sizes and wanted properties are drawn jointly.

    Args:
        model: a model folder, for example that of a training run.
        data: the prepared data set that it was trained on.
        out: folder to write.
        half: store weights in half precision.
        score_molecules: score up to so many held-out molecules, so that `moldiff score` gives z-scores (100 network
            evaluations each); 0 = none.
        overwrite: replace an existing model folder.

    Raises:
        MoldiffError: the data is not what the model was trained on, or a folder cannot be read or written.
    """
    folder = load_model_folder(model)
    dataset = PreparedDataset.open(data)
    trained_on = folder.config.get("training", {}).get("data_sha256")
    if trained_on != dataset.info["data_hash"]:
        raise MoldiffError(f"{folder.path} was not trained on {data}: the hash of the data differs")
    if folder.kind == PROPERTY:
        if score_molecules:
            raise MoldiffError(f"{folder.path} is a property network; it scores no molecules")
        references = {"condition_rows": condition_rows(dataset, folder.config["properties"])}
    else:
        references = reference_from_dataset(dataset).to_tensors()
        references |= seen_chemistry(dataset).to_tensors()
        references["condition_rows"] = condition_rows(dataset, folder.config["conditions"])
    if score_molecules:
        scorer = Scorer(MoleculeModel.from_folder(folder, resolve_device("auto")), BoundSettings())
        references |= calibrate_on_dataset(scorer, dataset, score_molecules).to_tensors()
    return save_model_folder(
        out,
        weights=folder.weights,
        config=folder.config,
        references=references,
        card=folder.card,
        half=half,
        overwrite=overwrite,
    )


def condition_rows(dataset: PreparedDataset, names: list[str]) -> torch.Tensor:
    """Return (R, 1 + P) float32: number of atoms and properties of up to 10,000 training molecules, evenly spaced."""
    rows = dataset.indices("train")
    rows = rows[:: max(1, len(rows) // _CONDITION_ROWS)]
    properties = torch.from_numpy(dataset.property_table(names)[rows])
    return torch.cat([torch.from_numpy(dataset.sizes[rows]).float()[:, None], properties], dim=1)
