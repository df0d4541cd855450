"""The last look: no molecule that breaks a constraint is ever called valid, whatever decoded it."""

from __future__ import annotations

from dataclasses import dataclass, replace

from moldiff.generation.decoding.decoders import Decoder, Judgement
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

    def judge(self, draw: Draw) -> Judgement:
        """Judge the draw; a molecule that breaks a constraint is invalid, one that is so anyway keeps its reason."""
        judged = self.decoder.judge(draw)
        if judged.status == "invalid" or judged.conversion.mol is None:
            return judged
        for constraint in self.constraints:
            if problem := constraint.violation(judged.conversion.mol):
                return replace(judged, status="invalid", reason=f"constraint: {problem}")
        return judged
