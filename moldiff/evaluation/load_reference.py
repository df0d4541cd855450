"""Sources of references: a prepared data set, an SDF, a model folder, a JSON file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from moldiff.chem.convert import decode
from moldiff.chem.hydrogens import relax_hydrogens
from moldiff.chem.identity import canonical_smiles, text_key
from moldiff.datasets.batching import evenly_spaced
from moldiff.datasets.prepared import PreparedDataset
from moldiff.errors import MoldiffError, blaming
from moldiff.evaluation.assess import Assessment, HydrogenChoice, assess, assess_file
from moldiff.evaluation.measurements import Measurements
from moldiff.evaluation.metrics import diversity, stability, validity
from moldiff.evaluation.rates import Rate
from moldiff.evaluation.reference import Reference, build_reference
from moldiff.models.folder import is_model, load_model_folder
from moldiff.models.references import TrainingKeys
from moldiff.path_names import written_out
from moldiff.reading import read_json

if TYPE_CHECKING:
    from rdkit.Chem import Mol

MOST_MOLECULES = 5000
"""Held-out and training molecules that are drawn from a data set; about 20 s for the two."""

_MOST_PLACED = 2000  # molecules of a set of heavy atoms whose hydrogens are relaxed, some 10 ms each
_MOST_RATED = 1000  # molecules of a prepared set that its own rates are of, a millisecond or two each


@blaming("reference")
def load_reference(name_or_path: Path | str, *, hydrogens: HydrogenChoice = "auto") -> Reference:
    """Load or build the reference that a name or path stands for.

    Args:
        name_or_path: the name of a built-in model, the folder of a model or of a training run, a prepared data set
            (its held-out molecules; novel against its training split), an .sdf or .sdf.gz (its valid molecules; novel
            against the same), or a JSON file of `Reference.to_json`.
        hydrogens: how to read an SDF.

    Raises:
        MoldiffError: it is none of these, or damaged.
    """
    path = written_out(Path(name_or_path))
    if is_model(name_or_path):
        return Reference.from_tensors(load_model_folder(name_or_path).references)
    if (path / "dataset.json").is_file():
        return reference_from_dataset(PreparedDataset.open(path))
    if path.name.lower().endswith((".sdf", ".sdf.gz")):
        return reference_from_sdf(path, hydrogens=hydrogens)
    if path.suffix == ".json":
        return Reference.from_json(read_json(path))
    if not path.exists():
        raise MoldiffError(f"the reference {path} does not exist")
    raise MoldiffError(f"{path} is no reference; give a prepared data set, an .sdf, a model or a reference's .json")


def reference_from_sdf(path: Path, *, hydrogens: HydrogenChoice = "auto", seed: int = 0) -> Reference:
    """Build a reference from the valid molecules of an SDF; draws against the rest measure the floor."""
    rows, _ = assess_file(path, hydrogens=hydrogens)
    valid = [row for row in rows if row.valid]
    if not valid:
        raise MoldiffError(f"the reference {path} holds no valid molecule")
    smiles = [row.smiles for row in valid]
    keys = TrainingKeys.of(np.stack([_keys(smiles), _keys([row.smiles_stereo for row in valid])], axis=1))
    source = f"{len(valid)} valid molecules of {path.name}"
    measured = Measurements.gathered(row.measured for row in valid if row.measured is not None)
    reference = build_reference(source, measured, None, keys, smiles=smiles, seed=seed)
    return replace(reference, rates=_own_rates(rows, keys))


def _own_rates(rows: Sequence[Assessment], keys: TrainingKeys) -> dict[str, Rate]:
    """Return what the molecules of a reference come to where a sample's are judged, novel against the same keys."""
    return validity(rows) | stability(rows) | diversity(rows, keys)


def reference_from_dataset(dataset: PreparedDataset, *, most: int = MOST_MOLECULES, seed: int = 0) -> Reference:
    """Build a reference from the validation and test molecules of a prepared data set.

    Hydrogens that it does not hold are placed and relaxed, as those of draws are (`moldiff.chem.hydrogens`).

    Args:
        dataset: the open data set; its training split gives the keys and the floor.
        most: held-out and training molecules that are drawn.
        seed: of the draws.

    Raises:
        MoldiffError: the data set is empty.
    """
    generator = np.random.default_rng(seed)
    train = dataset.indices("train")
    held_out = np.concatenate([dataset.indices("validation"), dataset.indices("test")])
    keys = TrainingKeys.of(np.asarray(dataset.arrays["keys"][train]))
    name = dataset.folder.resolve().name
    seen: list[Mol] = []
    if len(held_out):
        molecules = molecules_of(dataset, _draw(held_out, most, generator))
        source = f"{len(molecules)} held-out molecules of {name}"
        if len(train):
            seen = molecules_of(dataset, _draw(train, most, generator))
    else:
        molecules = molecules_of(dataset, _draw(train, most, generator))
        source = f"training molecules of {name} (it has no held-out ones)"
    smiles, training_smiles = ([canonical_smiles(mol, stereo=False) for mol in part] for part in (molecules, seen))
    reference = build_reference(source, Measurements.of(molecules), _measured(seen), keys, smiles=smiles, seed=seed)
    hydrogens: HydrogenChoice = "explicit" if dataset.vocabulary.explicit_hydrogens else "implicit"
    if hydrogens == "implicit":
        molecules, seen = (
            [relax_hydrogens(mol)[0] for mol in evenly_spaced(part, _MOST_PLACED)] for part in (molecules, seen)
        )
        placed = build_reference(source, Measurements.of(molecules), _measured(seen), keys, seed=seed)
        reference = replace(reference, geometry=placed.geometry, averages=placed.averages)
    rows = [
        assess(mol, place, "", hydrogens=hydrogens) for place, mol in enumerate(evenly_spaced(molecules, _MOST_RATED))
    ]
    return replace(reference, training_smiles=tuple(training_smiles), rates=_own_rates(rows, keys))


def _measured(molecules: list[Mol]) -> Measurements | None:
    return Measurements.of(molecules) if molecules else None


def _draw(rows: np.ndarray, most: int, generator: np.random.Generator) -> np.ndarray:
    return rows if len(rows) <= most else np.sort(generator.choice(rows, size=most, replace=False))


def molecules_of(dataset: PreparedDataset, rows: np.ndarray) -> list[Mol]:
    """Return the molecules of these rows; one that RDKit does not take is left out."""
    conversions = (decode(dataset.molecule(int(row)), dataset.vocabulary) for row in rows)
    return [conversion.mol for conversion in conversions if conversion.mol is not None]


def _keys(smiles: Sequence[str]) -> np.ndarray:
    return np.array([text_key(text) for text in smiles], dtype=np.uint64)
