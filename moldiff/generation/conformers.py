"""Conformers: the graph of a molecule is given, its coordinates are sampled.

Mirror images are equally likely to the model, and it knows no stereo. So what comes out with all centres inverted is
mirrored, and a wrong diastereomer is thrown away and drawn anew, up to a number of times, and so is a geometry with odd
bond lengths or clashes; both are told.
"""

from __future__ import annotations

import itertools
import logging
import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from moldiff.arguments import check_flag, choice, number, refusal, whole_number, with_plain_numbers
from moldiff.chem.conformer_set import InOrder
from moldiff.chem.filters.hazards import Gate, HazardGate
from moldiff.chem.io.inputs import Molecules
from moldiff.chem.io.outputs import WITH_COORDINATES
from moldiff.chem.io.records import Record
from moldiff.chem.io.tables import Columns, check_columns
from moldiff.chem.topology import Topology, topology_of
from moldiff.choices import EnergyMethod, Precision
from moldiff.config import MethodConfig, SamplingConfig
from moldiff.datasets.batching import bucket_width
from moldiff.devices import whatever_the_default
from moldiff.diffusion.fixed_graph import CleanGraphSchedule, CoordinateDiffusion
from moldiff.errors import MoldiffError
from moldiff.extras import XTB
from moldiff.generation.conformer_checks import (
    Attempt,
    assess_attempts,
    assess_conformer,
    in_order,
    is_wrong,
    seen_lengths,
)
from moldiff.generation.decoding.hydrogens import hydrogen_columns
from moldiff.generation.fitting_model import fitting_model
from moldiff.generation.from_records import RecordOptions, RecordRun, RecordTask
from moldiff.generation.molecule_result import MoleculeResult
from moldiff.generation.options.sampler_options import ResolvedSampler, SamplerOptions
from moldiff.generation.result import Result, result_of
from moldiff.generation.run import Progress
from moldiff.interruption import Interruption
from moldiff.models.loaded import LoadedModel
from moldiff.molecules import MolBatch
from moldiff.processes import DEADLINE_S, Lost
from moldiff.randomness import Walk, record_key
from moldiff.sampling.molecule_sampler import MOST_ATTEMPTS, MoleculeSampler, Task, TaskRunner
from moldiff.sampling.sampler import Sample, sample
from moldiff.status import Status
from moldiff.threads import Workers

if TYPE_CHECKING:
    from rdkit.Chem import Mol

logger = logging.getLogger(__name__)

DEFAULT_CONFORMERS = 10
DEFAULT_REDRAWS = 10
DIFFERENT = 0.5  # angstrom between conformers that are counted as different, if none is asked for
_FACTS = ("mirrored", "redraws", "energy_kcal_mol", "energy_rank", "same_as")
_COLUMNS = ("status", "reason", *_FACTS, "smiles", "n_atoms", "evaluations")


@dataclass(frozen=True, kw_only=True)
class ConformerOptions(RecordOptions):
    """Options of `conformers`.

    Attributes:
        redraws: how often at most a draw that is a wrong diastereomer, or whose geometry is odd, is made anew.
        rms: conformers of a stereoisomer that lie within this root mean square distance of heavy atoms (angstrom) of
            one of lower energy are duplicates; None = all are kept.
        energy: by which conformers of a molecule are compared.
    """

    redraws: int = DEFAULT_REDRAWS
    rms: float | None = None
    energy: EnergyMethod = EnergyMethod.MMFF94S

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= whole_number(self.redraws, "redraws") < MOST_ATTEMPTS:
            raise refusal("redraws", f"in 0 .. {MOST_ATTEMPTS - 1}", self.redraws)
        if self.rms is not None and not 0 < number(self.rms, "rms") < math.inf:
            raise MoldiffError(f"rms must be a distance above 0, in angstrom, not {self.rms:g}", argument="rms")
        if self.output is not None and not self.output.kind.has_coordinates:
            known = ", ".join(kind.suffix for kind in WITH_COORDINATES)
            raise MoldiffError(
                f"{self.output.path}: conformers are coordinates; the output must end in one of {known}", argument="out"
            )
        if self.energy is EnergyMethod.GFN2:
            XTB.require("energy gfn2", "energy")

    def record(self, sampler: ResolvedSampler) -> dict[str, object]:
        own = {"redraws": self.redraws, "rms": self.rms, "energy": str(self.energy)}
        return {**super().record(sampler), **own}


