"""`evaluate`: every figure of merit of an SDF, against any reference, and the folder with the report."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from moldiff.arguments import check_flags, check_function, count, path, path_text, seed_number, with_plain_numbers
from moldiff.chem.io.inputs import Molecules, files_of, kept
from moldiff.devices import whatever_the_default
from moldiff.errors import MoldiffError, blaming
from moldiff.evaluation import fcd as frechet
from moldiff.evaluation import relaxation
from moldiff.evaluation.assess import Assessment, HydrogenChoice, assess_file
from moldiff.evaluation.compare import compare
from moldiff.evaluation.findings import IN_MEMORY
from moldiff.evaluation.load_reference import load_reference
from moldiff.evaluation.measurements import Measurements
from moldiff.evaluation.memorisation import memorisation
from moldiff.evaluation.metrics import diversity, stability, validity
from moldiff.evaluation.posebusters import run_posebusters
from moldiff.evaluation.rarity import RarityReport, load_tables, measure_rarity
from moldiff.evaluation.reference import Reference
from moldiff.evaluation.report import EvaluationReport
from moldiff.evaluation.write_report import check_output, write_report
from moldiff.extras import EVAL, XTB
from moldiff.files import claimed
from moldiff.provenance import header
from moldiff.reading import sha256_of
from moldiff.run_record import read_generation

POSEBUSTERS_RECORDS = 1000
"""Records that PoseBusters sees by default: 20 s for molecules of QM9's size, 2 minutes for drugs, on one core."""

Progress = Callable[[str, int], None]
"""Called with a stage (chemistry, reference, geometry, posebusters, relaxation, fcd) and the number of records done."""


