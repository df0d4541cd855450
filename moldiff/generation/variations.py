"""Seeds of variations, and what a variation is beside its seed: chemistry, without torch."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from moldiff.arrays import MolArrays, RawSample
from moldiff.chem.convert import EncodingError, decode, encode
from moldiff.chem.descriptors.fingerprints import nearest_similarity
from moldiff.chem.filters.hazards import Gate
from moldiff.chem.identity import canonical_smiles
from moldiff.generation.decoding.decoders import Decoder
from moldiff.generation.molecule_result import MoleculeResult, assess, guarded
from moldiff.vocabulary import Vocabulary

if TYPE_CHECKING:
    from rdkit.Chem import Mol

SAME, STEREOISOMER, OTHER = "yes", "stereoisomer", "no"


@dataclass(frozen=True)
class Seed:
    """A molecule to vary.

    Attributes:
        arrays: zero mean.
        centre: (3,) where its mean was, angstrom.
        smiles, flat: canonical SMILES with and without stereo.
    """

    arrays: MolArrays
    centre: np.ndarray
    smiles: str
    flat: str


def seed_of(mol: Mol, vocabulary: Vocabulary) -> Seed:
    """Return the seed that a molecule is; EncodingError if a model of this vocabulary cannot spell it."""
    arrays = encode(mol, vocabulary, fragments=False)
    centre = arrays.pos.astype(np.float64).mean(0)
    centred = replace(arrays, pos=(arrays.pos - centre).astype(np.float32))
    conversion = decode(arrays, vocabulary)
    if conversion.mol is None:
        raise EncodingError(conversion.reason)
    smiles, flat = (canonical_smiles(conversion.mol, stereo=stereo) for stereo in (True, False))
    return Seed(centred, centre, smiles, flat)


def assess_variation(drawn: tuple[RawSample, Seed], decoder: Decoder, gate: Gate) -> MoleculeResult:
    """Judge a draw (`assess`), moved back to where its seed was, and compare it with that."""
    draw, seed = drawn
    if draw.arrays is not None:
        pos = (draw.arrays.pos + seed.centre).astype(np.float32)
        draw = replace(draw, arrays=replace(draw.arrays, pos=pos))
    return guarded(draw.number, lambda: _compared(assess(draw, decoder, gate), seed))


def _compared(result: MoleculeResult, seed: Seed) -> MoleculeResult:
    """Return a result with the facts of how near its molecule, if its chemistry is sound, came to its seed."""
    if result.mol is None or not result.smiles:
        return result
    same = OTHER
    if result.smiles == seed.smiles:
        same = SAME
    elif canonical_smiles(result.mol, stereo=False) == seed.flat:
        same = STEREOISOMER
    similarity = float(nearest_similarity([result.smiles], [seed.smiles])[0])
    return replace(result, facts={"same_molecule": same, "similarity": similarity})
