"""`--report`: a page of a run beside its other files."""

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
    assert (len(data["cards"]), len(data["failed"]["rows"])) == (valid, 12 - valid)
    assert data["funnel"][0] == {"name": "drawn", "count": 12}
    assert data["funnel"][-2]["count"] == valid < 10, "several are left out"
    assert {"logp", "mw"} <= {one["name"] for one in data["histograms"]}
    assert all(one["reference"] for one in data["histograms"] if one["name"] == "logp")
    other = ["generate", "-n", "1", "-o", tmp_path / "o.sdf", "--report", page]
    run(*other).assert_refused("page.html", "exists already")
    assert not (tmp_path / "o.sdf").exists()
    run("generate", "-o", tmp_path / "n.sdf", "--report", tmp_path / "n.pdf").assert_refused("must end in .html")


def test_an_evaluation_has_a_page(run: Callable[..., Any], sample_path: Path, tmp_path: Path) -> None:
    assert run("evaluate", sample_path, "-o", tmp_path / "e", "--posebusters", "0").status == 0
    data = data_of(tmp_path / "e" / "report.html")
    report = json.loads((tmp_path / "e" / "report.json").read_text())
    assert data["funnel"][0]["count"] == report["counts"]["requested"]
    assert data["total"] == report["counts"]["valid"] == data["funnel"][3]["count"]
    assert all(one["reference"] is None for one in data["histograms"])


def test_histograms_share_their_bins() -> None:
    values, others = np.array([0.0, 1.0, 1.0, 3.0]), np.repeat([1.0, 2.0, 2.0, 5.0], 8)
    entry = Entry(summarise(others), Floor((), ()))
    whole, plain = property_histograms(
        {"rings": values, "logp": np.full(3, np.nan), "mw": others + 0.5}, {"rings": entry}
    )
    assert (whole.low, whole.high) == (-0.5, 5.5)
    assert whole.sample == (0.25, 0.5, 0.0, 0.25, 0.0, 0.0)
    assert whole.reference == pytest.approx((0.0, 0.25, 0.5, 0.0, 0.0, 0.25))
    assert plain.name == "mw" and plain.reference is None and sum(plain.sample) == pytest.approx(1)
    assert len(bin_edges(np.zeros(0), None)) > 2