@with_plain_numbers
@whatever_the_default
def evaluate(
    molecules: Molecules,
    reference: Reference | Path | str | None = None,
    out: Path | str | None = None,
    *,
    requested: int | None = None,
    hydrogens: HydrogenChoice = "auto",
    add_hydrogens: bool = False,
    posebusters: int = POSEBUSTERS_RECORDS,
    relax: int = 0,
    fcd: bool = False,
    ring_table: Path | str | None = None,
    workers: int = 1,
    isolated: bool = False,
    seed: int = 0,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> EvaluationReport:
    """Evaluate an SDF or molecules; records that cannot be parsed and files without a valid molecule are fine.

    >>> import moldiff
    >>> report = moldiff.evaluate(["CCO", "C1CC"], posebusters=0)  # no coordinates, no ring: neither is valid
    >>> report.summary["counts"]["invalid"]
    2

    Args:
        molecules: .sdf or .sdf.gz, a list of such `Path`s, or RDKit molecules with 3D conformers, as a list, a
            `Result`, a column, a supplier. A SMILES has no coordinates, so that none is valid.
        reference: what to compare with, or anything `load_reference` knows: prepared data set, SDF, model; None =
            nothing.
        out: folder for report.json, molecules.csv and PNGs; None = nothing is written.
        requested: how many molecules were asked for, if failed ones are not in the file; they count as invalid.
        hydrogens: whether every hydrogen is an atom of the file; "auto" looks at each record.
        add_hydrogens: place missing hydrogens first, such as those of docked poses with polar ones alone.
        posebusters: how many records PoseBusters sees at most (drawn at random); 0 = none.
        relax: how many valid molecules GFN2-xTB relaxes at most (drawn at random, 0.3 s each for QM9's size); 0 = none.
        ring_table: hold ring systems and bonds against those of another model, or of the molecules of a file (.smi,
            .csv, .sdf, ...; a millisecond or two each); None = against the reference's, if it carries them.
        fcd: measure the Frechet ChemNet distance to the reference, 10 ms for each molecule of both.
        workers: processes for chemistry, PoseBusters and GFN2-xTB (spawned: a script needs its
            ``if __name__ == "__main__"``).
        isolated: use a process even for one worker: a molecule that crashes or holds it up is then failed or "not
            checked", and the evaluation goes on.
        seed: of that draw.
        overwrite: replace an older report in ``out``.
        progress: see `Progress`.

    Raises:
        MoldiffError: the file is missing, empty, no SDF or holds more records than requested; the reference is none;
        ``out`` is taken or cannot be written; tblite or fcd is missing.
    """
    _check_numbers(posebusters, relax, workers, seed)
    check_flags({"add_hydrogens": add_hydrogens, "fcd": fcd, "isolated": isolated, "overwrite": overwrite})
    check_function(progress, "progress")
    folder = None if out is None else path(out, "out")
    tables = None if ring_table is None else path_text(ring_table, "ring_table")
    if reference is not None and not isinstance(reference, Reference):
        reference = path_text(reference, "reference")
    with _held(folder, overwrite):
        files, molecules = files_of(molecules), kept(molecules)
        if relax:
            XTB.require("relax", "relax")
        if fcd:
            EVAL.require("fcd", "fcd")
            if reference is None:
                raise MoldiffError("the Frechet ChemNet distance needs a reference", argument="reference")
        with blaming("molecules"):  # before the work, in whose end the files may be others, or gone
            sha256 = "" if files is None else " ".join(sha256_of(file) for file in files)
        clock = _Clock(progress)
        # The file before the reference: its errors show at once, a reference can take half a minute.
        rows, convention = assess_file(
            molecules,
            hydrogens=hydrogens,
            add_hydrogens=add_hydrogens,
            requested=requested,
            workers=workers,
            isolated=isolated,
            progress=clock.stage("chemistry"),
        )
        clock.stage("reference")
        if reference is not None and not isinstance(reference, Reference):
            reference = load_reference(reference)
        clock.stage("geometry")
        rarity = _rarity(rows, reference, tables)
        sample = Measurements.gathered(row.measured for row in rows if row.measured is not None)
        comparison = compare(sample, reference) if reference is not None else None
        metrics = validity(rows) | stability(rows) | diversity(rows, reference.keys if reference is not None else None)
        repeats = memorisation([row.smiles for row in rows if row.valid], reference, seed) if reference else None
        busted = relaxed = distance = None
        how: dict[str, Any] = {"workers": workers, "isolated": isolated, "seed": seed}
        if posebusters:
            told = clock.stage("posebusters")
            busted = run_posebusters(rows, most=posebusters, progress=told, **how)
        if relax:
            told = clock.stage("relaxation")
            relaxed = relaxation.run_relaxation(rows, most=relax, progress=told, **how)
        if fcd and reference is not None:
            clock.stage("fcd")
            distance = _chemnet_distance(rows, reference, seed)
        report = EvaluationReport(
            path=Path(IN_MEMORY if files is None else ", ".join(file.name for file in files)),
            sha256=sha256,
            hydrogens=convention,
            rows=rows,
            metrics=metrics | (busted.rates() if busted is not None else {}),
            sample=sample,
            reference=reference,
            comparison=comparison,
            posebusters=busted,
            relaxation=relaxed,
            fcd=distance,
            memorisation=repeats,
            rarity=rarity,
            generation=None if files is None or len(files) > 1 else read_generation(files[0], sha256),
            seconds=clock.seconds(),
            header=header(),
        )
        if folder is not None:
            blaming("out", "overwrite")(write_report)(report, folder, overwrite=overwrite)
        return report


@contextmanager
def _held(out: Path | None, overwrite: bool) -> Iterator[None]:
    """Hold the sole right to write a folder where none is in the way; None = nothing is written."""
    with ExitStack() as stack:
        if out is not None:
            with blaming("out", "overwrite"):
                stack.enter_context(claimed(out))
                check_output(out, overwrite=overwrite)  # once it is claimed, as what killed runs left is cleared
        yield


def _rarity(rows: Sequence[Assessment], reference: Reference | None, ring_table: str | None) -> RarityReport | None:
    """Return how rare rings and bonds are by other tables or those of the reference; None if there are none."""
    tables = None if reference is None else reference.rarity
    source = "" if reference is None else f"the training set behind {reference.source}"
    if ring_table is not None:
        tables, source = load_tables(ring_table), Path(ring_table).name
    if tables is None:
        return None
    return measure_rarity(rows, tables, source, () if reference is None else reference.smiles)


def _check_numbers(posebusters: int, relax: int, workers: int, seed: int) -> None:
    count(posebusters, "posebusters", least=0)
    count(relax, "relax", least=0)
    count(workers, "workers")
    seed_number(seed)


def _chemnet_distance(rows: Sequence[Assessment], reference: Reference, seed: int) -> frechet.ChemNetDistance:
    if not reference.smiles:
        raise MoldiffError(
            "this reference holds no SMILES for the Frechet ChemNet distance; compare with a data set",
            argument="reference",
            word="",
        )
    return frechet.chemnet_distance([row.smiles for row in rows if row.valid], reference.smiles, seed=seed)


class _Clock:
    """Wall time of consecutive stages, and who is told about their progress."""

    def __init__(self, progress: Progress | None) -> None:
        self._progress = progress
        self._starts: dict[str, float] = {}

    def stage(self, name: str) -> Callable[[int], None] | None:
        """Begin a stage; return what to call with the number of records done."""
        self._starts[name] = time.perf_counter()
        return None if self._progress is None else partial(self._progress, name)

    def seconds(self) -> dict[str, float]:
        """Return the time of each stage, the last one until now."""
        ends = [*list(self._starts.values())[1:], time.perf_counter()]
        return {name: end - start for (name, start), end in zip(self._starts.items(), ends, strict=True)}
