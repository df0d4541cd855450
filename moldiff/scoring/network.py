"""A property network as a score: it measures what no calculator does, or what a calculator takes long for."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from moldiff.chem.convert import EncodingError, classes_of
from moldiff.errors import MoldiffError, nearest_name
from moldiff.scoring.targets import Target, parse_target

if TYPE_CHECKING:
    from rdkit.Chem import Mol

    from moldiff.models.property_model import PropertyModel

# of the noise that a molecule is taken to have: the estimates on the way are not quite at rest
MEASURED_AT = 0.05


@dataclass(frozen=True)
class PredictedNearness:
    """A score function: minus the distance of the predicted value from what is wanted, in standard deviations of the
    network's data; None for a molecule that the network cannot read.

    Attributes:
        model: the property network.
        target: what is wanted, of one of its properties.
        sha256: of the network's folder; "" = it has none.
    """

    model: PropertyModel
    target: Target
    sha256: str = ""

    def __call__(self, molecules: list[Mol]) -> list[float | None]:
        std = self.model.statistics.properties[self.target.name].std
        values = (self.predict(mol) for mol in molecules)
        return [None if value is None else -self.target.distance(value) / std for value in values]

    def predict(self, mol: Mol) -> float | None:
        """Return the expected value of the property, natural units."""
        return predicted_value(self.model, self.target.name, mol)


@dataclass(frozen=True)
class HeldOutError:
    """Error of a property network on finished molecules that it has not learnt from, of one property, natural units.

    Attributes:
        error: mean absolute error; None = it is not known.
        molecules: that the mean is over; None = folders of early versions do not say.
        of_mean: the error of one who always guesses the mean of the training molecules; None likewise.
    """

    error: float | None
    molecules: int | None = None
    of_mean: float | None = None

    @classmethod
    def from_json(cls, value: object) -> HeldOutError | None:
        """Return what `to_json` wrote, or the error alone that early versions did; None if it is neither."""
        if not isinstance(value, Mapping):
            return None if (error := _size(value)) is None else cls(error)
        molecules = value.get("molecules")
        if isinstance(molecules, bool) or not isinstance(molecules, int) or molecules < 0:
            return None
        error, of_mean = _size(value.get("error")), _size(value.get("of_mean"))
        if not molecules:
            return cls(None, 0)
        return None if error is None or of_mean is None else cls(error, molecules, of_mean)

    def to_json(self) -> dict[str, float | int | None]:
        """Return plain JSON, figures with four digits."""
        figures = {"error": self.error, "of_mean": self.of_mean}
        rounded = {name: None if value is None else float(f"{value:.4g}") for name, value in figures.items()}
        return {**rounded, "molecules": self.molecules}

    @property
    def is_of_use(self) -> bool:
        """The network comes nearer than the mean alone, as far as is known."""
        return self.error is None or self.of_mean is None or self.error < self.of_mean

    def __str__(self) -> str:
        if self.error is None:
            return "not known"
        if self.molecules is None or self.of_mean is None:
            return f"{self.error:.3g} on average for held-out molecules"
        molecules = "1 held-out molecule" if self.molecules == 1 else f"{self.molecules} held-out molecules"
        return f"{self.error:.3g} on average for {molecules} ({self.of_mean:.3g} by the mean alone)"


def _size(value: object) -> float | None:
    """Return a figure of a JSON file that cannot be negative; None if it is none."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
        return None
    return float(value)


def predicted_value(model: PropertyModel, name: str, mol: Mol) -> float | None:
    """Return the value that a property network expects of a molecule, natural units; None if it cannot read it."""
    import torch

    from moldiff.datasets.batching import bucket_width
    from moldiff.molecules import SoftBatch, collate

    try:
        arrays = classes_of(mol, model.vocabulary)
    except EncodingError:
        return None
    # one at a time: what a molecule scores does not depend on its company
    width, device = bucket_width(len(arrays.atom_type)), model.device
    batch = collate([arrays], torch.zeros(1, dtype=torch.int64), width, torch.zeros(1, 0, dtype=torch.float32))
    levels = model.schedule.levels(torch.full((1,), MEASURED_AT, dtype=torch.float64, device=device))
    with torch.no_grad():
        found = model.predictor(SoftBatch.of(batch.to(device), model.vocabulary.sizes), levels)
    row = model.statistics.properties[name]
    return row.mean + row.std * float(found.mean[0, model.properties.index(name)])


def predicted_score(text: str) -> PredictedNearness:
    """Return the score of ``FOLDER:logp=2.5``; ranges and bounds work as well.

    Raises:
        MoldiffError: there is no such property network, the target is none, or the network does not know it.
    """
    from moldiff.models.loaded import load_property_model

    folder, _, wanted = text.rpartition(":")
    if not folder:
        raise MoldiffError(f"score network:{text}: expected network:FOLDER:name=2.5, of a property network")
    target, loaded = parse_target(wanted), load_property_model(folder, device="cpu")
    model = loaded.model
    if target.name not in model.properties:
        raise MoldiffError(
            f"score network:{text}: the network knows no '{target.name}'{nearest_name(target.name, model.properties)}; "
            f"it knows {', '.join(model.properties)}"
        )
    return PredictedNearness(model, target, loaded.folder.sha256)
