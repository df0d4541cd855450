"""Generation as users know it: ``generate`` returns molecules, ``generate_files`` writes SDF, CSV and run.json."""

from __future__ import annotations

import csv
import json
import logging
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from moldiff.arguments import check_flag, check_text, name_list, number, size_range, texts, whole_number
from moldiff.chem.descriptors.score_functions import ScoreError, ScoreFunction
from moldiff.config import DEFAULT_SAMPLING
from moldiff.devices import DEFAULT_PRECISION
from moldiff.errors import MoldiffError
from moldiff.files import atomic_writer, refuse_existing_file, write_json
from moldiff.generation.decoding.decoders import DEFAULT_DECODER
from moldiff.generation.options.fragment import FragmentWish
from moldiff.generation.options.generation_options import Request, check_request
from moldiff.generation.options.steering import NO_WISHES, Wishes
from moldiff.generation.results import COLUMNS
from moldiff.generation.run import Generation, Progress
from moldiff.generation.smc_run import Scoring, asked_for
from moldiff.generation.summary import Summary, run_record, warn_if_none_is_valid
from moldiff.generation.trajectory import check_suffix, trace, write_trajectory
from moldiff.interruption import watched_signals
from moldiff.models.contents import sampling_of
from moldiff.models.folder import DEFAULT_MODEL
from moldiff.sampling.guidance import read_guidance
from moldiff.status import Status

if TYPE_CHECKING:
    from rdkit.Chem import Mol

logger = logging.getLogger(__name__)

DEFAULT_STEPS = DEFAULT_SAMPLING.evaluations  # of a model that does not say otherwise
DEFAULT_BATCH_SIZE = 512


