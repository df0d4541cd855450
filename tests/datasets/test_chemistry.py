"""What chemistry was seen in training: counts and ranges against a plain loop over the molecules."""

import dataclasses

import numpy as np
import pytest
import torch

from moldiff.arrays import MolArrays
from moldiff.datasets.chemistry import TrainingChemistry, training_chemistry
from moldiff.datasets.prepared import PreparedDataset
from moldiff.errors import MoldiffError
from moldiff.vocabulary import Vocabulary

SEEN = TrainingChemistry(
    atoms={("C", 0): 3, ("H", 0): 9, ("O", -1): 1},
    total_charges={0: 2, -1: 1},
    lengths={("C", "H", "single"): (9, 1.08, 1.11), ("C", "O", "double"): (1, 1.2, 1.2)},
)
VOCABULARY = Vocabulary(("H", "C", "O"), (-1, 0), ("none", "single", "double"))


def test_counts_and_ranges_are_those_of_the_training_molecules(sample: PreparedDataset) -> None:
    atoms: dict[tuple[str, int], int] = {}
    totals: dict[int, int] = {}
    lengths: dict[tuple[str, str, str], list[float]] = {}
    v = sample.vocabulary
    for row in sample.indices("train"):
        molecule = sample.molecule(int(row))
        charges = [v.charges[k] for k in molecule.charge]
        symbols = [v.elements[k] for k in molecule.atom_type]
        totals[sum(charges)] = totals.get(sum(charges), 0) + 1
        for key in zip(symbols, charges, strict=True):
            atoms[key] = atoms.get(key, 0) + 1
        for i, j, kind in molecule.bonds.tolist():
            first, second = sorted((symbols[i], symbols[j]))
            length = float(np.linalg.norm(molecule.pos[i].astype(float) - molecule.pos[j]))
            lengths.setdefault((first, second, v.bonds[kind]), []).append(length)
    seen = training_chemistry(sample)
    assert (seen.atoms, seen.total_charges) == (atoms, totals)
    assert seen.lengths.keys() == lengths.keys()
    for kind, (count, shortest, longest) in seen.lengths.items():
        assert count == len(lengths[kind])
        assert (shortest, longest) == pytest.approx((min(lengths[kind]), max(lengths[kind])), abs=1e-4)


def test_molecules_outside_the_training_split_do_not_count(sample: PreparedDataset) -> None:
    split = np.ones_like(sample.arrays["split"])
    split[0] = 0
    alone = training_chemistry(dataclasses.replace(sample, arrays={**sample.arrays, "split": split}))
    molecule = sample.molecule(0)
    assert sum(alone.atoms.values()) == len(molecule.atom_type)
    assert sum(count for count, _, _ in alone.lengths.values()) == len(molecule.bonds)
    assert sum(alone.total_charges.values()) == 1


def test_tensors_read_back() -> None:
    assert TrainingChemistry.from_tensors(SEEN.to_tensors(), "model") == SEEN


@pytest.mark.parametrize("text", [b"{", b"[]", b"{}", b'{"atoms":[["C"]],"total_charges":[],"lengths":[]}'])
def test_damage_is_one_line(text: bytes) -> None:
    with pytest.raises(MoldiffError, match=r"^folder: .* is damaged"):
        TrainingChemistry.from_tensors({"seen_json": torch.frombuffer(bytearray(text), dtype=torch.uint8)}, "folder")


def test_a_model_without_it_says_how_to_get_it() -> None:
    with pytest.raises(MoldiffError, match=r"folder does not say .* 'moldiff models pack' adds that"):
        TrainingChemistry.from_tensors({}, "folder")


@pytest.mark.parametrize(
    ("length", "problem"),
    [
        (1.10, ""),
        (1.0301, ""),
        (1.1599, ""),
        (1.0299, "single C-H of 1.030 angstrom, seen in training: 1.080 to 1.110 (+-0.05)"),
        (1.1601, "single C-H of 1.160 angstrom, seen in training: 1.080 to 1.110 (+-0.05)"),
        (np.nan, "single C-H of nan angstrom, seen in training: 1.080 to 1.110 (+-0.05)"),
    ],
)
def test_lengths_are_held_against_the_widened_range(length: float, problem: str) -> None:
    pos = np.array([[0.0, 0.0, 0.0], [0.0, 0.0, length]])
    bond = MolArrays(pos, np.array([1, 0]), np.array([1, 1]), np.array([[0, 1, 1]]))
    assert SEEN.length_problem(bond, VOCABULARY, 0.05) == problem


def test_what_fits_a_place_is_what_is_no_problem_there() -> None:
    pos = np.array([[0.0, 0.0, 0.0], [0.0, 0.0, 1.16], [0.0, 0.0, 2.25]])
    fits = SEEN.fitting(pos, VOCABULARY, 0.05)
    assert fits.shape == (3, 3, 3, 3, 3)
    assert np.array_equal(fits, fits.transpose(1, 0, 2, 4, 3))
    assert not fits[:, :, 0].any()
    for i, j in ((0, 1), (0, 2), (1, 2)):
        for kind in (1, 2):
            for a in range(3):
                for b in range(3):
                    elements = np.array([0, 0, 0])
                    elements[i], elements[j] = a, b
                    bond = MolArrays(pos, elements, np.array([1, 1, 1]), np.array([[i, j, kind]]))
                    assert fits[i, j, kind, a, b] == (SEEN.length_problem(bond, VOCABULARY, 0.05) == "")
    assert fits[0, 1, 1, 1, 0]
    assert fits[0, 1, 2, 1, 2]


def test_a_kind_never_seen_is_a_problem_at_any_length() -> None:
    pos = np.array([[0.0, 0.0, 0.0], [0.0, 0.0, 1.2]])
    double = MolArrays(pos, np.array([2, 1]), np.array([1, 1]), np.array([[0, 1, 2]]))
    single = MolArrays(pos, np.array([2, 1]), np.array([1, 1]), np.array([[0, 1, 1]]))
    assert SEEN.length_problem(double, VOCABULARY, 0.05) == ""
    assert SEEN.length_problem(single, VOCABULARY, 0.05) == (
        "single C-O of 1.200 angstrom, no such bond was seen in training"
    )


def test_kinds_that_were_hardly_seen_have_a_wider_margin() -> None:
    """As conformers of given graphs need: lengths of a few rings say little of chains."""
    double = MolArrays(
        np.array([[0.0, 0.0, 0.0], [1.5, 0.0, 0.0]]), np.array([0, 0]), np.array([0, 0]), np.array([[0, 1, 1]])
    )
    vocabulary = Vocabulary(("N",), (0,), ("none", "double"))
    for count, far, wide in ((40, "(+-0.05)", ""), (100, "(+-0.05)", "(+-0.05)")):
        seen = TrainingChemistry({}, {}, {("N", "N", "double"): (count, 1.29, 1.37)})
        assert seen.length_problem(double, vocabulary, 0.05).endswith(far)
        assert seen.length_problem(double, vocabulary, 0.05, 0.2).endswith(wide)
    assert (
        TrainingChemistry({}, {}, {})
        .length_problem(double, vocabulary, 0.05)
        .endswith("no such bond was seen in training")
    )
    assert TrainingChemistry({}, {}, {}).length_problem(double, vocabulary, 0.05, 0.2) == ""
    few = TrainingChemistry({}, {}, {("N", "N", "double"): (40, 1.29, 1.37)})
    apart = MolArrays(double.pos * 1.2, double.atom_type, double.charge, double.bonds)
    assert few.length_problem(apart, vocabulary, 0.05, 0.2).endswith("(+-0.2)")
