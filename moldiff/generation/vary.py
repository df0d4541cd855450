"""Variations of given molecules: noised in part, and walked down again.

Noise up to time t and the exact reverse process from there on leave the law of the data as it is, and what t leaves of
a molecule decides how much of it comes back: near 0 the molecule itself, at 1 any molecule of its size.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

from moldiff.arguments import check_flag, check_known, check_text, number, refusal
from moldiff.arrays import MolArrays
from moldiff.chem.convert import EncodingError, decode, encode
from moldiff.chem.descriptors.fingerprints import nearest_similarity
from moldiff.chem.identity import canonical_smiles
from moldiff.chem.io.records import Record
from moldiff.devices import DEFAULT_PRECISION
from moldiff.errors import MoldiffError
from moldiff.generation.decoding.decoders import DECODERS, DEFAULT_DECODER
from moldiff.generation.from_records import RECORD_COLUMNS, Answer, Ask, Job, Molecules, Progress, Settings
from moldiff.generation.generate import DEFAULT_BATCH_SIZE
from moldiff.generation.results import COLUMNS, MoleculeResult, assess, guarded
from moldiff.generation.writer import Told, check_outputs, molecules_of, write_answers
from moldiff.interruption import Interruption
from moldiff.models.contents import sampling_of
from moldiff.models.folder import DEFAULT_MODEL
from moldiff.molecules import MolBatch
from moldiff.randomness import record_key
from moldiff.sampling.constraints import NO_DEMANDS
from moldiff.sampling.molecule_sampler import Draw, Drawer, Task, TaskRunner
from moldiff.sampling.sampler import Sample, resample
from moldiff.status import Status
from moldiff.threads import Workers

if TYPE_CHECKING:
    from rdkit.Chem import Mol

DEFAULT_STRENGTH = (0.3, 0.6)  # where molecules change, but not all of them, see scripts/benchmarks/results/vary.md
DEFAULT_VARIATIONS = 10
SAME, STEREOISOMER, OTHER = "yes", "stereoisomer", "no"
_FACTS = ("strength", "similarity", "same_molecule")
_NUMBER = r"\d{1,3}(?:\.\d{1,9})?|\.\d{1,9}"
_STRENGTH = re.compile(rf"({_NUMBER})(?:\.\.({_NUMBER}))?", flags=re.ASCII)
_BINS = 4  # of strengths, in the summary


@dataclass(frozen=True)
class VarySettings(Settings):
    """What is asked of `vary`.

    Attributes:
        strength: ends of the range of times up to which molecules are noised, 0 < low <= high <= 1.
        decode: one of `moldiff.generation.decoding.decoders.DECODERS`.
    """

    strength: tuple[float, float] = DEFAULT_STRENGTH
    decode: str = DEFAULT_DECODER

    def check(self) -> None:
        low, high = self.strength
        for value in (low, high):
            if not 0 < value <= 1:  # NaN is neither
                raise MoldiffError(f"strength must be above 0 and at most 1, not {value:g}")
        if low > high:
            raise MoldiffError(f"strength {low:g}..{high:g}: the range is empty; write {high:g}..{low:g}")
        check_text(self.decode, "decode")
        check_known("decoding", self.decode, DECODERS)
        super().check()

    def strength_of(self, draw: int) -> float:
        """Return the strength of a record's draw: evenly spread, the first and the last at the ends of the range."""
        low, high = self.strength
        return low + (high - low) * (draw / (self.n - 1) if self.n > 1 else 0.5)


@dataclass(frozen=True)
class Seed:
    """A molecule to vary.

    Attributes:
        arrays: zero mean.
        centre: (3,) where its mean was, angstrom.
        smiles, flat: canonical SMILES with and without stereo.
    """

    arrays: MolArrays
    centre: np.ndarray
    smiles: str
    flat: str


