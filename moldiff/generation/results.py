"""From a draw to an accounted molecule: converted, checked, described; and the count of what became of every draw."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from moldiff.chem.descriptors.rdkit_descriptors import PROPERTIES, calculate
from moldiff.chem.filters.validity import check
from moldiff.chem.identity import canonical_smiles
from moldiff.chem.io.records import mol_to_sdf_record
from moldiff.generation.decoding.confidence import Confidence, confidence
from moldiff.generation.decoding.decoders import Decoder
from moldiff.sampling.molecule_sampler import Draw

if TYPE_CHECKING:
    from rdkit.Chem import Mol

STATUSES = ("valid", "invalid", "filtered", "withheld", "failed")
COLUMNS = (
    "moldiff_id", "status", "reason", "decoding", "changed", "renoised", "smiles", "duplicate_of", "n_atoms",
    *PROPERTIES, "evaluations",
)  # fmt: skip


SCORE_COLUMN = "score"


@dataclass(frozen=True)
class Outcome:
    """What became of one draw.

    Attributes:
        number: the draw's number, its ``moldiff_id``.
        status: "valid" (sanitises, one fragment, no radicals or open valences, plausible geometry), "invalid"
            (chemistry fails), "filtered" (sound chemistry, implausible bond lengths or clashes; of structured decoding
            also a bond length unlike those of training), "withheld" (the score gave it none) or "failed" (no finite
            state).
        reason: empty if valid.
        mol: the molecule; of an invalid one the unsanitised molecule, None if there is nothing to show.
        smiles: canonical SMILES with stereo of valid and filtered molecules, else empty.
        properties: RDKit properties of valid and filtered molecules.
        duplicate_of: number of the first draw with the same SMILES, None if this is it.
        decoding: which decoding made the molecule, "argmax", "structured" or "fitted"; empty for a failed draw.
        changed: of structured decoding, how many atom types, charges and bonds differ from argmax.
        renoised: how often the draw was noised and walked down again; of a valid one, the last attempt made it.
        evaluations: of the network, for all of that.
        confidence: how sure the model was of each atom, where the draw carries its log-probabilities.
        aims: of each property with a target, what was wanted, what was measured and the error, by column.
        score: of a molecule drawn by score; None if it has none, or no score was asked for.
    """

    number: int
    status: str
    reason: str
    mol: Mol | None
    smiles: str = ""
    properties: dict[str, float] = field(default_factory=dict)
    duplicate_of: int | None = None
    decoding: str = ""
    changed: int = 0
    renoised: int = 0
    evaluations: int = 0
    confidence: Confidence | None = None
    aims: dict[str, float] = field(default_factory=dict)
    score: float | None = None

    def row(self) -> dict[str, object]:
        """Return the CSV row, one value for each of `COLUMNS`, of ``aims``, and the score if there is one."""
        row: dict[str, object] = dict.fromkeys(COLUMNS, "")
        if self.score is not None:
            row[SCORE_COLUMN] = f"{self.score:.6g}"
        row |= {name: f"{value:.6g}" for name, value in (self.properties | self.aims).items()}
        return row | {
            "moldiff_id": self.number,
            "status": self.status,
            "reason": self.reason,
            "decoding": self.decoding,
            "changed": self.changed if self.decoding else "",
            "renoised": self.renoised,
            "evaluations": self.evaluations,
            "smiles": self.smiles,
            "duplicate_of": "" if self.duplicate_of is None else self.duplicate_of,
            "n_atoms": "" if self.mol is None else self.mol.GetNumAtoms(),
        }

    def tagged_mol(self) -> Mol:
        """Return the molecule, which there must be, with what is known of it as properties."""
        assert self.mol is not None
        row = self.row()
        scored = () if self.score is None else (SCORE_COLUMN,)
        for name in ("moldiff_id", "status", "reason", "decoding", *self.aims, *scored):
            self.mol.SetProp(name, str(row[name]))
        if self.confidence is not None:
            for name, values in self.confidence.tags(self.mol.GetNumAtoms()).items():
                self.mol.SetProp(name, values)
        return self.mol

    def sdf_record(self, title: str, row: Mapping[str, object], seed: int, model: str) -> str | None:
        """Return the SDF record with the values of a CSV row as tags; None if there is no molecule that a file can
        hold."""
        if self.mol is None:
            return None
        tags = {"moldiff_id": str(self.number), "moldiff_seed": str(seed), "moldiff_model": model}
        tags |= {name: str(value) for name, value in row.items() if name not in tags and value != ""}
        if self.confidence is not None:
            tags |= self.confidence.tags(self.mol.GetNumAtoms())
        try:
            return mol_to_sdf_record(self.mol, title, tags)
        except ValueError:
            return None


class Accountant:
    """Marks duplicates in draw order and counts every status and reason."""

    def __init__(self) -> None:
        self.counts = dict.fromkeys(STATUSES, 0)
        self.decodings: dict[str, dict[str, int]] = {}  # which decoding made the molecule -> status -> draws
        self.reasons: dict[str, int] = {}
        self.renoised = {"draws": 0, "attempts": 0, "valid": 0}
        self.evaluations = 0
        self.unique = 0
        self._first: dict[str, int] = {}

    def take(self, outcome: Outcome) -> Outcome:
        """Count one outcome and mark it if it is a duplicate. Outcomes must come in the order of their numbers."""
        self.evaluations += outcome.evaluations
        if outcome.renoised:
            self.renoised["draws"] += 1
            self.renoised["attempts"] += outcome.renoised
            self.renoised["valid"] += outcome.status == "valid"
        self.counts[outcome.status] += 1
        if outcome.decoding:
            made = self.decodings.setdefault(outcome.decoding, dict.fromkeys(STATUSES[:3], 0))
            made[outcome.status] = made.get(outcome.status, 0) + 1
        if outcome.reason:
            code = outcome.reason.partition(":")[0]
            self.reasons[code] = self.reasons.get(code, 0) + 1
        if outcome.status != "valid":
            return outcome
        first = self._first.setdefault(outcome.smiles, outcome.number)
        if first == outcome.number:
            self.unique += 1
            return outcome
        return replace(outcome, duplicate_of=first)


def assess(draw: Draw, decoder: Decoder) -> Outcome:
    """Return what became of a draw, before duplicates are marked."""
    if draw.arrays is None:
        return Outcome(draw.number, "failed", f"not finite: at step {draw.failed_at}", None)
    judged = decoder.judge(draw)
    outcome = Outcome(
        draw.number, judged.status, judged.reason, judged.shown, decoding=judged.decoding, changed=judged.changed
    )
    if judged.arrays is not None and draw.log_probabilities is not None:
        outcome = replace(outcome, confidence=confidence(judged.arrays, draw.log_probabilities))
    mol = judged.conversion.mol
    if judged.status == "invalid" or mol is None:
        return outcome
    outcome = replace(outcome, smiles=canonical_smiles(mol, stereo=True), properties=calculate(mol, PROPERTIES))
    problems = (result for result in check(mol) if not result.passed)
    if outcome.status == "valid" and (problem := next(problems, None)):
        return replace(outcome, status="filtered", reason=f"{problem.name}: {problem.detail}")
    return outcome
