"""Two checkouts side by side."""

from pathlib import Path

import pytest
from script import load_script

speedup = load_script("benchmarks/speedup")
ROOT = Path(__file__).parents[2]


def test_ratios_are_of_neighbours_and_their_median_counts() -> None:
    one = speedup.Timed("qm9:1000", [(30.0, 10.0), (20.0, 20.0), (44.0, 22.0)], (0.7, 0.5))
    assert one.ratios == [1.0, 2.0, 3.0]
    assert one.row() == "| qm9 | 1,000 | 30.0 | 20.0 | 2.00 (1.00 to 3.00) | 0.70 | 0.50 |"


def test_both_sides_run_and_are_told(tmp_path: Path) -> None:
    speedup.main([str(ROOT), str(ROOT), "--runs", "qm9_fast:1", "--rounds", "1", "-o", str(tmp_path / "page.md")])
    cells = (tmp_path / "page.md").read_text().splitlines()[-1].split(" | ")
    assert cells[0] == "| qm9_fast" and cells[1] == "1"
    assert all(0.5 < float(cell.split()[0].rstrip("|")) < 100 for cell in cells[2:4])


@pytest.mark.parametrize(
    ("words", "told"),
    [(["{root}", "{root}", "--runs", "qm9"], "a model and a number"), (["{root}", "nowhere"], "holds no package")],
)
def test_what_cannot_be_timed_is_said_before(words: list[str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        speedup.parse([word.format(root=ROOT) for word in words])
    assert told in capsys.readouterr().err
