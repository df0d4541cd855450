"""From a draw to a molecule: plain decoding, or structured decoding where that fails.

A decoder is an object; what users know it by is its key in `DECODERS`. Coordinates are never touched.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Protocol

import numpy as np

from moldiff.arrays import MolArrays, RawSample
from moldiff.chem.convert import Conversion, EncodingError, classes_of, decode
from moldiff.chem.filters.validity import is_valid_and_connected
from moldiff.chem.valence import closed_shell_states
from moldiff.choices import Decoding
from moldiff.datasets.chemistry import TrainingChemistry
from moldiff.generation.decoding.integer_program import AtomStates, Solution
from moldiff.generation.decoding.structured import DEFAULT_LIMITS, Limits, decode_structured
from moldiff.sampling.demands import NO_CONSTRAINTS, DecodingConstraints, Rule
from moldiff.status import Status
from moldiff.vocabulary import BOND_ORDERS, Vocabulary

if TYPE_CHECKING:
    from rdkit.Chem import Mol
    from torch import Tensor

LENGTH_WIDENING = 0.05  # angstrom beyond the range of bond lengths seen in training, at either end


@dataclass(frozen=True)
class DecodedMolecule:
    """A draw as a decoder sees it.

    Attributes:
        conversion: the molecule or why there is none.
        problem: what is wrong with its chemistry; "" if it sanitises, is one fragment, has no radicals or open
            valences, and obeys the constraints.
        geometry: what the decoder knows to be wrong with the geometry of a sound molecule: a bond length unlike those
            of training, the stereo of a conformer.
        decoding: which decoding made the molecule, "argmax", "structured" or "fitted"; "" where its graph was given.
        changed: atom types, charges and bonds that differ from plain decoding; 0 for that.
        arrays: what was decoded, in the model's classes.
        facts: further columns.
    """

    conversion: Conversion
    problem: str
    geometry: str = ""
    decoding: str = Decoding.ARGMAX
    changed: int = 0
    arrays: MolArrays | None = None
    facts: Mapping[str, object] = field(default_factory=dict)

    @property
    def reason(self) -> str:
        """The fault, as far as the decoder knows; "" if there is none."""
        return self.problem or self.geometry

    @property
    def status(self) -> Status:
        """Valid or invalid, as far as the decoder knows."""
        return Status.INVALID if self.reason else Status.VALID


class Decoder(Protocol):
    """Turns a draw with finite arrays into a molecule."""

    def decode(self, draw: RawSample) -> DecodedMolecule: ...


@dataclass(frozen=True)
class ArgmaxDecoder:
    """Plain decoding: the most probable class of every variable, as the sampler returns it."""

    vocabulary: Vocabulary

    def decode(self, draw: RawSample) -> DecodedMolecule:
        """Decode the draw's arrays."""
        assert draw.arrays is not None
        conversion = decode(draw.arrays, self.vocabulary)
        return DecodedMolecule(conversion, is_valid_and_connected(conversion)[1], arrays=draw.arrays)


