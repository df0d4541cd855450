"""Conformers: the graph comes back as it was given; mirror images, diastereomers and bad geometry are dealt with."""

import csv
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from generating import conformer_files, nonzero
from rdkit import Chem
from rdkit.Chem import AllChem, rdMolTransforms

import moldiff
from moldiff.arrays import RawSample
from moldiff.chem import conformer_set
from moldiff.chem.conformer_set import relative_energies
from moldiff.chem.convert import encode
from moldiff.chem.io.embed import embed
from moldiff.chem.io.records import mol_to_sdf_record, write_sdf
from moldiff.chem.io.tables import Columns
from moldiff.chem.topology import topology_of
from moldiff.choices import EnergyMethod
from moldiff.config import DEFAULT_SAMPLING
from moldiff.datasets.chemistry import TrainingChemistry
from moldiff.datasets.rows import wide_vocabulary
from moldiff.errors import MoldiffError
from moldiff.generation import conformer_checks
from moldiff.generation.conformer_checks import ConformerDecoder
from moldiff.generation.conformers import coordinate_walk
from moldiff.generation.molecule_result import MoleculeResult, assess
from moldiff.generation.writer import RunFiles
from moldiff.models.folder import save_model_folder
from moldiff.models.molecule_model import MoleculeModel
from moldiff.sampling import molecule_sampler
from moldiff.sampling.molecule_sampler import MOST_ATTEMPTS, MoleculeSampler, Task, TaskRunner
from moldiff.sampling.solvers import SOLVERS
from moldiff.status import Status

SEEN = TrainingChemistry(
    {},
    {},
    {
        ("C", "H", "single"): (9, 1.05, 1.15),
        ("C", "C", "single"): (9, 1.40, 1.60),
        ("C", "O", "single"): (9, 1.35, 1.50),
        ("C", "O", "double"): (9, 1.15, 1.25),
        ("H", "O", "single"): (9, 0.90, 1.05),
        ("C", "N", "single"): (9, 1.40, 1.50),
        ("H", "N", "single"): (9, 0.95, 1.05),
    },
)
WANTED = "C[C@H](O)[C@@H](N)C=O"
GEOMETRIES = {"right": WANTED, "inverted": "C[C@@H](O)[C@H](N)C=O", "wrong": "C[C@H](O)[C@H](N)C=O"}


def embedded(smiles: str) -> Chem.Mol:
    mol, reason = embed(Chem.MolFromSmiles(smiles), seed=1, timeout_s=20)
    assert mol is not None, reason
    return mol


LONGER = {"stretched": 0.3, "a little": 0.1}  # angstrom


def positions(kind: str) -> np.ndarray:
    """Return zero-mean coordinates for the atoms of `WANTED`."""
    pos: np.ndarray = embedded(GEOMETRIES.get(kind, WANTED)).GetConformer().GetPositions().astype(np.float32)
    if kind in LONGER:  # the last hydrogen, bound to the aldehyde's carbon
        pos[-1] += LONGER[kind] * (pos[-1] - pos[4]) / np.linalg.norm(pos[-1] - pos[4])
    return pos - pos.mean(0)


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


Script = Callable[[int, int], np.ndarray | None]


@pytest.fixture
def follow(monkeypatch: pytest.MonkeyPatch) -> Callable[[Script], None]:
    """Let a function of (draw, attempt) decide the coordinates of every walk; None = not finite."""

    def install(script: Script) -> None:
        def run(self: TaskRunner, wanted: list[Task]) -> Iterator[RawSample]:
            for task in wanted:
                pos = script(task.key >> 6 & 0xFFFFF, task.key & 63)
                yield RawSample(
                    task.key, None if pos is None else replace(task.arrays, pos=pos), 3 if pos is None else -1
                )

        monkeypatch.setattr(molecule_sampler.TaskRunner, "run", run)

    return install


@pytest.fixture
def packed(tmp_path: Path, tiny_model: MoleculeModel) -> Path:
    """A model folder that says which bond lengths were seen."""
    folder, weights = tmp_path / "packed", tiny_model.denoiser.state_dict()
    save_model_folder(
        folder, weights=weights, config=tiny_model.config_json(), references=SEEN.to_tensors(), card="# Test", half=True
    )
    return folder


@pytest.fixture
def wanted(tmp_path: Path) -> Path:
    path = tmp_path / "wanted.smi"
    path.write_text(f"{WANTED} the one\n")
    return path


