"""Averages of models: the mean of every weight, and nothing that does not belong together."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from moldiff.errors import MoldiffError
from moldiff.models.folder import load_model_folder, save_model_folder
from moldiff.models.references import OF_DATA
from moldiff.training.average import average
from moldiff.training.pack import pack
from moldiff.training.train import train

Write = Callable[..., Path]
SHORT = ["training.steps=1", "training.validate_every=1"]


@pytest.fixture
def trained(training_file: Write) -> Path:
    return train(training_file(), SHORT)


def test_an_average_is_the_mean_of_every_weight(trained: Path, training_file: Write, tmp_path: Path) -> None:
    other = train(training_file("other"), [*SHORT, "training.seed=1"])
    third = train(training_file("third"), [*SHORT, "training.seed=2"])
    digest = average([str(trained), str(other), str(third)], tmp_path / "average")
    folder = load_model_folder(tmp_path / "average")
    assert folder.sha256 == digest
    sources = [load_model_folder(path) for path in (trained, other, third)]
    for name, weight in folder.weights.items():
        mean = sum(source.weights[name].double() for source in sources) / 3
        torch.testing.assert_close(weight.double(), mean, rtol=0, atol=1e-7)
    assert [one["sha256"] for one in folder.config["training"]["average_of"]] == [one.sha256 for one in sources]
    headings = [line for line in folder.card.splitlines() if line.startswith("#")]
    own = [line for line in sources[0].card.splitlines() if line.startswith("#")]
    assert own[0] == "# A moldiff model"
    below = [f"##{line}" for line in own]
    numbered = [line for number in (1, 2, 3) for line in (f"## Model {number}", *below)]
    assert headings == ["# A moldiff model", *numbered]
    plain = [line for source in sources for line in source.card.splitlines() if not line.startswith("#")]
    assert set(plain) <= set(folder.card.splitlines())
    shared = set(sources[0].references)
    assert set(folder.references) == shared == set(OF_DATA), "what they carry of their data comes along"
    pack(str(tmp_path / "average"), None, tmp_path / "packed")


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"conditions": []}, "their conditions differ"),
        ({"curve": {"sigma_max": 20.0}}, "their curve differ"),
    ],
)
def test_models_of_another_kind_are_refused(
    trained: Path, training_file: Write, tmp_path: Path, change: dict, problem: str
) -> None:
    other = train(training_file("other", **change), SHORT)
    with pytest.raises(MoldiffError, match=f"other/model cannot be averaged with .*run/model: {problem}"):
        average([str(trained), str(other)], tmp_path / "average")
    assert not (tmp_path / "average").exists()


def test_one_model_has_no_average_and_what_is_there_stays(trained: Path, tmp_path: Path) -> None:
    with pytest.raises(MoldiffError, match="at least two"):
        average([str(trained)], tmp_path / "average")
    average([str(trained), str(trained)], tmp_path / "average")
    with pytest.raises(MoldiffError, match="exists"):
        average([str(trained), str(trained)], tmp_path / "average")


@pytest.mark.parametrize("make", [lambda model, out: average([model], out), lambda model, out: pack(model, None, out)])
def test_a_place_that_is_taken_is_told_before_a_model_is_read(tmp_path: Path, make: Callable[[str, Path], str]) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(MoldiffError, match="file exists already; choose another name"):
        make(str(tmp_path / "no model"), tmp_path / "file")


def test_keys_that_an_older_model_lacks_are_no_difference(trained: Path, tmp_path: Path) -> None:
    folder = load_model_folder(trained)
    defaults = {"typical_atoms": 18, "size_unit": 20}
    same = {**folder.config, "network": folder.config["network"] | defaults}
    old = {**same, "network": {k: v for k, v in same["network"].items() if k not in defaults}}
    for name, config in (("same", same), ("old", {k: v for k, v in old.items() if k != "sampling"})):
        save_model_folder(tmp_path / name, weights=folder.weights, config=config, references={}, card="# A", half=False)
    average([str(tmp_path / "same"), str(tmp_path / "old")], tmp_path / "average")
    wider = {**same, "network": same["network"] | {"typical_atoms": 40}}
    save_model_folder(tmp_path / "wider", weights=folder.weights, config=wider, references={}, card="# A", half=False)
    with pytest.raises(MoldiffError, match="their network differ"):
        average([str(tmp_path / "wider"), str(tmp_path / "old")], tmp_path / "other")


def test_references_that_differ_stay_behind(trained: Path, tmp_path: Path) -> None:
    folder = load_model_folder(trained)
    other = {**folder.references, "condition_rows": folder.references["condition_rows"] + 1}
    save_model_folder(
        tmp_path / "b", weights=folder.weights, config=folder.config, references=other, card="# B", half=False
    )
    average([str(trained), str(tmp_path / "b")], tmp_path / "average")
    assert set(load_model_folder(tmp_path / "average").references) == set(OF_DATA) - {"condition_rows"}
