"""What a model drew before its scales were keys of its configuration, it draws today."""

import json
from pathlib import Path

import numpy as np
import pytest

from moldiff.models.folder import load_model_folder
from moldiff.models.molecule_model import MoleculeModel
from moldiff.sampling.molecule_sampler import MoleculeSampler
from moldiff.sampling.solvers import SOLVERS
from moldiff.sampling.time_grids import GRIDS

BEFORE = json.loads((Path(__file__).parents[1] / "fixtures" / "qm9_draws.json").read_text())
"""Draws of the built-in model in float32, made by the commit that the file names."""


@pytest.mark.parametrize("method", BEFORE["draws"])
def test_the_built_in_model_draws_what_it_drew_before_its_scales_were_keys_of_the_config(method: str) -> None:
    sampler, grid = method.split()
    expected = BEFORE["draws"][method]
    model = MoleculeModel.from_folder(load_model_folder("qm9"))
    molecule_sampler = MoleculeSampler(model, SOLVERS[sampler], BEFORE["evaluations"], BEFORE["seed"], grid=GRIDS[grid])
    for draw in molecule_sampler.draw(0, len(expected)):
        wanted = expected[draw.number]
        assert draw.arrays is not None
        assert draw.arrays.atom_type.tolist() == wanted["atom_type"]
        assert draw.arrays.charge.tolist() == wanted["charge"]
        assert draw.arrays.bonds.tolist() == wanted["bonds"]
        assert np.abs(draw.arrays.pos - np.array(wanted["pos"])).max() < 1e-4
