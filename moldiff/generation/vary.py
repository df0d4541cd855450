"""Variations of given molecules: noised in part, and walked down again.

Noise up to time t and the exact reverse process from there on leave the law of the data as it is, and what t leaves of
a molecule decides how much of it comes back: near 0 the molecule itself, at 1 any molecule of its size.
"""

from __future__ import annotations

import math
import re
from array import array
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from moldiff.arguments import check_flag, choice, number, refusal, with_plain_numbers
from moldiff.chem.filters.hazards import Gate, HazardGate
from moldiff.chem.io.inputs import Molecules
from moldiff.choices import Decoding, Precision
from moldiff.devices import whatever_the_default
from moldiff.errors import MoldiffError
from moldiff.generation.decoding.decoders import DECODERS
from moldiff.generation.decoding.hydrogens import hydrogen_columns, with_hydrogens
from moldiff.generation.fitting_model import fitting_model
from moldiff.generation.from_records import RecordOptions, RecordRun, RecordTask
from moldiff.generation.molecule_result import CHUNK, COLUMNS, MoleculeResult, failed
from moldiff.generation.options.sampler_options import ResolvedSampler, SamplerOptions
from moldiff.generation.result import Result, result_of
from moldiff.generation.variations import SAME, Seed, assess_variation, seed_of
from moldiff.interruption import Interruption
from moldiff.models.loaded import LoadedModel
from moldiff.molecules import MolBatch
from moldiff.processes import DEADLINE_S, Lost
from moldiff.randomness import Walk, record_key
from moldiff.sampling.demands import NO_CONSTRAINTS
from moldiff.sampling.molecule_sampler import MoleculeSampler, Task, TaskRunner
from moldiff.sampling.sampler import Sample, resample
from moldiff.status import Status
from moldiff.threads import Workers

if TYPE_CHECKING:
    from rdkit.Chem import Mol

DEFAULT_STRENGTH = (0.3, 0.6)  # where molecules change, but not all of them, see scripts/benchmarks/results/vary.md
DEFAULT_VARIATIONS = 10
_FACTS = ("strength", "similarity", "same_molecule")
_COLUMNS = (*_FACTS, *(name for name in COLUMNS[2:] if name != "renoised"))
_NUMBER = r"\d{1,3}(?:\.\d{1,9})?|\.\d{1,9}"
_STRENGTH = re.compile(rf"({_NUMBER})(?:\.\.({_NUMBER}))?", flags=re.ASCII)
_BINS = 4  # of strengths, in the summary


@dataclass(frozen=True, kw_only=True)
class VaryOptions(RecordOptions):
    """Options of `vary`.

    Attributes:
        strength: ends of the range of times up to which molecules are noised, 0 < low <= high <= 1.
        decode: what becomes of an invalid molecule.
    """

    strength: tuple[float, float] = DEFAULT_STRENGTH
    decode: Decoding = Decoding.ARGMAX

    def __post_init__(self) -> None:
        super().__post_init__()
        low, high = self.strength
        for value in (low, high):
            if not 0 < value <= 1:  # NaN is neither
                raise MoldiffError(f"strength must be above 0 and at most 1, not {value:g}", argument="strength")
        if low > high:
            raise MoldiffError(
                f"strength {low:g}..{high:g}: the range is empty; write {high:g}..{low:g}", argument="strength"
            )

    def record(self, sampler: ResolvedSampler) -> dict[str, object]:
        own = {"strength": list(self.strength), "decode": str(self.decode), "add_hydrogens": self.add_hydrogens}
        return super().record(sampler) | own

    def strength_of(self, draw: int) -> float:
        """Return the strength of a record's draw: evenly spread, the first and the last at the ends of the range."""
        low, high = self.strength
        return low + (high - low) * (draw / (self.n - 1) if self.n > 1 else 0.5)


