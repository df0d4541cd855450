"""One generation under way: from a checked request to the outcome of every draw."""

from __future__ import annotations

import itertools
import logging
import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from moldiff.devices import name_of, resolve_device, resolve_precision
from moldiff.generation.decoding.decoders import DECODERS, Decoder, VerifiedDecoder
from moldiff.generation.options.generation_options import Request
from moldiff.generation.options.property_guide import PropertyGuide
from moldiff.generation.options.steering import steer
from moldiff.generation.renoise import Renoiser
from moldiff.generation.results import SCORE_COLUMN, MoleculeResult, ResultCounts
from moldiff.generation.smc_run import ReweightedDraws, Scoring
from moldiff.generation.summary import Summary
from moldiff.interruption import Interruption
from moldiff.models.folder import load_model_folder
from moldiff.models.molecule_model import MoleculeModel
from moldiff.sampling.constraints import demands_of
from moldiff.sampling.molecule_sampler import Draw, Drawer
from moldiff.scoring.named import OF_TARGETS, targets_score
from moldiff.threads import workers_for

logger = logging.getLogger(__name__)

_DRAWS_PER_VALID = 10  # with until_valid, give up after this many draws for each molecule asked for
Progress = Callable[[int], None]


class Generation:
    """One generation under way: a checked request, and all that answers it.

    Attributes:
        folder, model, device, precision: what the request names, loaded.
        guide: the property network that it names; None = none.
        steering: its wishes, held against the model.
        accountant: counts every outcome that was yielded.
        columns: of the CSV beside the usual ones.
    """

    def __init__(self, request: Request, scoring: Scoring | None = None) -> None:
        self.request, self.folder = request, load_model_folder(request.model)
        source, references = str(self.folder.path), self.folder.references
        device = resolve_device(request.device)
        precision = resolve_precision(request.precision, device)
        self.model, self.precision = MoleculeModel.from_folder(self.folder, device, precision), name_of(precision)
        self.device = next(self.model.denoiser.parameters()).device
        wishes = request.wishes
        self.guide = PropertyGuide.load(
            wishes.property_model, wishes.property_scale, self.model, self.folder.name, self.device
        )
        self.steering = steer(wishes, self.model, references, source, request.n_atoms, self.guide)
        self.accountant = ResultCounts()
        constraints = self.steering.constraints
        decoder = DECODERS[request.decode](self.model.vocabulary, references, source, demands_of(constraints))
        self._decoder: Decoder = VerifiedDecoder(decoder, constraints) if constraints else decoder
        self.columns = (*self.steering.aims.columns, *([] if request.reweighting is None else [SCORE_COLUMN]))
        if scoring is not None and scoring.score is OF_TARGETS:
            scoring = replace(scoring, score=targets_score(self.steering.aims.targets, self.steering.aims.statistics))
        self._scoring = scoring
        self._reweighted: ReweightedDraws | None = None

    def outcomes(self, progress: Progress | None, interruption: Interruption | None = None) -> Iterator[MoleculeResult]:
        """Yield the outcome of every draw in the order of the draws, measured and counted; stop at n draws, or at n
        valid ones.

        After an interruption no more is drawn. What was drawn before still has its outcome, without any attempt at what
        failed; of draws by a score, whose groups come side by side, only groups that are finished.
        """
        request, accountant = self.request, self.accountant
        interruption = interruption or Interruption()
        _warn_about_sizes(self.steering.sizes, self.model)
        with workers_for(self.device) as workers:
            drawer = request.drawer(self.model, True, self.steering, workers)
            if self._scoring is None:
                made = self._plain(drawer, None if request.until_valid else progress, interruption)
            else:
                self._reweighted = ReweightedDraws(drawer, self._decoder, self._scoring)
                made = self._in_groups(self._reweighted, interruption)
            for outcome, wanted in made:
                yield accountant.take(self.steering.aims.measure(outcome, wanted))
                if progress is not None and (request.until_valid or self._reweighted):
                    progress(self.done)
                if self.done == request.n:
                    return

    @property
    def done(self) -> int:
        """How many of the n that were asked for are there."""
        counts = self.accountant.by_status
        return counts["valid"] if self.request.until_valid else sum(counts.values())

    def _plain(
        self, drawer: Drawer, progress: Progress | None, interruption: Interruption
    ) -> Iterator[tuple[MoleculeResult, np.ndarray]]:
        """Yield the outcome of every draw, and what it was conditioned on."""
        renoiser = Renoiser(drawer)
        for first, count, draws in self._batches(drawer):
            drawn = []
            for draw in interruption.until(draws):
                drawn.append(draw)
                if progress is not None:
                    progress(first + len(drawn))
            drawn.sort(key=lambda draw: draw.number)
            wanted = drawer.condition(torch.arange(first, first + count))
            settled = 0
            for outcome in interruption.until(renoiser.settle(drawn, self._decoder, self.request.renoise)):
                evaluations = drawer.evaluations + outcome.renoised * renoiser.evaluations
                yield replace(outcome, evaluations=evaluations), wanted[outcome.number - first]
                settled += 1
            if interruption.number is not None:
                for outcome in renoiser.settle(drawn[settled:], self._decoder, 0):
                    yield replace(outcome, evaluations=drawer.evaluations), wanted[outcome.number - first]
                return

    def _in_groups(
        self, draws: ReweightedDraws, interruption: Interruption
    ) -> Iterator[tuple[MoleculeResult, np.ndarray]]:
        """Yield the outcome of every draw of whole groups, as `_plain` does."""
        size, first = draws.asked.particles, 0
        limit = self.request.n * (_DRAWS_PER_VALID if self.request.until_valid else 1)
        while first * size < limit and interruption.number is None:
            missing = math.ceil((self.request.n - self.done) / size)
            groups = range(first, first + min(missing, max(1, self.request.batch_size // size)))
            made = draws.results(groups)
            for outcome in interruption.until(itertools.islice(made, 1)):  # the work is done before the first
                yield outcome
                yield from made
            first = groups.stop

    def _batches(self, drawer: Drawer) -> Iterator[tuple[int, int, Iterator[Draw]]]:
        """Yield the number of a batch's first draw, how many they are, and the draws."""
        request, first = self.request, 0
        if request.until_valid:
            limit = request.n * _DRAWS_PER_VALID
            while first < limit:
                # a few more than are missing: most draws are valid, and a surplus is thrown away
                count = max(drawer.rows, int(1.25 * (request.n - self.accountant.by_status["valid"])))
                count = min(count, request.batch_size, limit - first)
                yield first, count, drawer.draw(first, count)
                first += count
            return
        ahead = None
        for first in range(0, request.n, request.batch_size):
            count = min(request.batch_size, request.n - first)
            # the next batch is begun before the last one is converted and written
            batch = first, count, drawer.draw(first, count)
            if ahead is not None:
                yield ahead
            ahead = batch
        if ahead is not None:
            yield ahead

    def shortage(self) -> str:
        """Return why there are fewer valid molecules than were asked for, or none at all by a score; else ""."""
        counts = self.accountant.by_status
        if self._reweighted is not None and (problem := self._reweighted.problem()):
            return problem
        if not self.request.until_valid or counts["valid"] >= self.request.n:
            return ""
        return f"only {counts['valid']} of {self.request.n} molecules were valid in {sum(counts.values())} draws"

    def summary(self, seconds: float, out: Path, problem: str) -> Summary:
        """Return what became of every draw."""
        accountant, drawn = self.accountant, self._reweighted
        return Summary(
            self.request.n,
            sum(accountant.by_status.values()),
            accountant.by_status,
            accountant.reasons,
            accountant.decodings,
            accountant.property_failures,
            accountant.renoised,
            # a score's last group is made in full, whatever is thrown away of it
            accountant.evaluations if drawn is None else drawn.evaluations,
            accountant.unique,
            seconds,
            str(out),
            self.steering.aims.results(),
            None if drawn is None else drawn.result(),
            problem,
        )


def _warn_about_sizes(sizes: tuple[int, int] | None, model: MoleculeModel) -> None:
    seen = model.statistics.size_counts
    if sizes and (sizes[0] < min(seen) or sizes[1] > max(seen)):
        logger.warning(
            "sizes %d..%d reach outside the training data's %d..%d atoms; expect more failures",
            *sizes, min(seen), max(seen),
        )  # fmt: skip
