"""Files of molecules to files of relaxed molecules: in worker processes; a killed run goes on."""

from __future__ import annotations

import csv
import io
import itertools
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from moldiff.arguments import check_function, choice, count, path, paths, seconds, seed_number
from moldiff.chem.coordinates import FLAT, NO_CONFORMER, coordinates_problem
from moldiff.chem.descriptors.xtb import load_tblite
from moldiff.chem.filters.hazards import STANDARD_GATE, WITHHELD
from moldiff.chem.hydrogens import with_all_hydrogens
from moldiff.chem.io.ordered_smiles import to_ordered_smiles
from moldiff.chem.io.records import Record, TextRecord, embed, mol_to_sdf_record, parse, write_sdf
from moldiff.chem.io.tables import COORDINATES, Columns
from moldiff.chem.io.tags import apart
from moldiff.chem.relax import relax
from moldiff.chem.sanitize import short_message
from moldiff.choices import EnergyMethod
from moldiff.datasets.sources import NO_RECORDS, Source, find_sources
from moldiff.errors import MoldiffError, blaming
from moldiff.extras import XTB
from moldiff.files import atomic_writer, write_json
from moldiff.foreign_text import readable, safe_cell
from moldiff.interruption import watched_signals
from moldiff.journal import Journal
from moldiff.processes import Lost, pool_of
from moldiff.reading import sha256_of
from moldiff.resumption import Resumption
from moldiff.run_record import digest, entry_beside, record_path
from moldiff.version import VERSION
from moldiff.worker_process import idle

if TYPE_CHECKING:
    from rdkit.Chem import Mol

EMBED_TIMEOUT_S = 60
PARQUET = ".parquet"
SUFFIXES = (".sdf", ".sdf.gz", PARQUET)
COLUMNS = ("source", "index", "name", "status", "reason", "relaxed_by_kcal_mol")

Progress = Callable[[int], None]


@dataclass(frozen=True)
class RelaxReport:
    """Counts of the records: read = relaxed + dropped, always.

    Attributes:
        out: the file of relaxed molecules.
        table: the CSV beside it with a row for every record.
        read: records in all files.
        relaxed: molecules in ``out``.
        dropped: number of dropped records per code word of the reason, most frequent first.
        median: kcal/mol that relaxing set free.
        ended_before: nothing had to be done.
    """

    out: Path
    table: Path
    read: int
    relaxed: int
    dropped: dict[str, int]
    median: float
    ended_before: bool = False


@dataclass(frozen=True)
class _Options:
    """Settings that the result depends on beside the input; sent to every worker."""

    method: EnergyMethod
    seed: int
    suffix: str


@dataclass(frozen=True)
class _Result:
    """One record's end.

    Attributes:
        name: of the record.
        reason: why it was dropped; empty if it was not.
        content: its SDF text, or its row of a Parquet table.
        values: see `moldiff.chem.relax.Relaxed`.
        source, index: name of the file, place of the record in it.
    """

    name: str
    reason: str
    content: Any = None
    values: dict[str, float] = field(default_factory=dict)
    source: str = ""
    index: int = -1


