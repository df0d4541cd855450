"""A run: a model loaded, results made one by one and counted, handed over as molecules or written down."""

from __future__ import annotations

import itertools
import logging
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from moldiff.chem.descriptors.score_functions import ScoreError
from moldiff.choices import Precision
from moldiff.config import MethodConfig, SamplingConfig
from moldiff.devices import name_of
from moldiff.errors import MoldiffError
from moldiff.generation.entries import from_entry, to_entry
from moldiff.generation.identity import key_of
from moldiff.generation.molecule_result import Gate, MoleculeResult
from moldiff.generation.options.output import OutputOptions
from moldiff.generation.options.property_guide import PropertyGuide
from moldiff.generation.options.run_options import RunOptions
from moldiff.generation.result_counts import ResultCounts
from moldiff.generation.summary import Summary, summary_of, warn_if_none_is_valid
from moldiff.generation.writer import check_outputs, finished, run_files, run_journal
from moldiff.interruption import Interruption, watched_signals
from moldiff.journal import Journal
from moldiff.models.loaded import at_hand
from moldiff.processes import standing_pool
from moldiff.status import Status
from moldiff.threads import Workers, workers_for

logger = logging.getLogger(__name__)

Progress = Callable[[int], None]


class Run(ABC):
    """A request under way. Every molecule that leaves the package is one of its `results`.

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
        guide: a property network that takes part.
        tag_names: of the data fields of input files, which are carried on.
        earlier: results that were taken over from a run that was cut short.
        pool: does the chemistry.
    """

    task: ClassVar[str]
    own_options: ClassVar[frozenset[str]] = frozenset()  # that a single draw depends on here, see `key_of`
    columns: tuple[str, ...]
    guide: PropertyGuide | None = None
    tag_names: tuple[str, ...] = ()
    tells_results = False  # progress is told by results, not by draws
    unit = "molecules"  # of what is asked for

    def __init__(self, options: RunOptions, gate: Gate | None = None, pictured: bool = False, first: int = 0) -> None:
        self.request, self.started, self.pictured = options, time.monotonic(), pictured
        self.gate: Gate = options.hazards if gate is None else gate
        if options.output is not None:
            check_outputs(options.output, pictured)
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
        self.sampler = sampler.resolved(self.defaults(loaded.sampling))
        self.counts = ResultCounts(first, self.id_of)
        self.earlier = 0

    @cached_property
    def key(self) -> str:
        """A hash of all that molecules follow from but the seed and their number, behind the model's name."""
        return key_of(self)

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

    @abstractmethod
    def _made(
        self, workers: Workers, progress: Progress | None, interruption: Interruption
    ) -> Iterator[MoleculeResult]:
        """Yield results in the order of their numbers, from that after `counts` on; after an interruption, what was
        made before."""

    def results(
        self,
        progress: Progress | None = None,
        interruption: Interruption | None = None,
        journal: Journal | None = None,
    ) -> Iterator[MoleculeResult]:
        """Yield every result in the order of the draws, counted, until all that is asked for is there.

        Args:
            progress: called with the number of molecules that are there.
            interruption: ends it.
            journal: of results, which come first; new ones are added.
        """
        by_draws, by_results = (None, progress) if self.tells_results else (progress, None)
        interruption = interruption or Interruption()
        earlier = () if journal is None else self._earlier(journal)
        with workers_for(self.device) as workers:
            made = self._made(workers, by_draws, interruption)
            for result, new in itertools.chain(
                zip(earlier, itertools.repeat(False)), zip(made, itertools.repeat(True))
            ):
                if new:  # only now: what was checked, measured and scored is the whole molecule
                    result = self.told(result)
                    result = result.without_hydrogens() if self.request.heavy_only else result
                counted = self.counts.take(result, gaps=interruption.number is not None)
                self.note(result)
                if new and journal is not None and interruption.number is None:
                    self._write_down(result, journal)
                yield counted
                if by_results is not None:
                    by_results(self.done)
                if self.has_enough:
                    return

    def _earlier(self, journal: Journal) -> Iterator[MoleculeResult]:
        """Yield the results of a run that was cut short, as far as one can go on after them."""
        journal.keep(self.whole(journal.count))
        self.earlier = journal.earlier
        self.started -= journal.seconds
        yield from map(from_entry, itertools.islice(journal.entries(), journal.earlier))

    def _write_down(self, result: MoleculeResult, journal: Journal) -> None:
        """Add a result to a journal, as it is without an interruption: after one it may be less."""
        output = self.request.output
        entry = to_entry(result, confidence=output is not None and output.confidence)
        journal.add(entry, time.monotonic() - self.started)

    def whole(self, count: int) -> int:
        """Return after how many of the first results one can go on, ``count`` at most."""
        return count

    def note(self, result: MoleculeResult) -> None:  # noqa: B027 - few runs have something to note
        """Take note of a result, for the summary."""

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
        if 0 < self.counts.drawn == self.counts.by_status[Status.FAILED]:
            return f"all {self.counts.drawn} draws failed; the first: {self.counts.first_reason}"
        return ""

    def details(self) -> list[str]:
        """Return lines that tell more than the counts do, after the results."""
        return []

    def extra_results(self) -> dict[str, Any]:
        """Return what else the run record tells, as plain JSON."""
        return {"targets": [], "score": None}

    def identity(self) -> dict[str, Any]:
        """Return what else a molecule follows from, beside options and models; plain JSON."""
        return {}

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
        if (before := finished(self, output)) is not None:
            if before.problem:
                raise MoldiffError(f"{before.problem}; what was made is in {output.path}")
            return before
        with watched_signals() as interruption:
            with run_files(self, output) as files, run_journal(self, output) as journal:
                problem = ""
                try:
                    for result in self.results(progress, interruption, journal):
                        files.add(result)
                except ScoreError as error:
                    if not self.counts.drawn:
                        raise
                    problem = str(error)
                except MoldiffError:
                    if not self.evaluations:
                        journal.remove()  # nothing but records that cannot be used
                    raise
                interrupted = interruption.number is not None and self.done < self.requested
                if interrupted:
                    if not self.counts.drawn:
                        interruption.end()
                    problem = f"interrupted after {self.done} of {self.requested} {self.unit}"
                complete = not problem
                problem = problem or self.problem()
                summary = summary_of(self, problem, output.path)
                files.finish(summary, interrupted, complete)
                if complete:
                    journal.remove()
            if interrupted:
                logger.warning("%s; what was made is in %s, and resume goes on from there", problem, output.path)
                interruption.end()
        if problem:
            raise MoldiffError(f"{problem}; what was made is in {output.path}")
        warn_if_none_is_valid(self.counts, f"{output.table} tells why")
        return summary