def generate(
    n: int,
    *,
    model: str | Path = DEFAULT_MODEL,
    n_atoms: tuple[int, int] | int | str | None = None,
    steps: int | None = None,
    sampler: str | None = None,
    seed: int = 0,
    batch_size: int = DEFAULT_BATCH_SIZE,
    device: str = "auto",
    precision: str = DEFAULT_PRECISION,
    until_valid: bool = False,
    keep_invalid: bool = False,
    decode: str = DEFAULT_DECODER,
    grid: str | None = None,
    renoise: int = 0,
    targets: Sequence[str] | str = (),
    guidance: float | Mapping[str, float] | str | None = None,
    property_model: str | Path | None = None,
    property_scale: float | None = None,
    elements: Sequence[str] | str | None = None,
    exclude_elements: Sequence[str] | str = (),
    formula: str | None = None,
    charge: int | None = None,
    fragment: FragmentWish | str | Path | Mol | None = None,
    score: str | ScoreFunction | None = None,
    score_weight: float | None = None,
    particles: int | None = None,
) -> list[Mol]:
    """Return generated molecules as RDKit molecules with a conformer, in the order of their draws.

    Each molecule carries the properties ``moldiff_id`` (the number of its draw), ``status``, ``reason`` and
    ``decoding``, and for each target ``target_<name>`` (the value that its draw was conditioned on), ``<name>`` as
    measured and ``error_<name>`` (of a range or bound, how far outside it lies, negative below). It is a function
    of the model, its number and the other arguments, not of n or the batch size. Ranges, lists and scales may be texts
    as on the command line: "15..22", "C,N,O,H", "logp=2,tpsa=1"; a single target need not be in a list.

    Args:
        n: number of draws; with ``until_valid`` the number of valid molecules.
        model: a built-in model's name or a model folder.
        n_atoms: number of atoms or inclusive range; None = as in the training data.
        steps: network evaluations for each molecule; None = the model's own number, as for sampler and grid. A sampler
            of k evaluations a step takes as many steps as fit; the real number is in run.json and in the CSV.
        sampler: one of `moldiff.sampling.solvers.SOLVERS`.
        seed: 0 <= seed < 2^64.
        batch_size: draws at a time.
        device: auto, cpu, cuda, cuda:<number> or mps.
        precision: number type of the network's matrix products, see `moldiff.devices.resolve_precision`. The same
            molecules on processors with and without bfloat16 need "float32".
        until_valid: draw on until there are n valid molecules.
        keep_invalid: also return failed ones, unsanitised, as far as there is anything to return.
        decode: one of `moldiff.generation.decoding.decoders.DECODERS`. "structured" looks for the most probable
            molecule that obeys valence, total charge, connectivity and what elements, formula, charge and fragment
            demand, where plain argmax gives an invalid one; a bond length unlike any of its kind in training then
            counts as a failure. "fitted" looks only among molecules without such lengths. Its search ends after a
            number of steps or, as a safety net, 20 s for a molecule: only where it meets the latter does the result
            depend on the machine.
        grid: where the steps fall, one of `moldiff.sampling.time_grids.GRIDS`.
        renoise: noise what is not valid a little and walk down again, up to so many times (at most 32).
        targets: wanted property values, such as "logp=2.5", "gfn2_gap_eV=6..8" or "tpsa<60". Of a range, every draw
            gets a value of its own. Sizes are drawn to match unless ``n_atoms`` is given.
        guidance: how strongly targets pull, for all or by name: 1 is plain conditioning, more pulls harder and costs
            two evaluations for one (a scale by property may cost more, see `moldiff.sampling.guidance`).
        property_model: folder of a property network (`moldiff train configs/property.yaml`). Targets that it knows are
            pursued by its gradient, ranges as a whole; on these, the model itself is conditioned only if ``guidance``
            is one scale for all or names them.
        property_scale: how strongly that gradient pulls, 3 by default; 0 = not at all.
        elements: symbols of the only elements, hydrogen included; None = all that the model knows.
        exclude_elements: symbols of forbidden elements.
        formula: exact composition, such as "C7H10O2"; it fixes the number of atoms. A model that can be asked for
            ``heavy_atom_count`` is conditioned on the formula's, unless a target names it.
        charge: exact total charge.
        fragment: atoms that come back unchanged, first and in their order, with their bonds and in their own frame; the
            model adds the rest. An SDF, a molecule with a conformer, or `FragmentWish.of` with more to say: which atoms
            are kept, where new ones attach and how many they are.
        score: draw molecules with the weight exp(score_weight x score), by sequential Monte Carlo (see
            `moldiff.sampling.smc`): a function of a list of RDKit molecules that returns a number for each, or
            None for one that must not be drawn, or a name (see `moldiff.scoring.named.named_score`). Each
            molecule carries the property ``score``. Molecules that are not valid have no score, so only valid ones are
            drawn.
        score_weight: negative for low scores. With 0, every draw is the plain one.
        particles: draws that compete with each other, 16 by default. The last group is made in full, whatever n is; its
            surplus is thrown away. Good ones may come in several copies.

    Raises:
        ScoreError: the score function failed; the molecules finished before are its ``molecules``.
        MoldiffError: an argument out of range or of a wrong type, no such model, no such device, too few valid
            molecules in 10 n draws, a model that does not carry what structured decoding or targets need, a target that
            the model does not know, wishes that contradict each other.
    """
    check_flag(keep_invalid, "keep_invalid")
    if formula is not None:
        check_text(formula, "formula")
    steps, sampler, grid = sampling_of(model).filled(steps, sampler, grid)
    scoring = asked_for(score, score_weight, particles)
    wishes = Wishes(
        texts(targets, "targets"),
        read_guidance(guidance),
        None if elements is None else name_list(elements, "elements"),
        name_list(exclude_elements, "exclude_elements"),
        formula,
        None if charge is None else whole_number(charge, "charge"),
        fragment if fragment is None or isinstance(fragment, FragmentWish) else FragmentWish.of(fragment),
        None if property_model is None else str(property_model),
        None if property_scale is None else number(property_scale, "property_scale"),
    )
    request = Request(
        n, str(model), size_range(n_atoms, "n_atoms"), steps, sampler, seed, batch_size, device, until_valid, decode,
        grid, renoise, wishes, precision, None if scoring is None else scoring.asked,
    )  # fmt: skip
    check_request(request)
    generation = Generation(request, scoring)
    molecules: list[Mol] = []
    try:
        for outcome in generation.outcomes(None):
            if outcome.mol is not None and (keep_invalid or outcome.status == Status.VALID):
                molecules.append(outcome.tagged_mol())
    except ScoreError as error:
        raise ScoreError(str(error), molecules) from error
    if problem := generation.shortage():
        raise MoldiffError(problem)
    warn_if_none_is_valid(generation.accountant.by_status, "with keep_invalid they come with reasons")
    return molecules


