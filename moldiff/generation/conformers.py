"""Conformers: the graph of a molecule is given, its coordinates are sampled.

Mirror images are equally likely to the model, and it knows no stereo. So what comes out with all centres inverted is
mirrored, and a wrong diastereomer is thrown away and drawn anew, up to a number of times; both are told.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from torch import Tensor

from moldiff.arguments import check_flag, whole_number
from moldiff.chem.io.records import Record
from moldiff.chem.topology import Skeleton, skeleton
from moldiff.datasets.batching import bucket_width
from moldiff.devices import DEFAULT_PRECISION
from moldiff.diffusion.fixed_graph import CleanGraphCurve, CoordinateDiffusion
from moldiff.errors import MoldiffError
from moldiff.generation.conformer_checks import WRONG_STEREO, ConformerDecoder, seen_lengths
from moldiff.generation.from_records import RECORD_COLUMNS, Answer, Ask, Job, Molecules, Progress, Settings
from moldiff.generation.generate import DEFAULT_BATCH_SIZE
from moldiff.generation.results import MoleculeResult, assess
from moldiff.generation.writer import Told, check_outputs, molecules_of, write_answers
from moldiff.interruption import Interruption
from moldiff.models.contents import sampling_of
from moldiff.models.folder import DEFAULT_MODEL
from moldiff.molecules import MolBatch
from moldiff.randomness import record_key
from moldiff.sampling.molecule_sampler import MOST_ATTEMPTS, Drawer, Task, TaskRunner
from moldiff.sampling.sampler import Sample, sample
from moldiff.status import Status
from moldiff.threads import Workers

if TYPE_CHECKING:
    from rdkit.Chem import Mol

DEFAULT_CONFORMERS = 10
DEFAULT_REDRAWS = 10
_FACTS = ("mirrored", "redraws")


@dataclass(frozen=True)
class ConformerSettings(Settings):
    """What is asked of `conformers`.

    Attributes:
        redraws: how often at most a draw that is a wrong diastereomer is made anew.
    """

    redraws: int = DEFAULT_REDRAWS

    def check(self) -> None:
        whole_number(self.redraws, "redraws")
        if not 0 <= self.redraws < MOST_ATTEMPTS:
            raise MoldiffError(f"redraws must be in 0 .. {MOST_ATTEMPTS - 1}, not {self.redraws}")
        super().check()


class Conformers(Job[Skeleton]):
    """Draws conformers.

    Args:
        settings: of the run.

    Attributes:
        mirrored, redrawn: conformers that were mirrored, attempts beyond the first.
    """

    columns = (
        "moldiff_id", *RECORD_COLUMNS, "status", "reason", *_FACTS, "smiles", "n_atoms", "evaluations",
    )  # fmt: skip

    def __init__(self, settings: ConformerSettings) -> None:
        super().__init__(settings)
        self.request = settings
        self._seen = seen_lengths(self.folder)
        self.mirrored = self.redrawn = 0

    def prepare(self, record: Record) -> Skeleton:
        assert record.mol is not None
        return skeleton(record.mol, self.model.vocabulary)

    def title(self, ask: Ask[Skeleton]) -> str:
        return ask.record.name or super().title(ask)

    def settle(
        self, asks: list[Ask[Skeleton]], workers: Workers, done: Callable[[], None], interruption: Interruption
    ) -> Iterator[Answer[Skeleton]]:
        drawer = self.request.drawer(self.model, False, workers)
        runner = TaskRunner(drawer, coordinate_walk(drawer))
        found: dict[int, MoleculeResult] = {}
        attempts = dict.fromkeys((ask.number for ask in asks), -1)
        pending, settled = asks, set[int]()
        while pending:
            planned = self._plan(pending, attempts, drawer.rows)
            tasks = [Task(key, ask.item.arrays) for key, (ask, _) in planned.items() if ask.item is not None]
            for draw in interruption.until(runner.run(tasks)):  # the attempts at one ask in order
                ask, attempt = planned[draw.number]
                if ask.item is not None and (ask.number not in found or _stereo_is_wrong(found[ask.number])):
                    decoder = ConformerDecoder(ask.item, self.model.vocabulary, self._seen)
                    found[ask.number] = assess(replace(draw, number=ask.number), decoder, properties=())
                    attempts[ask.number] = attempt
                    if not _stereo_is_wrong(found[ask.number]) or attempt == self.request.redraws:
                        settled.add(ask.number)
                        done()
            if interruption.number is not None:
                break
            pending = [
                ask
                for ask in pending
                if _stereo_is_wrong(found[ask.number]) and attempts[ask.number] < self.request.redraws
            ]
        for ask in asks:
            if ask.number in settled:
                yield self._answer(ask, found[ask.number], attempts[ask.number], drawer.evaluations)

    def _plan(
        self, pending: list[Ask[Skeleton]], attempts: dict[int, int], rows: int
    ) -> dict[int, tuple[Ask[Skeleton], int]]:
        """Return the attempts to make next, by noise key, those of one draw in order.

        A micro-batch costs the same however few of its rows are wanted, so later attempts fill it: should the first
        ones fail, they are there already. Which attempt is taken in the end does not depend on it.
        """
        widths = {ask.number: bucket_width(len(ask.item.arrays.atom_type)) for ask in pending if ask.item is not None}
        mates = Counter(widths.values())
        planned = {}
        for ask in pending:
            first = attempts[ask.number] + 1
            ahead = max(1, rows // mates[widths[ask.number]])
            for attempt in range(first, min(first + ahead, self.request.redraws + 1)):
                planned[record_key(ask.record.index, ask.draw, attempt)] = ask, attempt
        return planned

    def _answer(self, ask: Ask[Skeleton], found: MoleculeResult, attempt: int, evaluations: int) -> Answer[Skeleton]:
        facts = {"mirrored": "no", **found.facts, "redraws": attempt}
        self.redrawn += attempt
        self.mirrored += found.status == Status.VALID and facts["mirrored"] == "yes"
        return Answer(ask, replace(found, evaluations=evaluations * (attempt + 1)), facts)

    def details(self) -> list[str]:
        """Return one line."""
        return [
            f"{len(self.answered)} of {self.records} molecules have a conformer; {self.mirrored} conformers "
            f"mirrored; {self.redrawn} draws of wrong diastereomers made anew"
        ]


def _stereo_is_wrong(result: MoleculeResult) -> bool:
    return result.reason.partition(":")[0] == WRONG_STEREO


def coordinate_walk(drawer: Drawer) -> Callable[[MolBatch, Tensor], Sample]:
    """Return the walk from pure noise to coordinates for the graphs of a batch."""
    diffusion = CoordinateDiffusion(drawer.model.diffusion.position_std)
    curve = CleanGraphCurve.of(drawer.model.curve)

    def walk(batch: MolBatch, starts: Tensor) -> Sample:
        return sample(drawer.denoiser, diffusion, curve, batch, drawer.grid, drawer.solver, drawer.source)

    return walk


def conformers(
    molecules: Molecules,
    n: int = DEFAULT_CONFORMERS,
    *,
    model: str | Path = DEFAULT_MODEL,
    steps: int | None = None,
    sampler: str | None = None,
    seed: int = 0,
    batch_size: int = DEFAULT_BATCH_SIZE,
    device: str = "auto",
    precision: str = DEFAULT_PRECISION,
    keep_invalid: bool = False,
    grid: str | None = None,
    redraws: int = DEFAULT_REDRAWS,
) -> list[Mol]:
    """Return conformers as RDKit molecules with one conformer each, record by record, draw by draw.

    Atoms and bonds are those of the input, in its order; hydrogens that it leaves out come last. Stereo that the input
    specifies is kept, what it leaves open falls as it falls. Each carries the columns of the CSV as properties, among
    them ``record`` (place of its molecule, from 0), ``draw``, ``mirrored`` and ``redraws``. It is a function of the
    model, the molecule, its place, the number of the draw and the other arguments, not of n or the batch size.

    Args:
        molecules: a molecule file (coordinates in it only decide stereo), or RDKit molecules.
        n: draws for each molecule.
        steps, sampler, grid: as in `moldiff.generation.generate.generate`; any sampler will do.
        model, seed, batch_size, device, precision, keep_invalid: likewise.
        redraws: how often at most a draw that is a wrong diastereomer is made anew.

    Raises:
        MoldiffError: an argument out of range, no such file, model or device, or no molecule that the model can spell.
    """
    check_flag(keep_invalid, "keep_invalid")
    steps, sampler, grid = sampling_of(model).conformers.filled(steps, sampler, grid)
    job = Conformers(
        ConformerSettings(n, str(model), steps, sampler, grid, seed, batch_size, device, precision, redraws)
    )
    return molecules_of(job.answers(molecules), job.columns, keep_invalid)


def conformer_files(
    molecules: Path,
    out: Path,
    *,
    n: int = DEFAULT_CONFORMERS,
    model: str = DEFAULT_MODEL,
    steps: int | None = None,
    sampler: str | None = None,
    seed: int = 0,
    batch_size: int | None = None,
    device: str = "auto",
    precision: str = DEFAULT_PRECISION,
    keep_invalid: bool = False,
    grid: str | None = None,
    redraws: int | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Told:
    """Write conformers of a file's molecules into ``out`` (SDF), the CSV beside it and run.json; see `conformers`.

    Raises:
        MoldiffError: see `conformers`; or an output exists, or cannot be written.
    """
    started = time.monotonic()
    steps, sampler, grid = sampling_of(model).conformers.filled(steps, sampler, grid)
    settings = ConformerSettings(
        n,
        model,
        steps,
        sampler,
        grid,
        seed,
        DEFAULT_BATCH_SIZE if batch_size is None else batch_size,
        device,
        precision,
        DEFAULT_REDRAWS if redraws is None else redraws,
    )
    settings.check()
    check_outputs(out, overwrite)
    return write_answers(
        Conformers(settings), molecules, out, keep_invalid=keep_invalid, progress=progress, started=started
    )
