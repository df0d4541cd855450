"""A run goes on with what its checkpoint was made with, or is refused before anything of it is touched."""

import json
import logging
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from moldiff.config import NetworkConfig, OptimizerConfig
from moldiff.datasets.prepare import prepare
from moldiff.errors import MoldiffError
from moldiff.models.folder import load_model_folder
from moldiff.training.callbacks import CsvLog
from moldiff.training.checkpoint import TrainingState, list_states, load_state, save_state
from moldiff.training.continuation import refuse_another, refuse_other_optimizers
from moldiff.training.train import train

Write = Callable[..., Path]
SHORT = ["training.steps=2", "training.validate_every=2", "training.checkpoint_every=2"]
MORE = ["training.steps=4", "training.validate_every=4"]
FLUORIDES = ["CF", "CCF", "CCCF", "FCCF", "CC(F)C", "FCCO", "CCCCF", "FCCCF", "CC(F)CC", "OCCF"]


def halides(folder: Path, element: str, count: int = 10) -> Path:
    """A prepared set of halides; of every element as many atoms, bonds and sizes."""
    table = folder / f"{element}{count}.smi"
    table.write_text("\n".join(smiles.replace("F", element) for smiles in FLUORIDES[:count]) + "\n")
    prepare([table], folder / f"{element}{count}", properties=["logp"])
    return folder / f"{element}{count}"


@pytest.fixture
def files(training_file: Write, tmp_path: Path) -> Iterator[Callable[[], dict[str, bytes]]]:
    """What lies in the folder of the run "run" and is no checkpoint."""

    def found() -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir() if path.is_file()}

    yield found


def refused(path: Path, words: str, *overrides: str, **options: str) -> None:
    with pytest.raises(MoldiffError, match=words) as caught:
        train(path, [*MORE, *overrides], resume="auto", **options)  # type: ignore[arg-type]
    assert "step-00000002 is of another run (" in str(caught.value)


def test_other_data_are_refused_though_all_shapes_are_the_same(
    training_file: Write, tmp_path: Path, files: Callable[[], dict[str, bytes]]
) -> None:
    path = training_file(data=str(halides(tmp_path, "F")), conditions=[])
    train(path, SHORT)
    before = files()
    other = halides(tmp_path, "Cl")
    words = (
        r"another run \(data 10 molecules of sha256 .*, now 10 molecules of sha256 .*go on with it as it was.*init_from"
    )
    refused(path, words, f"data={other}")
    refused(path, words, f"data={other}", "training.steps=2")  # though it is finished
    refused(path, "data 10 molecules of .*, now 9 molecules", f"data={halides(tmp_path, 'F', 9)}")
    assert files() == before
    moved = (tmp_path / "F10").rename(tmp_path / "moved")
    train(path, [*MORE, f"data={moved}"], resume="auto")


def test_other_classes_of_the_same_molecules_are_refused() -> None:
    state = TrainingState(2, {}, {}, 2, [{}], {}, 1.0, {"vocabulary.elements": "H, C, F"})
    with pytest.raises(MoldiffError, match=r"the checkpoint of step 2 .*vocabulary.elements H, C, F, now H, C, Cl"):
        refuse_another(state, {"vocabulary.elements": "H, C, Cl"}, {})


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("conditions=[gfn2_gap_eV]", r"conditions logp, now gfn2_gap_eV"),
        ("conditions=[]", r"conditions logp, now \)"),
        ("curve.sigma_max=5", r"curve.sigma_max 25.0, now 5.0"),
        ("network.size_unit=33", r"network.size_unit \d+\.?\d*, now 33"),
        ("network.node_width=32", r"network.node_width 16, now 32"),
        ("optimizer.muon_learning_rate=0", r"optimizer.muon_learning_rate above 0, now 0\); a rate may change"),
    ],
)
def test_a_difference_is_named_and_leaves_the_run_as_it_was(
    training_file: Write, tmp_path: Path, files: Callable[[], dict[str, bytes]], override: str, words: str
) -> None:
    path = training_file()
    train(path, SHORT)
    before = files()
    refused(path, words, override)
    assert files() == before
    assert [state.name for state in list_states(tmp_path / "run" / "checkpoints")] == ["step-00000002"]