def generate_files(
    out: Path,
    *,
    n: int,
    model: str = DEFAULT_MODEL,
    n_atoms: tuple[int, int] | None = None,
    steps: int | None = None,
    sampler: str | None = None,
    seed: int = 0,
    batch_size: int | None = None,
    device: str = "auto",
    precision: str = DEFAULT_PRECISION,
    until_valid: bool = False,
    keep_invalid: bool = False,
    decode: str = DEFAULT_DECODER,
    grid: str | None = None,
    renoise: int = 0,
    wishes: Wishes = NO_WISHES,
    scoring: Scoring | None = None,
    trajectories: Sequence[Path] = (),
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Summary:
    """Generate molecules into ``out`` (SDF), the CSV beside it and run.json; arguments as in `generate`, with
    targets and guidance in ``wishes``.

    The CSV has a row for every draw, the SDF the valid ones (all that can be written with ``keep_invalid``). All three
    files appear only when they are complete. To each of ``trajectories`` (.xyz or .html) goes the path from noise to
    the first valid molecule, or to draw 0 if none is. With targets that can be measured, ``<name>.targets.png`` shows
    what was wanted against what came out.

    Raises:
        MoldiffError: see `generate`; or an output exists, or cannot be written. With too few valid molecules, or where
            a score function fails after some were made, the files are written first.
        KeyboardInterrupt, SystemExit: Ctrl-C, SIGTERM (status 143). What was finished before is written first, without
            trajectories; a second signal leaves nothing.
    """
    started = time.monotonic()
    steps, sampler, grid = sampling_of(model).filled(steps, sampler, grid)
    request = Request(
        n,
        model,
        n_atoms,
        steps,
        sampler,
        seed,
        DEFAULT_BATCH_SIZE if batch_size is None else batch_size,
        device,
        until_valid,
        decode,
        grid,
        renoise,
        wishes,
        precision,
        None if scoring is None else scoring.asked,
    )
    check_request(request, bool(trajectories))
    table, run_file = output_names(out)
    for path in trajectories:
        check_suffix(path)
    picture_file = out.with_suffix(".targets.png")
    for path in (out, table, run_file, *trajectories, *([picture_file] if wishes.targets else [])):
        refuse_existing_file(path, overwrite)
    generation = Generation(request, scoring)
    with watched_signals() as interruption:
        with ExitStack() as stack:
            rows = stack.enter_context(atomic_writer(table))
            records = stack.enter_context(atomic_writer(out))
            writer = csv.DictWriter(rows, (*COLUMNS, *generation.columns), lineterminator="\n")
            writer.writeheader()
            shown, problem = None, ""
            try:
                for outcome in generation.outcomes(progress, interruption):
                    shown = outcome.number if shown is None and outcome.status == Status.VALID else shown
                    row = outcome.row()
                    writer.writerow(row)
                    if keep_invalid or outcome.status == Status.VALID:
                        records.write(outcome.sdf_record(row, seed, generation.folder.name) or "")
            except ScoreError as error:
                if not any(generation.accountant.by_status.values()):
                    raise
                problem = str(error)
            interrupted = interruption.number is not None and generation.done < n
            if interrupted:
                if not any(generation.accountant.by_status.values()):
                    interruption.end()
                problem = f"interrupted after {generation.done} of {n}{' valid' if until_valid else ''} molecules"
        if trajectories and not interrupted:
            frames = trace(request.drawer(generation.model, False, generation.steering), shown or 0)
            for path in trajectories:
                write_trajectory(path, frames, generation.model.vocabulary, f"moldiff_{shown or 0}")
        if (picture := generation.steering.aims.picture()) is not None:
            with atomic_writer(picture_file, binary=True) as handle:
                handle.write(picture)
        problem = problem or generation.shortage()
        summary = generation.summary(time.monotonic() - started, out, problem)
        device, precision = str(generation.device), generation.precision
        record = run_record(request, summary, generation.folder.sha256, device, precision, generation.guide)
        write_json(run_file, record)
        if interrupted:
            logger.warning("%s; what was made is in %s", problem, out)
            interruption.end()
        if problem:
            raise MoldiffError(f"{problem}; what was made is in {out}")
        warn_if_none_is_valid(summary.counts, f"{table} tells why")
        return summary


def output_names(out: Path) -> tuple[Path, Path]:
    """Return the names of the CSV and of the run record beside an SDF.

    The record is ``run.json``; where the folder's ``run.json`` belongs to another SDF, it is ``<name>.run.json``.
    """
    if out.suffix.lower() != ".sdf":
        raise MoldiffError(f"{out}: the output must end in .sdf")
    shared = out.with_name("run.json")
    try:
        other = json.loads(shared.read_text(encoding="utf-8"))["output"]
    except (OSError, ValueError, KeyError, TypeError):
        other = out.name
    return out.with_suffix(".csv"), shared if other == out.name else out.with_suffix(".run.json")
