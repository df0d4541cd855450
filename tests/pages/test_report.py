"""The page on molecules: complete in itself, foreign text stays text, and a real browser shows it without a network."""

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from browser import BROWSER, NODE, asked, computed
from rdkit import Chem

from moldiff.chem.draw import plain_model
from moldiff.pages import page as page_module
from moldiff.pages.report import MOST_CARDS, MOST_FAILED, Card, Histogram, Report, Stage

TEMPLATES = Path(page_module.__file__).parent
SAMPLE = Path(__file__).parents[2] / "data" / "sample.sdf"
FOREIGN = "</script><img src=x onerror=alert(1)>\x1b[31m'\"&"


def report(cards: int = 6) -> Report:
    molecules = [mol for mol, _ in zip(Chem.SDMolSupplier(str(SAMPLE), removeHs=False), range(cards), strict=False)]
    return Report(
        title=f"Molecules {FOREIGN}",
        lines=["6 requested = 4 valid + 2 invalid", FOREIGN],
        funnel=[Stage("requested", 9), Stage("valid", 6)],
        cards=[
            Card.of(
                mol,
                f"{place} {FOREIGN}",
                Chem.MolToSmiles(mol),
                {"weight": [3.0, 11.0, None, -2.0, float("nan"), 7.5][place % 6]},
            )
            for place, mol in enumerate(molecules)
        ],
        total=len(molecules),
        failed_columns=("index", "reason"),
        failed_rows=[(2, "valence: N"), (10, FOREIGN), (1, "fragments")],
        failed=3,
        record={"command": FOREIGN, "seed": 3},
        histograms=[Histogram("weight", "g/mol", 0.0, 4.0, (0.5, 0.25, 0.0, 0.25), (0.25, 0.25, 0.25, 0.25))],
        histogram_note="Of the valid molecules.",
    )


def data_of(page: str) -> dict:
    found = re.search(r'<script id="data" type="application/json">(.*?)</script>', page)
    assert found
    return json.loads(found[1])


def test_the_page_is_complete_in_itself_and_foreign_text_is_text() -> None:
    page = report().html()
    assert not re.search(
        r"https?://(?!www\.w3\.org/2000/svg)|@import|<link", re.sub(r"<script id=.*?</script>", "", page)
    )
    assert page.count("</script>") == 2
    assert "onerror=alert(1)>" not in page.replace("\\u003cimg src=x onerror=alert(1)>", "")
    data = data_of(page)
    assert data["title"] == "Molecules " + FOREIGN.replace("\x1b", "?")
    assert [card["values"]["weight"] for card in data["cards"]] == [3.0, 11.0, None, -2.0, None, 7.5]
    assert data["failed"]["rows"][1] == [10, FOREIGN.replace("\x1b", "?")]


def test_models_are_those_of_the_molecules() -> None:
    mol = next(iter(Chem.SDMolSupplier(str(SAMPLE), removeHs=False)))
    model = plain_model(mol)
    assert model is not None
    assert model["elements"] == [atom.GetSymbol() for atom in mol.GetAtoms()]
    pos = np.array(model["pos"])
    assert pos.mean(axis=0) == pytest.approx(np.zeros(3), abs=1e-3)
    assert np.linalg.norm(pos[0] - pos[-1]) == pytest.approx(
        (mol.GetConformer().GetAtomPosition(0) - mol.GetConformer().GetAtomPosition(len(pos) - 1)).Length(), abs=3e-3
    )
    assert plain_model(Chem.MolFromSmiles("CCO")) is None
    aromatic = plain_model(Chem.Mol(next(m for m in Chem.SDMolSupplier(str(SAMPLE)) if m.GetAromaticAtoms())))
    assert aromatic is not None
    assert 1.5 in {order for *_, order in aromatic["bonds"]}  # type: ignore[misc, attr-defined]