def test_pace_rates_and_logs_may_change(training_file: Write, tmp_path: Path) -> None:
    path = training_file()
    train(path, SHORT)
    changes = [
        "optimizer.learning_rate=0.0001", "optimizer.muon_learning_rate=0.001", "optimizer.decay_steps=1",
        "training.log_every=1", "training.bf16=true", "training.batch_size=2", "density.lognormal_share=0.5",
        "sampling.evaluations=7",
    ]  # fmt: skip
    folder = train(path, [*MORE, *changes], resume="auto")
    seen = 2 * 4 + 2 * 2
    assert load_model_folder(folder).config["training"]["molecules_seen"] == seen
    state = load_state(list_states(tmp_path / "run" / "checkpoints")[-1])
    assert (state.step, state.molecules_seen) == (4, seen)
    folder = train(path, ["training.steps=5", "training.validate_every=5"], resume="auto")
    assert load_model_folder(folder).config["training"]["molecules_seen"] == seen + 4


def as_of_before(path: Path) -> Path:
    """Write a checkpoint as it was when it did not say what it goes on with, nor counted molecules."""
    state = path / "state.json"
    info = json.loads(state.read_text()) | {"format": 1}
    for key in ("continued", "molecules_seen", "state_sha256"):
        del info[key]
    del info["config"]["network"]["size_unit"]  # a key that came later
    state.write_text(json.dumps(info))
    return path


