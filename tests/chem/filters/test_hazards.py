"""The gate: what bears a family's group is withheld however it is written, its neighbours are not; lists of hashes know
their members in every form, hold no structure, and are refused when they are not as they were written."""

import json
import pickle
from pathlib import Path

import pytest
from canaries import CAUGHT, NEAR_MISSES
from rdkit import Chem

from moldiff.chem.filters.hazard_list import HazardList, connectivity_keys, hazard_list_of, read_hazard_list
from moldiff.chem.filters.hazards import FAMILIES, STANDARD_GATE, WITHHELD, HazardGate, families_of
from moldiff.cli.main import main
from moldiff.errors import MoldiffError

ALL_CAUGHT = [(family, smiles) for family, members in CAUGHT.items() for smiles in members]
MEMBERS = {  # harmless; each with other ways to write the same
    "acetylacetone": ("CC(=O)CC(C)=O", ["CC(O)=CC(C)=O", "[13CH3]C(=O)CC(C)=O", "C(C(=O)C)C(=O)C"]),
    "2-pyridone": ("O=c1cccc[nH]1", ["Oc1ccccn1", "c1cc[nH]c(=O)c1", "[O-]c1ccccn1.[Na+]"]),
    "benzylamine": ("NCc1ccccc1", ["[NH3+]Cc1ccccc1.[Cl-]", "c1ccc(CN)cc1.OS(O)(=O)=O", "[2H]C(N)c1ccccc1"]),
    "alanine": ("CC(N)C(=O)O", ["C[C@H](N)C(=O)O", "C[C@@H]([NH3+])C(=O)[O-]", "CC(N)C(=O)O[Na]"]),
}


def test_every_family_has_a_canary() -> None:
    assert len(CAUGHT) == len(FAMILIES)
    assert all(sum(one.name.startswith(family) for one in FAMILIES) == 1 for family in CAUGHT)


@pytest.mark.parametrize(("family", "smiles"), ALL_CAUGHT)
def test_a_canary_is_caught_in_every_form(family: str, smiles: str) -> None:
    mol = Chem.MolFromSmiles(smiles)
    with_hydrogens = Chem.AddHs(mol)
    kekule = Chem.Mol(with_hydrogens)
    Chem.Kekulize(kekule, clearAromaticFlags=True)
    raw = Chem.MolFromSmiles(smiles, sanitize=False)
    order = list(reversed(range(mol.GetNumAtoms())))
    heavy = Chem.Mol(mol)
    for atom in heavy.GetAtoms():
        atom.SetIsotope({6: 13, 7: 15}.get(atom.GetAtomicNum(), 0))
    salt = Chem.MolFromSmiles(f"{smiles}.OC(=O)C(F)(F)F.O")
    for form in (mol, with_hydrogens, kekule, raw, Chem.RenumberAtoms(mol, order), heavy, salt):
        assert [name.startswith(family) for name in families_of(form)] == [True]
        assert STANDARD_GATE(form) == WITHHELD


def test_charges_that_stand_for_a_double_bond_hide_nothing() -> None:
    assert STANDARD_GATE(Chem.MolFromSmiles("CC(C)O[P+]([O-])(F)OC(C)C"))
    assert STANDARD_GATE(Chem.MolFromSmiles("ClCC[NH+](CCCl)Cc1ccccc1.[Cl-]"))
    assert STANDARD_GATE(Chem.MolFromSmiles("[2H]C([2H])(Cl)C([2H])([2H])Sc1ccccc1"))


@pytest.mark.parametrize("name", NEAR_MISSES)
def test_a_near_miss_passes(name: str) -> None:
    for mol in (Chem.MolFromSmiles(NEAR_MISSES[name]), Chem.AddHs(Chem.MolFromSmiles(NEAR_MISSES[name]))):
        assert families_of(mol) == []
        assert STANDARD_GATE(mol) == ""


def list_of(tmp_path: Path, *smiles: str) -> Path:
    (tmp_path / "members.smi").write_text("".join(f"{one}\n" for one in smiles))
    path = tmp_path / "list.json"
    hazard_list_of([tmp_path / "members.smi"], "a test").write(path)
    return path


@pytest.mark.parametrize("name", MEMBERS)
def test_a_member_is_withheld_in_every_form(name: str, tmp_path: Path) -> None:
    smiles, forms = MEMBERS[name]
    gate = HazardGate.of(list_of(tmp_path, smiles))
    for form in (smiles, *forms):
        mol = Chem.MolFromSmiles(form)
        assert gate(mol) == gate(Chem.AddHs(mol)) == WITHHELD, form
        assert STANDARD_GATE(mol) == ""
    others = [one for other, (one, _) in MEMBERS.items() if other != name]
    assert [gate(Chem.MolFromSmiles(one)) for one in (*others, *NEAR_MISSES.values())] == [""] * (3 + len(NEAR_MISSES))


