"""The last look: no molecule that breaks a constraint is ever called valid, whatever decoded it."""

from __future__ import annotations

from dataclasses import dataclass, replace

from moldiff.sampling.constraints import Constraint
from moldiff.sampling.decoders import Decoder, Judgement
from moldiff.sampling.draws import Draw


@dataclass(frozen=True)
class VerifiedDecoder:
    """Another decoder, whose molecules must obey constraints. Plain decoding always does; structured decoding may have
    found no sound molecule but one that does not.

    Attributes:
        decoder: makes the molecules.
        constraints: that must hold.
    """

    decoder: Decoder
    constraints: tuple[Constraint, ...]

    def judge(self, draw: Draw) -> Judgement:
        """Judge the draw; a molecule that breaks a constraint is invalid."""
        judged = self.decoder.judge(draw)
        if judged.conversion.mol is None:
            return judged
        for constraint in self.constraints:
            if problem := constraint.violation(judged.conversion.mol):
                return replace(judged, status="invalid", reason=f"constraint: {problem}")
        return judged
