"""Decoders: what is decoded anew, what that may change, and how it is accounted for."""

import csv
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from generating import generate_files, nonzero
from methane import METHANE
from rdkit import Chem

import moldiff
from moldiff.arrays import LogProbabilities, MolArrays, RawSample
from moldiff.datasets.chemistry import TrainingChemistry
from moldiff.errors import MoldiffError
from moldiff.generation.decoding import decoders
from moldiff.generation.decoding.decoders import DECODERS, ArgmaxDecoder, StructuredDecoder
from moldiff.generation.decoding.structured import Limits
from moldiff.models.folder import save_model_folder
from moldiff.models.molecule_model import MoleculeModel
from moldiff.sampling.demands import DecodingConstraints
from moldiff.sampling.molecule_sampler import MoleculeSampler
from moldiff.sampling.solvers import SOLVERS
from moldiff.vocabulary import Vocabulary

FULL = Vocabulary(("H", "C", "N", "O"), (-1, 0, 1), ("none", "single", "double", "triple", "aromatic"))
SEEN = TrainingChemistry(
    atoms={("H", 0): 4, ("C", 0): 1, ("O", 0): 1},
    total_charges={0: 5},
    lengths={("C", "H", "single"): (4, 1.08, 1.10), ("H", "O", "single"): (2, 0.96, 0.97)},
)


def draw(arrays: MolArrays = METHANE, number: int = 0, lost: int = 4, scale: float = 1.0) -> RawSample:
    """A draw of a molecule that bonds its first atom to the others, but for the one whose bond was argmaxed away."""
    n = len(arrays.atom_type)
    bond = np.tile([8.0, 0, 0, 0, 0], (n, n, 1))
    for i, j, kind in arrays.bonds.tolist():
        bond[i, j, kind] = bond[j, i, kind] = 9.0 if j != lost else 7.0
    logits = (10 * np.eye(4)[arrays.atom_type], 10 * np.eye(3)[arrays.charge], bond)
    beliefs = LogProbabilities(*(x - np.log(np.exp(x).sum(-1, keepdims=True)) for x in logits))
    plain = replace(arrays, pos=arrays.pos * np.float32(scale), bonds=arrays.bonds[arrays.bonds[:, 1] != lost])
    return RawSample(number, plain, -1, beliefs)


def test_a_valid_molecule_is_never_decoded_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(decoders, "decode_structured")
    judged = StructuredDecoder(FULL, SEEN).decode(draw(lost=0))
    assert (judged.status, judged.decoding, judged.changed) == ("valid", "argmax", 0)


def test_a_lost_bond_comes_back_and_the_coordinates_stay() -> None:
    spoilt = draw()
    before = METHANE.pos.copy()
    plain = ArgmaxDecoder(FULL).decode(spoilt)
    assert (plain.status, plain.decoding) == ("invalid", "argmax")
    judged = StructuredDecoder(FULL, SEEN).decode(spoilt)
    assert (judged.status, judged.reason, judged.decoding, judged.changed) == ("valid", "", "structured", 1)
    mol = judged.conversion.mol
    assert mol is not None
    assert Chem.MolToSmiles(Chem.RemoveHs(mol)) == "C"
    assert np.array_equal(mol.GetConformer().GetPositions().astype(np.float32), before)
    assert spoilt.arrays is not None
    assert np.array_equal(spoilt.arrays.pos, before)


@pytest.mark.parametrize(("scale", "status"), [(1.05, "valid"), (1.06, "invalid"), (0.95, "valid"), (0.94, "invalid")])
def test_a_length_unlike_those_of_training_is_a_failure_that_says_so(scale: float, status: str) -> None:
    judged = StructuredDecoder(FULL, SEEN).decode(draw(scale=scale))
    assert (judged.status, judged.decoding) == (status, "structured")
    if status == "invalid":
        length = 1.09 * scale
        assert judged.reason == (
            f"decoded_length: single C-H of {length:.3f} angstrom, seen in training: 1.080 to 1.100 (+-0.05)"
        )


def test_the_lengths_of_plain_molecules_are_not_held_against_them() -> None:
    assert StructuredDecoder(FULL, SEEN).decode(draw(lost=0, scale=1.2)).status == "valid"


