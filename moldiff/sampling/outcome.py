"""From a draw to an accounted molecule: converted, checked, described; and the count of what became of every draw."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from moldiff.chem.convert import decode
from moldiff.chem.filters import check, is_valid_and_connected
from moldiff.chem.identity import canonical_smiles
from moldiff.chem.io import mol_to_sdf_record
from moldiff.chem.properties import PROPERTIES, calculate
from moldiff.sampling.draws import Draw
from moldiff.vocabulary import Vocabulary

if TYPE_CHECKING:
    from rdkit.Chem import Mol

STATUSES = ("valid", "invalid", "filtered", "withheld", "failed")
COLUMNS = ("moldiff_id", "status", "reason", "smiles", "duplicate_of", "n_atoms", *PROPERTIES)


@dataclass(frozen=True)
class Outcome:
    """What became of one draw.

    Attributes:
        number: the draw's number, its ``moldiff_id``.
        status: "valid" (sanitises, one fragment, no radicals or open valences, plausible geometry), "invalid"
            (chemistry fails), "filtered" (sound chemistry, implausible bond lengths or clashes) or "failed" (no finite
            state).
        reason: empty if valid.
        mol: the molecule; of an invalid one the unsanitised molecule, None if there is nothing to show.
        smiles: canonical SMILES with stereo of valid and filtered molecules, else empty.
        properties: RDKit properties of valid and filtered molecules.
        duplicate_of: number of the first draw with the same SMILES, None if this is it.
    """

    number: int
    status: str
    reason: str
    mol: Mol | None
    smiles: str = ""
    properties: dict[str, float] = field(default_factory=dict)
    duplicate_of: int | None = None

    def row(self) -> dict[str, object]:
        """Return the CSV row, one value for each of `COLUMNS`."""
        row: dict[str, object] = dict.fromkeys(COLUMNS, "")
        row |= {name: f"{value:.6g}" for name, value in self.properties.items()}
        return row | {
            "moldiff_id": self.number,
            "status": self.status,
            "reason": self.reason,
            "smiles": self.smiles,
            "duplicate_of": "" if self.duplicate_of is None else self.duplicate_of,
            "n_atoms": "" if self.mol is None else self.mol.GetNumAtoms(),
        }

    def sdf_record(self, seed: int, model: str) -> str | None:
        """Return the SDF record with tags; None if there is no molecule that a file can hold."""
        if self.mol is None:
            return None
        tags = {"moldiff_id": str(self.number), "moldiff_seed": str(seed), "moldiff_model": model}
        tags |= {name: str(value) for name, value in self.row().items() if name not in tags and value != ""}
        try:
            return mol_to_sdf_record(self.mol, f"moldiff_{self.number}", tags)
        except ValueError:
            return None


class Accountant:
    """Turns draws into outcomes, marks duplicates in draw order and counts every status and reason.

    Args:
        vocabulary: class labels of the draws.
    """

    def __init__(self, vocabulary: Vocabulary) -> None:
        self.vocabulary = vocabulary
        self.counts = dict.fromkeys(STATUSES, 0)
        self.reasons: dict[str, int] = {}
        self.unique = 0
        self._first: dict[str, int] = {}

    def take(self, draw: Draw) -> Outcome:
        """Convert, check and count one draw. Draws must come in the order of their numbers."""
        outcome = assess(draw, self.vocabulary)
        self.counts[outcome.status] += 1
        if outcome.reason:
            code = outcome.reason.partition(":")[0]
            self.reasons[code] = self.reasons.get(code, 0) + 1
        if outcome.status != "valid":
            return outcome
        first = self._first.setdefault(outcome.smiles, outcome.number)
        if first == outcome.number:
            self.unique += 1
            return outcome
        return Outcome(
            outcome.number, outcome.status, outcome.reason, outcome.mol, outcome.smiles, outcome.properties, first
        )


def assess(draw: Draw, vocabulary: Vocabulary) -> Outcome:
    """Return what became of a draw, before duplicates are marked."""
    if draw.arrays is None:
        return Outcome(draw.number, "failed", f"not finite: at step {draw.failed_at}", None)
    conversion = decode(draw.arrays, vocabulary)
    valid, reason = is_valid_and_connected(conversion)
    if not valid or conversion.mol is None:
        return Outcome(draw.number, "invalid", reason, conversion.mol or conversion.raw)
    mol = conversion.mol
    smiles = canonical_smiles(mol, stereo=True)
    properties = calculate(mol, PROPERTIES)
    for result in check(mol):
        if not result.passed:
            return Outcome(draw.number, "filtered", f"{result.name}: {result.detail}", mol, smiles, properties)
    return Outcome(draw.number, "valid", "", mol, smiles, properties)
