"""Making a trained model ready to be given away: in half precision, with scores of held-out molecules on demand."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from moldiff.arguments import count
from moldiff.datasets.prepared import PreparedDataset
from moldiff.diffusion.bound import BoundSettings
from moldiff.errors import MoldiffError
from moldiff.files import claimed
from moldiff.folders import refuse_folder
from moldiff.models.folder import OURS, PROPERTY, ModelFolder, load_model_folder, save_model_folder
from moldiff.models.loaded import load_model
from moldiff.models.references import CONDITION_ROWS, NEEDED, OF_DATA, TRAINING_KEYS
from moldiff.nll.estimator import LikelihoodEstimator
from moldiff.nll.reference import calibrate_on_dataset
from moldiff.training.references import all_references, condition_rows, keys_of

if TYPE_CHECKING:
    from torch import Tensor


def pack(
    model: str,
    data: Path | None,
    out: Path,
    *,
    half: bool = True,
    score_molecules: int = 0,
    overwrite: bool = False,
) -> str:
    """Write a model folder to be given away and return its SHA-256.

    A training has put all that its users need of the data into the folder; it is taken along. Folders of earlier
    versions, averages and interrupted trainings lack some of it: given the data, it is made anew.

    Args:
        model: a model folder, for example that of a training run.
        data: the prepared data set that it was trained on; None = the folder has what it needs.
        out: folder to write.
        half: store weights in half precision.
        score_molecules: score up to so many held-out molecules, so that `moldiff likelihood` gives z-scores (100
            network evaluations each); 0 = none.
        overwrite: replace an existing model folder.

    Raises:
        MoldiffError: the data is not what the model was trained on, or is needed and not given, or a folder cannot be
            read or written.
    """
    count(score_molecules, "score_molecules", least=0)
    with claimed(out):
        refuse_folder(out, OURS, overwrite)
        folder = load_model_folder(model)
        if score_molecules and folder.kind == PROPERTY:
            raise MoldiffError(f"{folder.path} is a property network; it scores no molecules")
        if data is None:
            references = _complete(folder, score_molecules)
        else:
            references = _made_anew(folder, _own_data(folder, data), score_molecules)
        return save_model_folder(
            out,
            weights=folder.weights,
            config=folder.config,
            references=references,
            card=folder.card,
            half=half,
            overwrite=overwrite,
        )


def _complete(folder: ModelFolder, score_molecules: int) -> dict[str, Tensor]:
    """Return the references of a folder; MoldiffError if a user would miss one, or more is asked for."""
    if score_molecules:
        raise MoldiffError(
            "scores of held-out molecules need the prepared set that it was trained on (data)", argument="data"
        )
    needed = (CONDITION_ROWS,) if folder.kind == PROPERTY else NEEDED
    if missing := [name for name in needed if name not in folder.references]:
        raise MoldiffError(
            f"name the prepared set that it was trained on (data), and what {folder.path} lacks of it is made: "
            f"{', '.join(missing)}",
            argument="data",
        )
    return folder.references


def _own_data(folder: ModelFolder, data: Path) -> PreparedDataset:
    """Return the data set; MoldiffError if it is not what a model was trained on."""
    dataset = PreparedDataset.open(data)
    if folder.config.get("training", {}).get("data_sha256") != dataset.info["data_hash"]:
        raise MoldiffError(f"{folder.path} was not trained on {data}: the hash of the data differs")
    return dataset


def _made_anew(folder: ModelFolder, dataset: PreparedDataset, score_molecules: int) -> dict[str, Tensor]:
    """Return all references that a data set gives, and those of the folder that it does not."""
    if folder.kind == PROPERTY:
        return {CONDITION_ROWS: condition_rows(dataset, folder.config["properties"])}
    references = all_references(dataset, folder.config["conditions"])
    references[TRAINING_KEYS] = keys_of(dataset, folder).to_tensor()  # those of the model that it began from as well
    references |= {name: value for name, value in folder.references.items() if name not in OF_DATA}
    if score_molecules:
        scorer = LikelihoodEstimator(load_model(folder.path, precision="float32").model, BoundSettings())
        references |= calibrate_on_dataset(scorer, dataset, score_molecules).to_tensors()
    return references