def scripted(words: list[list[str]]) -> Script:
    """Return a script from what each attempt (inner) of each draw (outer) gives; the last word goes on for ever."""

    def script(draw: int, attempt: int) -> np.ndarray | None:
        kind = words[draw][min(attempt, len(words[draw]) - 1)]
        return None if kind == "broken" else positions(kind)

    return script


def test_mirror_images_are_mirrored_and_diastereomers_made_anew(
    follow: Callable[[Script], None], packed: Path, wanted: Path, tmp_path: Path
) -> None:
    follow(scripted([["right"], ["inverted"], ["wrong", "wrong", "inverted", "right"], ["wrong"], ["broken"]]))
    told = conformer_files(wanted, tmp_path / "c.sdf", n=5, model=str(packed), evaluations=7, redraws=4)
    rows = rows_of(tmp_path / "c.csv")
    assert [row["status"] for row in rows] == ["valid", "valid", "valid", "invalid", "failed"]
    assert [row["mirrored"] for row in rows] == ["no", "yes", "yes", "no", "no"]
    assert [row["redraws"] for row in rows] == ["0", "0", "2", "4", "0"]
    assert [int(row["evaluations"]) for row in rows] == [7, 7, 21, 35, 7]
    assert rows[3]["reason"] == "stereo: wrong 1 of 2 centres"
    assert rows[4]["reason"] == "not finite: at step 3"
    smiles = Chem.CanonSmiles(WANTED)
    assert [row["smiles"] == smiles for row in rows] == [True, True, True, False, False]
    assert told.details[0] == (
        "1 of 1 molecules have a conformer; 2 conformers mirrored; 6 draws of wrong stereo or odd geometry made anew"
    )
    assert told.details[1].startswith("2 of 3 valid conformers are different, by 0.5 angstrom or more")
    kept = list(Chem.SDMolSupplier(str(tmp_path / "c.sdf"), removeHs=False))
    assert {mol.GetProp("_Name") for mol in kept} == {"the one"}
    assert [Chem.MolToSmiles(Chem.RemoveHs(mol)) for mol in kept] == [smiles] * 3
    assert np.allclose(kept[1].GetConformer().GetPositions(), -positions("inverted"), atol=1e-4)
    record = json.loads((tmp_path / "c.run.json").read_text())
    assert record["options"]["redraws"] == 4
    assert record["counts"] == told.counts


@pytest.mark.parametrize("redraws", [0, 1, 2, 5])
def test_redraws_are_bounded(
    follow: Callable[[Script], None], packed: Path, wanted: Path, tmp_path: Path, redraws: int
) -> None:
    attempts: list[int] = []
    script = scripted([["wrong", "wrong", "right"]])

    def noted(draw: int, attempt: int) -> np.ndarray | None:
        attempts.append(attempt)
        return script(draw, attempt)

    follow(noted)
    conformer_files(wanted, tmp_path / "c.sdf", n=1, model=str(packed), redraws=redraws)
    (row,) = rows_of(tmp_path / "c.csv")
    assert row["status"] == ("valid" if redraws >= 2 else "invalid")
    assert row["redraws"] == str(min(redraws, 2))
    assert sorted(attempts) == list(range(redraws + 1))  # one micro-batch holds them all; none comes twice


def test_bad_geometry_keeps_its_row_and_reason(
    follow: Callable[[Script], None], packed: Path, wanted: Path, tmp_path: Path
) -> None:
    follow(scripted([["stretched"], ["right"], ["stretched", "wrong", "right"]]))
    conformer_files(wanted, tmp_path / "c.sdf", n=3, model=str(packed), keep_invalid=True, redraws=3)
    rows = rows_of(tmp_path / "c.csv")
    assert [row["status"] for row in rows] == ["invalid", "valid", "valid"]
    assert rows[0]["reason"].startswith("length: single C-H of 1.388")
    assert [row["redraws"] for row in rows] == ["3", "0", "2"]
    assert len(Chem.SDMolSupplier(str(tmp_path / "c.sdf"))) == 3


