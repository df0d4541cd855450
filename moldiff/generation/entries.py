"""Results as entries of a journal, and back: nothing of a result is lost on the way."""

from __future__ import annotations

import base64
import math
from dataclasses import fields
from typing import Any

import numpy as np

from moldiff.chem.convert import from_bytes
from moldiff.generation.decoding.confidence import Confidence
from moldiff.generation.molecule_result import MoleculeResult
from moldiff.status import Status

# what follows from the molecule is left out
_DEFAULTS = {field.name: field.default for field in fields(MoleculeResult) if field.name not in ("data", "block")}


def to_entry(result: MoleculeResult, *, confidence: bool) -> dict[str, Any]:
    """Return a result as plain JSON types, without what is as usual.

    Args:
        result: before it is counted.
        confidence: keep how sure the model was of each atom.
    """
    values = {name: getattr(result, name) for name in _DEFAULTS}
    values["status"] = str(result.status)
    values["mol"] = None if (data := result.packed()) is None else base64.b64encode(data).decode("ascii")
    values["properties"] = {name: None if math.isnan(value) else value for name, value in result.properties.items()}
    values["confidence"] = None
    if confidence and result.confidence is not None:
        values["confidence"] = [result.confidence.types.tolist(), result.confidence.bonds.tolist()]
    return {name: value for name, value in values.items() if value != _DEFAULTS[name] and value != {}}


def from_entry(entry: dict[str, Any]) -> MoleculeResult:
    """Return the result that `to_entry` wrote down."""
    values = {**entry, "status": Status(entry["status"])}
    if "mol" in entry:
        values["mol"] = from_bytes(base64.b64decode(entry["mol"]))
    if "properties" in entry:
        values["properties"] = {n: math.nan if value is None else value for n, value in entry["properties"].items()}
    if "confidence" in entry:
        values["confidence"] = Confidence(*(np.array(column, dtype=np.float64) for column in entry["confidence"]))
    return MoleculeResult(**values)