def test_fitted_decoding_looks_among_molecules_of_seen_lengths() -> None:
    """H-O-C is broken. H-N=O is the most probable molecule, but at this distance water is what it must have been."""
    pos = np.array([[0, 0, 0], [0.96, 0, 0], [-0.24, 0.93, 0]], dtype=np.float32)
    broken = MolArrays(pos, np.array([3, 0, 1]), np.ones(3, dtype=np.int64), np.array([[0, 1, 1], [0, 2, 1]]))
    spoilt = draw(broken, lost=0)
    assert spoilt.log_probabilities is not None
    beliefs = spoilt.log_probabilities
    atom_type = np.log([[1e-9, 1e-9, 0.3, 0.7], [1.0, 1e-9, 1e-9, 1e-9], [0.02, 0.5, 0.08, 0.4]])
    bond_type = beliefs.bond_type.copy()
    bond_type[0, 2] = bond_type[2, 0] = np.log([0.05, 0.6, 0.35, 1e-9, 1e-9])
    spoilt = replace(spoilt, log_probabilities=LogProbabilities(atom_type, beliefs.charge, bond_type))
    seen = replace(
        SEEN,
        atoms={**SEEN.atoms, ("N", 0): 1},
        lengths={**SEEN.lengths, ("H", "N", "single"): (1, 1.0, 1.05), ("N", "O", "double"): (1, 1.2, 1.2)},
    )
    judged = StructuredDecoder(FULL, seen).decode(spoilt)
    assert (judged.status, judged.decoding, judged.changed) == ("invalid", "structured", 3)
    assert "double N-O of 0.960 angstrom" in judged.reason
    judged = StructuredDecoder(FULL, seen, fitted=True).decode(spoilt)
    assert (judged.status, judged.decoding, judged.changed) == ("valid", "fitted", 1)
    assert judged.conversion.mol is not None
    assert Chem.MolToSmiles(Chem.RemoveHs(judged.conversion.mol)) == "O"


def test_no_molecule_of_seen_lengths_is_a_reason() -> None:
    judged = StructuredDecoder(FULL, SEEN, fitted=True).decode(draw(scale=1.3))
    assert (judged.status, judged.decoding) == ("invalid", "argmax")
    assert judged.reason.startswith("decoding: no molecule obeys valence, connectivity and bond lengths (argmax: ")


def test_only_elements_and_charges_seen_together_are_proposed() -> None:
    """Three hydrogens on a carbon: CH3- is the cheapest molecule, unless no such anion was seen."""
    methyl = MolArrays(METHANE.pos[:4], METHANE.atom_type[:4], METHANE.charge[:4], METHANE.bonds[:3])
    anions = replace(SEEN, atoms={**SEEN.atoms, ("C", -1): 1}, total_charges={-1: 1})
    judged = StructuredDecoder(FULL, anions).decode(draw(methyl))
    assert judged.conversion.mol is not None
    assert Chem.MolToSmiles(Chem.RemoveHs(judged.conversion.mol)) == "[CH3-]"
    judged = StructuredDecoder(FULL, replace(anions, atoms=SEEN.atoms)).decode(draw(methyl))
    assert (judged.status, judged.decoding, judged.changed) == ("invalid", "argmax", 0)
    assert judged.reason == (
        "decoding: no molecule with a total charge of -1 obeys valence and connectivity"
        " (argmax: no_radicals: 1 radical electrons)"
    )
    assert judged.conversion.raw is not None