def test_atoms_that_clash_are_found(follow: Callable[[Script], None], packed: Path, tmp_path: Path) -> None:
    pentane = embedded("CCCCC")
    for dihedral in ((0, 1, 2, 3), (1, 2, 3, 4)):  # both ends on one place, no bond changed
        rdMolTransforms.SetDihedralDeg(pentane.GetConformer(), *dihedral, 0.0)
    pos = pentane.GetConformer().GetPositions()
    follow(lambda draw, attempt: (pos - pos.mean(0)).astype(np.float32))
    (tmp_path / "p.smi").write_text("CCCCC")
    conformer_files(tmp_path / "p.smi", tmp_path / "c.sdf", n=1, model=str(packed))
    (row,) = rows_of(tmp_path / "c.csv")
    assert row["status"] == "invalid"
    assert row["reason"].startswith("no_clashes: ")


@pytest.mark.parametrize(("kind", "mirrored"), [("right", False), ("inverted", True), ("wrong", None)])
def test_hydrogens_placed_afterwards_do_not_hide_stereo(kind: str, mirrored: bool | None) -> None:
    """A model of heavy atoms alone; None = a wrong diastereomer."""
    heavy = wide_vocabulary(True, False)
    item = topology_of(Chem.MolFromSmiles(WANTED), heavy)
    draw = RawSample(0, replace(item.arrays, pos=positions(kind)[:7]), -1)
    found = assess(draw, ConformerDecoder(item, heavy, SEEN))
    assert found.mol is not None
    assert found.mol.GetNumAtoms() == len(positions(kind))
    assert found.reason.startswith("stereo: ") == (mirrored is None)
    if mirrored is not None:
        assert found.reason == ""
        assert found.facts["mirrored"] == ("yes" if mirrored else "no")
        assert Chem.MolToSmiles(Chem.RemoveHs(found.mol)) == Chem.CanonSmiles(WANTED)


