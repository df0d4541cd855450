"""Classifier-free guidance (Ho and Salimans 2022): towards a condition, further than plain conditioning goes.

With one scale w, D = D_u + w (D_c - D_u), on coordinates and on the logits of every category: w = 0 is the unguided
denoiser, w = 1 plain conditioning. At each noise level the score is that of p_t(x)^(1 - w) p_t(x | c)^w; a chain of
such levels does not end in that law of clean data, so guidance sharpens, and is no sampler of a reweighted law.

With a scale for each property, let S(v) be the conditions whose scale is at least v. Then D = the integral over v from
0 of D_S(v), with what is left of D_u so that coefficients add up to 1: for scales 2 and 1, D(both) + D(first) - D_u.
Equal scales give the formula above, scale 1 for all plain conditioning, scale 0 leaves a property free. Each distinct
scale costs a network evaluation, and so does D_u unless the largest scale is 1.

What is certain, because it follows from a constraint, has no scale: every one of these predictions is given it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from moldiff.arguments import number, refusal, split_names
from moldiff.diffusion.levels import Denoiser, Levels
from moldiff.errors import MoldiffError, blaming, nearest_name
from moldiff.molecules import FIELDS, MolBatch, MolPrediction

DEFAULT_GUIDANCE = 1.0
_QUOTED = re.compile(r'((?:^|,)\s*)"((?:[^"]|"")*)"\s*(=[^,"]*)')


@dataclass(frozen=True)
class Guidance:
    """A combination of predictions under parts of the condition.

    Attributes:
        terms: pairs of a coefficient and which properties are given to that prediction (P bools); coefficients add up
            to 1 and are not 0.
    """

    terms: tuple[tuple[float, tuple[bool, ...]], ...]

    @classmethod
    def of(cls, scales: Sequence[float], certain: Collection[int] = ()) -> Guidance:
        """Return the guidance of a scale for each property (P,), each at least 0; some are given to every prediction.

        Args:
            scales: of all properties.
            certain: places of those that are given to every prediction, whatever their scale; it should be 0.
        """
        terms, below = [], 0.0
        for scale in sorted(set(scales) - {0.0}):
            terms.append((scale - below, tuple(own >= scale or k in certain for k, own in enumerate(scales))))
            below = scale
        if below != 1:
            terms.insert(0, (1 - below, tuple(k in certain for k in range(len(scales)))))
        return cls(tuple(terms))

    @property
    def evaluations(self) -> int:
        """Network evaluations of one guided prediction."""
        return len(self.terms)

    def wrap(self, denoiser: Denoiser) -> Denoiser:
        """Return the guided denoiser."""
        return GuidedDenoiser(denoiser, self)


@dataclass(frozen=True)
class GuidedDenoiser:
    """A `Denoiser` that combines predictions of another; its own last prediction is the self-conditioning of them all.

    Attributes:
        denoiser: evaluated once for each term.
        guidance: which terms.
    """

    denoiser: Denoiser
    guidance: Guidance

    def __call__(
        self, batch: MolBatch, levels: Levels, condition: Tensor, previous: MolPrediction | None
    ) -> MolPrediction:
        parts = []
        for coefficient, given in self.guidance.terms:
            shown = torch.where(_flags(given, condition.device), condition, torch.nan)
            parts.append((coefficient, self.denoiser(batch, levels, shown, previous)))
        if len(parts) == 1:  # its coefficient is 1
            return parts[0][1]
        fields = {
            field: sum(
                (c * getattr(part, field) for c, part in parts[1:]), start=parts[0][0] * getattr(parts[0][1], field)
            )
            for field in FIELDS
        }
        return MolPrediction(**fields)


@lru_cache(maxsize=64)
def _flags(given: tuple[bool, ...], device: torch.device) -> Tensor:
    """Return flags (P,) on a device. Copied there once: what a CUDA graph captures may copy nothing."""
    return torch.tensor(given, dtype=torch.bool, device=device)


def parse_guidance(text: str) -> float | dict[str, float]:
    """Read ``2.0``, one scale for all properties, or ``logp=2,tpsa=1``; MoldiffError if it is neither. A name with a
    comma stands in double quotes, with its scale or without: ``"a,b"=2,tpsa=1``, ``"a,b=2",tpsa=1``."""
    scales: dict[str, float] = {}
    for part in split_names(_QUOTED.sub(r'\1"\2\3"', text)) if '"' in text else text.split(","):
        name, equals, scale = part.rpartition("=")
        name = name.strip()
        if not re.fullmatch(r"\s*\d*\.?\d+([eE][-+]?\d+)?\s*", scale, flags=re.ASCII) or bool(name) != bool(equals):
            raise MoldiffError(
                f"guidance '{text}': expected a scale such as 2.0, or logp=2,tpsa=1 (a name with a comma in double "
                "quotes); scales are 0 or more"
            )
        if name in scales:
            raise MoldiffError(f"guidance '{text}': two scales for '{name}'")
        scales[name] = float(scale)
    if "" not in scales:
        return scales
    if len(scales) > 1:
        raise MoldiffError(f"guidance '{text}': either one scale for all, or a scale for each property")
    return scales[""]


@blaming("guidance")
def read_guidance(value: object) -> float | dict[str, float] | None:
    """Return a scale for all properties or by name: of a number, a mapping of numbers, a text as in `parse_guidance`;
    None stays None. MoldiffError for anything else."""
    if value is None:
        return None
    if isinstance(value, str):
        return parse_guidance(value)
    if not isinstance(value, Mapping):
        return number(value, "guidance")
    if not all(isinstance(name, str) for name in value):
        raise refusal("guidance", "a scale, or scales by the names of properties", value)
    return {name: number(scale, f"guidance for '{name}'") for name, scale in value.items()}


def guidance_for(
    scale: float | Mapping[str, float],
    conditions: Sequence[str],
    asked: Sequence[str],
    certain: Collection[str] = (),
) -> Guidance:
    """Return the guidance towards the properties asked for.

    Args:
        scale: for all of them, or by name; those that are not named have `DEFAULT_GUIDANCE`.
        conditions: the model's properties, in order.
        asked: those with a target.
        certain: those without, that are given to every prediction.

    Raises:
        MoldiffError: a scale is negative or no number, or named for a property without a target.
    """
    named = dict.fromkeys(asked, scale) if isinstance(scale, int | float) else dict(scale)
    for name, value in named.items():
        if name not in asked:
            raise MoldiffError(f"guidance for '{name}'{nearest_name(name, asked)}, which has no target")
        if not (math.isfinite(value) and value >= 0):
            raise MoldiffError(f"guidance must be a number from 0 up, not {value}")
    scales = [float(named.get(name, DEFAULT_GUIDANCE)) if name in asked else 0.0 for name in conditions]
    return Guidance.of(scales, [conditions.index(name) for name in certain])
