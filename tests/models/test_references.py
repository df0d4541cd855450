"""Reference tensors: each by its name, read when asked for, and one line where one is missing."""

from pathlib import Path

import numpy as np
import pytest
import torch
from rdkit import Chem

from moldiff.chem.descriptors.rarity import RarityTables
from moldiff.datasets import chemistry
from moldiff.errors import MoldiffError
from moldiff.models.folder import load_model_folder
from moldiff.models.references import CHEMISTRY, NEEDED, RARITY, References, TrainingKeys


def test_the_built_in_model_carries_all_of_them() -> None:
    folder = load_model_folder("qm9")
    assert set(NEEDED) <= folder.references.keys()
    assert CHEMISTRY == chemistry.TENSOR
    found = References(folder.references, str(folder.path))
    names = folder.config["conditions"]
    assert found.condition_rows(names).table.shape[1] == 1 + len(names)
    assert ("C", 0) in chemistry.TrainingChemistry.from_tensors(found.tensors, found.source).atoms
    assert len(found.training_keys.graph) > 100_000
    assert found.histograms["molecules"] > 1000


@pytest.mark.parametrize(
    ("part", "words"),
    [
        ("training_keys", "novelty"),
        ("histograms", "reference distributions"),
        ("rarity", "ring systems and bonds"),
    ],
)
def test_a_missing_one_is_one_line(part: str, words: str) -> None:
    empty = References({}, "folder")
    with pytest.raises(MoldiffError, match=words) as caught:
        getattr(empty, part)
    assert "folder" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_rows_of_other_properties_are_none() -> None:
    found = References({"condition_rows": torch.zeros(4, 3)}, "folder")
    assert found.condition_rows(["a", "b"]).names == ("a", "b")
    for names in (["a"], ["a", "b", "c"]):
        with pytest.raises(MoldiffError, match="folder does not carry the sizes and properties"):
            found.condition_rows(names)


def test_damage_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(MoldiffError, match="damaged"):
        _ = References({"reference_json": torch.zeros(3, dtype=torch.uint8)}, "folder").histograms


def test_keys_come_back_sorted_bit_for_bit() -> None:
    keys = TrainingKeys.of(np.array([[2**63 + 1, 5], [7, 2**64 - 1]], dtype=np.uint64))
    again = References({"training_keys": keys.to_tensor()}, "folder").training_keys
    assert np.array_equal(again.graph, np.array([7, 2**63 + 1], dtype=np.uint64))
    assert np.array_equal(again.stereo, keys.stereo)


def test_tables_of_rarity_come_back() -> None:
    tables = RarityTables.of([Chem.MolFromSmiles(smiles) for smiles in ("c1ccccc1CO", "CCN")])
    tensors = {name: torch.from_numpy(values) for name, values in tables.to_tensors().items()}
    assert tuple(tensors) == RARITY
    assert References(tensors, "folder").rarity == tables


def keys(graph: list[int], stereo: list[int]) -> TrainingKeys:
    return TrainingKeys.of(np.array([graph, stereo], dtype=np.uint64).T)


def test_joined_keys_are_those_of_both() -> None:
    one, other = keys([5, 5, 9], [1, 2, 3]), keys([2, 9], [3, 2**64 - 1])
    both = one.joined(other)
    assert (set(both.graph.tolist()), set(both.stereo.tolist())) == ({2, 5, 9}, {1, 2, 3, 2**64 - 1})
    assert len(both.graph) == len(both.stereo), "as a tensor has them"
    assert both.graph.tolist() == sorted(both.graph.tolist())
    again = References({"training_keys": both.to_tensor()}, "folder").training_keys
    assert (again.graph.tolist(), again.stereo.tolist()) == (both.graph.tolist(), both.stereo.tolist())


def test_nothing_new_changes_no_key() -> None:
    one = keys([5, 5, 9], [1, 2, 3])
    assert one.joined(keys([9], [2])) is one
    assert one.joined(keys([9], [4])) is not one
    assert one.joined(keys([8], [2])) is not one
