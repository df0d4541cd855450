"""The page on a model: made of the reports and of the run record that the commands of today write."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from script import load_script

from moldiff.evaluation.evaluate import evaluate
from moldiff.evaluation.load_reference import load_reference

model_page = load_script("benchmarks/model")


def test_a_page_tells_rates_distances_and_how_it_was_drawn(
    run: Callable[..., Any], model: Path, sample_texts: list[str], tmp_path: Path
) -> None:
    run("generate", "-n", "2", "--model", model, "--evaluations", "2", "-o", tmp_path / "made.sdf", "--workers", "0")
    few = tmp_path / "few.sdf"
    few.write_text("".join(sample_texts[:12]), encoding="utf-8")
    report = evaluate(few, load_reference("qm9"), hydrogens="explicit", posebusters=0).to_json()
    record = json.loads((tmp_path / "made.run.json").read_text(encoding="utf-8"))
    arguments = model_page.parse(["runs/mine/model", "-n", "200", "--seed", "3", "--untimed"])
    text = model_page.page({"generated": report}, record, [], arguments)
    assert "`python -m scripts.benchmarks.model model -n 200 --seed 3 --untimed`" in text
    assert "Sampler dpmpp_sde, 2 network evaluations, seed 3" in text
    assert "| valid & connected | 100.0 ± 0.0 |" in text
    assert "| PoseBusters (mol_fast) | - |" in text
    assert "| W1 of bonds, angstrom (floor) | 0.0" in text
    assert "wall" not in text and "ring system" not in text
    assert "| 100 molecules | 1.5 | 0.70 |" in model_page.page(
        {"generated": report}, record, [("100 molecules", 1.5, 0.7)], arguments
    )


def test_odd_rings_and_bonds_are_told_where_there_are_counts() -> None:
    rarity = {
        "n": 100,
        "rarest_ring": {"unseen": 0.2, "rare": 0.25, "median": 9.0},
        "weakest_bond": {"unseen": 0.5, "weak": 0.5, "median": 0.1},
    }
    found = model_page.oddities({"rarity": rarity})
    assert found["a ring system that no training molecule has"] == "20.0 ± 4.0"
    assert found["a bond between surroundings never seen bonded"] == "50.0 ± 5.0"
    assert model_page.oddities({"rarity": None}) == {}
