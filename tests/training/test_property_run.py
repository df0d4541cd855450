"""Training runs of a tiny property network: files, resume, masks of what is unknown, validation, refusals."""

import csv
import logging
import math
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

import moldiff
from moldiff.chem.convert import decode
from moldiff.config import load_training
from moldiff.datasets.prepare import prepare
from moldiff.datasets.prepared import PreparedDataset
from moldiff.errors import MoldiffError
from moldiff.models.contents import vocabulary_of_model
from moldiff.models.folder import load_model_folder
from moldiff.models.molecule_model import MoleculeModel
from moldiff.models.property_model import PropertyModel
from moldiff.molecules import PropertyPrediction
from moldiff.scoring.network import HeldOutError, predicted_value
from moldiff.training import property_run
from moldiff.training.checkpoint import load_state
from moldiff.training.pack import pack
from moldiff.training.property_module import finished_errors, likelihood_losses, validate_predictor
from moldiff.training.property_run import PropertyRun
from moldiff.training.train import train

SAMPLE = Path(__file__).parents[2] / "data" / "sample.sdf"
SIZES = {
    "layers": 2, "node_width": 16, "pair_width": 8, "pair_hidden": 8, "vectors": 4, "heads": 2, "global_width": 8,
}  # fmt: skip
PACE = {
    "steps": 6, "batch_size": 4, "log_every": 2, "validate_every": 3, "validation_molecules": 8,
    "checkpoint_every": 3, "bf16": False, "device": "cpu", "threads": 1,
}  # fmt: skip


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample molecules in the classes of the built-in model."""
    folder = tmp_path_factory.mktemp("data") / "sample"
    vocabulary = vocabulary_of_model(load_model_folder("qm9"))
    prepare([SAMPLE], folder, properties=["logp", "gfn2_gap_eV"], vocabulary=vocabulary)
    return folder


@pytest.fixture
def property_file(tmp_path: Path, data: Path) -> Callable[..., Path]:
    """Write a training file; keyword arguments replace top-level keys."""

    def write(name: str = "run", **changes: object) -> Path:
        values = {
            "kind": "property", "data": str(data), "output": str(tmp_path / name), "guided_model": "qm9",
            "properties": ["gfn2_gap_eV", "logp"], "network": SIZES, "training": PACE,
            "optimizer": {"warmup_steps": 2, "muon_learning_rate": 0.002, "ema_decay": 0.9}, **changes,
        }  # fmt: skip
        path = tmp_path / f"{name}.yaml"
        path.write_text(yaml.safe_dump(values), encoding="utf-8")
        return path

    return write


def test_what_stands_where_a_run_writes_is_told_before_the_data_is_read(
    property_file: Callable[..., Path], tmp_path: Path
) -> None:
    (tmp_path / "run" / "model" / "notes").mkdir(parents=True)
    with pytest.raises(MoldiffError, match="run/model exists and is not a model folder"):
        train(property_file(data=str(tmp_path / "no data")), [])


def test_a_run_leaves_a_property_network_for_the_model_that_it_names(
    property_file: Callable[..., Path], tmp_path: Path, data: Path, pictures: None
) -> None:
    folder = load_model_folder(train(property_file(), []))
    model, qm9 = PropertyModel.from_folder(folder), MoleculeModel.from_folder(load_model_folder("qm9"))
    assert folder.kind == "property"
    assert model.properties == ("gfn2_gap_eV", "logp")
    assert (model.vocabulary, model.curve_config) == (qm9.vocabulary, qm9.curve_config)
    # the built-in model's own are rounded to half precision
    torch.testing.assert_close(model.predictor.position_std, qm9.diffusion.position_std, rtol=1e-3, atol=0)
    assert torch.equal(model.diffusion.categories["charge"].limit, qm9.diffusion.categories["charge"].limit)
    dataset = PreparedDataset.open(data)
    assert model.statistics.size_counts == dataset.statistics.size_counts
    rows = dataset.statistics.properties
    assert model.predictor.property_mean.tolist() == pytest.approx([rows[name].mean for name in model.properties])
    assert model.predictor.property_std.tolist() == pytest.approx([rows[name].std for name in model.properties])
    assert folder.config["training"]["guided_model_sha256"] == load_model_folder("qm9").sha256
    assert "gfn2_gap_eV" in folder.card
    assert folder.references["condition_rows"].shape == (len(dataset.indices("train")), 3)
    log = list(csv.DictReader((tmp_path / "run" / "validation.csv").open()))
    assert {(row["step"], row["property"]) for row in log} == {(s, p) for s in "36" for p in ("gfn2_gap_eV", "logp")}
    assert {row["bin"] for row in log} == {str(number) for number in range(10)}
    assert sum(int(row["molecules"]) for row in log if row["step"] == "6") == 16
    metrics = list(csv.DictReader((tmp_path / "run" / "metrics.csv").open()))
    assert [float(metrics[-1][name]) > 0 for name in ("gfn2_gap_eV", "logp")] == [True, True]
    for plot in ("metrics.png", "validation.png"):
        assert (tmp_path / "run" / plot).read_bytes().startswith(b"\x89PNG")


def test_a_resumed_run_equals_an_uninterrupted_one_bit_for_bit(
    property_file: Callable[..., Path], tmp_path: Path
) -> None:
    train(property_file("whole"), [])
    train(property_file("parts"), ["training.steps=3"])
    train(tmp_path / "parts.yaml", ["training.graphs=true"], resume="auto")  # captured on a card: the same steps
    one, other = (load_state(tmp_path / name / "checkpoints/step-00000006") for name in ("whole", "parts"))
    groups = [(state.weights, state.average, *state.optimizers) for state in (one, other)]
    for group, twin in zip(*groups, strict=True):
        assert group.keys() == twin.keys()
        assert all(torch.equal(group[name], twin[name]) for name in group)


def test_other_properties_another_model_and_another_network_are_refused(
    property_file: Callable[..., Path], tmp_path: Path
) -> None:
    path = property_file()
    train(path, ["training.steps=1", "training.validate_every=1"])
    for override, words in (
        ("properties=[logp]", r"\(properties gfn2_gap_eV, logp, now logp\)"),
        ("properties=[logp, gfn2_gap_eV]", r"\(properties gfn2_gap_eV, logp, now logp, gfn2_gap_eV\)"),
        ("guided_model=qm9_fast", r"guided model [0-9a-f]+\.\.\., now [0-9a-f]+"),
        ("network.layers=1", r"\(network.layers 2, now 1\)"),
    ):
        with pytest.raises(MoldiffError, match=words):
            train(path, [override], resume="auto")
    assert load_state(tmp_path / "run" / "checkpoints" / "step-00000001").continued["kind"] == "property"


def test_training_lowers_the_loss(property_file: Callable[..., Path], tmp_path: Path) -> None:
    overrides = ["training.steps=150", "training.log_every=30", "training.validate_every=150", "training.batch_size=16"]
    train(
        property_file(),
        [*overrides, "training.checkpoint_every=150", "density.lognormal_share=1", "density.sigma_median=0.02"],
    )
    rows = list(csv.DictReader((tmp_path / "run" / "metrics.csv").open()))
    assert float(rows[-1]["logp"]) < float(rows[0]["logp"]) - 0.05


def test_the_loss_is_the_likelihood_of_what_is_known() -> None:
    mean = torch.tensor([[0.5, 1.0], [0.0, 2.0], [1.0, 0.0]], requires_grad=True)
    log_variance = torch.tensor([[0.0, 1.0], [2.0, 0.0], [0.0, 0.0]], requires_grad=True)
    values = torch.tensor([[1.0, math.nan], [math.nan, math.nan], [3.0, math.nan]])
    losses = likelihood_losses(PropertyPrediction(mean, log_variance), values)
    constant = 0.5 * math.log(2 * math.pi)
    assert losses.tolist() == pytest.approx([constant + 0.5 * (0.25 + 4.0) / 2, 0.0])
    losses.sum().backward()
    assert mean.grad is not None
    assert mean.grad.tolist() == [[-0.25, 0], [0, 0], [-1, 0]]
    assert bool(torch.isfinite(log_variance.grad).all())  # type: ignore[arg-type]


GAPS = """
import torch
from moldiff.training.property_run import PropertyRun

