"""Measure how reliable moldiff is, row by row, and write the table.

    python -m scripts.scoreboard --quick                     # all rows at 1 % of their counts, some minutes
    python -m scripts.scoreboard --long                      # all of it, hours; a run that was ended goes on
    python -m scripts.scoreboard --long --rows R1 R3 --part 0.1
    python -m scripts.scoreboard --table                     # nothing is measured, the table is written

Rows that tests of the suite hold are measured by these tests. Results are kept in
scripts/benchmarks/results/scoreboard.json; a row that stands there, of this commit and at least these counts, is not
measured again (but with --again). docs/scoreboard.md is the table. Exit status 1 if a row that was measured is missed.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from moldiff.errors import MoldiffError
from moldiff.files import write_text
from moldiff.provenance import header
from scripts.scoreboard.findings import LONG, MISSED, QUICK, Finding, Row, Share, figure_of, state_of
from scripts.scoreboard.named_tests import ROOT, Outcome, held, run_tests
from scripts.scoreboard.results import Measured, keep, page, read_results
from scripts.scoreboard.table import ROWS

RESULTS = ROOT / "scripts" / "benchmarks" / "results" / "scoreboard.json"
PAGE = ROOT / "docs" / "scoreboard.md"


def measured(row: Row, share: Share, outcomes: dict[str, Outcome]) -> Measured:
    """Measure a row: its tests have been run, the rest is done here. What breaks is told in the figure, as missed."""
    started, findings = time.monotonic(), held(row, outcomes)
    tested = sum(finding.seconds for finding in findings)
    for measure in row.measures:
        try:
            findings += measure(share)
        except (AssertionError, MoldiffError, OSError, ValueError) as error:
            findings.append(Finding(f"{measure.__name__} broke: {' '.join(str(error).split())[:200]}", holds=False))
    said = header()
    return Measured(
        state=state_of(findings, row.lacking),
        figure=figure_of(findings, row.lacking, row.cause),
        part=share.part if row.measures else 1.0,
        seconds=round(tested + time.monotonic() - started, 1),
        date=f"{datetime.now(UTC):%Y-%m-%d}",
        commit=said["commit"],
        machine=said["hardware"],
    )


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Return the options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    how = parser.add_mutually_exclusive_group(required=True)
    how.add_argument("--quick", action="store_true", help="1 %% of the counts, nothing that takes minutes by itself")
    how.add_argument("--long", action="store_true", help="the full counts, or --part of them")
    how.add_argument("--table", action="store_true", help="write the table of what was measured before")
    parser.add_argument("--rows", nargs="+", choices=[row.name for row in ROWS], help="only these", metavar="R1")
    parser.add_argument("--part", type=float, default=1.0, help="share of the full counts, with --long")
    parser.add_argument("--again", action="store_true", help="also what was measured at this commit before")
    parser.add_argument("--results", type=Path, default=RESULTS, help="the JSON file of the rows")
    parser.add_argument("-o", "--out", type=Path, default=PAGE, help="the page to write")
    options = parser.parse_args(arguments)
    if not 0 < options.part <= 1:
        parser.error("--part lies between 0 and 1")
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure what is asked for, keep it, and write the page; return the exit status."""
    options = parse(arguments)
    share = QUICK if options.quick else Share(options.part * LONG.part, long=True)
    rows = [row for row in ROWS if options.rows is None or row.name in options.rows]
    commit, known = header()["commit"], read_results(options.results)
    done = {name for name, one in known.items() if one.commit == commit and one.part >= share.part}
    rows = [] if options.table else [row for row in rows if options.again or row.name not in done]
    outcomes = run_tests({test for row in rows for test in row.tests}) if any(row.tests for row in rows) else {}
    missed = False
    for row in rows:
        one = measured(row, share, outcomes)
        keep(options.results, row.name, one)
        missed = missed or one.state == MISSED
        print(f"{row.name:4} {one.state:14} {one.seconds:8.1f} s  {one.figure}", flush=True)
    write_text(options.out, page(ROWS, read_results(options.results)))
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