class Variations(Job[Seed]):
    """Draws variations.

    Args:
        settings: of the run.
    """

    columns = (COLUMNS[0], *RECORD_COLUMNS, *_FACTS, *(name for name in COLUMNS[1:] if name != "renoised"))

    def __init__(self, settings: VarySettings) -> None:
        super().__init__(settings)
        self.request = settings
        source = str(self.folder.path)
        self._decoder = DECODERS[settings.decode](self.model.vocabulary, self.folder.references, source, NO_DEMANDS)
        self._seen: list[tuple[float, str, float]] = []  # strength, same_molecule, similarity; "", NaN if not valid

    def prepare(self, record: Record) -> Seed:
        assert record.mol is not None
        arrays = encode(record.mol, self.model.vocabulary)
        centre = arrays.pos.astype(np.float64).mean(0)
        centred = replace(arrays, pos=(arrays.pos - centre).astype(np.float32))
        # as the model spells it: what it cannot spell, such as isotopes, is no difference to a variation
        conversion = decode(arrays, self.model.vocabulary)
        if conversion.mol is None:
            raise EncodingError(conversion.reason)
        smiles, flat = (canonical_smiles(conversion.mol, stereo=stereo) for stereo in (True, False))
        return Seed(centred, centre, smiles, flat)

    def settle(
        self, asks: list[Ask[Seed]], workers: Workers, done: Callable[[], None], interruption: Interruption
    ) -> Iterator[Answer[Seed]]:
        drawer = self.request.drawer(self.model, True, workers)
        by_key = {record_key(ask.record.index, ask.draw): ask for ask in asks}
        tasks = [
            Task(key, ask.item.arrays, self.request.strength_of(ask.draw))
            for key, ask in by_key.items()
            if ask.item is not None
        ]
        drawn = {}
        for draw in interruption.until(TaskRunner(drawer, noised_walk(drawer)).run(tasks)):
            drawn[draw.number] = draw
            done()
        for key, ask in by_key.items():
            if key in drawn:
                yield self._answer(ask, drawn[key], drawer.evaluations)

    def _answer(self, ask: Ask[Seed], draw: Draw, evaluations: int) -> Answer[Seed]:
        seed, strength = ask.item, self.request.strength_of(ask.draw)
        assert seed is not None
        draw = replace(draw, number=ask.number)
        if draw.arrays is not None:
            pos = (draw.arrays.pos + seed.centre).astype(np.float32)
            draw = replace(draw, arrays=replace(draw.arrays, pos=pos))
        result = guarded(ask.number, lambda: _compared(assess(draw, self._decoder), seed))
        same, similarity = str(result.facts.get("same_molecule", "")), float(str(result.facts.get("similarity", "nan")))
        self._seen.append((strength, same, similarity) if result.status == Status.VALID else (strength, "", math.nan))
        facts = {"strength": f"{strength:.6g}", **result.facts}
        return Answer(ask, replace(result, evaluations=evaluations), facts)

    def details(self) -> list[str]:
        """Return for up to four ranges of strength how many variations are valid, the seed itself, and how similar."""
        low, high = self.request.strength
        edges = np.linspace(low, high, (_BINS if high > low else 1) + 1)
        strengths = np.array([strength for strength, _, _ in self._seen])
        bins = np.clip(np.searchsorted(edges, strengths, side="right") - 1, 0, len(edges) - 2)
        lines = []
        for k in np.unique(bins).tolist():
            rows = [self._seen[place] for place in np.flatnonzero(bins == k)]
            valid = [(same, similarity) for _, same, similarity in rows if same]
            label = f"{edges[k]:.2f}..{edges[k + 1]:.2f}" if high > low else f"{low:g}"
            line = f"strength {label}: {len(rows)} drawn, {len(valid)} valid"
            if valid:
                known = sum(same == SAME for same, _ in valid)
                mean = np.mean([similarity for _, similarity in valid])
                line += f", of these {known} the seed itself; mean similarity {mean:.2f}"
            lines.append(line)
        return lines


def noised_walk(drawer: Drawer) -> Callable[[MolBatch, Tensor], Sample]:
    """Return the walk that noises each row of a batch to its start and comes down on the drawer's grid, scaled."""
    model = drawer.model

    def walk(batch: MolBatch, starts: Tensor) -> Sample:
        grid = (drawer.grid / drawer.grid[0]).to(starts.device)[:, None] * starts[None, :]
        return resample(
            drawer.denoiser, model.diffusion, model.curve, batch, grid, drawer.solver, drawer.source, attempt=0
        )

    return walk


def _compared(result: MoleculeResult, seed: Seed) -> MoleculeResult:
    """Return a result with the facts of how near its molecule, if its chemistry is sound, came to its seed."""
    if result.mol is None or not result.smiles:
        return result
    same = OTHER
    if result.smiles == seed.smiles:
        same = SAME
    elif canonical_smiles(result.mol, stereo=False) == seed.flat:
        same = STEREOISOMER
    similarity = float(nearest_similarity([result.smiles], [seed.smiles])[0])
    return replace(result, facts={"same_molecule": same, "similarity": f"{similarity:.6g}"})


