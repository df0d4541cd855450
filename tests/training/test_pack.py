"""Packing: what a stranger without the data set gets, and that it is that of the model's own data."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from generating import generate_files

from moldiff.cli.main import in_options
from moldiff.datasets.chemistry import TrainingChemistry, training_chemistry
from moldiff.datasets.prepared import PreparedDataset
from moldiff.diffusion.bound import BoundSettings
from moldiff.errors import MoldiffError
from moldiff.evaluation.reference import Reference
from moldiff.models.folder import load_model_folder, save_model_folder
from moldiff.models.references import OF_DATA
from moldiff.nll.reference import LikelihoodReference
from moldiff.training.pack import pack
from moldiff.training.references import condition_rows
from moldiff.training.train import train

Write = Callable[..., Path]


@pytest.fixture
def trained(training_file: Write) -> Path:
    return train(training_file(), ["training.steps=1", "training.validate_every=1"])


def test_a_packed_model_carries_what_its_users_need(trained: Path, prepared: Path, tmp_path: Path) -> None:
    out = tmp_path / "packed"
    digest = pack(str(trained), prepared, out)
    folder, before, dataset = load_model_folder(out), load_model_folder(trained), PreparedDataset.open(prepared)
    assert folder.sha256 == digest
    assert (folder.config, folder.card) == (before.config, before.card)
    for name, weight in before.weights.items():
        expected = weight.half().float() if weight.dim() > 1 else weight
        assert torch.equal(folder.weights[name], expected), name
    assert TrainingChemistry.from_tensors(folder.references, "packed") == training_chemistry(dataset)
    assert Reference.from_tensors(folder.references).keys is not None
    rows = folder.references["condition_rows"].numpy()
    train_rows = dataset.indices("train")
    assert np.array_equal(rows[:, 0], dataset.sizes[train_rows])
    column = dataset.property_columns(["logp"])
    assert np.array_equal(rows[:, 1:], dataset.arrays["properties"][train_rows][:, column])
    summary = generate_files(tmp_path / "m.sdf", n=2, model=str(out), evaluations=2, decode="structured")
    assert sum(summary.counts.values()) == 2


def test_packing_a_training_needs_no_data_and_only_halves(trained: Path, prepared: Path, tmp_path: Path) -> None:
    pack(str(trained), None, tmp_path / "packed")
    pack(str(trained), prepared, tmp_path / "anew")
    before, after, anew = (load_model_folder(path) for path in (trained, tmp_path / "packed", tmp_path / "anew"))
    assert before.references.keys() == after.references.keys() == anew.references.keys() == set(OF_DATA)
    for name, tensor in before.references.items():
        assert torch.equal(after.references[name], tensor)
        assert torch.equal(anew.references[name], tensor), "the data gives the same"
    assert all(torch.equal(after.weights[name], anew.weights[name]) for name in before.weights)


def test_rows_of_data_without_a_condition_say_unknown(prepared: Path) -> None:
    rows = condition_rows(PreparedDataset.open(prepared), ["logp", "taste"])
    assert torch.isfinite(rows[:, 1]).all()
    assert rows[:, 2].isnan().all()


def test_what_a_folder_lacks_is_named(trained: Path, prepared: Path, tmp_path: Path) -> None:
    folder = load_model_folder(trained)
    old = {name: value for name, value in folder.references.items() if name == "training_keys"}
    save_model_folder(
        tmp_path / "old", weights=folder.weights, config=folder.config, references=old, card="#", half=False
    )
    with pytest.raises(
        MoldiffError, match="old lacks of it is made: condition_rows, seen_json, reference_json"
    ) as told:
        pack(str(tmp_path / "old"), None, tmp_path / "packed")
    assert "the prepared set that it was trained on (--data), and" in in_options(told.value)
    pack(str(tmp_path / "old"), prepared, tmp_path / "packed")
    assert set(load_model_folder(tmp_path / "packed").references) == set(OF_DATA)
    with pytest.raises(MoldiffError, match="scores of held-out molecules need the prepared set") as told:
        pack(str(trained), None, tmp_path / "scored", score_molecules=5)
    assert in_options(told.value).endswith("(--data)") and told.value.argument == "data"


def test_an_output_that_is_taken_is_refused_before_the_work(trained: Path, tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    with pytest.raises(MoldiffError, match="taken exists already"):
        pack(str(trained), tmp_path / "no data", tmp_path / "taken")
    (tmp_path / "file").write_text("text")
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    for out, told in (("file", "is a file"), ("link", "is a link"), ("file/out", "file is not a folder")):
        with pytest.raises(MoldiffError, match=told):
            pack(str(trained), tmp_path / "no data", tmp_path / out, overwrite=True)


def test_full_precision_is_kept_on_demand(trained: Path, prepared: Path, tmp_path: Path) -> None:
    pack(str(trained), prepared, tmp_path / "packed", half=False)
    before, after = load_model_folder(trained), load_model_folder(tmp_path / "packed")
    assert all(torch.equal(after.weights[name], weight) for name, weight in before.weights.items())


def test_other_data_is_refused(trained: Path, tmp_path: Path) -> None:
    from moldiff.datasets.prepare import prepare

    sample = Path(__file__).parents[2] / "data" / "sample.sdf"
    prepare([sample], tmp_path / "other", properties=["qed"])
    with pytest.raises(MoldiffError, match=r"was not trained on .*other"):
        pack(str(trained), tmp_path / "other", tmp_path / "packed")
    assert not (tmp_path / "packed").exists()


def test_scores_of_held_out_molecules_come_along(
    trained: Path, prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("moldiff.nll.reference.FEWEST_MOLECULES", 8)
    monkeypatch.setattr("moldiff.training.pack.BoundSettings", lambda: BoundSettings(4, 2, 1))
    pack(str(trained), prepared, tmp_path / "packed", score_molecules=8)
    found = LikelihoodReference.from_tensors(load_model_folder(tmp_path / "packed").references, "packed")
    assert found is not None
    assert (found.settings, found.molecules) == (BoundSettings(4, 2, 1), 8)
    pack(str(tmp_path / "packed"), None, tmp_path / "again")
    pack(str(tmp_path / "packed"), prepared, tmp_path / "with data")
    for again in ("again", "with data"):
        kept = LikelihoodReference.from_tensors(load_model_folder(tmp_path / again).references, again)
        assert kept is not None and kept.molecules == 8
