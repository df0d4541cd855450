"""Class labels: sizes, a round trip through JSON, and what is refused."""

import json

import pytest

from moldiff.vocabulary import Vocabulary

QM9 = Vocabulary(("H", "C", "N", "O"), (-1, 0, 1), ("none", "single", "double", "triple", "aromatic"))


def test_sizes_count_the_classes_of_each_field() -> None:
    assert QM9.sizes == {"atom_type": 4, "charge": 3, "bond_type": 5}


@pytest.mark.parametrize("explicit", [True, False])
def test_json_gives_the_same_vocabulary_back(explicit: bool) -> None:
    vocabulary = Vocabulary(("C", "Br"), (0,), ("none", "single"), explicit)
    assert Vocabulary.from_json(json.loads(json.dumps(vocabulary.to_json()))) == vocabulary


@pytest.mark.parametrize(
    ("elements", "charges", "bonds", "words"),
    [
        ((), (0,), ("none",), "needs elements"),
        (("C",), (), ("none",), "needs elements"),
        (("C",), (0,), ("single", "none"), "start with 'none'"),
        (("C",), (0,), (), "start with 'none'"),
        (("C",), (0,), ("none", "quadruple"), "unknown bond orders"),
    ],
)
def test_what_no_vocabulary_can_be(
    elements: tuple[str, ...], charges: tuple[int, ...], bonds: tuple[str, ...], words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        Vocabulary(elements, charges, bonds)


@pytest.mark.parametrize("changes", [{"elements": "CHNO"}, {"bonds": None}, {"charges": {"0": 0}}])
def test_json_of_another_shape_is_refused(changes: dict[str, object]) -> None:
    with pytest.raises(TypeError, match="must be lists"):
        Vocabulary.from_json({**QM9.to_json(), **changes})


def test_a_missing_entry_is_a_key_error() -> None:
    value = QM9.to_json()
    del value["charges"]
    with pytest.raises(KeyError, match="charges"):
        Vocabulary.from_json(value)