class VaryRun(RecordRun[Seed]):
    """Draws variations.

    Args:
        options: of the run.
        molecules: to vary.
        gate: see `Run`.
    """

    task, walk = "vary", Walk.VARIATION
    own_options = frozenset({"n"})  # strengths are spread over the draws

    def __init__(self, options: VaryOptions, molecules: Molecules, gate: Gate | None = None) -> None:
        super().__init__(options, molecules, gate)
        self.options, source = options, str(self.folder.path)
        decoder = DECODERS[options.decode](self.model.vocabulary, self.folder.references, source, NO_CONSTRAINTS)
        self._decoder = with_hydrogens(decoder, self.model.vocabulary)
        self.columns = (COLUMNS[0], *self.record_columns, *_COLUMNS, *hydrogen_columns(self.model.vocabulary))
        # of each draw: its strength, a letter of same_molecule, its similarity; " ", NaN if it is not valid
        self._strengths, self._same, self._similarities = array("d"), bytearray(), array("d")

    @property
    def prepare(self) -> Callable[[Mol], Seed]:
        return partial(seed_of, vocabulary=self.model.vocabulary)

    def settle(
        self, asks: list[RecordTask[Seed]], workers: Workers, done: Callable[[], None], interruption: Interruption
    ) -> Iterator[MoleculeResult]:
        sampler = self.molecule_sampler(True, workers)
        by_key = {record_key(ask.record.index, ask.draw): ask for ask in asks}
        tasks = [
            Task(key, ask.item.arrays, self.options.strength_of(ask.draw))
            for key, ask in by_key.items()
            if ask.item is not None
        ]
        drawn = {}
        for draw in interruption.until(TaskRunner(sampler, noised_walk(sampler)).run(tasks)):
            drawn[draw.number] = draw
            done()
        made = [(ask, replace(drawn[key], number=ask.number)) for key, ask in by_key.items() if key in drawn]
        work = partial(assess_variation, decoder=self._decoder, gate=self.gate)
        pairs = ((draw, ask.item) for ask, draw in made)
        results = self.pool.map_items(work, pairs, chunk=CHUNK, timeout_s=DEADLINE_S)
        for (ask, _), found in zip(made, results, strict=True):
            result = failed(ask.number, found) if isinstance(found, Lost) else found
            facts = {"strength": float(self.options.strength_of(ask.draw)), **result.facts}
            yield replace(result, evaluations=sampler.evaluations, facts=facts)

    def note(self, result: MoleculeResult) -> None:
        super().note(result)
        if (strength := result.facts.get("strength")) is None:
            return  # of a record that cannot be varied
        same, similarity = str(result.facts.get("same_molecule", "")), float(str(result.facts.get("similarity", "nan")))
        valid = result.status == Status.VALID
        self._strengths.append(float(str(strength)))
        self._same.append(ord(same[:1] if valid and same else " "))
        self._similarities.append(similarity if valid else math.nan)

    def details(self) -> list[str]:
        """Return for up to four ranges of strength how many variations are valid, the seed itself, and how similar."""
        low, high = self.options.strength
        edges = np.linspace(low, high, (_BINS if high > low else 1) + 1)
        same = np.frombuffer(self._same, dtype=np.uint8)
        bins = np.clip(np.searchsorted(edges, self._strengths, side="right") - 1, 0, len(edges) - 2)
        lines = []
        for k in np.unique(bins).tolist():
            valid = (bins == k) & (same != ord(" "))
            label = f"{edges[k]:.2f}..{edges[k + 1]:.2f}" if high > low else f"{low:g}"
            line = f"strength {label}: {(bins == k).sum()} drawn, {valid.sum()} valid"
            if valid.any():
                known = (same[valid] == ord(SAME[0])).sum()
                mean = np.mean(np.asarray(self._similarities)[valid])
                line += f", of these {known} the seed itself; mean similarity {mean:.2f}"
            lines.append(line)
        return lines


def noised_walk(sampler: MoleculeSampler) -> Callable[[MolBatch, torch.Tensor], Sample]:
    """Return the walk that noises each row of a batch to its start and comes down on the sampler's grid, scaled."""
    model = sampler.model

    def walk(batch: MolBatch, start_times: torch.Tensor) -> Sample:
        grid = (sampler.grid / sampler.grid[0]).to(start_times.device)[:, None] * start_times[None, :]
        return resample(
            sampler.denoiser, model.diffusion, model.schedule, batch, grid, sampler.solver, sampler.source,
            Walk.VARIATION,
        )  # fmt: skip

    return walk


