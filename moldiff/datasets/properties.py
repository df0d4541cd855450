"""Sources of the properties of a prepared set: tags or columns of the files, or RDKit; said, never guessed."""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from moldiff.chem.descriptors.rdkit_descriptors import PROPERTIES
from moldiff.conditions import TAG
from moldiff.datasets.rows import Part
from moldiff.datasets.sources import Source, tag_names
from moldiff.datasets.statistics import LARGEST
from moldiff.errors import MoldiffError, nearest_name
from moldiff.foreign_text import number_in

logger = logging.getLogger(__name__)

RDKIT = "rdkit:"
Unusable = tuple[int, str]
"""How many values of a tag are no numbers or too large, and the first of them."""

_SHOWN = 40  # letters of a value in a message
_ADVICE = (
    (re.compile(r"true|false|yes|no", re.IGNORECASE), "write 1 and 0"),
    (re.compile(r"[<>≤≥~≈].*"), "a bound is no value; write a number, or leave the cell empty"),
    (re.compile(r".*\d\s*%"), "write the number alone, without the %"),
    (re.compile(r"[-+]?[\d.' ]*\d,\d+"), "write a point before the decimals, and nothing between thousands"),
)
"""Forms of what people write for numbers, and what to write instead."""

# Units by the last word of a tag's name (gfn2_gap_eV); a property without one has the unit "".
TAG_UNITS = {"ev": "eV", "eh": "Eh", "ha": "Eh", "d": "debye", "kcal": "kcal/mol", "bohr3": "bohr^3"}
# The property names of the original QM9 archive and of PyG's copy (Ramakrishnan et al. 2014, table 3).
QM9_UNITS = {
    "a": "GHz", "b": "GHz", "c": "GHz", "mu": "debye", "alpha": "bohr^3", "homo": "Eh", "lumo": "Eh", "gap": "Eh",
    "r2": "bohr^2", "zpve": "Eh", "u0": "Eh", "u": "Eh", "h": "Eh", "g": "Eh", "cv": "cal/(mol K)",
    "u298": "Eh", "h298": "Eh", "g298": "Eh",
    "u0_atom": "kcal/mol", "u298_atom": "kcal/mol", "h298_atom": "kcal/mol", "g298_atom": "kcal/mol",
}  # fmt: skip


@dataclass(frozen=True)
class PropertyColumn:
    """A property of a prepared set.

    Attributes:
        name: in the set. A tag that has the name of what RDKit computes is called tag_<name> there: wherever
            molecules are measured, the plain name means RDKit's.
        source: name of the tag, or of RDKit's property.
        calculated: it is RDKit's.
    """

    name: str
    source: str
    calculated: bool

    def describe(self, *, qm9: bool) -> dict[str, str]:
        """Return the entry of dataset.json; ``qm9``: units of QM9's short names are known."""
        unit = PROPERTIES[self.source].unit if self.calculated else tag_unit(self.source, qm9=qm9)
        return {"name": self.name, "unit": unit, "source": "rdkit" if self.calculated else "tag"}


def tag_unit(name: str, *, qm9: bool) -> str:
    """Return the unit that a tag's name tells (gfn2_gap_eV: eV) or an empty string; ``qm9``: also QM9's short names."""
    if qm9 and name in QM9_UNITS:
        return QM9_UNITS[name]
    return TAG_UNITS.get(name.rsplit("_", 1)[-1].lower(), "") if "_" in name else ""


def property_columns(names: Sequence[str], sources: Sequence[Source]) -> list[PropertyColumn]:
    """Return where each property comes from.

    A plain name that RDKit knows is RDKit's, also where the files have such a tag, which is said. The first records of
    each file tell the tags; only for a name that is then still unknown all records are read, since a tag may be there
    for a few molecules only.

    Raises:
        MoldiffError: a name that neither the files nor RDKit know, or two that are one in the set.
    """
    if not names:
        return []
    known = tag_names(sources, thorough=False)
    if any(_is_unknown(name, known) for name in names):
        known = tag_names(sources, thorough=True)
    asked = dict[str, str]()
    columns = [_column(name, known) for name in names]
    for name, column in zip(names, columns, strict=True):
        if (before := asked.setdefault(column.name, name)) != name:
            raise MoldiffError(
                f"properties '{before}' and '{name}' would both be called '{column.name}' in the set; leave one out"
            )
    return columns


def _is_unknown(name: str, tags: Sequence[str]) -> bool:
    if name.startswith(TAG):
        return not {name, name.removeprefix(TAG)} & set(tags)
    return name not in tags and name.removeprefix(RDKIT) not in PROPERTIES


def _column(name: str, tags: Sequence[str]) -> PropertyColumn:
    if _is_unknown(name, tags):
        everything = [*tags, *PROPERTIES]
        plain = name.removeprefix(TAG).removeprefix(RDKIT)
        whole = next((tag for tag in tags if "," in tag and plain in map(str.strip, tag.split(","))), "")
        hint = f""" (if you mean '{whole}', write it in double quotes)""" if whole else nearest_name(plain, everything)
        raise MoldiffError(
            f"unknown property '{name}'{hint}; "
            f"the files have: {', '.join(tags) or 'no tags'}; RDKit computes: {', '.join(PROPERTIES)}"
        )
    if name.startswith(TAG) or (name in tags and name not in PROPERTIES):
        source = name if name in tags else name.removeprefix(TAG)
        return PropertyColumn(f"tag_{source}" if source in PROPERTIES else source, source, calculated=False)
    if name in tags:
        logger.warning(
            "property '%s' is computed by RDKit; the files have a tag '%s' too, which %s%s takes", name, name, TAG, name
        )
    source = name.removeprefix(RDKIT)
    return PropertyColumn(source, source, calculated=True)


def unusable_values(parts: Iterable[Part]) -> dict[str, Unusable]:
    """Return the values of tags that are no numbers or too large, over all parts in their order."""
    found: dict[str, Unusable] = {}
    for part in parts:
        for name, (count, first) in part.unusable.items():
            before = found.get(name, (0, first))
            found[name] = before[0] + count, before[1]
    return found


def what_to_write(text: str) -> str:
    """Return a value of a tag that cannot be used, why, and what to write instead."""
    plain = text.strip()
    shown = f"'{plain[:_SHOWN]}'"
    try:
        size = abs(number_in(plain))
    except ValueError:
        advice = (what for form, what in _ADVICE if form.fullmatch(plain))
        return f"{shown} is no number; {next(advice, 'write plain numbers such as 1.5')}"
    if LARGEST < size < math.inf:
        return f"{shown} is beyond {LARGEST:.3g}; write it in another unit, or as a logarithm"
    return f"{shown} is not finite; leave the cell empty"
