"""State of a run, before and while it works: options, the model that they name, counts, facts for its files."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from moldiff.chem.filters.hazards import Gate
from moldiff.choices import Precision
from moldiff.config import MethodConfig, SamplingConfig
from moldiff.devices import name_of
from moldiff.errors import MoldiffError
from moldiff.generation.identity import key_of, without_effects
from moldiff.generation.options.output import OutputOptions
from moldiff.generation.options.property_guide import PropertyGuide
from moldiff.generation.options.run_options import RunOptions
from moldiff.generation.result_counts import ResultCounts
from moldiff.models.loaded import at_hand
from moldiff.processes import standing_pool
from moldiff.status import Status


class BaseRun(ABC):
    """A request with what it names loaded; `moldiff.generation.run.Run` carries it out.

    Args:
        options: of the request.
        gate: see `moldiff.generation.molecule_result.assess`; None = that of the options.
        pictured: whether there will be a picture beside the SDF.
        first: number of the first draw.

    Attributes:
        request: the options.
        started: `time.monotonic` at the request.
        folder, model, device, precision, sampler: what the options name, loaded and resolved.
        counts: of all results so far.
        columns: of the CSV.
        measured_columns: those of numbers that were measured for targets.
        guide: a property network that takes part.
        tag_names: of the data fields of input files, which are carried on.
        inputs: files that it begins with.
        earlier: results that were taken over from a run that was cut short.
        pool: does the chemistry.
    """

    task: ClassVar[str]
    own_options: ClassVar[frozenset[str]] = frozenset()  # that a single draw depends on here, see `key_of`
    columns: tuple[str, ...]
    measured_columns: frozenset[str] = frozenset()
    guide: PropertyGuide | None = None
    tag_names: tuple[str, ...] = ()
    inputs: tuple[Path, ...] = ()

    def __init__(self, options: RunOptions, gate: Gate | None = None, pictured: bool = False, first: int = 0) -> None:
        self.request, self.started, self.pictured = options, time.monotonic(), pictured
        self.gate: Gate = options.hazards if gate is None else gate
        if options.output is not None:
            options.output.refuse_existing(pictured=pictured, inputs=self.inputs)
        self.pool = standing_pool(options.workers)
        sampler = options.sampler
        loaded = at_hand(options.model, device=sampler.device, precision=sampler.precision)
        self.folder, self.model, self.device = loaded.folder, loaded.model, loaded.device
        if options.heavy_only and self.model.vocabulary.explicit_hydrogens:
            raise MoldiffError(
                f"heavy_only is for models of heavy atoms; {self.folder.name} makes hydrogens itself",
                argument="heavy_only",
            )
        self.precision = name_of(loaded.precision)
        if loaded is options.model:  # the record says what it runs on, since the options need not
            sampler = replace(sampler, device=str(self.device), precision=Precision(self.precision))
        self.sampler = sampler.resolved(self.defaults(loaded.sampling), self.device)
        self.model = self.model.at_temperature(self.sampler.temperature)
        self.counts = ResultCounts(first, self.id_of)
        self.earlier = 0

    @cached_property
    def key(self) -> str:
        """A hash of all that molecules follow from but the seed and their number, behind the model's name."""
        return key_of(self.folder.name, self.facts(), self.own_options)

    def id_of(self, number: int) -> str:
        """Return the ``moldiff_id`` of a draw: no draw of another seed, model or request has it."""
        return f"{self.key}-{self.request.sampler.seed}-{number}"

    @staticmethod
    def defaults(sampling: SamplingConfig) -> MethodConfig:
        """Return what of a model's defaults stands where the options leave the sampler open."""
        return sampling

    @property
    @abstractmethod
    def requested(self) -> int:
        """Number of molecules that are asked for."""

    @property
    def done(self) -> int:
        """Number of these that are there."""
        return self.counts.drawn

    @property
    def evaluations(self) -> int:
        """Of the network, so far."""
        return self.counts.evaluations

    def problem(self) -> str:
        """Return why a run that ended by itself is not what was asked for; "" if it is."""
        if self.counts.drawn < self.requested:
            return f"only {self.counts.drawn} of {self.requested} draws came out"
        if 0 < self.counts.drawn == self.counts.by_status[Status.FAILED]:
            return f"all {self.counts.drawn} draws failed; the first: {self.counts.first_reason}"
        return ""

    def details(self) -> list[str]:
        """Return lines that tell more than the counts do, after the results."""
        return []

    def extra_results(self) -> dict[str, Any]:
        """Return what else the run record tells, as plain JSON."""
        return {"targets": [], "score": None}

    def facts(self) -> dict[str, Any]:
        """Return all that the draws follow from, plain JSON."""
        return {
            "task": self.task,
            "model": self.folder.sha256,
            "property network": None if self.guide is None else self.guide.folder.sha256,
            "precision": self.precision,
            **without_effects(self.request.record(self.sampler)),
            **self.identity(),
        }

    def identity(self) -> dict[str, Any]:
        """Return what else a molecule follows from, beside options and models; plain JSON."""
        return {}

    def extra_files(self, output: OutputOptions, interrupted: bool) -> dict[Path, str | bytes]:
        """Return further files with their content, after the results; after an interruption, only quick ones."""
        return {}
