"""The path from noise to a molecule: that it is the path of that very draw, and files that tools and browsers read."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from moldiff.generation.trajectory import Frame, html, trace, xyz
from moldiff.models.molecule_model import MoleculeModel
from moldiff.sampling.molecule_sampler import MoleculeSampler
from moldiff.sampling.solvers import SOLVERS
from moldiff.sampling.time_grids import GRIDS

STEPS = 6


@pytest.fixture(scope="module")
def molecule_sampler(tiny_model: MoleculeModel) -> MoleculeSampler:
    return MoleculeSampler(tiny_model, SOLVERS["ddpm"], STEPS, seed=0, grid=GRIDS["uniform"])


@pytest.fixture(scope="module")
def frames(molecule_sampler: MoleculeSampler) -> list[Frame]:
    return trace(molecule_sampler, 3)


def test_frames_lead_from_noise_to_the_molecule_of_the_draw(
    molecule_sampler: MoleculeSampler, frames: list[Frame]
) -> None:
    draw = next(iter(molecule_sampler.draw(3, 1)))
    assert [frame.step for frame in frames] == list(range(1, STEPS + 1))
    assert [frame.t for frame in frames] == pytest.approx(np.linspace(1, 0, STEPS + 1)[1:])
    assert draw.arrays is not None
    for name in ("pos", "atom_type", "charge", "bonds"):
        assert np.array_equal(getattr(frames[-1].state, name), getattr(draw.arrays, name)), name
    spreads = [float(frame.state.pos.std()) for frame in frames]
    assert spreads[0] > 2 * spreads[-1]  # the first frame is after the first of the few steps, at 2.7 angstrom
    sigmas = [frame.sigma for frame in frames]
    assert sigmas == sorted(sigmas, reverse=True)
    assert sigmas[-1] == 0 < sigmas[-2]


def test_xyz_has_a_block_for_each_frame(frames: list[Frame], tiny_model: MoleculeModel) -> None:
    lines = xyz(frames, tiny_model.vocabulary, "moldiff_3").splitlines()
    n = len(frames[0].state.atom_type)
    assert len(lines) == STEPS * (n + 2)
    for place, frame in enumerate(frames):
        block = lines[place * (n + 2) : (place + 1) * (n + 2)]
        assert block[0] == str(n)
        assert block[1].startswith(f"moldiff_3 step={place + 1} t=")
        rows = [line.split() for line in block[2:]]
        assert [row[0] for row in rows] == [tiny_model.vocabulary.elements[k] for k in frame.state.atom_type]
        assert np.array([row[1:] for row in rows], dtype=float) == pytest.approx(frame.state.pos, abs=1e-4)


def test_the_page_is_complete_in_itself(frames: list[Frame], tiny_model: MoleculeModel) -> None:
    page = html(frames, tiny_model.vocabulary, "a </script> title")
    assert not re.search(r"https?:|src=|@import|<link", page)
    assert page.count("</script>") == 2
    found = re.search(r'type="application/json">(.*)</script>', page)
    assert found
    data = json.loads(found[1])
    assert data["title"] == "a </script> title"
    assert len(data["frames"]) == STEPS
    for frame, shown in zip(frames, data["frames"], strict=True):
        orders = {"single": 1, "double": 2, "triple": 3, "aromatic": 1.5}
        names = [tiny_model.vocabulary.bonds[kind] for *_, kind in frame.estimate.bonds.tolist()]
        assert [order for *_, order in shown["estimate"]["bonds"]] == [orders[name] for name in names]
        assert np.array(shown["state"]["pos"]) == pytest.approx(frame.state.pos, abs=1e-3)


def test_frames_that_are_not_finite_are_left_out(molecule_sampler: MoleculeSampler, tiny_model: MoleculeModel) -> None:
    weights = {name: weight * float("nan") for name, weight in tiny_model.denoiser.state_dict().items()}
    broken = MoleculeModel.build(
        tiny_model.network_config,
        tiny_model.curve_config,
        tiny_model.vocabulary,
        tiny_model.statistics,
        tiny_model.conditions,
    )
    broken.denoiser.load_state_dict(weights)
    assert trace(MoleculeSampler(replace(broken), SOLVERS["ddpm"], 3, seed=0), 0) == []
    assert '"frames":[]' in html([], tiny_model.vocabulary, "none")


def test_generate_writes_both(run: Callable[..., Any], model: Path, tmp_path: Path) -> None:
    names = [tmp_path / name for name in ("path.xyz", "path.html")]
    options = [item for name in names for item in ("--trajectory", name)]
    result = run("generate", "-n", "2", "-o", tmp_path / "m.sdf", "--model", model, "--evaluations", "3", *options)
    assert result.status == 0, result.err
    assert names[0].read_text().count("step=") == 3
    assert "<canvas" in names[1].read_text()
    again = run("generate", "-n", "2", "-o", tmp_path / "n.sdf", "--model", model, "--trajectory", names[0])
    again.assert_refused("path.xyz", "exists already")
    assert not (tmp_path / "n.sdf").exists()


def test_other_suffixes_are_refused(run: Callable[..., Any], model: Path, tmp_path: Path) -> None:
    result = run("generate", "-o", tmp_path / "m.sdf", "--model", model, "--trajectory", tmp_path / "path.gif")
    result.assert_refused("must end in .xyz or .html")
