"""Sizes of draws beside those of the training data: what is larger than any of it, and what is new without these."""

import numpy as np
import pandas as pd
import pytest
from script import load_script

from moldiff.chem.identity import text_key

sizes = load_script("benchmarks/sizes")


def test_molecules_larger_than_any_of_training_are_told_and_left_out_of_novelty() -> None:
    drawn = pd.DataFrame(
        [
            ("valid", "CCO", 3, 46.0), ("valid", "CCO", 3, 46.0), ("valid", "CCN", 3, 45.0),
            ("valid", "CCCCC", 5, 72.0), ("invalid", "", np.nan, np.nan),
        ],
        columns=["status", "flat", "heavy_atom_count", "mw"],
    )  # fmt: skip
    training = {"heavy_atom_count": np.array([2.0, 3.0, 4.0] * 50), "mw": np.array([40.0, 50.0, 60.0] * 50)}
    keys = np.sort(np.array([text_key("CCO"), text_key("CO")], dtype=np.uint64))
    rows = dict(sizes.measures(drawn, training, keys, np.random.default_rng(0)))
    assert rows["valid by moldiff: plausible bond lengths and no clashes, too"] == "80.0 ± 17.9 % of 5"
    assert rows["more than 4 heavy atoms, the most of the training data; of the valid"] == "25.0 ± 21.7 % of 4"
    assert rows["novel, of the unique"].startswith("66.7 ± ")
    assert rows["novel, of the unique of at most 4 heavy atoms"].startswith("50.0 ± ")
    assert rows["heavy atoms: mean (training data)"] == "3.50 (3.00)"
    assert rows["heavy atoms: W1 (floor)"].startswith("0.667 (")


def test_the_floor_falls_with_the_number_of_molecules() -> None:
    training = np.random.default_rng(0).normal(size=5000)
    few, many = (sizes.floor(training, n, np.random.default_rng(1)) for n in (50, 2000))
    assert 0 < many < few / 3
    assert few == pytest.approx(0.14, abs=0.06)
