"""`--report`: a page of a run beside its other files."""

import csv
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from moldiff.evaluation.distributions import Floor, summarise
from moldiff.evaluation.histograms import bin_edges, property_histograms
from moldiff.evaluation.reference import Entry


def data_of(path: Path) -> dict[str, Any]:
    found = re.search(r'<script id="data" type="application/json">(.*?)</script>', path.read_text(encoding="utf-8"))
    assert found
    return dict(json.loads(found[1]))


def test_the_page_tells_of_every_draw(run: Callable[..., Any], tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    options = [
        "generate",
        "-n",
        "12",
        "--evaluations",
        "8",
        "-o",
        tmp_path / "m.sdf",
        "--report",
        page,
        "--where",
        "tpsa<30",
    ]
    assert run(*options).status == 0
    data, record = data_of(page), json.loads((tmp_path / "m.run.json").read_text())
    assert data["record"] == record
    valid = record["counts"]["valid"]
    assert joined(data, tmp_path / "m.csv") == 12
    assert (len(data["cards"]), len(data["failed"]["rows"])) == (valid, 12 - valid)
    assert data["funnel"][0] == {"name": "drawn", "count": 12}
    assert data["funnel"][-2]["count"] == valid < 10, "several are left out"
    assert {"logp", "mw"} <= {one["name"] for one in data["histograms"]}
    assert all(one["reference"] for one in data["histograms"] if one["name"] == "logp")
    other = ["generate", "-n", "1", "-o", tmp_path / "o.sdf", "--report", page]
    run(*other).assert_refused("page.html", "exists already")
    assert not (tmp_path / "o.sdf").exists()
    run("generate", "-o", tmp_path / "n.sdf", "--report", tmp_path / "n.pdf").assert_refused("must end in .html")


def joined(data: dict[str, Any], table: Path) -> int:
    """Return how many rows of a CSV a page tells of by the same id: as a card or among what did not pass."""
    rows = {row["moldiff_id"]: row for row in csv.DictReader(table.open(encoding="utf-8", newline=""))}
    for card in data["cards"]:
        row = rows[card["title"]]
        assert (row["status"], row["smiles"]) == ("valid", card["smiles"])
        assert row.get("draw", "") in ("", str(card["values"].get("draw", "")))
    assert data["failed"]["columns"] == ["moldiff_id", "status", "reason"]
    for name, status, reason in data["failed"]["rows"]:
        assert (rows[name]["status"], rows[name]["reason"]) == (status, reason)
    return len({card["title"] for card in data["cards"]} | {row[0] for row in data["failed"]["rows"]})


@pytest.mark.parametrize("command", ["vary", "conformers"])
def test_ids_of_draws_from_records_are_those_of_the_table(
    command: str, run: Callable[..., Any], sample_path: Path, tmp_path: Path
) -> None:
    records = sample_path.read_text().split("$$$$\n")[:3]
    records[1] = records[1].replace("V2000", "V9000")  # one that cannot be read: its draws have ids too
    (tmp_path / "in.sdf").write_text("".join(f"{record}$$$$\n" for record in records))
    options = ["-n", "2", "--evaluations", "8", "-o", tmp_path / "m.sdf", "--report", tmp_path / "page.html"]
    assert run(command, tmp_path / "in.sdf", *options).status == 0
    assert joined(data_of(tmp_path / "page.html"), tmp_path / "m.csv") == 6


def test_draws_of_large_numbers_have_their_ids(run: Callable[..., Any], tmp_path: Path) -> None:
    options = ["-n", "3", "--first", "1234567", "--evaluations", "8", "--report", tmp_path / "page.html"]
    assert run("generate", *options, "-o", tmp_path / "m.sdf").status == 0
    assert joined(data_of(tmp_path / "page.html"), tmp_path / "m.csv") == 3


def test_an_evaluation_has_a_page(run: Callable[..., Any], sample_path: Path, tmp_path: Path) -> None:
    assert run("evaluate", sample_path, "-o", tmp_path / "e", "--posebusters", "0").status == 0
    data = data_of(tmp_path / "e" / "report.html")
    report = json.loads((tmp_path / "e" / "report.json").read_text())
    assert data["funnel"][0]["count"] == report["counts"]["requested"]
    assert data["total"] == report["counts"]["valid"] == data["funnel"][3]["count"]
    assert all(one["reference"] is None for one in data["histograms"])


def test_histograms_share_their_bins() -> None:
    values, others = np.array([0.0, 1.0, 1.0, 3.0]), np.repeat([1.0, 2.0, 2.0, 5.0], 8)
    entry = Entry(summarise(others), Floor((), (), 1))
    whole, plain = property_histograms(
        {"rings": values, "logp": np.full(3, np.nan), "mw": others + 0.5}, {"rings": entry}
    )
    assert (whole.low, whole.high) == (-0.5, 5.5)
    assert whole.sample == (0.25, 0.5, 0.0, 0.25, 0.0, 0.0)
    assert whole.reference == pytest.approx((0.0, 0.25, 0.5, 0.0, 0.0, 0.25))
    assert plain.name == "mw" and plain.reference is None and sum(plain.sample) == pytest.approx(1)
    assert len(bin_edges(np.zeros(0), None)) > 2
