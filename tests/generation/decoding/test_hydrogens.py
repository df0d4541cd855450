"""Molecules of a model of heavy atoms leave with every hydrogen, relaxed, or with none; whatever the command."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rdkit import Chem

import moldiff
from moldiff.arrays import MolArrays, RawSample
from moldiff.chem.convert import encode
from moldiff.chem.hydrogens import relax_hydrogens
from moldiff.chem.io.records import read_records
from moldiff.errors import MoldiffError
from moldiff.generation.decoding.decoders import ArgmaxDecoder
from moldiff.generation.decoding.hydrogens import HydrogenRelaxer, hydrogen_columns, with_hydrogens
from moldiff.models.folder import save_model_folder
from moldiff.models.molecule_model import MoleculeModel
from moldiff.sampling.molecule_sampler import MoleculeSampler
from moldiff.vocabulary import ELEMENTS, Vocabulary

DRUGS = Path(__file__).parents[2] / "fixtures" / "drugs.sdf"
BONDS = ("none", "single", "double", "triple", "aromatic")
HEAVY = Vocabulary(ELEMENTS[1:35], (-1, 0, 1), BONDS, False)


@pytest.fixture(scope="module")
def drawn() -> list[MolArrays]:
    """Heavy atoms of real molecules, as a model would draw them."""
    return [encode(record.mol, HEAVY) for record in read_records(DRUGS) if record.mol is not None][:4]


@pytest.fixture
def heavy(tiny_model: MoleculeModel, tmp_path: Path) -> Path:
    """A model folder of heavy atoms."""
    statistics = replace(
        tiny_model.statistics,
        marginals={**tiny_model.statistics.marginals, "atom_type": [1 / len(HEAVY.elements)] * len(HEAVY.elements)},
    )
    torch.manual_seed(0)
    model = MoleculeModel.build(
        tiny_model.network_config, tiny_model.curve_config, HEAVY, statistics, ["logp"], tiny_model.sampling
    )
    save_model_folder(
        tmp_path / "heavy", weights=model.denoiser.state_dict(), config=model.config_json(), references={},
        card="# Test", half=True,
    )  # fmt: skip
    return tmp_path / "heavy"


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch, drawn: list[MolArrays]) -> None:
    """Draws are those molecules, in turn."""

    def draw(self: MoleculeSampler, first: int, count: int) -> Iterator[RawSample]:
        for number in range(first, first + count):
            yield RawSample(number, drawn[number % len(drawn)], -1)

    monkeypatch.setattr(MoleculeSampler, "draw", draw)


def test_hydrogens_are_relaxed_around_the_drawn_atoms(drawn: list[MolArrays]) -> None:
    plain, relaxing = ArgmaxDecoder(HEAVY), with_hydrogens(ArgmaxDecoder(HEAVY), HEAVY)
    for number, arrays in enumerate(drawn):
        before, after = (decoder.decode(RawSample(number, arrays, -1)) for decoder in (plain, relaxing))
        expected, how = relax_hydrogens(before.conversion.mol)
        assert after.conversion.mol is not None
        np.testing.assert_array_equal(
            after.conversion.mol.GetConformer().GetPositions(), expected.GetConformer().GetPositions()
        )
        assert after.facts == {"hydrogens": how} == {"hydrogens": "mmff94s"}
        np.testing.assert_allclose(
            after.conversion.mol.GetConformer().GetPositions()[: len(arrays.pos)], arrays.pos, atol=1e-6
        )
    loose = replace(drawn[0], bonds=drawn[0].bonds[1:])
    broken = relaxing.decode(RawSample(0, loose, -1))
    assert (broken.problem[:12], dict(broken.facts)) == ("one_fragment", {}), "what is unsound is left as it is"


def test_a_model_that_makes_hydrogens_is_left_alone(tiny_model: MoleculeModel) -> None:
    decoder = ArgmaxDecoder(tiny_model.vocabulary)
    assert with_hydrogens(decoder, tiny_model.vocabulary) is decoder
    assert isinstance(with_hydrogens(decoder, HEAVY), HydrogenRelaxer)
    assert (hydrogen_columns(tiny_model.vocabulary), hydrogen_columns(HEAVY)) == ((), ("hydrogens",))


@pytest.mark.usefixtures("scripted")
def test_generate_writes_whole_molecules_or_heavy_atoms(heavy: Path, drawn: list[MolArrays]) -> None:
    whole = moldiff.generate(4, model=heavy)
    bare = moldiff.generate(4, model=heavy, heavy_only=True)
    assert list(whole.table["hydrogens"]) == ["mmff94s"] * 4
    assert list(bare.table["hydrogens"]) == [""] * 4
    for full, empty, arrays in zip(whole.molecules, bare.molecules, drawn, strict=True):
        assert empty.GetNumAtoms() == len(arrays.pos) < full.GetNumAtoms()
        assert sum(atom.GetTotalNumHs() for atom in full.GetAtoms()) == 0
        assert Chem.MolToSmiles(Chem.RemoveHs(full)) == empty.GetProp("smiles") == full.GetProp("smiles")
    columns = ["n_atoms", "hydrogens"]
    assert whole.table.drop(columns=columns).equals(bare.table.drop(columns=columns)), "known of the whole molecule"
    assert list(bare.table["n_atoms"]) == [len(arrays.pos) for arrays in drawn]


def test_other_commands_do_too_and_other_models_refuse(
    heavy: Path, model: Path, tmp_path: Path, run: Callable[..., Any]
) -> None:
    molecule = tmp_path / "ethanol.smi"
    molecule.write_text("CCO\n")
    command = ("-n", "1", "--evaluations", "3", "-o", tmp_path / "c.sdf", "--overwrite", "--keep-invalid")
    for more, atoms in ((), 9), (("--heavy-only",), 3):
        assert run("conformers", molecule, "--model", heavy, *command, *more).status == 0
        (row,) = csv.DictReader((tmp_path / "c.csv").open())
        assert row["n_atoms"] == str(atoms)
        assert bool(row["hydrogens"]) == (not more)
    run("conformers", molecule, "--model", model, *command, "--heavy-only").assert_refused(
        "--heavy-only is for models of heavy atoms"
    )
    with pytest.raises(MoldiffError, match="heavy_only must be True or False"):
        moldiff.vary(["CCO"], model=heavy, heavy_only="yes")  # type: ignore[arg-type]