def test_without_references_lengths_are_held_against_radii(
    follow: Callable[[Script], None], model: Path, wanted: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    follow(lambda draw, attempt: 1.4 * positions("right") if draw else positions("a little"))
    conformer_files(wanted, tmp_path / "c.sdf", n=2, model=str(model))
    assert [row["reason"].partition(":")[0] for row in rows_of(tmp_path / "c.csv")] == [
        "",
        "bond_lengths_plausible",
    ]
    assert "does not carry the bond lengths of its training data" in caplog.text


@pytest.mark.parametrize("solver", SOLVERS)
def test_every_sampler_keeps_the_graph(tiny_model: MoleculeModel, solver: str) -> None:
    mol = embedded("CC(=O)[O-]")
    arrays = encode(mol, tiny_model.vocabulary)
    molecule_sampler = MoleculeSampler(tiny_model, SOLVERS[solver], 6, 0)
    made = list(
        TaskRunner(molecule_sampler, coordinate_walk(molecule_sampler)).run([Task(k, arrays) for k in range(3)])
    )
    places = []
    for draw in made:
        assert draw.arrays is not None
        for name in ("atom_type", "charge", "bonds"):
            assert np.array_equal(getattr(draw.arrays, name), getattr(arrays, name))
        places.append(draw.arrays.pos)
    assert not np.allclose(places[0], places[1], atol=0.01)


def test_unreadable_records_keep_their_rows(
    follow: Callable[[Script], None], packed: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    follow(scripted([["right"]] * 2))
    chain = "C" * 33
    (tmp_path / "m.csv").write_text(f"smiles,id\nC(C,bad\n{WANTED},good\nCCCl,chlorine\nC.C,two\n,none\n{chain},long\n")
    told = conformer_files(tmp_path / "m.csv", tmp_path / "c.sdf", n=2, model=str(packed))
    rows = rows_of(tmp_path / "c.csv")
    assert [row["name"] for row in rows[::2]] == ["bad", "good", "chlorine", "two", "none", "long"]
    assert [row["reason"] for row in rows[1::2]] == [
        "smiles: RDKit cannot read it: extra open parentheses at position 2: 'C(C'",
        "",
        "element Cl is outside the vocabulary",
        "more than one fragment",
        "empty: no SMILES",
        "too large: 101 atoms, more than 100",
    ]
    assert nonzero(told.counts) == {"valid": 2, "failed": 10}
    assert told.details[0].startswith("1 of 6 molecules have a conformer")
    assert "16 atoms, outside the training data's 5..15" in caplog.text


def test_coordinates_of_the_input_only_decide_stereo(
    follow: Callable[[Script], None], packed: Path, tmp_path: Path
) -> None:
    follow(scripted([["right"], ["inverted"]]))
    mol = embedded(WANTED)
    write_sdf(tmp_path / "m.sdf", [mol_to_sdf_record(mol, "flat", {})])
    found = moldiff.conformers(tmp_path / "m.sdf", 2, model=packed)
    assert [mol.GetProp("mirrored") for mol in found] == ["no", "yes"]
    for made in found:
        assert [atom.GetSymbol() for atom in made.GetAtoms()] == [atom.GetSymbol() for atom in mol.GetAtoms()]
        assert [bond.GetBondType() for bond in made.GetBonds()] == [bond.GetBondType() for bond in mol.GetBonds()]


def test_a_conformer_hangs_on_its_record_and_number_alone(packed: Path, tmp_path: Path) -> None:
    (tmp_path / "m.smi").write_text("CCO a\nCC=O b\nCNC c\n")
    settings = {"evaluations": 3, "model": str(packed), "keep_invalid": True}
    for name, size, n in (("one", 1, 2), ("all", 512, 2)):
        conformer_files(tmp_path / "m.smi", tmp_path / name / "c.sdf", n=n, batch_size=size, **settings)  # type: ignore[arg-type]
    assert (tmp_path / "one" / "c.csv").read_text() == (tmp_path / "all" / "c.csv").read_text()
    assert (tmp_path / "one" / "c.sdf").read_text() == (tmp_path / "all" / "c.sdf").read_text()
    smiles = [Chem.MolFromSmiles(text) for text in ("CCO", "CC=O")]
    more = moldiff.conformers(smiles, 3, evaluations=3, model=packed, keep_invalid=True)
    kept = Chem.SDMolSupplier(str(tmp_path / "all" / "c.sdf"), removeHs=False, sanitize=False)
    by_place = {(mol.GetProp("record"), mol.GetProp("draw")): mol.GetConformer().GetPositions() for mol in kept}
    for mol in more:
        place = mol.GetProp("record"), mol.GetProp("draw")
        if place[1] != "2":
            assert np.allclose(mol.GetConformer().GetPositions(), by_place[place], atol=1e-4)


def test_where_nobody_says_conformers_are_drawn_as_the_model_has_it_for_them(
    run: Callable[..., Any], packed: Path, wanted: Path, tmp_path: Path
) -> None:
    options = ["--model", packed, "-n", "1", "--keep-invalid", "--evaluations", "2", "-o", tmp_path / "c.sdf"]
    run("conformers", wanted, *options)
    found = json.loads((tmp_path / "c.run.json").read_text())["options"]
    own, usual = DEFAULT_SAMPLING.conformers, DEFAULT_SAMPLING
    assert (found["sampler"], found["grid"]) == (own.sampler, own.grid) != (usual.sampler, usual.grid)


def test_bad_requests_are_one_line(run: Callable[..., Any], packed: Path, wanted: Path, tmp_path: Path) -> None:
    def conformers(*arguments: str | Path) -> Any:
        return run("conformers", *arguments, "--model", packed, "-o", tmp_path / "c.sdf")

    (tmp_path / "bad.smi").write_text("C(C\nCCF\n")
    (tmp_path / "empty.smi").write_text("\n")
    conformers(tmp_path / "bad.smi").assert_refused("bad.smi", "none of the records can be used", "cannot read it")
    conformers(tmp_path / "empty.smi").assert_refused("empty.smi holds no molecules")
    conformers(wanted, "--sampler", "euler").assert_refused("'euler' is not one of", "'ddpm'")
    conformers(wanted, "--redraws", str(MOST_ATTEMPTS)).assert_refused(f"redraws must be in 0 .. {MOST_ATTEMPTS - 1}")
    (tmp_path / "c.csv").write_text("taken")
    conformers(wanted).assert_refused("c.csv exists already")
    assert not (tmp_path / "c.sdf").exists()
    with pytest.raises(MoldiffError, match="n must be at most"):
        moldiff.conformers(wanted, 1 << 21, model=packed)


def test_the_command(
    run: Callable[..., Any], follow: Callable[[Script], None], packed: Path, wanted: Path, tmp_path: Path
) -> None:
    follow(scripted([["right"], ["wrong", "inverted"], ["wrong"]]))
    drawn = ("-n", "3", "--evaluations", "9", "--sampler", "ddim", "--grid", "karras", "--seed", "4")
    options = (*drawn, "--redraws", "1", "--keep-invalid")
    result = run("conformers", wanted, *options, "--model", packed, "-o", tmp_path / "c.sdf")
    assert result.status == 0
    first, second, _ = result.out.splitlines()
    assert first.startswith(
        "3 requested = 2 valid + 1 invalid + 0 filtered + 0 duplicate + 0 withheld + 0 failed; 1 unique; "
    )
    assert second == (
        "1 of 1 molecules have a conformer; 1 conformers mirrored; 2 draws of wrong stereo or odd geometry made anew"
    )
    request = json.loads((tmp_path / "c.run.json").read_text())["options"]
    assert {name: request[name] for name in ("n", "evaluations", "sampler", "grid", "redraws", "seed")} == {
        "n": 3, "evaluations": 9, "sampler": "ddim", "grid": "karras", "redraws": 1, "seed": 4,
    }  # fmt: skip
    assert len(Chem.SDMolSupplier(str(tmp_path / "c.sdf"))) == 3


def test_conformers_are_ranked_and_repeats_told_or_left_out(packed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three draws of each of two molecules, the middle one lowest, the last like the first."""
    monkeypatch.setattr(conformer_set, "relative_energies", lambda mols, method: [2.0, 0.0, 1.0][: len(mols)])
    monkeypatch.setattr(conformer_set, "repeats", lambda mols, threshold: [None, None, 1][: len(mols)])
    methane = Chem.MolFromSmiles("C")
    monkeypatch.setattr(
        conformer_checks,
        "assess",
        lambda draw, *rest, **more: MoleculeResult(draw.number, Status.VALID, mol=Chem.Mol(methane), smiles="C"),
    )
    keywords = {"evaluations": 2, "model": str(packed)}
    table = moldiff.conformers(["CCO", "CC=O"], 3, **keywords).table
    assert list(table["energy_rank"]) == [3, 1, 2] * 2
    assert list(table["energy_kcal_mol"]) == [2.0, 0.0, 1.0] * 2
    # in the order of energies: draw 1, draw 2, draw 0, which repeats draw 2
    ids = table["moldiff_id"].tolist()
    assert [place.rpartition("-")[2] for place in ids] == ["0.0", "0.1", "0.2", "1.0", "1.1", "1.2"]
    assert table["same_as"].fillna("").tolist() == [ids[2], "", "", ids[5], "", ""]
    assert list(table["status"]) == ["valid"] * 6
    pruned = moldiff.conformers(["CCO", "CC=O"], 3, rms=0.25, **keywords)
    assert list(pruned.table["status"]) == ["duplicate", "valid", "valid"] * 2
    assert list(pruned.table["reason"])[3] == f"duplicate: within 0.25 angstrom of conformer {ids[5]}"
    assert [mol.GetProp("moldiff_id") for mol in pruned] == [ids[place] for place in (1, 2, 4, 5)]


def test_stereoisomers_are_not_compared_with_each_other(packed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Draws of three isomers by turns, energies that tell them apart: each isomer has its own lowest and ranks."""
    texts = ["C[C@H](O)C#N", "C[C@@H](O)C#N", "C[C@H](O)C#N", "CC(=O)CN", "C[C@@H](O)C#N", "C[C@H](O)C#N"]
    mols = []
    for seed, smiles in enumerate(texts):
        mol = Chem.AddHs(Chem.MolFromSmiles(smiles))
        AllChem.EmbedMolecule(mol, randomSeed=seed + 1)
        mols.append(mol)
    monkeypatch.setattr(
        conformer_checks,
        "assess",
        lambda draw, *rest, **more: MoleculeResult(
            draw.number, Status.VALID, mol=Chem.Mol(mols[draw.number]), smiles=texts[draw.number]
        ),
    )
    found = moldiff.conformers("CC(O)C#N", 6, rms=1.5, evaluations=2, model=str(packed))
    table = found.table
    for smiles in dict.fromkeys(texts):
        own = table[[text == smiles for text in texts]]
        energies = relative_energies([mols[place] for place in own.index], EnergyMethod.MMFF94S)
        assert list(own["energy_kcal_mol"]) == pytest.approx(energies, abs=1e-4)  # six digits
        assert min(energies) == 0.0
        assert sorted(own["energy_rank"]) == list(range(1, len(own) + 1))
        assert sum(own["status"] == "valid") == 1, "one of each isomer is left"
        assert set(own["same_as"].dropna()) <= {"", *own["moldiff_id"]}
    assert {Chem.MolToSmiles(Chem.RemoveHs(mol)) for mol in found} == {Chem.CanonSmiles(text) for text in texts}


def test_distances_and_methods_out_of_range() -> None:
    for rms in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(MoldiffError, match="rms must be"):
            moldiff.conformers("CCO", 1, rms=rms)
    with pytest.raises(MoldiffError, match="energy"):
        moldiff.conformers("CCO", 1, energy="pm6")


def test_a_run_goes_on_after_a_whole_molecule(packed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Conformers of a molecule are compared with each other, so a half-made molecule is made anew."""
    monkeypatch.setattr(conformer_set, "relative_energies", lambda mols, method: [2.0, 0.0, 1.0][: len(mols)])
    monkeypatch.setattr(conformer_set, "repeats", lambda mols, threshold: [None, None, 1][: len(mols)])
    methane = Chem.AddHs(Chem.MolFromSmiles("C"))
    AllChem.EmbedMolecule(methane, randomSeed=1)
    monkeypatch.setattr(
        conformer_checks,
        "assess",
        lambda draw, *rest, **more: MoleculeResult(draw.number, Status.VALID, mol=Chem.Mol(methane), smiles="C"),
    )
    smiles = tmp_path / "a.smi"
    smiles.write_text("CCO\nCC=O\n")
    settings = {"n": 3, "evaluations": 2, "model": str(packed)}
    conformer_files(smiles, tmp_path / "whole.sdf", **settings)
    add, taken = RunFiles.add, []

    def killed(self: RunFiles, result: MoleculeResult) -> None:
        if len(taken) == 4:
            raise RuntimeError
        taken.append(result.number)
        add(self, result)

    with monkeypatch.context() as patched, pytest.raises(RuntimeError):
        patched.setattr(RunFiles, "add", killed)
        conformer_files(smiles, tmp_path / "cut.sdf", **settings)
    with pytest.raises(MoldiffError, match=r"cut\.sdf\.unfinished holds 5 results"):
        conformer_files(smiles, tmp_path / "cut.sdf", **settings)
    summary = conformer_files(smiles, tmp_path / "cut.sdf", resume=True, **settings)
    assert summary.earlier == 3
    for suffix in (".sdf", ".csv"):
        assert (tmp_path / f"cut{suffix}").read_bytes() == (tmp_path / f"whole{suffix}").read_bytes()
    assert "3 of these were made before" in "".join(summary.lines())
    done = conformer_files(smiles, tmp_path / "cut.sdf", resume=True, **settings)
    assert done.counts == summary.counts and "nothing is left to do" in done.lines()[-1]
    with pytest.raises(MoldiffError, match="exists already"):
        conformer_files(smiles, tmp_path / "cut.sdf", resume=True, **{**settings, "n": 4})


def test_columns_of_a_table_are_named_in_python_as_by_the_command(packed: Path, tmp_path: Path) -> None:
    table = tmp_path / "mine.csv"
    table.write_text("id|structure|parent\na|CCO|CCCC\nb|COC|CCCC\n")
    made = moldiff.conformers(
        table, 1, model=packed, evaluations=1, redraws=0, keep_invalid=True,
        columns=Columns("structure", "id", "|"),
    )  # fmt: skip
    assert list(made.table["name"]) == ["a", "b"]
    assert [{atom.GetSymbol() for atom in mol.GetAtoms()} for mol in made.molecules] == [{"C", "O", "H"}] * 2
    with pytest.raises(MoldiffError, match="delimiter must be one character"):
        moldiff.conformers(table, 1, model=packed, columns=Columns(delimiter="ab"))


@pytest.mark.parametrize("given", [["CC(C)(C)(C)(C)C", "CCO"], ["c1cc1C", "CC(C)(C)(C)(C)C", "CCO"]])
def test_records_that_cannot_be_used_in_front_of_the_only_one_that_can(packed: Path, given: list[str]) -> None:
    table = moldiff.conformers(given, 2, evaluations=3, model=packed, keep_invalid=True).table
    assert list(table["status"])[:-2] == ["failed"] * (2 * len(given) - 2)
    assert "failed" not in list(table["status"])[-2:]
    with pytest.raises(MoldiffError, match=r"none of the records can be used; the first: (valence|kekulize): "):
        moldiff.conformers(given[:-1], 2, evaluations=3, model=packed)