class ConformerRun(RecordRun[Topology]):
    """Draws conformers.

    Args:
        options: of the run.
        molecules: whose conformers.
        gate: see `Run`.

    Attributes:
        mirrored, redrawn: conformers that were mirrored, attempts beyond the first.
        valid, different: conformers that are valid, and those among them that are like no other of lower energy.
    """

    task, walk = "conformers", Walk.CONFORMER

    def __init__(self, options: ConformerOptions, molecules: Molecules, gate: Gate | None = None) -> None:
        super().__init__(options, molecules, gate)
        self.options = options
        seen = seen_lengths(self.folder)
        self.columns = ("moldiff_id", *self.record_columns, *_COLUMNS, *hydrogen_columns(self.model.vocabulary))
        self._work = partial(assess_conformer, vocabulary=self.model.vocabulary, seen=seen, gate=self.gate)
        self.mirrored = self.redrawn = self.valid = self.different = 0

    @staticmethod
    def defaults(sampling: SamplingConfig) -> MethodConfig:
        return sampling.conformers

    @property
    def prepare(self) -> Callable[[Mol], Topology]:
        return partial(topology_of, vocabulary=self.model.vocabulary)

    def _made(
        self, workers: Workers, progress: Progress | None, interruption: Interruption
    ) -> Iterator[MoleculeResult]:
        made = super()._made(workers, progress, interruption)
        for _, group in itertools.groupby(made, key=lambda result: result.facts["record"]):
            yield from self._compared(list(group))

    def _compared(self, results: list[MoleculeResult]) -> list[MoleculeResult]:
        """Return the results of one molecule with energies and ranks among those of the same stereoisomer, as
        conformers of another are another molecule's; of those that are the same as one of lower energy, which it is."""
        isomers: dict[str, list[int]] = {}
        for place, result in enumerate(results):
            if result.status == Status.VALID:
                isomers.setdefault(result.smiles, []).append(place)
        found = self._in_order([[results[place] for place in places] for places in isomers.values()])
        for places, (energies, order, same) in zip(isomers.values(), found, strict=True):
            for rank, (k, before) in enumerate(zip(order, same, strict=True), start=1):
                facts = {**results[places[k]].facts, "energy_kcal_mol": energies[k], "energy_rank": rank}
                other = None if before is None else self.id_of(results[places[order[before]]].number)
                results[places[k]] = self._ranked(results[places[k]], facts, other)
        return results

    def _ranked(self, result: MoleculeResult, facts: dict[str, object], other: str | None) -> MoleculeResult:
        """Return a result with its rank, and the conformer that it is the same as, None = no other."""
        if other is None:
            return replace(result, facts=facts)
        result = replace(result, facts={**facts, "same_as": other})
        if self.options.rms is None:
            return result
        reason = f"duplicate: within {self.options.rms:g} angstrom of conformer {other}"
        return replace(result, status=Status.DUPLICATE, reason=reason)

    def _in_order(self, isomers: list[list[MoleculeResult]]) -> Iterator[InOrder]:
        """Yield how the valid conformers of each stereoisomer compare; if that costs the worker, they are all that is
        known of."""
        work = partial(in_order, method=self.options.energy, threshold=self.options.rms or DIFFERENT)
        for valid, found in zip(isomers, self.pool.map_items(work, isomers, timeout_s=DEADLINE_S), strict=True):
            if not isinstance(found, Lost):
                yield found
                continue
            record = valid[0].facts["record"]
            logger.warning("conformers of record %s cannot be compared with each other: %s", record, found.reason)
            yield [math.nan] * len(valid), list(range(len(valid))), [None] * len(valid)

    def title(self, record: Record) -> str:
        return record.name

    def settle(
        self, asks: list[RecordTask[Topology]], workers: Workers, done: Callable[[], None], interruption: Interruption
    ) -> Iterator[MoleculeResult]:
        sampler = self.molecule_sampler(False, workers)
        runner = TaskRunner(sampler, coordinate_walk(sampler))
        found: dict[int, MoleculeResult] = {}
        attempts = dict.fromkeys((ask.number for ask in asks), -1)
        pending, settled = asks, set[int]()
        while pending:
            planned = self._plan(pending, attempts, sampler.rows)
            tasks = [Task(key, ask.item.arrays) for key, (ask, _) in planned.items() if ask.item is not None]
            drawn = interruption.until(runner.run(tasks))  # the attempts at one ask in order
            while some := list(itertools.islice(drawn, sampler.rows)):
                tries = [
                    Attempt(ask.number, attempt, draw, ask.item)
                    for draw in some
                    for ask, attempt in [planned[draw.number]]
                ]
                judged = assess_attempts(tries, found, self._work, self.pool)
                # a signal ends the wait for a molecule, but what was drawn before it came is still looked at
                for one, result in judged if interruption.number is not None else interruption.until(judged):
                    found[one.number], attempts[one.number] = result, one.attempt
                    if not is_wrong(result) or one.attempt == self.options.redraws:
                        settled.add(one.number)
                        done()
            if interruption.number is not None:
                break
            pending = [
                ask for ask in pending if is_wrong(found[ask.number]) and attempts[ask.number] < self.options.redraws
            ]
        for ask in asks:
            if ask.number in settled:
                yield self._result(found[ask.number], attempts[ask.number], sampler.evaluations)

    def _plan(
        self, pending: list[RecordTask[Topology]], attempts: dict[int, int], rows: int
    ) -> dict[int, tuple[RecordTask[Topology], int]]:
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
            for attempt in range(first, min(first + ahead, self.options.redraws + 1)):
                planned[record_key(ask.record.index, ask.draw, attempt)] = ask, attempt
        return planned

    def _result(self, found: MoleculeResult, attempt: int, evaluations: int) -> MoleculeResult:
        facts = {"mirrored": "no", **found.facts, "redraws": attempt}
        return replace(found, evaluations=evaluations * (attempt + 1), facts=facts)

    def whole(self, count: int) -> int:
        return count - count % self.options.n  # conformers of a molecule are compared with each other

    def note(self, result: MoleculeResult) -> None:
        super().note(result)
        self.redrawn += int(str(result.facts.get("redraws", 0)))
        if result.status in (Status.VALID, Status.DUPLICATE):
            self.valid += 1
            self.mirrored += result.facts["mirrored"] == "yes"
            self.different += "same_as" not in result.facts

    def details(self) -> list[str]:
        """Return the lines behind the counts."""
        return [
            f"{len(self.answered)} of {self.records} molecules have a conformer; {self.mirrored} conformers "
            f"mirrored; {self.redrawn} draws of wrong stereo or odd geometry made anew",
            f"{self.different} of {self.valid} valid conformers are different, by {self.options.rms or DIFFERENT:g} "
            f"angstrom or more (heavy atoms); energies by {self.options.energy}, above the lowest of each "
            "stereoisomer",
        ]