def test_what_is_left_out_is_said() -> None:
    one = report()
    many = replace(
        one, cards=one.cards * (MOST_CARDS // 6 + 1), failed_rows=[(n, "x") for n in range(2500)], failed=5000
    )
    data = data_of(many.html())
    assert (len(data["cards"]), len(data["failed"]["rows"])) == (MOST_CARDS, MOST_FAILED)
    assert data["failed_note"] == f"the first {MOST_FAILED:,} of 5,000"


def test_whole_numbers_that_a_browser_would_round_are_texts() -> None:
    seed = 2**64 - 1
    found = data_of(replace(report(), record={"seed": seed, "options": [{"first": 2**53 + 1, "n": 2**53 - 1}]}).html())
    assert found["record"] == {"seed": str(seed), "options": [{"first": str(2**53 + 1), "n": 2**53 - 1}]}
    rows = [(2**53, -(2**60), 12345, True, None)]
    assert data_of(replace(report(), failed_rows=rows).html())["failed"]["rows"] == [
        [str(2**53), str(-(2**60)), 12345, True, None]
    ]


@pytest.mark.skipif(NODE is None, reason="no Node.js is installed")
@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (12345, "12345"), (1234567, "1234567"), (9999, "9999"), (-10001, "-10001"), (2**53 - 1, str(2**53 - 1)),
        (12345.678, "12346"), (1234.4, "1234"), (999.96, "1000"), (180.1571, "180.2"), (-0.00123456, "-0.001235"),
        (0, "0"), (None, ""), ("9007199254740993", "9007199254740993"),
    ],
)  # fmt: skip
def test_numbers_keep_the_digits_in_front_of_the_point_and_a_search_finds_what_is_shown(
    value: object, shown: str
) -> None:
    raw = json.dumps(value)
    found = computed("report.html", ("number", "searched"), f"[number({raw}), searched(['Name', {raw}])]")
    assert found[0] == shown
    assert found[1].split("\n")[2] == shown and "name" in found[1]
    assert value is None or str(value) in found[1]


@pytest.mark.skipif(NODE is None, reason="no Node.js is installed")
def test_numbers_in_texts_are_sorted_as_numbers() -> None:
    values = ["qm9-1-10", "qm9-1-9", None, "qm9-1-100", "10", "9", 11, "12: b", "2: a"]
    found = computed("report.html", ("compare",), f"{json.dumps(values)}.sort(compare)")
    assert found == ["2: a", "9", "10", 11, "12: b", "qm9-1-9", "qm9-1-10", "qm9-1-100", None]


PLAIN = """
  const element = (name, text = "", parent = null) => {
    const made = { name, textContent: text, value: "", style: {}, children: [], attributes: {} };
    made.setAttribute = (key, value) => { made.attributes[key] = value; };
    made.append = child => { made.children.push(child); };
    made.replaceChildren = (...children) => { made.children = children; };
    if (parent) parent.append(made);
    return made;
  };
  const places = {}, find = selector => places[selector] ??= element(selector);
  const document = { createElement: element, createElementNS: (space, name) => element(name) };
"""


@pytest.mark.skipif(NODE is None, reason="no Node.js is installed")
def test_columns_are_sorted_by_buttons_and_say_so() -> None:
    before = """
      const data = { failed_note: "", failed: { columns: ["record", "reason"], rows: [[12345, "a"], [9, "b"]] } };
      failed();
      const heads = find("tr").children, buttons = heads.map(one => one.children[0]), states = [];
      const note = () => states.push([heads.map(one => one.attributes["aria-sort"]),
        find("tbody").children.map(row => row.children[0].textContent)]);
      note(); buttons[0].onclick(); note(); buttons[0].onclick(); note(); buttons[1].onclick(); note();
      find("input").value = "1234"; find("input").oninput(); note();
    """
    names = ("compare", "number", "searched", "failed")
    found = computed("report.html", names, "[buttons.map(one => [one.name, one.textContent]), states]", PLAIN + before)
    assert found[0] == [["button", "record"], ["button", "reason"]]
    assert found[1] == [
        [["none", "none"], ["12345", "9"]], [["ascending", "none"], ["9", "12345"]],
        [["descending", "none"], ["12345", "9"]], [["none", "ascending"], ["12345", "9"]],
        [["none", "ascending"], ["12345"]],
    ]  # fmt: skip


