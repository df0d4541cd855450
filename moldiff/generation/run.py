"""A run: a model loaded, results made one by one and counted, handed over as molecules or written down."""

from __future__ import annotations

import itertools
import logging
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch

from moldiff.chem.descriptors.rarity import COLUMNS as RARITY_COLUMNS
from moldiff.chem.descriptors.score_functions import ScoreError
from moldiff.choices import Precision, Until
from moldiff.config import MethodConfig, SamplingConfig
from moldiff.devices import name_of
from moldiff.errors import MoldiffError
from moldiff.evaluation.rarity import tables_for
from moldiff.generation.decoding.decoders import DECODERS, Decoder, VerifiedDecoder
from moldiff.generation.decoding.hydrogens import hydrogen_columns, with_hydrogens
from moldiff.generation.options.generation_options import GenerationOptions
from moldiff.generation.options.output import OutputOptions
from moldiff.generation.options.property_guide import PropertyGuide
from moldiff.generation.options.run_options import RunOptions
from moldiff.generation.options.steering import steer, warn_about_sizes
from moldiff.generation.renoise import Renoiser
from moldiff.generation.results import COLUMNS, Gate, MoleculeResult, ResultCounts
from moldiff.generation.summary import Summary, summary_of, warn_if_none_is_valid
from moldiff.generation.trajectory import trajectories
from moldiff.generation.writer import check_outputs, run_files
from moldiff.interruption import Interruption, watched_signals
from moldiff.models.loaded import at_hand
from moldiff.sampling.constraints import decoding_constraints
from moldiff.sampling.molecule_sampler import MoleculeSampler, RawSample
from moldiff.status import Status
from moldiff.threads import INLINE, Workers, workers_for

logger = logging.getLogger(__name__)

Progress = Callable[[int], None]
LEAST_SHARE = 0.01  # of draws that are as wanted, for the size of the next batch
GOALS = {
    Until.VALID: "valid molecules",
    Until.PASSED: "molecules that pass the filters",
    Until.MET: "molecules that meet the targets",
}


class Run(ABC):
    """A request under way. Every molecule that leaves the package is one of its `results`.

    Args:
        options: of the request.
        gate: see `moldiff.generation.results.assess`; None = that of the options.
        pictured: whether there will be a picture beside the SDF.

    Attributes:
        request: the options.
        started: `time.monotonic` at the request.
        folder, model, device, precision, sampler: what the options name, loaded and resolved.
        counts: of all results so far.
        columns: of the CSV.
        guide: a property network that takes part.
    """

    task: ClassVar[str]
    columns: tuple[str, ...]
    guide: PropertyGuide | None = None
    tells_results = False  # progress is told by results, not by draws
    unit = "molecules"  # of what is asked for

    def __init__(self, options: RunOptions, gate: Gate | None = None, pictured: bool = False) -> None:
        self.request, self.started, self.pictured = options, time.monotonic(), pictured
        self.gate: Gate = options.hazards if gate is None else gate
        if options.output is not None:
            check_outputs(options.output, pictured)
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
        self.sampler = sampler.resolved(self.defaults(loaded.sampling))
        self.counts = ResultCounts()

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

    @abstractmethod
    def _made(
        self, workers: Workers, progress: Progress | None, interruption: Interruption
    ) -> Iterator[MoleculeResult]:
        """Yield results in the order of their numbers, from 0; after an interruption, what was made before."""

    def results(
        self, progress: Progress | None = None, interruption: Interruption | None = None
    ) -> Iterator[MoleculeResult]:
        """Yield every result in the order of the draws, counted, until all that is asked for is there."""
        by_draws, by_results = (None, progress) if self.tells_results else (progress, None)
        with workers_for(self.device) as workers:
            for result in self._made(workers, by_draws, interruption or Interruption()):
                # only now: what was checked, measured and scored is the whole molecule
                result = self.told(result)
                yield self.counts.take(result.without_hydrogens() if self.request.heavy_only else result)
                if by_results is not None:
                    by_results(self.done)
                if self.has_enough:
                    return

    def told(self, result: MoleculeResult) -> MoleculeResult:
        """Return a result with further facts of its molecule, if any are asked for."""
        return result

    @property
    def has_enough(self) -> bool:
        """No more results are wanted, although there may be more."""
        return False

    def problem(self) -> str:
        """Return why a run that ended by itself is not what was asked for; "" if it is."""
        if self.counts.drawn < self.requested:
            return f"only {self.counts.drawn} of {self.requested} draws came out"
        if self.counts.drawn == self.counts.by_status[Status.FAILED]:
            return f"all {self.counts.drawn} draws failed; the first: {self.counts.first_reason}"
        return ""

    def details(self) -> list[str]:
        """Return lines that tell more than the counts do, after the results."""
        return []

    def extra_results(self) -> dict[str, Any]:
        """Return what else the run record tells, as plain JSON."""
        return {"targets": [], "score": None}

    def extra_files(self, output: OutputOptions, interrupted: bool) -> dict[Path, str | bytes]:
        """Return further files with their content, after the results; after an interruption, only quick ones."""
        return {}

    def write(self, progress: Progress | None = None) -> Summary:
        """Write the files that the options name.

        Raises:
            MoldiffError: they cannot be written; or fewer molecules than were asked for, or none at all, or a score
                function failed after some were made: then the files are written first.
            KeyboardInterrupt, SystemExit: Ctrl-C, SIGTERM (status 143). What was finished before is written first; a
                second signal leaves nothing.
        """
        output = self.request.output
        assert output is not None
        with watched_signals() as interruption:
            with run_files(self, output) as files:
                problem = ""
                try:
                    for result in self.results(progress, interruption):
                        files.add(result)
                except ScoreError as error:
                    if not self.counts.drawn:
                        raise
                    problem = str(error)
                interrupted = interruption.number is not None and self.done < self.requested
                if interrupted:
                    if not self.counts.drawn:
                        interruption.end()
                    problem = f"interrupted after {self.done} of {self.requested} {self.unit}"
                problem = problem or self.problem()
                summary = summary_of(self, problem, output.path)
                files.finish(summary, interrupted)
            if interrupted:
                logger.warning("%s; what was made is in %s", problem, output.path)
                interruption.end()
        if problem:
            raise MoldiffError(f"{problem}; what was made is in {output.path}")
        warn_if_none_is_valid(self.counts, f"{output.table} tells why")
        return summary


