"""The page of an evaluation, report.html."""

from __future__ import annotations

from moldiff.evaluation.findings import Findings
from moldiff.evaluation.histograms import property_histograms
from moldiff.pages.report import MOST_CARDS, MOST_FAILED, Card, Report, Stage
from moldiff.shares import percent

_HEADLINES = ("valid", "molecule_stability", "unique", "novel", "posebusters")


def report_page(report: Findings) -> Report:
    """Return the content of the page of an evaluation."""
    valid = [row for row in report.rows if row.valid]
    others = [row for row in report.rows if not row.valid]
    cards = []
    for place, row in enumerate(valid[:MOST_CARDS]):
        assert row.mol is not None
        values: dict[str, object] = {name: float(column[place]) for name, column in report.sample.properties.items()}
        if row.problem:
            values["geometry"] = row.problem
        if report.posebusters is not None:
            values["posebusters"] = report.posebusters.told(row.index) or None
        title = f"{row.index}" if row.name in ("", str(row.index)) else f"{row.index}: {row.name}"
        cards.append(Card.of(row.mol, title, row.smiles_stereo, values))
    rates = [f"{name.replace('_', ' ')} {rate}" for name, rate in _rates(report)]
    reference = report.reference
    return Report(
        title=f"Evaluation of {report.path.name}",
        lines=rates,
        funnel=_funnel(report),
        cards=cards,
        total=len(valid),
        failed_columns=("index", "name", "status", "reason"),
        failed_rows=[(row.index, row.name, str(row.status), row.problem) for row in others[:MOST_FAILED]],
        failed=len(others),
        record={"metrics": report.to_json()["metrics"], **report.header},
        histograms=property_histograms(report.sample.properties, {} if reference is None else reference.properties),
        histogram_note="Of the valid molecules" + ("." if reference is None else f", over {reference.source}."),
    )


def _funnel(report: Findings) -> list[Stage]:
    counts = report.counts()
    stages = [
        Stage("requested", counts["requested"]),
        Stage("in the file", counts["in_file"]),
        Stage("could be read", counts["in_file"] - counts["unparsable"]),
        Stage("valid and connected", counts["valid"]),
        Stage("with a plausible geometry", sum(row.valid and not row.problem for row in report.rows)),
    ]
    return stages + [Stage(name, report.metrics[name].count) for name in ("unique", "novel") if name in report.metrics]


def _rates(report: Findings) -> list[tuple[str, str]]:
    """Return name and percentage of the rates that stand below the title."""
    found = [(name, report.metrics[name].value) for name in _HEADLINES if name in report.metrics]
    return [(name, percent(value).replace("%", " %")) for name, value in found if value is not None]
