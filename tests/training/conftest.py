"""A prepared set of the sample molecules and a training file for them, small enough to train in seconds."""

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from moldiff.datasets.prepare import prepare
from moldiff.training import plots

SAMPLE = Path(__file__).parents[2] / "data" / "sample.sdf"
TINY = {
    "network": {
        "layers": 2, "node_width": 16, "pair_width": 8, "pair_hidden": 8, "vectors": 4, "heads": 2, "global_width": 8,
    },
    "optimizer": {"warmup_steps": 2, "muon_learning_rate": 0.002, "ema_decay": 0.9},
    "training": {
        "steps": 8, "batch_size": 4, "log_every": 2, "validate_every": 4, "validation_molecules": 8,
        "checkpoint_every": 4, "bf16": False, "device": "cpu", "threads": 1,
    },
}  # fmt: skip


@pytest.fixture
def pictures() -> None:
    """The pictures of the logs are drawn in a test that asks for this."""


@pytest.fixture(autouse=True)
def only_wanted_pictures(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing takes ten times as long as the steps of so small a model: it is left out where nobody looks."""
    if not {"pictures", "no_pictures"} & set(request.fixturenames):
        monkeypatch.setattr(plots, "_draw", lambda *_: None)


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "sample"
    prepare([SAMPLE], folder, properties=["logp", "gfn2_gap_eV"])
    return folder


@pytest.fixture
def training_file(tmp_path: Path, prepared: Path) -> Callable[..., Path]:
    """Write a training file; keyword arguments replace top-level keys. With a model to start from, network and
    conditions are the model's."""

    def write(name: str = "run", **changes: object) -> Path:
        values = {"data": str(prepared), "output": str(tmp_path / name), "conditions": ["logp"], **TINY}
        if "init_from" in changes:
            del values["conditions"], values["network"]
        values |= changes
        path = tmp_path / f"{name}.yaml"
        path.write_text(yaml.safe_dump(values), encoding="utf-8")
        return path

    return write
