"""A training within a session: its arguments, and what the session has set of PyTorch."""

import logging
import os
import random
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from moldiff.errors import MoldiffError
from moldiff.models.folder import load_model_folder
from moldiff.training.session import own_settings, seed_weights
from moldiff.training.train import train

Write = Callable[..., Path]
SHORT = ["training.steps=2", "training.validate_every=2"]


@pytest.fixture
def session() -> Iterator[None]:
    threads = torch.get_num_threads()
    yield
    torch.set_default_dtype(torch.float32)
    torch.set_default_device(None)
    torch.set_num_threads(threads)


def test_a_run_leaves_a_session_as_it_was_and_does_not_depend_on_it(training_file: Write, session: None) -> None:
    plain = train(training_file("plain"), SHORT)
    torch.set_default_dtype(torch.float64)
    torch.set_default_device("meta")
    torch.set_num_threads(2)
    torch.manual_seed(7)
    np.random.seed(7)  # noqa: NPY002 - the state of a session that does so
    random.seed(7)

    def settings() -> list[object]:
        return [
            torch.get_default_dtype(), torch.get_default_device(), torch.get_num_threads(),
            torch.get_rng_state().tolist(), np.random.get_state()[1].tolist(), random.getstate(),  # noqa: NPY002
            torch.is_grad_enabled(), torch.are_deterministic_algorithms_enabled(), torch.backends.cudnn.benchmark,
            signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM), dict(os.environ),
        ]  # fmt: skip

    before = settings()
    other = train(training_file("other"), SHORT)
    assert settings() == before
    with pytest.raises(MoldiffError):
        train(training_file("third"), ["conditions=[nonsense]"])
    assert settings() == before
    torch.set_default_dtype(torch.float32)
    torch.set_default_device(None)
    weights = load_model_folder(plain).weights
    for name, value in load_model_folder(other).weights.items():
        assert torch.equal(value, weights[name]), name


def test_a_session_without_gradients_stays_so(training_file: Write, caplog: pytest.LogCaptureFixture) -> None:
    """Lightning takes gradients for good, and its notes are silent for the run alone."""
    notes = logging.getLogger("pytorch_lightning.utilities.rank_zero")
    level = notes.level
    notes.setLevel(logging.INFO)
    try:
        for wanted in (False, True):
            with torch.set_grad_enabled(wanted):
                train(training_file(f"gradients-{wanted}"), SHORT)
                assert torch.is_grad_enabled() is wanted
        assert notes.level == logging.INFO
    finally:
        notes.setLevel(level)
    assert not [record for record in caplog.records if record.name == notes.name]


def test_settings_last_as_long_as_the_run(session: None) -> None:
    torch.set_default_dtype(torch.float64)
    torch.set_num_threads(2)
    for threads, within in ((1, 1), (0, 2)):
        with own_settings(threads):
            assert (torch.get_default_dtype(), torch.get_num_threads()) == (torch.float32, within)
        assert (torch.get_default_dtype(), torch.get_num_threads()) == (torch.float64, 2)


@pytest.mark.parametrize("is_used", [True, False])
def test_the_session_s_card_and_their_order_come_back(is_used: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lightning changes both."""
    current = [2]
    used = [is_used]
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: used[0])
    monkeypatch.setattr(torch.cuda, "current_device", lambda: current[0])
    monkeypatch.setattr(torch.cuda, "set_device", lambda card: current.__setitem__(0, card))
    monkeypatch.delenv("CUDA_DEVICE_ORDER", raising=False)
    with own_settings(0):
        used[0], current[0] = True, 1
        os.environ["CUDA_DEVICE_ORDER"] = "PCI_BUS_ID"
    assert current == [2 if is_used else 0]
    assert "CUDA_DEVICE_ORDER" not in os.environ


def test_weights_are_those_of_a_seeded_generator() -> None:
    with own_settings(0):
        torch.manual_seed(3)
        wanted = torch.randn(5)
        seed_weights(3)
        assert torch.equal(torch.randn(5), wanted)


def test_texts_are_paths_and_one_text_is_one_name(training_file: Write, tmp_path: Path) -> None:
    path = str(training_file(conditions=[]))
    out = str(tmp_path / "elsewhere")
    once = "training.steps=1"
    folder = train(path, once, out=out, conditions="logp, gfn2_gap_eV")
    assert folder == Path(out) / "model"
    assert load_model_folder(folder).config["conditions"] == ["logp", "gfn2_gap_eV"]
    state = Path(out) / "checkpoints" / "step-00000001"
    train(path, ["training.steps=2"], out=out, conditions="logp,gfn2_gap_eV", resume=state)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"config_path": None}, "config_path must be a path or a text, not None"),
        ({"overrides": 3}, "overrides must be a text or a list of texts, not 3"),
        ({"overrides": [("training.steps", 1)]}, "overrides must be a text or a list of texts"),
        ({"resume": True}, "resume must be a path or a text, not True"),
        ({"max_time": 540}, "max_time must be a text, not 540"),
        ({"init_from": 3}, "init_from must be a path or a text, not 3"),
        ({"teacher": b"qm9"}, "teacher must be a path or a text, not b'qm9'"),
        ({"conditions": 3}, "conditions must be a text or a list of texts, not 3"),
        ({"out": False}, "out must be a path or a text, not False"),
    ],
)
def test_arguments_of_another_kind_are_one_line(
    training_file: Write, tmp_path: Path, arguments: dict[str, object], told: str
) -> None:
    given: dict[str, object] = {"config_path": training_file(), "overrides": [], **arguments}
    with pytest.raises(MoldiffError, match=told):
        train(**given)  # type: ignore[arg-type]
    assert not (tmp_path / "run").exists()