whole = PropertyRun._arrays


def with_gaps(self, device):
    found = whole(self, device)
    found._properties[::3, 0] = torch.nan
    found._properties[1::2, 1] = torch.nan
    return found


PropertyRun._arrays = with_gaps
"""
LAUNCH = """
import sys
from moldiff.cli.main import main
from moldiff.training import plots

plots._draw = lambda *_: None
sys.exit(main(sys.argv[1:]))
"""


def test_two_processes_count_the_known_values_together(
    property_file: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a batch of four, one process may know one value and the other two: each counts for a third."""
    (tmp_path / "launch.py").write_text(GAPS + LAUNCH, encoding="utf-8")
    tested = {**os.environ, "PYTHONPATH": str(Path(moldiff.__file__).parents[1])}
    settings = ["--set", "optimizer.muon_learning_rate=0", "--set", "training.devices=2"]
    command = [sys.executable, str(tmp_path / "launch.py"), "train", str(property_file("two")), *settings]
    done = subprocess.run(command, check=False, timeout=300, capture_output=True, text=True, env=tested)
    assert done.returncode == 0, done.stderr
    monkeypatch.setattr(PropertyRun, "_arrays", PropertyRun._arrays)  # it is put back
    exec(GAPS, {"__name__": "gaps"})
    train(property_file("one"), ["optimizer.muon_learning_rate=0"])
    one, two = (load_state(tmp_path / name / "checkpoints/step-00000006").weights for name in ("one", "two"))
    assert max(float((two[name] - value).abs().max()) for name, value in one.items() if value.numel()) < 1e-5