def coordinate_walk(sampler: MoleculeSampler) -> Callable[[MolBatch, torch.Tensor], Sample]:
    """Return the walk from pure noise to coordinates for the graphs of a batch."""
    diffusion = CoordinateDiffusion(sampler.model.diffusion.position_std)
    schedule = CleanGraphSchedule.of(sampler.model.schedule)

    def walk(batch: MolBatch, start_times: torch.Tensor) -> Sample:
        return sample(
            sampler.denoiser, diffusion, schedule, batch, sampler.grid, sampler.solver, sampler.source,
            attempt=Walk.CONFORMER,
        )  # fmt: skip

    return walk


@with_plain_numbers
@whatever_the_default
def conformers(
    molecules: Molecules,
    n: int = DEFAULT_CONFORMERS,
    *,
    model: str | Path | LoadedModel | None = None,
    evaluations: int | None = None,
    sampler: str | None = None,
    seed: int = 0,
    batch_size: int | None = None,
    device: str | torch.device = "auto",
    precision: str | torch.dtype = Precision.AUTO,
    keep_invalid: bool = False,
    grid: str | None = None,
    redraws: int = DEFAULT_REDRAWS,
    heavy_only: bool = False,
    hazard_lists: str | Path | Iterable[str | Path] = (),
    workers: int = 0,
    rms: float | None = None,
    energy: str = EnergyMethod.MMFF94S,
    columns: Columns | None = None,
    steps: int | None = None,
) -> Result:
    """Make conformers; the `Result` holds RDKit molecules with one conformer each, record by record, draw by draw.

    >>> import moldiff
    >>> result = moldiff.conformers(["CCO", "CC=O"], 2, evaluations=2)
    >>> [int(place) for place in result.table["record"]]
    [0, 0, 1, 1]

    Atoms and bonds are those of the input, in its order; hydrogens that it leaves out come last. Stereo that the input
    specifies is kept, what it leaves open falls as it falls. Each carries the columns of the CSV as properties, among
    them ``record`` (place of its molecule, from 0), ``draw``, ``mirrored`` and ``redraws``. It is a function of the
    model, the molecule, its place, the number of the draw and the other arguments, not of n or the batch size.

    Args:
        molecules: a molecule file (coordinates in it only decide stereo), RDKit molecules or SMILES: one, a list, a
            generator, a column, a supplier.
        n: draws for each molecule.
        evaluations, sampler, grid: as in `moldiff.generation.generate.generate`; any sampler will do.
        model: None = the built-in model that the first molecules fit
            (`moldiff.generation.fitting_model.fitting_model`).
        seed, batch_size, device, precision, keep_invalid, heavy_only, hazard_lists, workers: as there.
        redraws: how often at most a draw that is a wrong diastereomer, or whose geometry is odd, is made anew.
        rms: angstrom; conformers of a stereoisomer that lie closer (heavy atoms, symmetry allowed for) to one of lower
            energy are duplicates and left out. Which ones depends on n.
        energy: "mmff94s" or "gfn2" (extra ``xtb``), at the conformer's own coordinates. In the table,
            ``energy_kcal_mol`` is above the lowest of the stereoisomer (which ``smiles`` tells), ``energy_rank``
            counts from 1 in each, ``same_as`` is the conformer of lower energy that it repeats (within ``rms``, or 0.5
            angstrom).
        columns: where files that are tables have their SMILES and names; None = it is found out.

    Raises:
        MoldiffError: an argument out of range, no such file, model or device, or no molecule that the model can spell.
    """
    check_flag(keep_invalid, "keep_invalid")
    check_columns(columns)
    sampling = SamplerOptions.of(
        evaluations=evaluations, steps=steps, sampler=sampler, grid=grid, seed=seed, batch_size=batch_size,
        device=device, precision=precision,
    )  # fmt: skip
    options = ConformerOptions(
        n=n,
        model=fitting_model(molecules, columns, workers) if model is None else model,
        columns=columns,
        redraws=redraws,
        rms=rms,
        energy=choice(energy, EnergyMethod, "energy"),
        sampler=sampling, heavy_only=heavy_only, hazards=HazardGate.of(hazard_lists), workers=workers,
    )  # fmt: skip
    return result_of(ConformerRun(options, molecules), keep_invalid)
