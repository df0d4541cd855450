"""What a session has set for itself neither changes what comes out, nor is it changed."""

import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rdkit import Chem

import moldiff
from moldiff.chem.io.embed import embed
from moldiff.chem.io.records import mol_to_sdf_record, write_sdf
from moldiff.extras import XTB

ALCOHOL = "CC(C)O"


@pytest.fixture
def defaults() -> Iterator[None]:
    yield
    torch.set_default_dtype(torch.float32)
    torch.set_default_device(None)


def everything(model: str) -> list[np.ndarray]:
    """Positions of molecules made in every way, and bounds."""
    made = moldiff.generate(3, model=model, evaluations=3, seed=1, keep_invalid=True)
    conformers = moldiff.conformers(ALCOHOL, 2, model=model, evaluations=2, keep_invalid=True)
    varied = moldiff.vary(conformers, 1, model=model, evaluations=2, keep_invalid=True, strength=0.1)
    grown = moldiff.generate(2, model=model, evaluations=3, keep_invalid=True, fragment="*CCO")
    results = (made, conformers, varied, grown)
    found = [mol.GetConformer().GetPositions() for result in results for mol in result]
    bounds = moldiff.likelihood(conformers, model=model, evaluations=2, repeats=2)
    return [*found, bounds.table["nats"].to_numpy()]


SETTINGS: dict[str, Callable[[], object]] = {
    "float64": lambda: torch.set_default_dtype(torch.float64),
    "bfloat16": lambda: torch.set_default_dtype(torch.bfloat16),
    "meta": lambda: torch.set_default_device("meta"),
}


@pytest.mark.parametrize("name", SETTINGS)
def test_defaults_of_torch_change_nothing(name: str, defaults: None) -> None:
    before = everything("qm9_fast")
    SETTINGS[name]()
    wanted = torch.get_default_dtype(), torch.get_default_device()
    after = everything("qm9_fast")
    assert (torch.get_default_dtype(), torch.get_default_device()) == wanted
    assert len(before) == len(after) > 5
    for one, other in zip(before, after, strict=True):
        assert np.array_equal(one, other, equal_nan=True)


def whole_jobs(out: Path, mols: list[Chem.Mol]) -> list[object]:
    """What the other functions say of molecules, and a model's draws within a screen."""
    write_sdf(out / "in.sdf", [mol_to_sdf_record(mol, f"m{k}", {}) for k, mol in enumerate(mols)])
    relaxes = 2 if XTB.is_installed() else 0
    judged = moldiff.evaluate(mols, reference="qm9_fast", relax=relaxes, posebusters=1)
    screened = moldiff.screen([], out / "run", from_model="qm9_fast", n=3, where="logp<9")
    prepared = moldiff.prepare([out / "in.sdf"], out / "data")
    again = moldiff.evaluate(mols, reference=out / "data", posebusters=0)
    relaxed = None if judged.relaxation is None else [judged.relaxation.relaxed, judged.relaxation.unchecked]
    return [
        relaxed,
        judged.summary["counts"],
        again.comparison is not None,
        list(screened.records["smiles"]),
        len(moldiff.filter(mols, where="logp<9").table),
        prepared.kept,
    ]


def test_a_default_device_reaches_no_job(defaults: None, tmp_path: Path) -> None:
    mols = [embed(Chem.MolFromSmiles(smiles), seed=1, timeout_s=20)[0] for smiles in (ALCOHOL, "CC=O", "CCN")]
    found = []
    for device in (None, "meta"):
        torch.set_default_device(device)
        (out := tmp_path / str(device)).mkdir()
        found.append(whole_jobs(out, [mol for mol in mols if mol is not None]))
    assert found[0] == found[1]
    assert found[0][3]


@pytest.mark.parametrize("mode", ["inference", "no gradients", "autocast"])
def test_modes_of_torch_change_nothing(packed: Path, property_folder: Path, mode: str) -> None:
    """Guidance takes the gradient of a network, which may have been loaded within the same block."""
    modes = {
        "inference": torch.inference_mode,
        "no gradients": torch.no_grad,
        "autocast": lambda: torch.autocast("cpu", torch.bfloat16),
    }

    def positions(model: moldiff.Model) -> list[np.ndarray]:
        options: dict[str, Any] = {"evaluations": 3, "precision": "float32", "keep_invalid": True, "n_atoms": 6}
        guided = {"targets": "logp=1", "property_model": property_folder, "guidance": 1}
        made = [model.generate(2, **options, **more) for more in ({}, guided)]
        return [mol.GetConformer().GetPositions() for result in made for mol in result]

    before = positions(moldiff.load(packed, device="cpu", precision="float32"))
    with modes[mode]():
        loaded = moldiff.load(packed, device="cpu", precision="float32")
        within = positions(loaded)
    after = positions(loaded)
    assert len(before) == 4
    for one, *others in zip(before, within, after, strict=True):
        assert all(np.array_equal(one, other, equal_nan=True) for other in others)


def test_random_states_are_left_alone() -> None:
    torch.manual_seed(0)
    np.random.seed(0)  # noqa: NPY002 - the state of a session that does so
    random.seed(0)
    states = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()  # noqa: NPY002
    threads = torch.get_num_threads()
    everything("qm9_fast")
    assert torch.equal(torch.get_rng_state(), states[0])
    assert np.array_equal(np.random.get_state()[1], states[1])  # noqa: NPY002
    assert random.getstate() == states[2]
    assert torch.get_num_threads() == threads