def test_structured_decoding_looks_among_molecules_as_demanded() -> None:
    """Of the atoms of water, one bond is lost, and the oxygen may as well be a carbon's anion or a nitrogen's."""
    pos = np.array([[0, 0, 0], [0.96, 0, 0], [-0.24, 0.93, 0]], dtype=np.float32)
    water = MolArrays(pos, np.array([3, 0, 0]), np.ones(3, dtype=np.int64), np.array([[0, 1, 1], [0, 2, 1]]))
    spoilt = draw(water, lost=2)
    assert spoilt.log_probabilities is not None
    atom_type, charge = spoilt.log_probabilities.atom_type.copy(), spoilt.log_probabilities.charge.copy()
    atom_type[0], charge[0] = np.log([0.01, 0.09, 0.5, 0.4]), np.log([0.6, 0.3, 0.1])
    spoilt = replace(spoilt, log_probabilities=replace(spoilt.log_probabilities, atom_type=atom_type, charge=charge))
    seen = TrainingChemistry(
        {("H", 0): 4, ("O", 0): 1, ("O", 1): 1, ("N", -1): 1},
        {0: 1, -1: 2},
        {**SEEN.lengths, ("H", "N", "single"): (1, 0.9, 1.0)},
    )
    for constraints, smiles in (
        (DecodingConstraints(total_charge=-1), "[NH2-]"),
        (DecodingConstraints(total_charge=0), "O"),
        (DecodingConstraints(allowed=(True, True, False, True)), "O"),
        (DecodingConstraints(counts=(2, 0, 0, 1)), "O"),
    ):
        judged = StructuredDecoder(FULL, seen, constraints=constraints).decode(spoilt)
        assert judged.conversion.mol is not None
        assert (judged.status, Chem.MolToSmiles(Chem.RemoveHs(judged.conversion.mol))) == ("valid", smiles)
    judged = StructuredDecoder(FULL, seen, constraints=DecodingConstraints(counts=(2, 1, 0, 0))).decode(spoilt)
    assert judged.reason.startswith("decoding: no molecule obeys valence, connectivity and the constraints (argmax: ")


@pytest.mark.parametrize(
    ("totals", "charge", "expected"),
    [({0: 5}, 0, 0), ({0: 5, 1: 1}, 1, 1), ({0: 5}, 1, 0), ({-1: 2, 1: 3}, 0, 1), ({-1: 2, 0: 2}, 1, 0), ({}, 0, 0)],
)
def test_the_total_charge_is_the_plain_one_if_seen_else_the_most_frequent(
    totals: dict[int, int], charge: int, expected: int
) -> None:
    arrays = replace(METHANE, charge=METHANE.charge + np.array([charge, 0, 0, 0, 0]))
    assert StructuredDecoder(FULL, replace(SEEN, total_charges=totals)).total_charge(arrays) == expected


def test_a_limit_leaves_the_plain_molecule_invalid() -> None:
    judged = StructuredDecoder(FULL, SEEN, limits=Limits(seconds=0.0)).decode(draw())
    assert (judged.status, judged.decoding) == ("invalid", "argmax")
    assert judged.reason.startswith("decoding: time limit of 0 s (argmax: ")


