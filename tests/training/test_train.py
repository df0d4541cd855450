"""Whole training runs of a tiny model: files, resume, limits of time, fine-tuning, guards, several processes."""

import csv
import json
import os
import random
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from killed import begin, die_at_step, hear_signals, start_killed

from moldiff.config import load_training
from moldiff.datasets.prepare import prepare
from moldiff.datasets.prepared import PreparedDataset
from moldiff.errors import MoldiffError
from moldiff.models.folder import load_model_folder
from moldiff.models.molecule_model import MoleculeModel
from moldiff.screening.runs.plan import PLAN
from moldiff.training import base_run, denoiser_run
from moldiff.training.base_run import FILES
from moldiff.training.checkpoint import list_states, load_state, save_state
from moldiff.training.denoiser_module import DenoisingTask
from moldiff.training.denoiser_run import far_outside
from moldiff.training.step_graphs import StepInputs
from moldiff.training.train import _OTHERS, _begun, parse_duration, train

Write = Callable[..., Path]


def assert_equal_states(first: Path, second: Path) -> None:
    one, other = load_state(first), load_state(second)
    assert one.step == other.step
    assert one.average_count == other.average_count
    for group, twin in zip(
        (one.weights, one.average, *one.optimizers), (other.weights, other.average, *other.optimizers), strict=True
    ):
        assert group.keys() == twin.keys()
        for name in group:
            assert torch.equal(group[name], twin[name]), name


def stopping_at(last: int, inputs: Callable[..., StepInputs]) -> Callable[..., StepInputs]:
    def stop(task: DenoisingTask, step: int) -> StepInputs:
        if step == last:
            raise MoldiffError("stop here")
        return inputs(task, step)

    return stop


def test_a_run_leaves_a_model_that_loads_and_logs_that_read(
    training_file: Write, tmp_path: Path, pictures: None
) -> None:
    model_folder = train(training_file(), [])
    folder = load_model_folder(model_folder)
    model = MoleculeModel.from_folder(folder)
    assert model.conditions == ("logp",)
    assert folder.config["training"]["step"] == 8
    assert folder.config["training"]["molecules_seen"] == 32
    assert len(folder.references["training_keys"]) == folder.config["training"]["training_molecules"]
    rows = list(csv.DictReader((tmp_path / "run" / "metrics.csv").open()))
    assert [int(row["step"]) for row in rows] == [2, 4, 6, 8]
    validation = list(csv.DictReader((tmp_path / "run" / "validation.csv").open()))
    assert {(row["step"], row["field"]) for row in validation} == {
        (step, field) for step in ("4", "8") for field in ("pos", "atom_type", "charge", "bond_type")
    }
    for plot in ("metrics.png", "validation.png"):
        assert (tmp_path / "run" / plot).read_bytes().startswith(b"\x89PNG")


def test_training_lowers_the_loss(training_file: Write, tmp_path: Path) -> None:
    rates = ["optimizer.learning_rate=0.005", "optimizer.muon_learning_rate=0.01"]  # large, for so small a network
    pace = ["training.steps=60", "training.log_every=15", "training.validate_every=60", "training.checkpoint_every=60"]
    train(training_file(), [*rates, *pace])
    rows = list(csv.DictReader((tmp_path / "run" / "metrics.csv").open()))
    assert float(rows[-1]["atom_type"]) < 0.8 * float(rows[0]["atom_type"])


def test_a_resumed_run_equals_an_uninterrupted_one_bit_for_bit(training_file: Write, tmp_path: Path) -> None:
    train(training_file("whole"), [])
    train(training_file("parts"), ["training.steps=4"])
    train(tmp_path / "parts.yaml", ["training.steps=8"], resume="auto")
    assert_equal_states(tmp_path / "whole/checkpoints/step-00000008", tmp_path / "parts/checkpoints/step-00000008")
    logs = [(tmp_path / name / "validation.csv").read_text() for name in ("whole", "parts")]
    assert logs[0] == logs[1]


@pytest.mark.parametrize(("log_every", "old"), [(3, False), (8, False), (3, True)])
def test_the_log_of_a_resumed_run_is_that_of_an_uninterrupted_one(
    training_file: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, log_every: int, old: bool
) -> None:
    every = [f"training.log_every={log_every}", "training.checkpoint_every=1", "training.validate_every=8"]
    train(training_file("whole"), every)
    with monkeypatch.context() as stopped, pytest.raises(MoldiffError, match="stop here"):
        stopped.setattr(DenoisingTask, "inputs", stopping_at(4, DenoisingTask.inputs))
        train(training_file("parts"), every)
    if old:
        path = tmp_path / "parts/checkpoints/step-00000004"
        save_state(path.parent, replace(load_state(path), sums=(), summed_from=0, seconds=1000.0))
    train(tmp_path / "parts.yaml", every, resume="auto")
    logs = [list(csv.DictReader((tmp_path / name / "metrics.csv").open())) for name in ("whole", "parts")]
    for row in (row for rows in logs for row in rows):
        row.pop("molecules_per_second")
    seconds = [float(row.pop("seconds")) for row in logs[1]]
    assert seconds == sorted(seconds)
    assert (seconds[-1] > 1000) == old
    for row in logs[0]:
        row.pop("seconds")
    assert (logs[0] == logs[1]) != old
    assert [row["step"] for row in logs[0]] == [row["step"] for row in logs[1]]