def relax_files(
    files: Sequence[Path | str] | Path | str,
    out: Path | str,
    *,
    method: str | None = None,
    workers: int = 1,
    timeout_s: float = 600.0,
    seed: int = 0,
    resume: bool = False,
    overwrite: bool = False,
    columns: Columns | None = None,
    progress: Progress | None = None,
) -> RelaxReport:
    """Relax every molecule of some files to a local minimum of its energy.

    Molecules without coordinates are embedded first (ETKDGv3, MMFF94s), missing hydrogens are placed. What does not
    converge, or is no longer the same molecule afterwards, is dropped, with a reason in the table. The result does not
    depend on ``workers`` or on interruptions.

    Args:
        files: one, or any mix of the formats of `moldiff.chem.io.records`; a name with * ? or [ stands for all that
            match it.
        out: .sdf, .sdf.gz, or .parquet (SMILES and coordinates in a tenth of the space).
        method: "gfn2" (the extra xtb) or "mmff94s"; None = gfn2 where it is installed.
        workers: processes.
        timeout_s: longest time for one molecule.
        seed: of the embedding.
        resume: go on with the results of a run that was cut short.
        overwrite: replace ``out``, and begin anew where such results lie.
        columns: where tables have their SMILES and names; None = it is found out.
        progress: called with the number of records done so far.

    Raises:
        MoldiffError: bad arguments, an unreadable file, results of another run, no molecule that could be relaxed.
        KeyboardInterrupt, SystemExit: Ctrl-C, SIGTERM. What is done stays in ``<out>.unfinished``, for ``resume``.
    """
    out = path(out, "out")
    seconds(timeout_s)
    count(workers, "workers")
    check_function(progress, "progress")
    options = _Options(_method(method), seed_number(seed), _suffix(out))
    table = out.with_name(out.name[: -len(options.suffix)] + ".csv")
    with blaming("files", "columns"):
        sources = find_sources(list(paths(files, "files")), columns)
    record, inputs = record_path(out), [file for source in sources for file in source.files]
    resumption = Resumption(out, record, beside=[table], inputs=inputs, resume=resume, overwrite=overwrite)
    hashes = [entry for source in sources for entry in source.hashes()]
    request = {"moldiff": VERSION, "libraries": _libraries(options.method), **asdict(options), "sources": hashes}
    request |= {} if columns is None else columns.record()
    if (ended := resumption.ended(request)) is not None:
        read, relaxed = ended["read"], ended["relaxed"]
        return RelaxReport(out, table, read, relaxed, ended["dropped"], ended["median_kcal_mol"], ended_before=True)
    with resumption.journal(request) as journal:
        _relax_sources(sources, journal, options, workers, timeout_s, progress)
        report = _join(out, table, journal)
        write_json(record, _record(report, request))
    return report


def _record(report: RelaxReport, request: dict[str, Any]) -> dict[str, Any]:
    """Return the run record, plain JSON types."""
    return {
        "format": "moldiff-relax", "version": 1, "output": report.out.name, "output_sha256": sha256_of(report.out),
        "beside": [entry_beside(report.table, sha256_of(report.table))],
        "request": request, "request_sha256": digest(request), "read": report.read, "relaxed": report.relaxed,
        "dropped": report.dropped, "median_kcal_mol": report.median,
    }  # fmt: skip


def _relax_sources(
    sources: Sequence[Source],
    journal: Journal,
    options: _Options,
    workers: int,
    timeout_s: float,
    progress: Progress | None,
) -> None:
    """Add the results that are not there yet to a journal."""
    started = time.monotonic() - journal.seconds
    ready = load_tblite if options.method is EnergyMethod.GFN2 else idle
    with watched_signals() as interruption, pool_of(workers, ready=ready) as pool:
        texts = ((source.path, record) for source in sources for record in source.texts())
        sent, known = itertools.tee(itertools.islice(texts, journal.count, None))
        work = partial(_guarded, options=options)
        found = pool.map_items(work, (record for _, record in sent), timeout_s=timeout_s)
        if progress is not None:
            progress(journal.count)
        for result in interruption.until(map(_placed, found, known)):
            journal.add(asdict(result), time.monotonic() - started)
            if progress is not None:
                progress(journal.count)
        if interruption.number is not None:
            interruption.end()


def _method(name: str | None) -> EnergyMethod:
    if name is None:
        return EnergyMethod.GFN2 if XTB.is_installed() else EnergyMethod.MMFF94S
    method = choice(name, EnergyMethod, "method")
    if method is EnergyMethod.GFN2:
        XTB.require("method gfn2", "method")
    return method


def _libraries(method: EnergyMethod) -> dict[str, str]:
    """Return the versions of what energies and geometries depend on."""
    names = ("rdkit", "tblite") if method is EnergyMethod.GFN2 else ("rdkit",)
    return {name: version(name) for name in names}


def _suffix(out: Path) -> str:
    for suffix in SUFFIXES:
        if out.name.lower().endswith(suffix):
            return suffix
    raise MoldiffError(f"{out}: the output must end in {', '.join(SUFFIXES)}", argument="out", word="")


def _placed(found: _Result | Lost, known: tuple[Path, TextRecord]) -> _Result:
    """Return a result with where its record stands: a file that grows meanwhile does not shift what was made of it."""
    path, record = known
    result = _Result(record.name, found.reason) if isinstance(found, Lost) else found
    return replace(result, source=readable(path.name), index=record.index)


