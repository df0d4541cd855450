"""The last look: no molecule that breaks a constraint is ever called valid, whatever decoded it."""

from __future__ import annotations

from dataclasses import dataclass, replace

from moldiff.generation.decoding.decoders import DecodedMolecule, Decoder
from moldiff.sampling.constraints import Constraint
from moldiff.sampling.molecule_sampler import Draw


@dataclass(frozen=True)
class VerifiedDecoder:
    """Another decoder, whose molecules must obey constraints. Plain and structured decoding see to that themselves, up
    to what RDKit makes of a molecule: a kept ring may be aromatic in it that was not.

    Attributes:
        decoder: makes the molecules.
        constraints: that must hold.
    """

    decoder: Decoder
    constraints: tuple[Constraint, ...]

    def decode(self, draw: Draw) -> DecodedMolecule:
        """Decode the draw; a molecule that breaks a constraint is invalid, one that is so anyway keeps its reason."""
        decoded = self.decoder.decode(draw)
        if decoded.problem or decoded.conversion.mol is None:
            return decoded
        for constraint in self.constraints:
            if problem := constraint.violation(decoded.conversion.mol):
                return replace(decoded, problem=f"constraint: {problem}")
        return decoded