def test_a_checkpoint_of_before_goes_on_and_is_held_to_what_its_file_said(
    training_file: Write, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = training_file(network={"layers": 1, "node_width": 8, "heads": 2, "size_unit": 20})
    train(path, SHORT)
    as_of_before(tmp_path / "run" / "checkpoints" / "step-00000002")
    refused(path, r"\(curve.exponent_pos 1.65, now 2.0\)", "curve.exponent_pos=2.0")
    refused(path, r"\(network.size_unit 20, now 25.0\)", "network.size_unit=25")
    refused(path, r"\(conditions logp, now gfn2_gap_eV\)", "conditions=[gfn2_gap_eV]")
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        folder = train(path, [*MORE, "training.batch_size=2"], resume="auto")
    told = [message for message in caplog.messages if "does not say which data it was trained on" in message]
    assert len(told) == 1
    assert load_model_folder(folder).config["training"]["molecules_seen"] == 2 * 4 + 2 * 2


def test_of_a_checkpoint_of_before_that_began_with_a_model_the_file_tells_nothing() -> None:
    said = {"init_from": "qm9", "conditions": ["logp"], "network": {"layers": 3}}
    now = {"kind": "denoiser", "conditions": "tpsa", "network.layers": 6}
    refuse_another(TrainingState(1, {}, {}, 1, [{}], said, 1.0), now, {"network": NetworkConfig()})
    with pytest.raises(MoldiffError, match=r"network.layers 3, now 6"):
        refuse_another(
            TrainingState(1, {}, {}, 1, [{}], said | {"init_from": None, "conditions": ["tpsa"]}, 1.0), now, {}
        )


def test_another_kind_of_network_is_refused(training_file: Write, tmp_path: Path) -> None:
    path = training_file()
    train(path, SHORT)
    text = path.read_text() + "kind: property\nguided_model: qm9\nproperties: [logp]\n"
    path.write_text(text.replace("conditions:\n- logp\n", ""))
    refused(path, r"\(kind denoiser, now property\)")


def test_muon_neither_comes_nor_goes() -> None:
    state = TrainingState(2, {}, {}, 2, [{}], {}, 1.0)
    refuse_other_optimizers(state, OptimizerConfig(muon_learning_rate=0))
    with pytest.raises(MoldiffError, match="muon_learning_rate 0, now above 0"):
        refuse_other_optimizers(state, OptimizerConfig(muon_learning_rate=0.1))
    both = replace(state, optimizers=[{}, {}])
    refuse_other_optimizers(both, OptimizerConfig(muon_learning_rate=0.3))
    with pytest.raises(MoldiffError, match="muon_learning_rate above 0, now 0"):
        refuse_other_optimizers(both, OptimizerConfig(muon_learning_rate=0))


def test_weights_that_do_not_fit_are_refused_by_the_name_of_the_checkpoint(
    training_file: Write, tmp_path: Path, files: Callable[[], dict[str, bytes]]
) -> None:
    path = training_file()
    train(path, SHORT)
    states = tmp_path / "run" / "checkpoints"
    state = load_state(states / "step-00000002")
    name = next(iter(state.weights))
    before = files()
    save_state(states, replace(state, step=3, weights={**state.weights, name: torch.ones(7)}))
    with pytest.raises(MoldiffError, match=rf"checkpoint .*step-00000003: weight '{name}' has shape \(7,\)"):
        train(path, MORE, resume="auto")
    with pytest.raises(MoldiffError, match=r"checkpoint .*step-00000003: weight"):
        train(path, MORE, resume=str(states / "step-00000003"))
    assert files() == before


def test_the_log_of_another_run_is_not_gone_on_with(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    CsvLog(path, ("step", "logp"), 0).append([{"step": 2, "logp": 1.0}])
    text = path.read_text()
    with pytest.raises(MoldiffError, match=r"metrics.csv is the log of another run, with the columns step, logp"):
        CsvLog(path, ("step", "tpsa"), 2)
    assert path.read_text() == text
    CsvLog(path, ("step", "logp"), 2)
    assert path.read_text() == text


def test_the_log_of_an_early_version_lacks_the_last_columns(tmp_path: Path) -> None:
    path = tmp_path / "validation.csv"
    CsvLog(path, ("step", "mae"), 0).append([{"step": 2, "mae": 1.0}, {"step": 4, "mae": 0.5}])
    CsvLog(path, ("step", "mae", "molecules"), 2).append([{"step": 4, "mae": 0.25, "molecules": 3}])
    assert path.read_text().splitlines() == ["step,mae,molecules", "2,1.0,", "4,0.25,3"]
    with pytest.raises(MoldiffError, match="is the log of another run, with the columns step, mae, molecules"):
        CsvLog(path, ("step", "mae"), 4)


@pytest.mark.parametrize(
    "damage",
    [b"4", b"\x00\x00\x00\x00\n", b"\xff\xfe,1\n", b"x,1\n", b"4,1,2\n", b"\xc2\xb2,1\n", b"4,\n5\n", b"," * 200_000],
)  # fmt: skip
def test_damaged_lines_of_a_log_are_left_out_and_the_others_stay(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, damage: bytes
) -> None:
    path = tmp_path / "metrics.csv"
    CsvLog(path, ("step", "logp"), 0).append([{"step": 2, "logp": 1.0}, {"step": 3, "logp": 0.5}])
    whole = path.read_text()
    path.write_bytes(path.read_bytes() + damage)
    with caplog.at_level(logging.WARNING, "moldiff"):
        CsvLog(path, ("step", "logp"), 3)
    assert path.read_text() == whole
    assert "of 3 lines are damaged and left out" in caplog.text.replace("of 4", "of 3")


@pytest.mark.parametrize("kind", ["folder", "pipe"])
def test_what_is_no_log_is_one_line(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "metrics.csv"
    path.mkdir() if kind == "folder" else os.mkfifo(path)
    with pytest.raises(MoldiffError, match=r"metrics.csv"):
        CsvLog(path, ("step", "logp"), 3)