@with_plain_numbers
@whatever_the_default
def vary(
    molecules: Molecules,
    n: int = DEFAULT_VARIATIONS,
    *,
    strength: float | tuple[float, float] | str = DEFAULT_STRENGTH,
    model: str | Path | LoadedModel | None = None,
    evaluations: int | None = None,
    sampler: str | None = None,
    seed: int = 0,
    batch_size: int | None = None,
    device: str | torch.device = "auto",
    precision: str | torch.dtype = Precision.AUTO,
    keep_invalid: bool = False,
    decode: str = Decoding.ARGMAX,
    grid: str | None = None,
    temperature: float | None = None,
    heavy_only: bool = False,
    hazard_lists: str | Path | Iterable[str | Path] = (),
    workers: int = 0,
    add_hydrogens: bool = False,
    steps: int | None = None,
) -> Result:
    """Make variations of molecules; the `Result` holds them as RDKit molecules, record by record, draw by draw.

    >>> import moldiff
    >>> seeds = moldiff.generate(1, n_atoms=5, evaluations=10, keep_invalid=True)
    >>> result = moldiff.vary(seeds, 2, strength=0.1, evaluations=2)
    >>> [float(strength) for strength in result.table["strength"]]
    [0.1, 0.1]

    Each carries the columns of the CSV as properties, among them ``record`` (place of its seed, from 0), ``strength``,
    ``similarity`` (Tanimoto similarity to the seed, Morgan fingerprints of radius 2, 2048 bits) and ``same_molecule``
    ("yes", "stereoisomer" or "no"). It lies where its seed lies. It is a function of the model, the seed molecule, its
    place, the number of the draw, its strength and the other arguments, not of the batch size.

    Args:
        molecules: a molecule file with 3D coordinates, or RDKit molecules with a 3D conformer: one, a list, a `Result`,
            a generator, a column, a supplier.
        n: draws for each molecule.
        strength: time up to which a molecule is noised, 0 < strength <= 1; of a range, a pair or a text such as
            "0.1..0.8", evenly spread over the n draws.
        add_hydrogens: place the hydrogens that molecules leave out, such as docked poses with polar ones alone.
        model: None = the built-in model that the first molecules fit
            (`moldiff.generation.fitting_model.fitting_model`).
        evaluations, sampler, seed, batch_size, device, precision, keep_invalid, decode, grid, temperature, heavy_only,
            hazard_lists, workers: as in `moldiff.generation.generate.generate`. All steps fall between the strength and
            0.

    Raises:
        MoldiffError: an argument out of range, no such file, model or device, or no molecule that can be varied.
    """
    check_flag(keep_invalid, "keep_invalid")
    sampling = SamplerOptions.of(
        evaluations=evaluations,
        steps=steps,
        sampler=sampler,
        grid=grid,
        temperature=temperature,
        seed=seed,
        batch_size=batch_size,
        device=device,
        precision=precision,
    )
    options = VaryOptions(
        n=n,
        model=fitting_model(molecules, workers=workers) if model is None else model,
        strength=read_strength(strength),
        decode=choice(decode, Decoding, "decode"),
        add_hydrogens=add_hydrogens,
        sampler=sampling,
        heavy_only=heavy_only,
        hazards=HazardGate.of(hazard_lists),
        workers=workers,
    )
    return result_of(VaryRun(options, molecules), keep_invalid)


def read_strength(strength: object) -> tuple[float, float]:
    """Return the ends of a strength: a number, a pair, or a text such as ``0.4`` or ``0.1..0.8``; MoldiffError if it is
    none of these."""
    if isinstance(strength, str):
        match = _STRENGTH.fullmatch(strength.strip())
        if match is None:
            raise MoldiffError(
                f"strength {strength}: expected a number such as 0.4 or a range such as 0.1..0.8", argument="strength"
            )
        return float(match[1]), float(match[2] or match[1])
    ends = tuple(strength) if isinstance(strength, tuple | list) else (strength, strength)
    if len(ends) != 2:
        raise refusal("strength", 'a number, a pair of them or a text such as "0.1..0.8"', strength)
    return number(ends[0], "strength"), number(ends[1], "strength")