@pytest.mark.skipif(NODE is None, reason="no Node.js is installed")
def test_what_is_drawn_says_what_it_shows() -> None:
    one = '{ name: "logp", unit: "1", low: -1.5, high: 12345.5, sample: [1, 0], reference: null }'
    svg = "find('#histograms .panels').children[0].children.find(part => part.name === 'svg').attributes"
    found = computed("report.html", ("number", "histogram"), svg, f"{PLAIN} histogram({one});")
    assert (found["role"], found["aria-label"]) == ("img", "distribution of logp, -1.5 to 12346")
    canvas = (
        "const canvas = element('canvas'); canvas.getContext = () => null; new MoleculeView(canvas, 'qm9-1-2 in 3D');"
    )
    found = computed("molecule_view.js", ("MoleculeView",), "canvas.attributes", PLAIN + canvas)
    assert found == {"role": "img", "aria-label": "qm9-1-2 in 3D"}
    pages = [page.read_text(encoding="utf-8") for page in TEMPLATES.glob("*.html")]
    views = [call for page in pages for call in re.findall(r"new MoleculeView\([^`]*`\$\{\w+\.title\} in 3D", page)]
    assert len(views) == sum(page.count("new MoleculeView(") for page in pages) == 2
    inputs = [tag for page in pages for tag in re.findall(r'<input[^>]*type="(?:search|range)"[^>]*>', page)]
    labels = [re.findall('aria-label="(.*?)"', tag) for tag in inputs]
    assert sorted(labels) == [["search molecules"], ["search what did not pass"], ["step"]]


ASK = """
  const cards = () => [...document.querySelectorAll(".card b")].map(one => one.textContent.split(" ")[0]).join("");
  answer.given = cards();
  answer.images = [...document.images].map(one => one.naturalWidth);
  const key = document.querySelector("#key");
  key.value = "weight"; key.onchange(); answer.rising = cards();
  document.querySelector("#down").checked = true; key.onchange(); answer.falling = cards();
  const search = document.querySelector("#search"); search.value = "11"; search.oninput(); answer.found = cards();
  search.value = ""; search.oninput();
  answer.drawn = [...document.querySelectorAll("canvas")].map(one => one.width * one.height === 0 ? 0 :
    one.getContext("2d").getImageData(0, 0, one.width, one.height).data.filter((v, i) => i % 4 === 3 && v).length);
  const rows = () => [...document.querySelectorAll("tbody tr")].map(one => one.children[0].textContent).join(" ");
  answer.rows = rows();
  const head = document.querySelector("th"), sorting = () => document.querySelector("th").getAttribute("aria-sort");
  answer.sorting = [sorting()];
  head.querySelector("button").click(); answer.sorted = rows(); answer.sorting.push(sorting());
  head.querySelector("button").click(); answer.sorting.push(sorting());
  answer.labels = [...document.querySelectorAll("canvas, svg, img, input[type=search]")].map(one =>
    one.alt || one.getAttribute("aria-label"));
  answer.roles = [...document.querySelectorAll("canvas, svg")].map(one => one.getAttribute("role"));
  answer.bars = document.querySelectorAll("rect").length;
  answer.images_made = document.querySelectorAll("img[src='x']").length;
"""


@pytest.mark.skipif(BROWSER is None, reason="no Chromium is installed")
def test_a_real_browser_shows_sorts_and_searches(tmp_path: Path) -> None:
    answer = asked(report().html(), ASK, tmp_path)
    assert answer["given"] == "012345"
    assert answer["rising"] == "305124"  # what has no value comes last
    assert answer["falling"] == "150324"
    assert answer["found"] == "1"
    assert len(answer["drawn"]) == 6 and min(answer["drawn"]) > 500
    assert min(answer["images"]) > 100
    assert (answer["rows"], answer["sorted"]) == ("2 10 1", "1 2 10")
    assert answer["sorting"] == ["none", "ascending", "descending"]
    assert all(answer["labels"]) and len(answer["labels"]) == 6 + 1 + 6 + 2
    assert set(answer["roles"]) == {"img"}
    assert answer["bars"] == 8
    assert answer["images_made"] == 0