class GenerateRun(Run):
    """Draws molecules one by one.

    Args:
        options: of the request.
        gate: see `Run`.

    Attributes:
        steering: what is asked of the molecules, held against the model.
        decoder: of the final predictions.
        tables: by which rings and bonds are told or scored; None = nobody asks.
    """

    task = "generate"

    def __init__(self, options: GenerationOptions, gate: Gate | None = None) -> None:
        super().__init__(options, gate, pictured=bool(options.steering.targets))
        self.options, wanted = options, options.steering
        self.counts = ResultCounts(options.first)
        source, references = str(self.folder.path), self.folder.references
        self.guide = PropertyGuide.load(
            wanted.property_model, wanted.property_scale, self.model, self.folder.name, self.device
        )
        self.steering = steer(wanted, self.model, references, source, self.guide)
        warn_about_sizes(self.steering.sizes, self.model)
        constraints = self.steering.constraints
        decoder = DECODERS[options.decode](self.model.vocabulary, references, source, decoding_constraints(constraints))
        decoder = VerifiedDecoder(decoder, constraints) if constraints else decoder
        self.decoder: Decoder = with_hydrogens(decoder, self.model.vocabulary)
        self.checks = options.criteria.checks()
        self.tables = tables_for(options.ring_table, references, source) if options.needs_tables else None
        own = (*hydrogen_columns(self.model.vocabulary), *(RARITY_COLUMNS if options.rarity else ()))
        self.columns = (*COLUMNS, *own, *self.steering.tracker.columns)
        self.tells_results = options.goal is not None
        self.unit = "molecules" if options.goal is None else GOALS[options.goal]

    def told(self, result: MoleculeResult) -> MoleculeResult:
        """Return a result with how rare its molecule's rings and bonds are, where its chemistry is sound."""
        if not self.options.rarity or self.tables is None or result.mol is None or not result.smiles:
            return result
        return replace(result, facts={**result.facts, **self.tables.facts(result.mol)})

    def molecule_sampler(self, keep_predictions: bool, workers: Workers = INLINE) -> MoleculeSampler:
        """Return what makes the draws."""
        return self.steering.molecule_sampler(self.model, self.sampler, keep_predictions, workers)

    @property
    def requested(self) -> int:
        return self.options.n

    @property
    def done(self) -> int:
        if self.options.goal is None:
            return self.counts.drawn
        # with a score, what a filter leaves out is not drawn
        all_sound = self.options.goal is Until.VALID and self.options.score is None
        return self.counts.valid + (self.counts.by_status[Status.FILTERED] if all_sound else 0)

    @property
    def has_enough(self) -> bool:
        return self.done == self.requested

    def _made(
        self, workers: Workers, progress: Progress | None, interruption: Interruption
    ) -> Iterator[MoleculeResult]:
        sampler = self.molecule_sampler(True, workers)
        renoiser = Renoiser(sampler)
        batches, begun = self._batches(sampler.rows), deque[tuple[int, int, Iterator[RawSample]]]()
        # the next batch is begun before the last one is converted and written, unless its size follows from that one
        ahead = 1 if self.options.goal is not None else 2
        while True:
            begun.extend((*batch, sampler.draw(*batch)) for batch in itertools.islice(batches, ahead - len(begun)))
            if not begun:
                return
            first, count, draws = begun.popleft()
            drawn = []
            for draw in interruption.until(draws):
                drawn.append(draw)
                if progress is not None:
                    progress(first - self.options.first + len(drawn))
            drawn.sort(key=lambda draw: draw.number)
            wanted = sampler.condition(torch.arange(first, first + count))
            settled = 0
            for result in interruption.until(
                renoiser.settle(drawn, self.decoder, self.options.renoise, self.gate, self.checks)
            ):
                evaluations = sampler.evaluations + result.renoised * renoiser.evaluations
                yield self.measured(replace(result, evaluations=evaluations), wanted[result.number - first])
                settled += 1
            if interruption.number is not None:
                for result in renoiser.settle(drawn[settled:], self.decoder, 0, self.gate, self.checks):
                    result = replace(result, evaluations=sampler.evaluations)
                    yield self.measured(result, wanted[result.number - first])
                return

    def problem(self) -> str:
        if self.options.goal is None:
            return super().problem()
        found = f"only {self.done} of {self.requested} {self.unit} in {self.counts.drawn} draws"
        return found if self.done < self.requested else ""

    def measured(self, result: MoleculeResult, condition: np.ndarray) -> MoleculeResult:
        """Return a result with what its condition (P,) asked and what was measured; where draws go on until targets are
        met, a molecule that misses one is filtered."""
        result = self.steering.tracker.measure(result, condition)
        if self.options.goal is not Until.MET or result.status != Status.VALID:
            return result
        missed = self.steering.tracker.missed(result)
        return replace(result, status=Status.FILTERED, reason=missed) if missed else result

    def details(self) -> list[str]:
        return [target.line() for target in self.steering.tracker.results()]

    def extra_results(self) -> dict[str, Any]:
        targets = [asdict(target) for target in self.steering.tracker.results()]
        return super().extra_results() | {"targets": targets}

    def extra_files(self, output: OutputOptions, interrupted: bool) -> dict[Path, str | bytes]:
        picture = self.steering.tracker.picture()
        files: dict[Path, str | bytes] = {} if picture is None else {output.picture: picture}
        if output.trajectories and not interrupted:
            if self.counts.to_show is None:
                logger.warning("no draw came to a molecule that a trajectory could show")
            else:
                files |= trajectories(output.trajectories, self.molecule_sampler(False), self.counts.to_show)
        return files

    def _batches(self, rows: int) -> Iterator[tuple[int, int]]:
        """Yield the number of a batch's first draw, and how many they are.

        Args:
            rows: draws that cost as much as one.
        """
        n, size = self.options.n, self.sampler.options.batch_size
        first = self.options.first
        limit = first + self.options.most_draws
        while first < limit:
            # a few more than are missing, by the share that was as wanted so far: a surplus is thrown away
            share = max(self.done / self.counts.drawn, LEAST_SHARE) if self.counts.drawn else 1.0
            wanted = n if self.options.goal is None else max(rows, int(1.25 * (n - self.done) / share))
            count = min(wanted, size, limit - first)
            yield first, count
            first += count
