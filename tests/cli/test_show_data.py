"""What `moldiff data info` prints."""

import io
from pathlib import Path

import pytest
from rich.console import Console

from moldiff.cli.show_data import _size_bins, bar, render
from moldiff.datasets.prepare import prepare
from moldiff.datasets.prepared import PreparedDataset


def rendered(dataset: PreparedDataset, width: int) -> str:
    console = Console(file=io.StringIO(), width=width, force_terminal=False, markup=False)
    render(dataset, console)
    return console.file.getvalue()


@pytest.mark.parametrize("width", [40, 80, 200])
def test_everything_is_there_and_fits(sample: PreparedDataset, width: int) -> None:
    text = rendered(sample, width)
    assert all(len(line) <= width for line in text.splitlines())
    words = " ".join(text.split())
    assert f"{len(sample)} molecules" in words
    assert "200 records read = 200 kept + 0 dropped" in words
    for heading in (
        "atoms of a molecule",
        "elements",
        "formal charges",
        "pairs of atoms by bond",
        "gfn2_gap_eV, eV",
    ):
        assert heading in words
    assert "…" not in text


def test_dropped_records_are_counted_by_reason(sample_sdf: Path, tmp_path: Path) -> None:
    record = sample_sdf.read_text().split("$$$$\n")[0]
    files = []
    for name, text in (("a.sdf", sample_sdf.read_text()), ("b.sdf", f"{record}$$$$\nnonsense [b]\n\n\n$$$$\n")):
        files.append(tmp_path / name)
        files[-1].write_text(text)
    prepare(files, tmp_path / "out")
    text = rendered(PreparedDataset.open(tmp_path / "out"), 100)
    assert "202 records read = 201 kept + 1 dropped" in text
    assert "dropped.csv" in " ".join(text.split())


def test_bars() -> None:
    assert bar(0.0, 10) == ""
    assert bar(1.0, 10) == "█" * 10
    assert bar(0.5, 10) == "█" * 5
    assert bar(1e-9, 10) == "▏"
    assert bar(1.0, -5) == "█"


def test_many_sizes_share_bars() -> None:
    labels, counts = _size_bins({3: 1, 50: 2, 118: 4})
    assert labels[0] == "3 .. 6"
    assert sum(counts) == 7
    assert len(labels) <= 30
    assert _size_bins({3: 1, 5: 2}) == (["3", "5"], [1, 2])
