"""Sampler options: those that every command of generation shares, and what stands where they say nothing."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from moldiff.arguments import check_text, choice, count, number, seed_number
from moldiff.choices import TEMPERATURES, Precision, Sampler, TimeGrid
from moldiff.deprecations import renamed_argument
from moldiff.devices import device_name, precision_name
from moldiff.errors import MoldiffError

if TYPE_CHECKING:
    import torch

    from moldiff.config import MethodConfig
    from moldiff.sampling.solvers import Solver

logger = logging.getLogger(__name__)

# Draws at a time, by device. On a card a micro-batch always has its full number of rows: of a few draws, most are made
# in vain.
BATCH_SIZES = {"cpu": 512, "cuda": 8192}


@dataclass(frozen=True, kw_only=True)
class SamplerOptions:
    """Options of the sampler. Build it with `of`.

    Attributes:
        evaluations: of the network for each molecule, at most, all that a step takes counted; None = as many as the
            model's own number of steps takes.
        sampler, grid: None = the model's own.
        temperature: at which categories are drawn (`moldiff.diffusion.joint.JointDiffusion`), 0.05 to 10; None = the
            model's own.
        seed: 0 <= seed < 2^64.
        batch_size: draws at a time; None = what suits the device.
        device: auto, cpu, cuda or cuda:<number>.
        precision: number type of the network's matrix products.

    Raises:
        MoldiffError: out of range or of a wrong type.
    """

    evaluations: int | None = None
    sampler: Sampler | None = None
    grid: TimeGrid | None = None
    temperature: float | None = None
    seed: int = 0
    batch_size: int | None = None
    device: str = "auto"
    precision: Precision = Precision.AUTO

    def __post_init__(self) -> None:
        for name, value in (("evaluations", self.evaluations), ("batch_size", self.batch_size)):
            if value is not None:
                count(value, name)
        least, most = TEMPERATURES
        if self.temperature is not None and not least <= number(self.temperature, "temperature") <= most:
            expected = f"a temperature is between {least:g} and {most:g}"
            raise MoldiffError(f"{expected}, not {self.temperature:g}", argument="temperature")
        seed_number(self.seed)
        check_text(self.device, "device")

    @classmethod
    def of(
        cls,
        *,
        evaluations: int | None = None,
        sampler: str | None = None,
        grid: str | None = None,
        temperature: float | None = None,
        seed: int = 0,
        batch_size: int | None = None,
        device: str | torch.device = "auto",
        precision: str | torch.dtype = Precision.AUTO,
        steps: int | None = None,
    ) -> SamplerOptions:
        """Return what a user's words mean (``steps``: the old word for ``evaluations``); MoldiffError for a name that
        is none, and as above."""
        return cls(
            evaluations=renamed_argument("steps", steps, "evaluations", evaluations),
            sampler=None if sampler is None else choice(sampler, Sampler, "sampler"),
            grid=None if grid is None else choice(grid, TimeGrid, "grid"),
            temperature=temperature,
            seed=seed,
            batch_size=batch_size,
            device=device_name(device),
            precision=precision_name(precision),
        )

    def resolved(self, defaults: MethodConfig, device: torch.device) -> ResolvedSampler:
        """Return the options with a model's defaults, and what suits a device, where they leave something open: the one
        place where that is done."""
        from moldiff.sampling.sampler import steps_within
        from moldiff.sampling.solvers import SOLVERS

        resolved = ResolvedSampler(
            evaluations=self.evaluations or defaults.evaluations,
            steps=steps_within(SOLVERS[defaults.sampler], defaults.evaluations),
            sampler=self.sampler or defaults.sampler,
            grid=self.grid or defaults.grid,
            temperature=defaults.temperature if self.temperature is None else float(self.temperature),
            batch_size=self.batch_size or BATCH_SIZES[device.type],
            options=self,
        )
        if self.evaluations is None and resolved.sampler != defaults.sampler:
            return resolved.at_cost(SOLVERS[resolved.sampler])
        return resolved


@dataclass(frozen=True, kw_only=True)
class ResolvedSampler:
    """Sampler options with nothing left open.

    Attributes:
        evaluations, sampler, grid, temperature, batch_size: see `SamplerOptions`.
        steps: that the model is made for.
        options: the others.
    """

    evaluations: int
    steps: int
    sampler: Sampler
    grid: TimeGrid
    temperature: float
    batch_size: int
    options: SamplerOptions

    def at_cost(self, solver: Solver, calls: int = 1) -> ResolvedSampler:
        """Return the options for steps that may cost several evaluations: by default, the model's own number of them is
        taken; a number of evaluations that the user names stands, with a warning where that leaves fewer steps.

        Args:
            solver: takes the steps.
            calls: network evaluations of one prediction: guidance makes several.
        """
        from moldiff.sampling.sampler import evaluations_of, steps_within

        cost, needed = calls * solver.evaluations, calls * evaluations_of(solver, self.steps)
        if cost == 1:
            return self
        if self.options.evaluations is None:
            return replace(self, evaluations=needed)
        steps = steps_within(solver, max(1, self.evaluations // calls))
        if steps < self.steps:
            logger.warning(
                "evaluations %d: a step takes %d, so these are %d steps; the model is made for %d, which take %d: "
                "expect more failures", self.evaluations, cost, steps, self.steps, needed,
            )  # fmt: skip
        return self

    def record(self) -> dict[str, object]:
        """Return the options by their public names."""
        rest = self.options
        return {
            "evaluations": self.evaluations, "sampler": str(self.sampler), "grid": str(self.grid),
            "temperature": self.temperature, "seed": rest.seed, "batch_size": self.batch_size,
            "device": rest.device, "precision": str(rest.precision),
        }  # fmt: skip