def test_lengths_of_rings_are_those_of_aromatic_bonds() -> None:
    """Structured decoding hands RDKit single and double bonds; the range of a ring bond is that of aromatic ones."""
    angles = np.arange(6) * np.pi / 3
    ring = np.stack([np.cos(angles), np.sin(angles), 0 * angles], axis=1)
    bonds = [[k, k + 1, 4] for k in range(5)] + [[0, 5, 4]] + [[k, k + 6, 1] for k in range(6)]
    benzene = MolArrays(
        np.concatenate([1.39 * ring, 2.48 * ring]).astype(np.float32),
        np.array([1] * 6 + [0] * 6), np.ones(12, dtype=np.int64), np.array(sorted(bonds)),
    )  # fmt: skip
    seen = replace(SEEN, lengths={**SEEN.lengths, ("C", "C", "aromatic"): (6, 1.38, 1.40)})
    judged = StructuredDecoder(FULL, seen).decode(draw(benzene, lost=11))
    assert (judged.status, judged.reason, judged.changed) == ("valid", "", 1)


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Draws 0, 4, ... are methane, 1, 5, ... lost a bond, 2, 6, ... too and are stretched, 3, 7, ... never finite."""

    def scripted_draws(self: MoleculeSampler, first: int, count: int) -> Iterator[RawSample]:
        for number in range(first, first + count):
            kinds = (draw(number=number, lost=0), draw(number=number), draw(number=number, scale=1.2))
            yield kinds[number % 4] if number % 4 < 3 else RawSample(number, None, 2)

    monkeypatch.setattr(MoleculeSampler, "draw", scripted_draws)


@pytest.fixture
def packed(tmp_path: Path, tiny_model: MoleculeModel) -> Path:
    """A model folder that knows what was seen in training."""
    weights, config = tiny_model.denoiser.state_dict(), tiny_model.config_json()
    save_model_folder(
        tmp_path / "packed", weights=weights, config=config, references=SEEN.to_tensors(), card="-", half=False
    )
    return tmp_path / "packed"


def test_every_file_tells_the_decodings_apart(scripted: None, packed: Path, tmp_path: Path) -> None:
    summary = generate_files(tmp_path / "m.sdf", n=8, model=str(packed), decode="structured")
    assert nonzero(summary.counts) == {"valid": 4, "invalid": 2, "failed": 2}
    expected = {
        "argmax": {"valid": 2},
        "structured": {"valid": 2, "invalid": 2},
    }
    assert summary.results.decodings == expected
    assert json.loads((tmp_path / "m.run.json").read_text())["decodings"] == expected
    assert json.loads((tmp_path / "m.run.json").read_text())["options"]["decode"] == "structured"
    assert "2 of the valid by structured decoding, which made 4;" in summary.line()
    rows = list(csv.DictReader((tmp_path / "m.csv").open()))
    assert [(row["decoding"], row["changed"]) for row in rows[:4]] == [
        ("argmax", "0"),
        ("structured", "1"),
        ("structured", "1"),
        ("", ""),
    ]
    molecules = list(Chem.SDMolSupplier(str(tmp_path / "m.sdf"), removeHs=False))
    assert [mol.GetProp("decoding") for mol in molecules] == ["argmax", "structured", "argmax", "structured"]


def test_by_default_nothing_is_decoded_anew(scripted: None, packed: Path, tmp_path: Path) -> None:
    summary = generate_files(tmp_path / "m.sdf", n=4, model=str(packed))
    assert summary.results.decodings == {"argmax": {"valid": 1, "invalid": 2}}
    assert "decoding" not in summary.line()


def test_the_python_function_takes_the_same_word(scripted: None, packed: Path) -> None:
    molecules = moldiff.generate(n=4, model=packed, decode="structured")
    assert [mol.GetProp("decoding") for mol in molecules] == ["argmax", "structured"]
    with pytest.raises(MoldiffError, match=r"unknown decode 'structurd'.*structured"):
        moldiff.generate(n=4, model=packed, decode="structurd")


def test_what_a_run_is_asked_for_reaches_the_decoder(scripted: None, packed: Path) -> None:
    wishes = {"formula": "CH4", "charge": 0, "elements": ["C", "H"]}
    (first, second) = moldiff.generate(n=2, model=packed, decode="structured", **wishes)
    assert [mol.GetProp("decoding") for mol in (first, second)] == ["argmax", "structured"]
    for wrong in ({"formula": "CH3N"}, {"charge": 1}, {"elements": ["H", "N"]}):
        (only,) = moldiff.generate(n=2, model=packed, decode="structured", keep_invalid=True, **wrong)[1:]
        assert only.GetProp("reason").startswith("decoding: no molecule")


def test_a_model_without_training_lengths_is_refused(model: Path, tmp_path: Path) -> None:
    with pytest.raises(MoldiffError, match="moldiff models pack"):
        generate_files(tmp_path / "m.sdf", n=1, model=str(model), decode="structured")
    assert not (tmp_path / "m.sdf").exists()


def test_a_draw_carries_the_beliefs_that_its_arrays_come_from(tiny_model: MoleculeModel) -> None:
    assert all(made.log_probabilities is None for made in MoleculeSampler(tiny_model, SOLVERS["ddpm"], 2, 0).draw(0, 2))
    for made in MoleculeSampler(tiny_model, SOLVERS["ddpm"], 2, 0, keep_predictions=True).draw(0, 6):
        arrays, beliefs = made.arrays, made.log_probabilities
        assert arrays is not None
        assert beliefs is not None
        n = len(arrays.atom_type)
        assert beliefs.bond_type.shape == (n, n, 5)
        for values in vars(beliefs).values():
            np.testing.assert_allclose(np.exp(values.astype(float)).sum(-1), 1.0, atol=1e-5)
        assert np.array_equal(beliefs.atom_type.argmax(-1), arrays.atom_type)
        assert np.array_equal(beliefs.charge.argmax(-1), arrays.charge)
        i, j = np.nonzero(np.triu(beliefs.bond_type.argmax(-1), k=1))
        assert np.array_equal(np.stack([i, j], axis=1), arrays.bonds[:, :2])


def test_the_names_are_those_of_the_command_line() -> None:
    from moldiff.cli.generate import Decoding

    assert set(DECODERS) == {decoding.value for decoding in Decoding}