def vary(
    molecules: Molecules,
    n: int = DEFAULT_VARIATIONS,
    *,
    strength: float | tuple[float, float] | str = DEFAULT_STRENGTH,
    model: str | Path = DEFAULT_MODEL,
    steps: int | None = None,
    sampler: str | None = None,
    seed: int = 0,
    batch_size: int = DEFAULT_BATCH_SIZE,
    device: str = "auto",
    precision: str = DEFAULT_PRECISION,
    keep_invalid: bool = False,
    decode: str = DEFAULT_DECODER,
    grid: str | None = None,
) -> list[Mol]:
    """Return variations of molecules as RDKit molecules with a conformer, record by record, draw by draw.

    Each carries the columns of the CSV as properties, among them ``record`` (place of its seed, from 0), ``strength``,
    ``similarity`` (Tanimoto similarity to the seed, Morgan fingerprints of radius 2, 2048 bits) and ``same_molecule``
    ("yes", "stereoisomer" or "no"). It lies where its seed lies. It is a function of the model, the seed molecule, its
    place, the number of the draw, its strength and the other arguments, not of the batch size.

    Args:
        molecules: a molecule file with 3D coordinates, or RDKit molecules with a 3D conformer.
        n: draws for each molecule.
        strength: time up to which a molecule is noised, 0 < strength <= 1; of a range, a pair or a text such as
            "0.1..0.8", evenly spread over the n draws.
        model, steps, sampler, seed, batch_size, device, precision, keep_invalid, decode, grid: as in
            `moldiff.generation.generate.generate`. All steps fall between the strength and 0.

    Raises:
        MoldiffError: an argument out of range, no such file, model or device, or no molecule that can be varied.
    """
    check_flag(keep_invalid, "keep_invalid")
    steps, sampler, grid = sampling_of(model).filled(steps, sampler, grid)
    settings = VarySettings(
        n, str(model), steps, sampler, grid, seed, batch_size, device, precision, _ends(strength), decode
    )
    job = Variations(settings)
    return molecules_of(job.answers(molecules), job.columns, keep_invalid)


def vary_files(
    molecules: Path,
    out: Path,
    *,
    n: int = DEFAULT_VARIATIONS,
    strength: tuple[float, float] = DEFAULT_STRENGTH,
    model: str = DEFAULT_MODEL,
    steps: int | None = None,
    sampler: str | None = None,
    seed: int = 0,
    batch_size: int | None = None,
    device: str = "auto",
    precision: str = DEFAULT_PRECISION,
    keep_invalid: bool = False,
    decode: str = DEFAULT_DECODER,
    grid: str | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Told:
    """Write variations of a file's molecules into ``out`` (SDF), the CSV beside it and run.json; see `vary`.

    Raises:
        MoldiffError: see `vary`; or an output exists, or cannot be written.
    """
    started = time.monotonic()
    steps, sampler, grid = sampling_of(model).filled(steps, sampler, grid)
    settings = VarySettings(
        n,
        model,
        steps,
        sampler,
        grid,
        seed,
        DEFAULT_BATCH_SIZE if batch_size is None else batch_size,
        device,
        precision,
        strength,
        decode,
    )
    settings.check()
    check_outputs(out, overwrite)
    return write_answers(
        Variations(settings), molecules, out, keep_invalid=keep_invalid, progress=progress, started=started
    )


def parse_strength(text: str, option: str) -> tuple[float, float]:
    """Return the ends of ``0.4`` or ``0.1..0.8``; MoldiffError names the option if it is neither."""
    match = _STRENGTH.fullmatch(text.strip())
    if match is None:
        raise MoldiffError(f"{option} {text}: expected a number such as 0.4 or a range such as 0.1..0.8")
    return float(match[1]), float(match[2] or match[1])


def _ends(strength: object) -> tuple[float, float]:
    """Return the ends of a strength as `vary` takes it."""
    if isinstance(strength, str):
        return parse_strength(strength, "strength")
    ends = tuple(strength) if isinstance(strength, tuple | list) else (strength, strength)
    if len(ends) != 2:
        raise refusal("strength", 'a number, a pair of them or a text such as "0.1..0.8"', strength)
    return number(ends[0], "strength"), number(ends[1], "strength")