def test_validation_compares_with_the_mean_of_the_data(property_file: Callable[..., Path]) -> None:
    """A fresh network predicts the mean: its error is that of the constant; unknown values do not count."""
    run = PropertyRun(load_training(property_file(), []), None, None)  # type: ignore[arg-type]
    rows = torch.from_numpy(run.dataset.indices("train"))
    sizes = torch.from_numpy(run.dataset.sizes)[rows]
    run.arrays._properties[rows[::2], 1] = torch.nan
    found = validate_predictor(run.model.predictor, run.model, run.arrays, sizes, rows)
    assert torch.equal(found.mae, found.mae_of_mean)
    values = run.dataset.arrays["properties"][rows.numpy()][:, run.dataset.property_columns(["gfn2_gap_eV", "logp"])]
    counts = np.histogram((np.arange(len(rows)) * 0.618034) % 1, np.linspace(0, 1, 11))[0]
    mean = float((found.mae[:, 0].numpy() * counts).sum() / counts.sum())
    assert mean == pytest.approx(float(np.abs(values[:, 0] - values[:, 0].mean()).mean()), rel=1e-5)
    assert bool(torch.isfinite(found.mae).all())
    assert float(found.mae[:, 1].sum()) > 0


def test_the_error_on_record_is_that_of_the_estimator_on_what_is_held_out(
    tmp_path: Path, property_file: Callable[..., Path], data: Path, caplog: pytest.LogCaptureFixture
) -> None:
    held_out = PreparedDataset.open(data).indices("validation").tolist()
    records = SAMPLE.read_text().split("$$$$\n")[:-1]
    tags = {"rare": [*held_out[-3:], 0, 2, 3, 9], "unseen": [0, 2, 3, 9, 14], "often": range(len(records))}
    for place, record in enumerate(records):
        own = "".join(f"> <{name}>\n{place % 7}.5\n\n" for name, places in tags.items() if place in places)
        records[place] = f"{record}{own}$$$$\n"
    (tmp_path / "tagged.sdf").write_text("".join(records))
    vocabulary = vocabulary_of_model(load_model_folder("qm9"))
    prepare([tmp_path / "tagged.sdf"], tmp_path / "tagged", properties=list(tags), vocabulary=vocabulary)
    written = property_file(data=str(tmp_path / "tagged"), properties=list(tags))
    run = PropertyRun(load_training(written, ["training.validation_molecules=4"]), None, None)  # type: ignore[arg-type]
    noise = torch.Generator().manual_seed(0)
    with torch.no_grad():  # a fresh network says the mean, whatever it is shown
        for parameter in run.model.predictor.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=noise))
    rows, sizes = run.held_out_rows()
    found = finished_errors(run.model.predictor, run.model, run.arrays, sizes, rows)
    assert PreparedDataset.open(tmp_path / "tagged").indices("validation").tolist() == held_out
    for name, known in (("rare", held_out[-3:]), ("often", sorted({*held_out[::3], *held_out[-3:]}))):
        mean = run.dataset.statistics.properties[name].mean
        true = [row % 7 + 0.5 for row in known]
        mols = [decode(run.dataset.molecule(row), vocabulary).mol for row in known]
        told = [predicted_value(run.model, name, mol) for mol in mols if mol is not None]
        misses = [abs(value - own) for value, own in zip(told, true, strict=True) if value is not None]
        of_mean = sum(abs(mean - own) for own in true) / len(true)
        assert found[name].error == pytest.approx(sum(misses) / len(true), rel=1e-4)
        assert abs(sum(misses) / len(true) - of_mean) > 0.01
        assert found[name].of_mean == pytest.approx(of_mean, rel=1e-5)
        assert found[name].molecules == len(true)
    assert found["unseen"] == HeldOutError(None, 0)
    with caplog.at_level(logging.INFO, "moldiff"):
        folder = load_model_folder(train(written, ["training.validation_molecules=4", "training.steps=3"]))
    on_record = folder.config["training"]["held_out_errors"]
    assert {name: one["molecules"] for name, one in on_record.items()} == {"rare": 3, "unseen": 0, "often": 6}
    assert "unseen error unknown: no molecule to validate on has it, without noise not known" in caplog.text