@dataclass(frozen=True)
class StructuredDecoder:
    """Plain decoding, and where its molecule is invalid the most probable one that is not (`decode_structured`).

    Its atoms are of elements and charges seen together in training. The total charge is the demanded one; without, the
    plain molecule's if that occurs in training, else the most frequent one there. A bond that is shorter or longer than
    any of its kind in training (elements, order or aromatic), by more than `LENGTH_WIDENING`, makes the molecule a
    failure: the coordinates belong to another one.

    Attributes:
        vocabulary: class labels.
        seen: chemistry of the training split.
        fitted: look only among molecules that keep the rule of bond lengths. (A ring may still come out as aromatic
            whose bonds the solution calls single and double, so the rule is applied in any case.)
        limits: how far to search.
        constraints: look only among molecules that are as a run's constraints want them.
    """

    vocabulary: Vocabulary
    seen: TrainingChemistry
    fitted: bool = False
    limits: Limits = DEFAULT_LIMITS
    constraints: DecodingConstraints = NO_CONSTRAINTS

    def decode(self, draw: RawSample) -> DecodedMolecule:
        """Decode the draw's arrays, or those of the most probable sound molecule."""
        plain = ArgmaxDecoder(self.vocabulary).decode(draw)
        problem = plain.problem or self._other_hydrogens(plain)
        if not problem:
            return plain
        assert draw.arrays is not None and draw.log_probabilities is not None
        charge = self.total_charge(draw.arrays)
        fits = self.seen.fitting(draw.arrays.pos, self.vocabulary, LENGTH_WIDENING) if self.fitted else None
        found = decode_structured(
            draw.log_probabilities, self.vocabulary, self._states(), charge, self.limits, fits, self.constraints
        )
        if found.solution is None:
            problem = f"decoding: {found.reason} (argmax: {problem})"
            return DecodedMolecule(plain.conversion, problem, arrays=draw.arrays)
        return self._decoded(draw.arrays, found.solution)

    def _other_hydrogens(self, plain: DecodedMolecule) -> str:
        """Return how many hydrogens a sound molecule has if others are demanded; all else that is, plain decoding
        obeys."""
        mol, wanted = plain.conversion.mol, self.constraints.hydrogens
        found = 0 if mol is None else sum(atom.GetAtomicNum() == 1 for atom in mol.GetAtoms())
        return "" if wanted in (None, found) else f"{found} hydrogens"

    def total_charge(self, arrays: MolArrays) -> int:
        """Return the total charge to decode with where none is demanded."""
        plain = int(np.array(self.vocabulary.charges)[arrays.charge].sum())
        totals = self.seen.total_charges
        return plain if plain in totals else max(totals, key=lambda charge: (totals[charge], -abs(charge)), default=0)

    def _states(self) -> AtomStates:
        """Return the closed-shell states of elements and charges that occur together in training."""
        elements, charges = self.vocabulary.elements, self.vocabulary.charges
        states = [s for s in closed_shell_states(elements, charges) if (s.symbol, s.charge) in self.seen.atoms]
        return AtomStates(
            element=np.array([elements.index(s.symbol) for s in states], dtype=np.int64),
            charge=np.array([charges.index(s.charge) for s in states], dtype=np.int64),
            formal=np.array([s.charge for s in states], dtype=np.int64),
            valence=np.array([s.valence for s in states], dtype=np.int64),
            ring=np.array([s.gives_to_ring for s in states], dtype=bool),
        )

    def _decoded(self, plain: MolArrays, solution: Solution) -> DecodedMolecule:
        """Have RDKit build the Kekule form, which leaves it nothing to guess, and compare lengths with training."""
        kekule = Vocabulary(
            self.vocabulary.elements, self.vocabulary.charges, BOND_ORDERS, self.vocabulary.explicit_hydrogens
        )
        bonds = np.concatenate([solution.bonds[:, :2], solution.orders[:, None]], axis=1)
        conversion = decode(MolArrays(plain.pos, solution.atom_type, solution.charge, bonds), kekule)
        valid, reason = is_valid_and_connected(conversion)
        changed, name = differences(plain, solution), Decoding.FITTED if self.fitted else Decoding.STRUCTURED
        found = MolArrays(plain.pos, solution.atom_type, solution.charge, solution.bonds)
        if not valid or conversion.mol is None:
            return DecodedMolecule(conversion, f"decoding: {reason}", "", name, changed, found)
        length = length_problem(conversion.mol, self.vocabulary, self.seen)
        return DecodedMolecule(conversion, "", f"decoded_length: {length}" if length else "", name, changed, found)


def length_problem(mol: Mol, vocabulary: Vocabulary, seen: TrainingChemistry) -> str:
    """Return which bond of a sanitised molecule has a length unlike any of its kind in training; "" if none has."""
    try:
        arrays = classes_of(mol, vocabulary)
    except EncodingError as error:
        return str(error)
    return seen.length_problem(arrays, vocabulary, LENGTH_WIDENING)


def differences(plain: MolArrays, solution: Solution) -> int:
    """Return how many atom types, charges and bonds (of all pairs) a solution has that the plain arrays have not."""
    pairs = [{(i, j): kind for i, j, kind in bonds.tolist()} for bonds in (plain.bonds, solution.bonds)]
    bonds = sum(pairs[0].get(pair, 0) != pairs[1].get(pair, 0) for pair in pairs[0].keys() | pairs[1].keys())
    atoms = (plain.atom_type != solution.atom_type).sum() + (plain.charge != solution.charge).sum()
    return int(atoms) + bonds


def _argmax(
    vocabulary: Vocabulary, references: Mapping[str, Tensor], source: str, constraints: DecodingConstraints
) -> Decoder:
    return ArgmaxDecoder(vocabulary)


def _structured(
    vocabulary: Vocabulary, references: Mapping[str, Tensor], source: str, constraints: DecodingConstraints
) -> Decoder:
    return StructuredDecoder(vocabulary, TrainingChemistry.from_tensors(references, source), constraints=constraints)


def _fitted(
    vocabulary: Vocabulary, references: Mapping[str, Tensor], source: str, constraints: DecodingConstraints
) -> Decoder:
    return StructuredDecoder(
        vocabulary, TrainingChemistry.from_tensors(references, source), True, constraints=constraints
    )


DECODERS: Mapping[str, Callable[[Vocabulary, Mapping[str, Tensor], str, DecodingConstraints], Decoder]] = {
    Decoding.ARGMAX: _argmax,
    Decoding.STRUCTURED: _structured,
    Decoding.FITTED: _fitted,
}
"""Name -> function of a model's vocabulary, the reference tensors of its folder, a name for error messages, and what a
run's constraints demand."""


@dataclass(frozen=True)
class VerifiedDecoder:
    """Another decoder, whose molecules must obey constraints. Plain and structured decoding see to that themselves, up
    to what RDKit makes of a molecule: a kept ring may be aromatic in it that was not.

    Attributes:
        decoder: makes the molecules.
        rules: that must hold.
    """

    decoder: Decoder
    rules: tuple[Rule, ...]

    def decode(self, draw: RawSample) -> DecodedMolecule:
        """Decode the draw; a molecule that breaks a constraint is invalid, one that is so anyway keeps its reason."""
        decoded = self.decoder.decode(draw)
        if decoded.problem or decoded.conversion.mol is None:
            return decoded
        for rule in self.rules:
            if problem := rule(decoded.conversion.mol):
                return replace(decoded, problem=f"constraint: {problem}")
        return decoded