def test_a_list_holds_no_structure_and_says_the_same_in_a_worker(tmp_path: Path) -> None:
    path = list_of(tmp_path, "NCc1ccccc1.Cl", "CC(N)C(=O)O")
    value = json.loads(path.read_text())
    assert set(value) == {"format", "version", "source", "salt", "keys", "sha256"}
    assert len(value["keys"]) == 2  # hydrogen chloride is no member of its own
    (key,) = connectivity_keys(Chem.MolFromSmiles("NCc1ccccc1"))
    assert key not in path.read_text()
    again = hazard_list_of([tmp_path / "members.smi"], "a test")
    assert not again.keys & set(value["keys"]), "another salt, other hashes"
    gate = pickle.loads(pickle.dumps(HazardGate.of([path])))
    assert gate == HazardGate.of([path])
    assert gate(Chem.MolFromSmiles("NCc1ccccc1"))
    assert gate.record()["hazards"] == {
        "gate": gate.digest, "lists": [{"source": "a test", "sha256": value["sha256"]}], "released": None
    }  # fmt: skip
    assert gate.digest not in (STANDARD_GATE.digest, HazardGate(released="so it is").digest)


@pytest.mark.parametrize("damage", ["keys", "salt", "sha256", "source", "empty", "format", "gone"])
def test_a_list_that_is_not_as_it_was_written_is_refused(damage: str, tmp_path: Path) -> None:
    path = list_of(tmp_path, "NCc1ccccc1", "CC(N)C(=O)O")
    value = json.loads(path.read_text())
    match damage:
        case "keys":
            value["keys"] = value["keys"][1:]
        case "salt" | "source" | "sha256":
            value[damage] = value[damage][::-1] + "0"
        case "empty":
            value |= {"keys": [], "sha256": HazardList(value["source"], value["salt"], frozenset()).sha256}
        case "format":
            value["version"] = 2
    path.write_text(json.dumps(value))
    if damage == "gone":
        path.unlink()
    with pytest.raises(MoldiffError, match=r"list\.json") as told:
        HazardGate.of(path)
    assert told.value.argument == "hazard_lists"
    with pytest.raises(MoldiffError):
        read_hazard_list(path)


def test_what_has_no_key_is_not_let_through(tmp_path: Path) -> None:
    gate = HazardGate.of(list_of(tmp_path, "NCc1ccccc1"))
    with pytest.raises(ValueError, match="no key"):
        gate(Chem.MolFromSmiles("*CC"))


@pytest.mark.parametrize("reason", ["", "  ", "because", "yes please"])
def test_a_release_needs_a_reason(reason: str) -> None:
    with pytest.raises(MoldiffError, match="3 words or more"):
        HazardGate.of(released=reason)
    gate = HazardGate.of(released="  a legal\n obligation ")
    assert gate.released == "a legal obligation"
    assert gate(Chem.MolFromSmiles(ALL_CAUGHT[0][1])) == ""


def test_the_command_makes_a_list(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "few.smi").write_text("NCc1ccccc1 a\n[NH3+]Cc1ccccc1 the same\nCC(N)C(=O)O b\n")
    words = ["hazard-list", str(tmp_path / "few.smi"), "--source", "our own", "-o", str(tmp_path / "list.json")]
    assert main(words) == 0
    assert capsys.readouterr().out == f"2 hashes written to {tmp_path / 'list.json'}\n"
    assert HazardGate.of(tmp_path / "list.json")(Chem.MolFromSmiles("NCc1ccccc1"))
    assert main(words) == 2
    assert "exists already" in capsys.readouterr().err
    (tmp_path / "few.smi").write_text("NCc1ccccc1 a\nno_molecule\n")
    assert main([*words, "--overwrite"]) == 2
    assert "record 1 cannot be read" in capsys.readouterr().err
    assert len(json.loads((tmp_path / "list.json").read_text())["keys"]) == 2


def test_the_command_takes_the_columns_of_a_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "few.csv").write_text("title;SMILES of product;SMILES of educt\na;NCc1ccccc1;CCO\nb;CC(N)C(=O)O;CCO\n")
    words = ["hazard-list", str(tmp_path / "few.csv"), "--source", "our own", "-o", str(tmp_path / "list.json")]
    assert main(words) == 2
    assert "--smiles-column" in capsys.readouterr().err
    assert main([*words, "--smiles-column", "SMILES of product", "--delimiter", "semicolon"]) == 0
    gate = HazardGate.of(tmp_path / "list.json")
    assert gate(Chem.MolFromSmiles("NCc1ccccc1"))
    assert not gate(Chem.MolFromSmiles("CCO"))


def test_a_list_takes_patterns_as_other_commands_do(tmp_path: Path) -> None:
    for name, smiles in (("a", "NCc1ccccc1"), ("b", "CC(N)C(=O)O"), ("c", "CCO")):
        (tmp_path / f"{name}.smi").write_text(f"{smiles}\n")
    assert len(hazard_list_of([str(tmp_path / "[ab].smi")], "a test").keys) == 2
    with pytest.raises(MoldiffError, match="named twice"):
        hazard_list_of([tmp_path / "a.smi", tmp_path / "*.smi"], "a test")