@pytest.mark.parametrize("ahead", [0.5, 2.0])
def test_a_network_that_is_no_better_than_the_mean_is_told_at_the_end_alone(
    property_file: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, ahead: float
) -> None:
    found = {"logp": HeldOutError(ahead, 12, 1.0)}
    monkeypatch.setattr(property_run, "finished_errors", lambda *_: found)
    with caplog.at_level(logging.WARNING, "moldiff"):
        train(property_file(properties=["logp"]), [])
    assert caplog.text.count("told no better than by its mean") == (ahead > 1)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"properties": ["logq"]}, r"'logq' is not a property of .*did you mean 'logp'.*it has logp, gfn2_gap_eV"),
        ({"properties": ["logp", "logp"]}, "'logp' stands twice"),
        ({"guided_model": "qm8"}, "no model 'qm8'"),
    ],
)
def test_files_that_make_no_sense(property_file: Callable[..., Path], changes: dict[str, object], words: str) -> None:
    with pytest.raises(MoldiffError, match=words):
        train(property_file(**changes), [])


def test_other_classes_than_the_models_are_refused(property_file: Callable[..., Path], tmp_path: Path) -> None:
    prepare([Path(__file__).parents[1] / "fixtures" / "drugs.sdf"], tmp_path / "drugs", properties=["logp"])
    with pytest.raises(
        MoldiffError, match="which the model does not know; prepare the data with the model's vocabulary"
    ):
        train(property_file(data=str(tmp_path / "drugs"), properties=["logp"]), [])


def test_a_property_network_starts_from_nothing(property_file: Callable[..., Path]) -> None:
    with pytest.raises(MoldiffError, match="init_from, teacher and conditions are for"):
        train(property_file(), [], init_from="qm9")


def test_packing_halves_the_weights(property_file: Callable[..., Path], tmp_path: Path, data: Path) -> None:
    folder = train(property_file(), ["training.steps=1"])
    pack(str(folder), data, tmp_path / "packed")
    small, large = ((path / "model.safetensors").stat().st_size for path in (tmp_path / "packed", folder))
    assert small < 0.7 * large
    packed = load_model_folder(tmp_path / "packed")
    assert PropertyModel.from_folder(packed).properties == ("gfn2_gap_eV", "logp")
    assert torch.equal(
        packed.references["condition_rows"].isnan(), load_model_folder(folder).references["condition_rows"].isnan()
    )
    with pytest.raises(MoldiffError, match="scores no molecules"):
        pack(str(folder), data, tmp_path / "other", score_molecules=3)


def test_kinds_are_not_mistaken_for_each_other(property_file: Callable[..., Path]) -> None:
    folder = load_model_folder(train(property_file(), ["training.steps=1"]))
    with pytest.raises(MoldiffError, match="generates no molecules; it guides a model that does: property_model"):
        MoleculeModel.from_folder(folder)
    with pytest.raises(MoldiffError, match=r"no property network.*moldiff train property'"):
        PropertyModel.from_folder(load_model_folder("qm9"))
