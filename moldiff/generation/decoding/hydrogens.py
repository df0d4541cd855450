"""The hydrogens of molecules that a model of heavy atoms makes: RDKit places them, a force field relaxes them."""

from __future__ import annotations

from dataclasses import dataclass, replace

from moldiff.arrays import RawSample
from moldiff.chem.hydrogens import relax_hydrogens
from moldiff.generation.decoding.decoders import DecodedMolecule, Decoder
from moldiff.vocabulary import Vocabulary

HYDROGENS = "hydrogens"
"""The column that says how hydrogens were placed; only where a model does not make them."""


@dataclass(frozen=True)
class HydrogenRelaxer:
    """Another decoder, whose sound molecules get their hydrogens relaxed around unmoved heavy atoms."""

    decoder: Decoder

    def decode(self, draw: RawSample) -> DecodedMolecule:
        """Decode the draw; a fact is how its hydrogens were placed."""
        decoded = self.decoder.decode(draw)
        if decoded.problem or decoded.conversion.mol is None:
            return decoded
        mol, how = relax_hydrogens(decoded.conversion.mol)
        return replace(
            decoded, conversion=replace(decoded.conversion, mol=mol), facts={**decoded.facts, HYDROGENS: how}
        )


def with_hydrogens(decoder: Decoder, vocabulary: Vocabulary) -> Decoder:
    """Return a decoder of whole molecules: itself for a model that makes hydrogens, else one that relaxes them."""
    return decoder if vocabulary.explicit_hydrogens else HydrogenRelaxer(decoder)


def hydrogen_columns(vocabulary: Vocabulary) -> tuple[str, ...]:
    """Return the columns that tell of hydrogens, if a model does not make them."""
    return () if vocabulary.explicit_hydrogens else (HYDROGENS,)
