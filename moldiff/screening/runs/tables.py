"""The tables of a run whose shards are all there: duplicates marked over all of them, everything counted, the best
ranked. One shard is in memory at a time."""

from __future__ import annotations

import contextlib
import json
import time
from pathlib import Path
from typing import Any

from moldiff.chem.io.outputs import ParquetRows
from moldiff.errors import MoldiffError
from moldiff.files import FileSet, file_set
from moldiff.foreign_text import readable
from moldiff.reading import read_json
from moldiff.run_record import record_path, run_record
from moldiff.screening.ranking import Best
from moldiff.screening.rows import Row, RowCounts
from moldiff.screening.runs.first_records import first_on_disk
from moldiff.screening.runs.funnel import MOST_LOST, Funnel, stages_of
from moldiff.screening.runs.plan import Plan
from moldiff.screening.runs.ranked import RANKED, RANKED_CSV, TOP, write_ranked
from moldiff.screening.runs.report_page import REPORT, Known, ScreenPage
from moldiff.screening.runs.shards import ShardTables
from moldiff.screening.worker import WORKER
from moldiff.status import Status

RECORDS, FUNNEL = "records.parquet", "funnel.json"
TABLES = (RECORDS, RANKED, RANKED_CSV, TOP, FUNNEL, REPORT)
"""Files that make up the tables of a run, beside its run record."""


def write_tables(
    run: Path, plan: Plan, tables: ShardTables, *, reference: Known | None = None, workers: int = 1
) -> Funnel:
    """Write the tables of a run, whose shards are all there.

    Args:
        run: its folder.
        plan: of the run.
        tables: of the shards.
        reference: see `ScreenPage`.
        workers: processes that look for coordinates.

    Raises:
        MoldiffError: a shard is damaged, a file cannot be written, or the counts do not add up; the tables are as
            before then.
    """
    started = time.monotonic()
    options = plan.asked()
    with file_set(record_path(run / RANKED)) as files, first_on_disk(run / RECORDS) as first:
        counts, lost = RowCounts(options.dedup, first), list[Row]()
        page = ScreenPage(tables.sheet, reference)
        best = Best(options.rank, plan.options.ranked)
        with contextlib.closing(ParquetRows(files.open(run / RECORDS, binary=True), tables.sheet)) as records:
            for shard in range(plan.shards):
                for row in _checked(plan, shard, tables):
                    row = counts.take(row)
                    page.add(row)
                    records.add(row)
                    if row.status == Status.VALID:
                        best.add(row)
                    elif row.stage == WORKER and len(lost) < MOST_LOST:
                        lost.append(row)
        if counts.requested != plan.records:
            raise MoldiffError(f"{run}: {counts.requested} rows for {plan.records} records; the run is damaged")
        counts.tell_if_all_failed()
        ranked = write_ranked(files, run, plan, tables.sheet, list(best), workers=workers)
        funnel = Funnel(
            counts=dict(counts.by_status),
            stages=stages_of(tables.chain, counts, dedup=options.dedup),
            ranked=ranked.ranked,
            top=ranked.written,
            without_coordinates=ranked.without_coordinates,
            lost=tuple(lost),
        )
        files.add_json(run / FUNNEL, funnel.record())
        files.sync()
        record = _record(files, run, plan, funnel, time.monotonic() - started)
        files.add(run / REPORT, page.html(funnel, ranked.cards, record))
        files.commit(record)
    return funnel


def _checked(plan: Plan, shard: int, tables: ShardTables) -> list[Row]:
    """Return the rows of a shard, which are those of its records."""
    rows = tables.read(shard)
    if [row.number for row in rows] != list(range(plan.start(shard), plan.start(shard + 1))):
        raise MoldiffError(
            f"{tables.path(shard)} does not hold the records that the plan says; remove it to do it again"
        )
    return rows


def _record(files: FileSet, run: Path, plan: Plan, funnel: Funnel, seconds: float) -> dict[str, Any]:
    """Return the run record, once the tables are written."""
    return run_record(
        task="screen",
        options=_options_of(plan),
        output=RANKED,
        output_sha256=files.sha256(run / RANKED),
        made_by={
            "inputs": [{"file": one.file, "sha256": one.sha256} for one in plan.inputs],
            "model_sha256": None if plan.draws is None else plan.draws.sha256,
        },
        results={
            "requested": funnel.requested,
            "counts": dict(funnel.counts),
            "stages": {one.name: one.left_out for one in funnel.stages if one.left_out},
            "kept": funnel.ranked,
            "seconds": round(seconds, 2),
        },
    )


def has_tables(run: Path, plan: Plan) -> bool:
    """Return whether the tables of a run are there, all of them, and are those of its plan."""
    if not all((run / name).is_file() for name in TABLES):
        return False
    try:
        return bool(read_json(record_path(run / RANKED))["options"] == _options_of(plan))
    except (MoldiffError, KeyError, TypeError):
        return False


def forget_tables(run: Path) -> None:
    """Let the tables of a run count as not there: rows are about to change."""
    record_path(run / RANKED).unlink(missing_ok=True)


def _options_of(plan: Plan) -> dict[str, object]:
    """Return the options by their names, of files of patterns the patterns, as the record has them."""
    words, smarts = plan.options.model_dump(mode="json"), plan.asked().record()["smarts"]
    options = {**words, "smarts": smarts, **plan.column_names}
    return dict(json.loads(readable(json.dumps(options, ensure_ascii=False))))
