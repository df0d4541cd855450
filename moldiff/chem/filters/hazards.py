"""The gate that no molecule passes whose structure must not be handed out: `HazardGate`.

It knows families of chemical weapons by what their members share (Chemical Weapons Convention, Annex on Chemicals,
Schedule 1 A and B), drawn wider than the treaty, and lists of hashes that a user brings along. What it does not know is
in docs/hazards.md. It is no judgement that a molecule is safe.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

from rdkit import Chem, rdBase

from moldiff.arguments import check_text, paths
from moldiff.chem.filters.checks import CheckResult, Subject
from moldiff.chem.filters.hazard_list import HazardList, connectivity_keys, read_hazard_list
from moldiff.errors import MoldiffError

WITHHELD = "hazard"
"""All that is told of a molecule that is withheld: neither the family nor a structure."""
_LEAST_WORDS = 3


@dataclass(frozen=True)
class Family:
    """A family of hazardous molecules.

    Attributes:
        name: of the family.
        smarts: that members match; written without aromaticity, so that it also finds what cannot be sanitised.
        rough: that members match too, by elements and neighbours alone; spares most molecules the other.
    """

    name: str
    smarts: str
    rough: str


_ORGANIC = "$([#6]),$([#7,#8,#16][#6])"  # a ligand of phosphorus that carbon is in: not of mineral salts
FAMILIES = (
    Family(
        "phosphorus halides: a halogen and an organic group on one phosphorus",
        f"[#15]([F,Cl,Br,I])[{_ORGANIC}]",
        "[#15]",
    ),
    Family("phosphorus cyanides", "[#15][#6;X2]#[#7;X1]", "[#15]"),
    Family(
        "phosphorus thioesters of amino alcohols",
        "[#15]([#6,$([#8][#6])])[#16;X2][#6;X4][#6;X4][#7]",
        "[#15]",
    ),
    Family(
        "phosphonites of amino alcohols",
        "[#15;X3]([#6])([#8][#6])[#8][#6;X4][#6;X4][#7]",
        "[#15]",
    ),
    Family(
        "sulfur mustards: 2-haloethyl sulfides",
        "[#16;X2]([#6])[#6;X4;H2][#6;X4;H2][Cl,Br]",
        "[#16]~[#6]~[#6]~[Cl,Br]",
    ),
    Family(
        "nitrogen mustards: two 2-haloethyl groups on a basic nitrogen",
        "[#7;X3,X4;!$([#7]~[#6;X3]);!$([#7]~[#7,#15,#16])]([#6;X4;H2][#6;X4;H2][Cl,Br])[#6;X4;H2][#6;X4;H2][Cl,Br]",
        "[#7](~[#6]~[#6]~[Cl,Br])~[#6]~[#6]~[Cl,Br]",
    ),
    Family("organic arsenic halides", "[#33]([F,Cl,Br,I])[#6]", "[#33]"),
    Family("haloalkenyl arsenic", "[#33][#6]=[#6][Cl,Br]", "[#33]"),
    Family(
        "dimethylcarbamates of aminomethyl pyridinols",
        "[#6;H3][#7;X3]([#6;H3])[#6;X3](~[#8;X1])[#8][#6;R]~1~[#6;R]~[#6;R]~[#6;R]~[#7;R]~[#6;R]~1[#6;X4][#7]",
        "[#6]~[#7](~[#6])~[#6](~[#8])~[#8]~[#6]~[#6](~[#7])~[#6]~[#7]",
    ),
)


@cache
def _queries() -> tuple[tuple[Chem.Mol, tuple[tuple[str, Chem.Mol], ...]], ...]:
    """Return each rough pattern with the names and patterns of its families."""
    return tuple(
        (
            Chem.MolFromSmarts(rough),
            tuple((one.name, Chem.MolFromSmarts(one.smarts)) for one in FAMILIES if one.rough == rough),
        )
        for rough in dict.fromkeys(one.rough for one in FAMILIES)
    )


def families_of(mol: Chem.Mol) -> list[str]:
    """Return the names of the families that a molecule is of; it need not be sanitised."""
    with rdBase.BlockLogs():
        asked = [pair for rough, pairs in _queries() if mol.HasSubstructMatch(rough) for pair in pairs]
        if not asked:
            return []
        seen = Chem.Mol(mol)
        seen.UpdatePropertyCache(strict=False)
        Chem.FastFindRings(seen)
        return [name for name, query in asked if seen.HasSubstructMatch(query)]


Gate = Callable[[Chem.Mol], str]
"""From a molecule, sanitised or not, to why its structure must not be handed out; "" = it may be."""


@dataclass(frozen=True)
class HazardGate:
    """The gate: called with a molecule, it returns `WITHHELD`, or "" for what may be handed out.

    An exception means that nothing is known: whoever asks hands nothing out then.

    Attributes:
        lists: of hashes, beside the families.
        released: why everything may be handed out, in a user's words; "" = it may not.
    """

    lists: tuple[HazardList, ...] = ()
    released: str = ""

    @classmethod
    def of(cls, lists: str | Path | Iterable[str | Path] = (), released: str | None = None) -> HazardGate:
        """Return the gate that a user's words mean.

        Args:
            lists: files of `moldiff.chem.filters.hazard_list`.
            released: a written reason to hand out everything; None = there is none.

        Raises:
            MoldiffError: a list is missing, damaged or changed, or the reason is none.
        """
        return cls(tuple(map(read_hazard_list, paths(lists, "hazard_lists"))), _reason(released))

    def __call__(self, mol: Chem.Mol) -> str:
        if self.released:
            return ""
        if families_of(mol):
            return WITHHELD
        if self.lists and any(one.has(key) for key in connectivity_keys(mol) for one in self.lists):
            return WITHHELD
        return ""

    @cached_property
    def digest(self) -> str:
        """Hash of all that the gate goes by."""
        families = [[family.name, family.smarts] for family in FAMILIES]
        told = json.dumps([families, [one.sha256 for one in self.lists], self.released])
        return hashlib.sha256(told.encode("utf-8")).hexdigest()[:16]

    def record(self) -> dict[str, object]:
        """Return what the gate goes by, for run records: no structure and no hash of one."""
        return {
            "hazards": {
                "gate": self.digest,
                "lists": [{"source": one.source, "sha256": one.sha256} for one in self.lists],
                "released": self.released or None,
            }
        }


def _reason(text: object) -> str:
    if text is None:
        return ""
    check_text(text, "release_hazards")
    words = str(text).split()
    if len(words) < _LEAST_WORDS:
        raise MoldiffError(
            f"release_hazards '{' '.join(words)}': expected a reason of {_LEAST_WORDS} words or more; it will "
            "stand in every output",
            argument="release_hazards",
        )
    return " ".join(words)


@dataclass(frozen=True)
class ReleaseCheck:
    """Passes everything, and marks it. Value: why hazardous molecules are handed out.

    Attributes:
        released: see `HazardGate`.
    """

    released: str
    name = "hazards_released"
    cost = 0.0
    is_text = True

    def __call__(self, subject: Subject) -> CheckResult:
        return CheckResult(self.name, True, self.released)


STANDARD_GATE = HazardGate()
"""The gate where nobody says anything: the families."""
