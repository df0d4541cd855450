"""What a trained model carries of its data: what the model that it began from has seen is no news to it."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from moldiff.datasets.prepare import prepare
from moldiff.datasets.prepared import PreparedDataset
from moldiff.models.folder import load_model_folder, save_model_folder
from moldiff.models.loaded import load_model
from moldiff.models.references import References
from moldiff.training.pack import pack
from moldiff.training.train import train

SAMPLE = Path(__file__).parents[2] / "data" / "sample.sdf"
Write = Callable[..., Path]


def test_what_the_model_to_start_from_has_seen_is_not_novel(training_file: Write, tmp_path: Path) -> None:
    vocabulary = load_model("qm9", device="cpu").model.vocabulary
    text = SAMPLE.read_text().split("$$$$\n")
    for name, records in (("one", text[:60]), ("other", text[60:120])):
        (tmp_path / f"{name}.sdf").write_text("$$$$\n".join([*records, ""]))
        prepare([tmp_path / f"{name}.sdf"], tmp_path / name, vocabulary=vocabulary)
    none = {"conditions": [], "training": {"steps": 1, "batch_size": 4, "bf16": False, "device": "cpu", "threads": 1}}
    base = train(training_file("base", data=str(tmp_path / "one"), **none), [])
    tuned = train(training_file("tuned", data=str(tmp_path / "other"), **none), [], init_from=str(base))
    pack(str(tuned), tmp_path / "other", tmp_path / "packed")
    for folder in (tuned, tmp_path / "packed"):
        found = References(load_model_folder(folder).references, "tuned").training_keys
        for name in ("one", "other"):
            dataset = PreparedDataset.open(tmp_path / name)
            wanted = dataset.arrays["keys"][dataset.indices("train")]
            assert np.isin(wanted[:, 0], found.graph).all()
            assert np.isin(wanted[:, 1], found.stereo).all()


def test_what_a_model_without_keys_has_seen_is_said_to_be_unknown(
    training_file: Write, caplog: pytest.LogCaptureFixture
) -> None:
    base = load_model_folder(train(training_file("base"), ["training.steps=1"]))
    left = {name: value for name, value in base.references.items() if name != "training_keys"}
    save_model_folder(
        base.path, weights=base.weights, config=base.config, references=left, card=base.card, half=False, overwrite=True
    )
    train(training_file("tuned"), ["training.steps=1"], init_from=str(base.path))
    assert "carries no keys of its training molecules: what it learnt from them will count as novel" in caplog.text
