"""The page of a screening run: its sums are those of the tables, and a real browser shows it without a network."""

import json
import re
from pathlib import Path

import pytest
from browser import BROWSER, asked

import moldiff
from moldiff.cli.main import main
from moldiff.pages.report import MOST_CARDS
from moldiff.screening.runs.report_page import MOST_OF_A_STAGE
from moldiff.screening.screen import Screening, screening_of

SAMPLE = Path(__file__).parents[3] / "data" / "sample.sdf"
FOREIGN = "</script><img src=x onerror=alert(1)>"


def data_of(run: Screening) -> dict:
    found = re.search(r'<script id="data" type="application/json">(.*?)</script>', run.report.read_text("utf-8"))
    assert found
    return json.loads(found[1])


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Screening:
    folder = tmp_path_factory.mktemp("screen")
    extra = folder / "extra.smi"
    extra.write_text(f"CCO {FOREIGN}\nOCC again\nno_molecule\nClCCSc1ccccc1 secret\n")
    words = {"where": ["mw<120"], "alerts": "brenk", "rank": ["qed:max:0.2..0.9", "sa:min:2..6"], "top": 6}
    found = moldiff.screen([SAMPLE, extra], folder / "run", **words)
    assert found is not None
    return found


def test_the_page_says_what_the_tables_say(run: Screening) -> None:
    data, counts = data_of(run), run.funnel["counts"]
    assert data["funnel"][0] == {"name": "requested", "count": 204}
    passed = {one["stage"]: one["passed"] for one in run.funnel["stages"] if one["left_out"]}
    assert {one["name"]: one["count"] for one in data["funnel"][1:-2]} == passed
    assert {"read", "hazards", "mw", "brenk", "duplicates"} <= set(passed)
    assert [one["count"] for one in data["funnel"][-2:]] == [run.funnel["ranked"], 6]
    top = run.ranked.head(6)
    assert [card["smiles"] for card in data["cards"]] == list(top["smiles"])
    assert [card["values"]["desirability"] for card in data["cards"]] == pytest.approx(list(top["desirability"]))
    for card in data["cards"]:
        qed, sa = card["values"]["qed:max:0.2..0.9"], card["values"]["sa:min:2..6"]
        assert card["values"]["desirability"] == pytest.approx((qed * sa) ** 0.5, abs=2e-3)
        assert card["model"]["elements"]
    rows = [dict(zip(data["failed"]["columns"], row, strict=True)) for row in data["failed"]["rows"]]
    assert len(rows) == 204 - counts["valid"]
    table = run.records.set_index("record")
    for row in rows:
        assert (row["status"], row["stage"]) == tuple(table.loc[row["record"], ["status", "stage"]])
    assert [row for row in rows if row["status"] == "withheld"] == [
        {"record": 203, "file": str(run.folder.parent / "extra.smi"), "name": "", "status": "withheld", "stage": "",
         "reason": "", "value": None, "limit": ""}
    ]  # fmt: skip
    assert "secret" not in run.report.read_text("utf-8")
    assert {one["name"] for one in data["histograms"]} == {"mw", "qed", "sa"}
    for one in data["histograms"]:
        assert sum(one["sample"]) == pytest.approx(1, abs=1e-3)
        assert sum(one["reference"]) == pytest.approx(1, abs=0.05)
    assert data["record"]["inputs"][0]["sha256"]
    assert data["record"] == json.loads((run.folder / "ranked.run.json").read_text())


def test_what_is_left_out_is_said(tmp_path: Path) -> None:
    (tmp_path / "many.smi").write_text("".join(f"{'C' * (k % 7 + 1)}O n{k}\n" for k in range(230)))
    run = moldiff.screen(tmp_path / "many.smi", tmp_path / "run", where="mw<10", dedup=False)
    assert run is not None
    data = data_of(run)
    assert len(data["failed"]["rows"]) == MOST_OF_A_STAGE < MOST_CARDS + 1
    assert data["failed_note"] == "at most 200 of each stage, 200 of 230"


def test_a_reference_is_named_before_the_work(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "few.smi").write_text("CCO\nCCCO\n")
    words = ["screen", str(tmp_path / "few.smi"), "-o", str(tmp_path / "run")]
    assert main([*words, "--reference", str(tmp_path / "none.sdf")]) == 2
    assert "none.sdf cannot be read" in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "run").exists()
    assert main([*words, "--reference", "qm9"]) == 0
    assert "held-out molecules of qm9" in data_of(screening_of(tmp_path / "run"))["histogram_note"]


ASK = """
  const cards = () => [...document.querySelectorAll(".card b")].map(one => one.textContent.split(":")[0]).join("");
  answer.given = cards();
  const key = document.querySelector("#key");
  key.value = "rank"; key.onchange(); document.querySelector("#down").checked = true; key.onchange();
  answer.falling = cards();
  answer.drawn = [...document.querySelectorAll("canvas")].map(one =>
    one.getContext("2d").getImageData(0, 0, one.width, one.height).data.filter((v, i) => i % 4 === 3 && v).length);
  answer.images = [...document.images].map(one => one.naturalWidth);
  answer.bars = document.querySelectorAll("#funnel .bar").length;
  answer.panels = document.querySelectorAll("#histograms .panel").length;
  const search = document.querySelector("#failed input"); search.value = "duplicate"; search.oninput();
  answer.rows = [...document.querySelectorAll("tbody tr")].map(one => one.textContent);
  answer.made = document.querySelectorAll("img[src='x']").length;
"""


@pytest.mark.skipif(BROWSER is None, reason="no Chromium is installed")
def test_a_real_browser_shows_the_page(run: Screening, tmp_path: Path) -> None:
    answer = asked(run.report.read_text("utf-8"), ASK, tmp_path)
    assert (answer["given"], answer["falling"]) == ("123456", "654321")
    assert len(answer["drawn"]) == 6 and min(answer["drawn"]) > 300
    assert min(answer["images"]) > 100
    assert answer["bars"] == len(data_of(run)["funnel"])
    assert answer["panels"] == 3
    assert len(answer["rows"]) >= 1 and all("duplicate" in row for row in answer["rows"])
    assert answer["made"] == 0


def test_distributions_are_of_what_passed(tmp_path: Path) -> None:
    (tmp_path / "few.smi").write_text("CCO\nCCCO\nCCCCCCCCCCCCO\nCCCCCCCCCCCO\n")
    run = moldiff.screen(tmp_path / "few.smi", tmp_path / "run", where="mw<100")
    assert run is not None
    (one,) = data_of(run)["histograms"]
    half = (len(one["sample"]) + 1) // 2
    assert sum(one["sample"][:half]) == pytest.approx(1)
    assert sum(one["reference"][:half]) == pytest.approx(0.5, abs=0.02)
