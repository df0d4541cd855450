"""A run: results made one by one and counted, handed over as molecules or written down."""

from __future__ import annotations

import itertools
import logging
import time
from abc import abstractmethod
from collections.abc import Callable, Iterator

from moldiff.chem.descriptors.score_functions import ScoreError
from moldiff.errors import MoldiffError
from moldiff.generation.base_run import BaseRun
from moldiff.generation.entries import from_entry, to_entry
from moldiff.generation.molecule_result import MoleculeResult
from moldiff.generation.summary import Summary, summary_of, warn_if_none_is_valid
from moldiff.generation.writer import finished, run_files, run_journal
from moldiff.interruption import Interruption, watched_signals
from moldiff.journal import Journal
from moldiff.threads import Workers, workers_for

logger = logging.getLogger(__name__)

Progress = Callable[[int], None]


class Run(BaseRun):
    """A request under way. Every molecule that leaves the package is one of its `results`."""

    tells_results = False  # progress is told by results, not by draws
    unit = "molecules"  # of what is asked for
    begins_with = ""  # the argument that gives what draws begin with

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

    def note(self, result: MoleculeResult) -> None:
        """Take note of a result, for the summary."""

    def told(self, result: MoleculeResult) -> MoleculeResult:
        """Return a result with further facts of its molecule, if any are asked for."""
        return result

    @property
    def has_enough(self) -> bool:
        """No more results are wanted, although there may be more."""
        return False

    def write(self, progress: Progress | None = None) -> Summary:
        """Make the results and write the files that the options name.

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
                logger.warning("%s; what was made is in %s, and resume=True goes on from there", problem, output.path)
                interruption.end()
        if problem:
            raise MoldiffError(f"{problem}; what was made is in {output.path}")
        warn_if_none_is_valid(self.counts, f"{output.table} tells why")
        return summary