def _guarded(text: TextRecord, options: _Options) -> _Result:
    """Work on one record; no record ends the run. Runs in a worker."""
    try:
        return _relax_text(text, options)
    except Exception as error:  # noqa: BLE001 - of RDKit or tblite, about this molecule
        return _Result(text.name, f"error: {short_message(error)}")


def _relax_text(text: TextRecord, options: _Options) -> _Result:
    """Parse, complete and relax one record."""
    record = parse(text)
    if record.seen is not None and STANDARD_GATE(record.seen):
        return _Result("", WITHHELD)
    mol, reason = _complete(record, options.seed)
    if mol is None:
        return _Result(record.name, reason)
    found = relax(mol, options.method)
    if found.mol is None:
        return _Result(record.name, found.reason)
    values = {name: round(value, 6) for name, value in found.values.items() if np.isfinite(value)}
    try:
        if options.suffix == PARQUET:
            smiles, coordinates = to_ordered_smiles(found.mol)
            content: Any = {"name": record.name, "smiles": smiles, COORDINATES: coordinates, **values}
            content |= {column: record.tags[name] for name, column in apart(record.tags, tuple(content)).items()}
        else:
            tags = record.tags | {name: f"{value:.6f}" for name, value in values.items()}
            content = mol_to_sdf_record(found.mol, record.name, tags)
    except ValueError as error:
        return _Result(record.name, f"output: {error}")
    return _Result(record.name, "", content, values)


def _complete(record: Record, seed: int) -> tuple[Mol | None, str]:
    """Return a molecule with coordinates and every hydrogen, or None and the reason."""
    if record.mol is None:
        return None, record.reason
    if (reason := coordinates_problem(record.mol)) in (NO_CONFORMER, FLAT):
        return embed(record.mol, seed, EMBED_TIMEOUT_S)
    return (None, reason) if reason else (with_all_hydrogens(record.mol), "")


def _join(out: Path, table: Path, journal: Journal) -> RelaxReport:
    """Write the file and the table from the journal."""
    results = [_Result(**{**entry, "content": None}) for entry in journal.entries()]
    relaxed = [result.values["relaxed_by_kcal_mol"] for result in results if not result.reason]
    dropped = Counter(result.reason.partition(":")[0] for result in results if result.reason)
    if not relaxed:
        journal.remove()
        if not results:
            raise MoldiffError(NO_RECORDS)
        raise MoldiffError(f"none of the {len(results)} molecules could be relaxed; the first: {results[0].reason}")
    contents = (entry["content"] for entry in journal.entries() if not entry["reason"])
    if out.name.lower().endswith(PARQUET):
        _write_parquet(out, list(contents))
    else:
        write_sdf(out, contents)
    with atomic_writer(table) as handle:
        writer = csv.writer(handle, lineterminator="\n")
        writer.writerow(COLUMNS)
        for one in results:
            status, energy = "dropped" if one.reason else "relaxed", one.values.get("relaxed_by_kcal_mol", "")
            writer.writerow(map(safe_cell, (one.source, one.index, one.name, status, one.reason, energy)))
    return RelaxReport(out, table, len(results), len(relaxed), dict(dropped.most_common()), float(np.median(relaxed)))


def _write_parquet(out: Path, rows: list[dict[str, Any]]) -> None:
    """Write the rows as a Parquet table; the same rows give the same bytes."""
    import pyarrow
    import pyarrow.parquet

    names = list(dict.fromkeys(name for row in rows for name in row))
    # a long molecule needs more than 16 bits, the others' files stay as they are
    is_wide = any(max(map(abs, row[COORDINATES]), default=0) > np.iinfo(np.int16).max for row in rows)
    number = pyarrow.int32() if is_wide else pyarrow.int16()
    texts = {name for row in rows for name, value in row.items() if isinstance(value, str)}
    kinds = {COORDINATES: pyarrow.list_(number), **dict.fromkeys(texts, pyarrow.string())}
    schema = pyarrow.schema([(name, kinds.get(name, pyarrow.float64())) for name in names])
    # a number that one record lacks, and has as a field
    rows = [{name: f"{value}" if name in texts else value for name, value in row.items()} for row in rows]
    buffer = io.BytesIO()
    table = pyarrow.Table.from_pylist(rows, schema)
    pyarrow.parquet.write_table(table, buffer, compression="zstd", compression_level=19)
    with atomic_writer(out, binary=True) as handle:
        handle.write(buffer.getbuffer())