def test_resume_falls_back_when_the_newest_checkpoint_is_damaged(training_file: Write, tmp_path: Path) -> None:
    train(training_file("whole"), [])
    train(training_file("hurt"), ["training.steps=6", "training.checkpoint_every=2"])
    newest = list_states(tmp_path / "hurt" / "checkpoints")[-1]
    data = bytearray((newest / "state.safetensors").read_bytes())
    data[-5] ^= 1
    (newest / "state.safetensors").write_bytes(bytes(data))
    train(tmp_path / "hurt.yaml", ["training.steps=8"], resume="auto")
    assert_equal_states(tmp_path / "whole/checkpoints/step-00000008", tmp_path / "hurt/checkpoints/step-00000008")


def test_a_checkpoint_that_was_being_replaced_when_its_run_was_killed_is_found(tmp_path: Path) -> None:
    for name in ("step-00000002", ".step-00000004.old", ".step-00000002.old", ".step-00000006.0123abcd.part"):
        (tmp_path / name).mkdir()
    assert [path.name for path in list_states(tmp_path)] == ["step-00000002", ".step-00000004.old"]


def test_an_output_where_no_folder_can_be_is_refused_before_the_data_is_read(
    training_file: Write, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("text")
    for output in (tmp_path / "file", tmp_path / "file" / "run"):
        path = training_file("run", output=str(output), data=str(tmp_path / "no data"))
        with pytest.raises(MoldiffError, match="file is not a folder"):
            train(path, [])
        with pytest.raises(MoldiffError, match="file is not a folder"):
            train(path, [], resume="auto")


@pytest.mark.parametrize("resume", [[], ["--resume", "auto"]], ids=["anew", "resumed"])
def test_what_stands_in_the_place_of_checkpoints_is_told_before_the_data_is_read(
    training_file: Write, run: Callable[..., Any], tmp_path: Path, resume: list[str]
) -> None:
    path, places = training_file(data=str(tmp_path / "no data")), tmp_path / "run" / "checkpoints"
    places.parent.mkdir()
    places.touch()
    run("train", path, *resume).assert_refused("run/checkpoints/step-00000008 cannot be written", "is not a folder")
    places.unlink()
    places.symlink_to(tmp_path / "nowhere")
    run("train", path, *resume).assert_refused("run/checkpoints is not a folder")


@pytest.mark.parametrize("name", [*FILES, "model"])
@pytest.mark.parametrize("resume", [None, "auto"])
def test_what_stands_where_a_run_writes_is_told_before_the_data_is_read(
    training_file: Write, tmp_path: Path, name: str, resume: str | None
) -> None:
    path, place = training_file(data=str(tmp_path / "no data")), tmp_path / "run" / name
    if name == "model":
        place.parent.mkdir()
        place.touch()
        with pytest.raises(MoldiffError, match="run/model is a file, not a model folder; it is not replaced"):
            train(path, [], resume=resume)
        place.unlink()
    (place / "notes").mkdir(parents=True)
    what = "exists and is not a model folder" if name == "model" else "is a folder, not a file; choose another name"
    with pytest.raises(MoldiffError, match=f"run/{name} {what}"):
        train(path, [], resume=resume)


def test_a_run_leaves_the_files_whose_places_are_looked_at(
    training_file: Write, tmp_path: Path, pictures: None
) -> None:
    train(training_file(), ["training.steps=1"])
    assert {entry.name for entry in (tmp_path / "run").iterdir()} == {*FILES, "checkpoints", "model"}


def test_a_second_run_into_an_output_is_refused_while_the_first_lives(
    training_file: Write, run: Callable[..., Any], tmp_path: Path
) -> None:
    path, metrics = training_file(), tmp_path / "run" / "metrics.csv"
    first = begin(["train", str(path), "--set", "training.steps=1000000"], tmp_path)
    deadline = time.monotonic() + 120
    try:
        while not list_states(tmp_path / "run" / "checkpoints"):
            assert first.is_alive() and time.monotonic() < deadline, (tmp_path / "said.txt").read_text()
            time.sleep(0.05)
        refused = f"{tmp_path}/run is being written by another run"
        run("train", path).assert_refused(refused)
        run("train", path, "--resume", "auto").assert_refused(refused)
        run("train", training_file("two", data=str(tmp_path / "no data")), "-o", tmp_path / "run").assert_refused(
            refused
        )
        assert first.is_alive()
    finally:
        first.kill()
        first.join()
    last = load_state(list_states(tmp_path / "run" / "checkpoints")[-1]).step
    done = run("train", path, "--set", f"training.steps={last + 4}", "--resume", "auto")
    assert done.status == 0, done.err
    with metrics.open(newline="") as file:
        assert [int(row["step"]) for row in csv.DictReader(file)] == list(range(2, last + 5, 2))


def test_the_second_process_of_a_run_works_beside_the_first(
    training_file: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = load_training(training_file(), ["training.devices=2"])
    with _begun(config, None):
        with pytest.raises(MoldiffError, match="run is being written by another run"), _begun(config, None):
            pytest.fail("both are the first")
        monkeypatch.setenv("LOCAL_RANK", "1")
        with _begun(config, None) as state:
            assert state is None


def test_a_run_that_does_not_begin_leaves_no_folder(training_file: Write, tmp_path: Path) -> None:
    with pytest.raises(MoldiffError, match="no data is not a prepared data set"):
        train(training_file(data=str(tmp_path / "no data")), [])
    assert not (tmp_path / "run").exists()


def test_a_second_run_does_not_write_over_the_first(training_file: Write) -> None:
    path = training_file()
    train(path, ["training.steps=2"])
    with pytest.raises(MoldiffError, match="go on with resume auto"):
        train(path, [])
    with pytest.raises(MoldiffError, match="stands at step 2 already"):
        train(path, ["training.steps=1"], resume="auto")


def test_a_finished_run_that_is_asked_again_only_sees_to_its_model(training_file: Write, tmp_path: Path) -> None:
    """As after a kill between the last checkpoint and the model folder, or a job that was put into the queue twice."""
    path = training_file()
    folder = train(path, ["training.steps=4"])
    before = {file.name: file.read_bytes() for file in folder.iterdir()}
    assert train(path, ["training.steps=4"], resume="auto") == folder
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == before
    shutil.rmtree(folder)
    train(path, ["training.steps=4"], resume="auto")
    assert (folder / "model.safetensors").read_bytes() == before["model.safetensors"]
    train(path, ["training.steps=8"], resume="auto")
    (tmp_path / "run" / "model" / "config.json").write_bytes(before["config.json"])  # the folder of step 4, say
    train(path, ["training.steps=8"], resume="auto")
    assert load_model_folder(folder).config["training"]["step"] == 8


def test_the_model_of_another_step_is_not_that_of_a_finished_run(training_file: Write, tmp_path: Path) -> None:
    path, states = training_file(), tmp_path / "run" / "checkpoints"
    folder = train(path, [])
    train(path, ["training.steps=4"], resume=str(states / "step-00000004"))
    assert load_model_folder(folder).config["training"]["step"] == 4


def test_a_run_that_is_finished_where_it_stopped_has_a_complete_model(training_file: Write, tmp_path: Path) -> None:
    path = training_file()
    folder = train(path, ["training.steps=1000000", "training.checkpoint_every=1000000"], max_time="0:01")
    step = load_model_folder(folder).config["training"]["step"]
    before = set(load_model_folder(folder).references)
    train(path, [f"training.steps={step}"], resume="auto")
    assert {name for name in load_model_folder(folder).references if name.startswith("rarity")} > before & {"rarity"}
    assert "reference_json" in load_model_folder(folder).references


def test_a_model_whose_checkpoints_are_gone_is_not_written_over(training_file: Write, tmp_path: Path) -> None:
    path = training_file()
    folder = train(path, [])
    shutil.rmtree(tmp_path / "run" / "checkpoints")
    before = {file.name: file.read_bytes() for file in folder.iterdir()}
    other = training_file("other", init_from=str(folder), output=str(tmp_path / "run"))
    for again, resume in ((path, None), (path, "auto"), (other, None)):
        with pytest.raises(MoldiffError, match="run holds a model, and no checkpoint to go on from; choose another"):
            train(again, [], resume=resume)
        assert {file.name: file.read_bytes() for file in folder.iterdir()} == before


def test_a_run_that_goes_on_from_an_older_checkpoint_does_not_fall_back_to_the_newer(
    training_file: Write, tmp_path: Path
) -> None:
    path, states = training_file(), tmp_path / "run" / "checkpoints"
    train(path, [])
    train(path, ["training.steps=6", "training.seed=1"], resume=str(states / "step-00000004"))
    assert sorted(found.name for found in states.iterdir()) == [
        "set-aside-step-00000008", "step-00000004", "step-00000006"
    ]  # fmt: skip


def test_a_run_goes_on_in_another_output_but_not_over_another_run(training_file: Write, tmp_path: Path) -> None:
    train(training_file("one"), ["training.steps=2"])
    train(training_file("other"), ["training.steps=3"])
    state = str(tmp_path / "one" / "checkpoints" / "step-00000002")
    before = sorted(tmp_path.rglob("other/**"))
    with pytest.raises(
        MoldiffError, match=r"other holds an earlier run, which .*one.*step-00000002 is no checkpoint of"
    ):
        train(tmp_path / "other.yaml", [], resume=state)
    assert sorted(tmp_path.rglob("other/**")) == before
    folder = train(tmp_path / "one.yaml", ["training.steps=3"], resume=state, out=tmp_path / "third")
    assert load_model_folder(folder).config["training"]["step"] == 3


def test_a_folder_of_ours_of_another_kind_is_not_written_into(
    training_file: Write, prepared: Path, tmp_path: Path
) -> None:
    assert PLAN in {ours.mark for ours in _OTHERS}
    model = train(training_file(), ["training.steps=1"])
    for mark in (PLAN, "report.json"):
        (tmp_path / mark.split(".")[0]).mkdir()
        (tmp_path / mark.split(".")[0] / mark).write_text("{}")
    places = {
        prepared: "a prepared data set", model: "a model folder", tmp_path / "plan": "a screening run",
        tmp_path / "report": "a report", tmp_path / "run/checkpoints/step-00000001": "a checkpoint",
    }  # fmt: skip
    for out, what in places.items():
        before = sorted(out.iterdir())
        for resume in (None, "auto"):
            with pytest.raises(MoldiffError, match=f"{out.name} is {what}; it is not written into"):
                train(tmp_path / "run.yaml", [], out=out, resume=resume)
        assert sorted(out.iterdir()) == before
    with pytest.raises(MoldiffError, match="checkpoints holds the checkpoints of a run; it is not written into"):
        train(tmp_path / "run.yaml", [], out=tmp_path / "run" / "checkpoints")


def test_what_is_no_checkpoint_to_resume_from_is_told_with_the_newest(training_file: Write, tmp_path: Path) -> None:
    path, run_folder = training_file(), tmp_path / "run"
    train(path, ["training.steps=2", "training.checkpoint_every=1"])
    newest = (
        "no checkpoint, a folder such as .*; the newest there is .*run/checkpoints/step-00000002; resume auto takes"
    )
    for given in (run_folder, run_folder / "checkpoints"):
        with pytest.raises(MoldiffError, match=newest):
            train(path, [], resume=given)
    for given in (tmp_path / "nothing", run_folder / "model"):
        with pytest.raises(MoldiffError, match=f"{given.name} is no checkpoint, a folder such as [^;]*; resume auto"):
            train(path, [], resume=given)


def test_a_hint_to_paste_is_one_word_for_each_path(
    training_file: Write, run: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "few.smi").write_text("CCO\nCCC\nCNC\nCOC\n")
    out, data = tmp_path / "my runs" / "ü's", tmp_path / "my data"
    said = run("data", "prepare", tmp_path / "few.smi", "-o", data).out.strip()
    assert shlex.split(said.rpartition("to see it: ")[2]) == ["moldiff", "data", "info", str(data)]
    said = run("train", training_file(), "--set", "training.steps=1", "-o", out).out.strip()
    assert shlex.split(said.rpartition("to use it: ")[2]) == ["moldiff", "generate", "--model", str(out / "model")]


def test_max_time_stops_and_saves(training_file: Write, tmp_path: Path) -> None:
    train(training_file(), ["training.steps=1000000", "training.checkpoint_every=1000000"], max_time="0:01")
    state = load_state(list_states(tmp_path / "run" / "checkpoints")[-1])
    assert 0 < state.step < 1_000_000
    assert load_model_folder(tmp_path / "run" / "model").config["training"]["step"] == state.step


@pytest.mark.parametrize(("text", "seconds"), [("00:09:00", 540), ("1:00:01", 3601), ("2:30", 150)])
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["9", "9m", "1:75:00", "-1:00", ""])
def test_durations_that_are_refused(text: str) -> None:
    with pytest.raises(MoldiffError, match="max_time"):
        parse_duration(text)


def test_fine_tuning_starts_from_the_given_weights(training_file: Write, tmp_path: Path) -> None:
    base = train(training_file("base"), [])
    frozen = ["training.steps=1", "optimizer.learning_rate=1e-12", "optimizer.muon_learning_rate=1e-12"]
    tuned = train(training_file("tuned"), frozen, init_from=str(base))
    before, after = load_model_folder(base).weights, load_model_folder(tuned).weights
    for name, value in before.items():
        torch.testing.assert_close(after[name], value, rtol=0, atol=1e-6)
    assert f"Started from the weights of: {base}" in load_model_folder(tuned).card
    assert "Started from" not in load_model_folder(base).card


def test_conditions_can_be_given_by_name_instead_of_the_file(training_file: Write) -> None:
    folder = train(training_file(), ["training.steps=2"], conditions=["gfn2_gap_eV", "logp"])
    assert MoleculeModel.from_folder(load_model_folder(folder)).conditions == ("gfn2_gap_eV", "logp")


@pytest.mark.parametrize("kind", ["denoiser", "property"])
def test_a_condition_that_is_the_same_everywhere_is_told(
    training_file: Write, tmp_path: Path, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    words = ["CCO", "CC=O", "CNC", "CCC", "CCN", "CCCO", "CCCC", "CC(C)C", "OCCO", "NCC=O", "CC#N", "C1CC1"]
    (tmp_path / "t.csv").write_text("smiles,same,k\n" + "".join(f"{w},7,{n}e-9\n" for n, w in enumerate(words)))
    prepare(tmp_path / "t.csv", tmp_path / "set", properties=["same", "k"])
    caplog.clear()
    data: dict[str, object] = {"data": str(tmp_path / "set")}
    folder = train(training_file(**data, conditions=["same", "k"]), ["training.steps=1"])
    if kind == "property":
        caplog.clear()
        path = tmp_path / "property.yaml"
        values = yaml.safe_load((tmp_path / "run.yaml").read_text())
        del values["conditions"]
        values |= {"kind": "property", "output": str(tmp_path / "p"), "guided_model": str(folder)}
        path.write_text(yaml.safe_dump(values | {"properties": ["same", "k"]}))
        train(path, ["training.steps=1"])
    assert [text for text in caplog.messages if "constant" in text] == [
        "property 'same' counts as constant, 7 to 7 in the training molecules: nothing can be learnt from it; if it is "
        "not, prepare the data set again"
    ]


def test_conditions_that_cannot_be_had_are_refused(training_file: Write) -> None:
    with pytest.raises(MoldiffError, match=r"'qed' is not a property of .*it has .*logp.*data prepare"):
        train(training_file(), [], conditions=["qed"])
    with pytest.raises(MoldiffError, match="'logp' is given twice"):
        train(training_file(), [], conditions=["logp", "logp"])


def test_what_a_file_states_against_the_model_to_start_from_is_refused(training_file: Write, tmp_path: Path) -> None:
    base = str(train(training_file("base"), ["training.steps=1", "training.validate_every=1"]))
    for override, words in (
        ("network.layers=5", "network.layers is 2, not 5; network, curve and conditions are the model's: leave them"),
        ("network={layers: 5, heads: 1}", r"network.layers is 2, not 5 \(and 1 more\)"),
        ("curve.sigma_min=0.02", "curve.sigma_min is 0.01, not 0.02"),
        ("conditions=[nonsense]", "the conditions are logp, not nonsense"),
        ("conditions=[]", "the conditions are logp, not none"),
    ):
        with pytest.raises(MoldiffError, match=f"of the model to start from, .*base/model, {words}"):
            train(training_file("tuned"), [override], init_from=base)
    with pytest.raises(MoldiffError, match="the conditions are logp, not gfn2_gap_eV"):
        train(training_file("tuned", conditions=["logp"]), [], init_from=base, conditions=["gfn2_gap_eV"])
    assert not (tmp_path / "tuned").exists()


def test_what_begins_with_a_model_is_recorded_as_it_is(training_file: Write, tmp_path: Path) -> None:
    short = ["training.steps=1", "training.validate_every=1"]
    base = str(train(training_file("base", sampling={"evaluations": 9}), short))
    folder = load_model_folder(train(training_file("tuned", init_from=base, curve={"sigma_min": 0.01}), short))
    recorded = folder.config["training"]["config"]
    assert recorded["network"] == folder.config["network"]
    assert recorded["network"]["layers"] == 2
    assert recorded["curve"] == folder.config["curve"]
    assert (recorded["conditions"], recorded["sampling"]["evaluations"]) == (["logp"], 9)
    written = json.loads((tmp_path / "tuned" / "config.json").read_text())
    assert {key: written[key] for key in ("network", "curve", "conditions", "sampling")} == {
        key: recorded[key] for key in ("network", "curve", "conditions", "sampling")
    }


def test_an_unknown_condition_names_the_nearest(training_file: Write) -> None:
    with pytest.raises(MoldiffError, match=r"'logq'.*did you mean 'logp'"):
        train(training_file(conditions=["logq"]), [])


def test_a_loss_that_is_not_finite_stops_the_run_and_keeps_the_checkpoint(
    training_file: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = DenoisingTask.setup_batch

    def poisoned(self: DenoisingTask, inputs: StepInputs) -> object:
        clean, levels, noisy = original(self, inputs)
        return clean, levels, noisy.replace(pos=noisy.pos * float("nan")) if int(inputs.step) == 6 else noisy

    monkeypatch.setattr(DenoisingTask, "setup_batch", poisoned)
    with pytest.raises(MoldiffError, match="step 6: the loss or its gradient is not finite"):
        train(training_file(), [])
    assert load_state(list_states(tmp_path / "run" / "checkpoints")[-1]).step == 4


@pytest.mark.parametrize(
    "error", [torch.OutOfMemoryError("CUDA out of memory"), RuntimeError("[enforce fail]: can't allocate memory"), None]
)
def test_memory_that_does_not_suffice_is_one_line(
    error: RuntimeError | None, training_file: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = DenoisingTask.setup_batch

    def greedy(self: DenoisingTask, inputs: StepInputs) -> object:
        if int(inputs.step) == 6:
            raise RuntimeError("another one") if error is None else error
        return original(self, inputs)

    monkeypatch.setattr(DenoisingTask, "setup_batch", greedy)
    expected = "another one" if error is None else r"memory does not suffice for batches of \d+ molecules on cpu: set "
    with pytest.raises(RuntimeError if error is None else MoldiffError, match=expected):
        train(training_file(), [])
    assert load_state(list_states(tmp_path / "run" / "checkpoints")[-1]).step == 4


def test_a_full_disk_while_saving_is_one_line_and_leaves_the_older_checkpoint(
    training_file: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train(training_file(), ["training.steps=4"])

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("moldiff.files.os.fsync", full)
    with pytest.raises(MoldiffError, match="No space left on device"):
        train(tmp_path / "run.yaml", ["training.steps=8"], resume="auto")
    monkeypatch.undo()
    assert [load_state(path).step for path in list_states(tmp_path / "run" / "checkpoints")] == [4]


@pytest.mark.parametrize(("number", "status"), [("SIGTERM", 143), ("SIGHUP", 129)])
def test_a_signal_before_the_first_step_ends_with_its_status(
    training_file: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, usual_signals: None, number: str, status: int
) -> None:
    """Lightning has put up its own handlers by then."""
    original = base_run._Restore.on_train_start

    def struck(*arguments: Any) -> None:
        signal.raise_signal(getattr(signal, number))
        original(*arguments)

    monkeypatch.setattr(base_run._Restore, "on_train_start", struck)
    with pytest.raises(SystemExit) as caught:
        train(training_file(), [])
    assert caught.value.code == status
    assert load_state(list_states(tmp_path / "run" / "checkpoints")[-1]).step == 1


def test_steps_are_kept_where_no_picture_can_be_drawn(
    training_file: Write, tmp_path: Path, no_pictures: None, caplog: pytest.LogCaptureFixture
) -> None:
    train(training_file(), [])
    assert "no picture of the logs (ModuleNotFoundError" in caplog.text
    assert (tmp_path / "run" / "model" / "config.json").is_file()


def test_signals_during_steps_are_not_lightning_s(training_file: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own handlers would end one of several processes before the others."""
    original, seen = base_run.Checkpoints.on_train_batch_end, []

    def looked(self: base_run.Checkpoints, *arguments: Any) -> None:
        seen.append(signal.getsignal(signal.SIGTERM) == self._handlers[signal.SIGTERM])
        original(self, *arguments)

    monkeypatch.setattr(base_run.Checkpoints, "on_train_batch_end", looked)
    train(training_file(), ["training.steps=2"])
    assert seen == [True, True]


def test_what_slurm_says_of_its_job_changes_nothing(
    training_file: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lightning would refuse tasks that it did not ask for, and go on from a checkpoint of its own."""
    words = {"NTASKS": "4", "JOB_NAME": "train", "JOB_ID": "7", "PROCID": "0", "LOCALID": "0"}
    for name, value in words.items():
        monkeypatch.setenv(f"SLURM_{name}", value)
    path = training_file()
    (tmp_path / "run").mkdir(exist_ok=True)
    (tmp_path / "run" / "hpc_ckpt_1.ckpt").write_bytes(b"of another job")
    train(path, ["training.steps=2"])
    assert load_state(list_states(tmp_path / "run" / "checkpoints")[-1]).step == 2


@pytest.mark.parametrize(("number", "status"), [("SIGTERM", 143), ("SIGINT", 130), ("SIGHUP", 129)])
def test_a_signal_saves_and_ends_with_its_status(
    training_file: Write, tmp_path: Path, number: str, status: int
) -> None:
    path, metrics, said = training_file(), tmp_path / "run" / "metrics.csv", tmp_path / "said.txt"
    settings = ["--set", "training.steps=1000000", "--set", "training.checkpoint_every=1000000"]
    process = begin(["train", str(path), *settings], tmp_path, before=hear_signals)
    deadline = time.monotonic() + 120
    try:
        while not (metrics.exists() and len(metrics.read_text().splitlines()) > 2):
            assert process.is_alive() and time.monotonic() < deadline, said.read_text()
            time.sleep(0.1)
        assert process.pid is not None
        os.kill(process.pid, getattr(signal, number))
        process.join(60)
        assert process.exitcode == status
    finally:
        process.kill()
        process.join()
    state = load_state(list_states(tmp_path / "run" / "checkpoints")[-1])
    assert f"stopped on request at step {state.step}; --resume auto goes on from there" in said.read_text()
    train(path, [f"training.steps={state.step + 2}"], resume="auto")


@pytest.mark.parametrize("moment", ["on_train_start", "on_train_batch_end"])
def test_ctrl_c_is_ctrl_c_whatever_lightning_makes_of_it(
    training_file: Write, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    """It comes before the first step, or for the second time, or the program around has a handler of its own."""

    def come(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.getsignal(signal.SIGINT)
    monkeypatch.setattr(base_run.Progress, moment, come)
    with pytest.raises(KeyboardInterrupt):
        train(training_file(), ["training.steps=3"])
    assert signal.getsignal(signal.SIGINT) is before


def test_single_atoms_are_nothing_to_learn_from(training_file: Write, tmp_path: Path) -> None:
    (tmp_path / "atoms.smi").write_text("C a\nO b\nN c\nS d\nP e\nF f\n")
    prepare([tmp_path / "atoms.smi"], tmp_path / "atoms", hydrogens="implicit")
    with pytest.raises(MoldiffError, match=r"no training molecule of .*atoms has two atoms to place"):
        train(training_file(data=str(tmp_path / "atoms"), conditions=[]), [])


def test_a_condition_that_no_training_molecule_has_is_refused_before_the_work(
    training_file: Write, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    smiles = ["C" * n + end for n in range(1, 9) for end in ("O", "N", "F", "Cl")]
    (tmp_path / "all.csv").write_text("smiles\n" + "\n".join(smiles) + "\n")
    prepare([tmp_path / "all.csv"], tmp_path / "all")
    dataset = PreparedDataset.open(tmp_path / "all")
    held_out = set(dataset.indices("validation").tolist()) | set(dataset.indices("test").tolist())
    assert held_out
    rows = [f"{one},{1.5 if place in held_out else ''}" for place, one in enumerate(smiles)]
    (tmp_path / "some.csv").write_text("smiles,y\n" + "\n".join(rows) + "\n")
    with caplog.at_level("WARNING", "moldiff"):
        prepare([tmp_path / "some.csv"], tmp_path / "some", properties=["y"])
    assert "no training molecule has a value of 'y'" in caplog.text
    with pytest.raises(MoldiffError, match=r"no training molecule of .*some has a value of 'y'") as refused:
        train(training_file(data=str(tmp_path / "some"), conditions=["y"]), [])
    assert refused.value.argument == "conditions"


@pytest.mark.parametrize("words", [["conditions=[logp, logp]"], ["conditions=[logp, gfn2_gap_eV, logp]"]])
def test_a_condition_stands_once(training_file: Write, words: list[str]) -> None:
    with pytest.raises(MoldiffError, match="'logp' stands twice"):
        train(training_file(), words)


def test_the_record_of_a_run_is_a_training_file(training_file: Write, tmp_path: Path) -> None:
    train(training_file(), ["training.steps=2"])
    record = tmp_path / "run" / "config.json"
    train(record, [], out=tmp_path / "again")
    assert_equal_states(*(tmp_path / name / "checkpoints" / "step-00000002" for name in ("run", "again")))


def test_a_killed_run_goes_on_as_if_nothing_had_happened(training_file: Write, tmp_path: Path) -> None:
    train(training_file("whole"), ["training.steps=12"])
    path = training_file("killed")
    process = begin(["train", str(path), "--set", "training.steps=12"], tmp_path, before=partial(die_at_step, 7))
    process.join()
    assert process.exitcode == -9, (tmp_path / "said.txt").read_text()
    train(path, ["training.steps=12"], resume="auto")
    assert_equal_states(tmp_path / "whole/checkpoints/step-00000012", tmp_path / "killed/checkpoints/step-00000012")


def test_a_run_that_is_killed_at_any_moment_goes_on_bit_for_bit(
    training_file: Write, tmp_path: Path, kills: int
) -> None:
    if kills < 4:
        pytest.skip("few kills are that of the test above; --kills asks for random moments")
    words = ["train", "--set", "training.steps=24"]
    status, seconds = start_killed([*words, str(training_file("whole"))], tmp_path, None)
    assert status == 0, (tmp_path / "said.txt").read_text()
    chance, path = random.Random(0), training_file("killed")
    for _ in range(kills):
        shutil.rmtree(tmp_path / "killed", ignore_errors=True)
        start_killed([*words, str(path)], tmp_path, chance.uniform(0.3, 1.0) * seconds)
        status, _ = start_killed([*words, str(path), "--resume", "auto"], tmp_path, None)
        assert status == 0, (tmp_path / "said.txt").read_text()
        assert_equal_states(tmp_path / "whole/checkpoints/step-00000024", tmp_path / "killed/checkpoints/step-00000024")
        assert (tmp_path / "killed/model/model.safetensors").exists()


LAUNCH = """
import sys
from moldiff.cli.main import main
from moldiff.training import plots

plots._draw = lambda *_: None
sys.exit(main(sys.argv[1:]))
"""
DOUBLE = """
from moldiff.training import base_run


class Double(base_run.pl.Trainer):
    def fit(self, task, steps):
        for module in (task, task.averaged):
            module.double()
        for module in (task.trained, task.averaged):
            module.register_forward_pre_hook(with_double_positions)
        super().fit(task, steps)


def with_double_positions(module, inputs):
    batch, *others = inputs
    return batch.replace(pos=batch.pos.double()), *others


base_run.pl.Trainer = Double
"""


@pytest.mark.parametrize(("precision", "apart"), [("float32", 1e-5), ("float64", 1e-12)])
def test_two_processes_train_the_same_model_as_one(
    training_file: Write,
    run: Callable[..., Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    record_property: Callable[[str, object], None],
    precision: str,
    apart: float,
) -> None:
    changed = DOUBLE if precision == "float64" else ""
    script = tmp_path / "launch.py"
    script.write_text(changed + LAUNCH, encoding="utf-8")
    # AdamW alone: Muon works in bfloat16, where the order of a sum decides the third digit of an update
    settings = ["--set", "optimizer.muon_learning_rate=0"]
    words = ["train", str(training_file("two")), *settings, "--set", "training.devices=2"]
    command = [sys.executable, str(script), *words]
    done = subprocess.run(command, check=False, timeout=300, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    monkeypatch.setattr(base_run.pl, "Trainer", base_run.pl.Trainer)  # it is put back
    exec(changed, {"__name__": "changed"})
    alone = run("train", training_file("one"), *settings)
    assert alone.status == 0, alone.err
    for out, err in ((done.stdout, done.stderr), (alone.out, alone.err)):
        assert (out.count("model written to"), err.count("training molecules, steps 0 to 8")) == (1, 1)
    one, two = (load_state(tmp_path / name / "checkpoints/step-00000008").weights for name in ("one", "two"))
    assert {value.dtype for value in one.values()} == {getattr(torch, precision)}
    most = max(float((two[name] - value).abs().max()) for name, value in one.items() if value.numel())
    record_property(f"weights apart, {precision}", most)
    assert most < apart


def test_processes_that_cannot_share_a_batch_are_refused_before_the_data_is_read(
    training_file: Write, run: Callable[..., Any], tmp_path: Path
) -> None:
    path = training_file(data=str(tmp_path / "no data"))
    run("train", path, "--set", "training.devices=3").assert_refused("batch_size 4 must be a multiple of devices 3")
    assert not (tmp_path / "run").exists()


def test_the_second_of_two_processes_does_not_say_that_the_model_is_written(
    training_file: Write, run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = training_file()
    assert "model written to" in run("train", path, "--set", "training.steps=1").out
    monkeypatch.setenv("LOCAL_RANK", "1")
    done = run("train", path, "--set", "training.steps=2", "--resume", "auto")
    assert (done.status, done.out) == (0, "")


def test_the_record_names_the_data(training_file: Write, prepared: Path) -> None:
    provenance = load_model_folder(train(training_file(), ["training.steps=1"])).config["training"]
    assert provenance["data_sha256"] == json.loads((prepared / "dataset.json").read_text())["data_hash"]
    assert denoiser_run.logger.name == "moldiff.training.denoiser_run"


def test_data_beyond_what_a_model_saw_is_told_before_the_training(sample: PreparedDataset) -> None:
    base = sample.statistics
    assert far_outside(base, base, ["logp"]) == []
    larger = replace(base, size_counts={size + 30: count for size, count in base.size_counts.items()})
    total = sum(base.size_counts.values())
    assert far_outside(base, larger, []) == [
        f"{total} of {total} molecules have not {min(base.size_counts)} to {max(base.size_counts)} atoms"
    ]
    shifted = replace(base, properties={"logp": replace(base.properties["logp"], mean=250.0)})
    (told,) = far_outside(base, shifted, ["logp"])
    assert told.startswith("the mean of logp, 250, is not within")
