"""What a session has set for itself neither changes what comes out, nor is it changed."""

import random
from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch

import moldiff

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
