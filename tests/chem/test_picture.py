"""Pictures of molecules: what is drawn, where, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread
from rdkit import Chem
from rdkit.Chem import AllChem

from moldiff.chem.picture import MOST, draw_file, draw_grid, seen
from moldiff.choices import View
from moldiff.cli.main import main
from moldiff.errors import MoldiffError

SAMPLE = Path(__file__).parents[1] / "fixtures" / "drugs.sdf"


def solid(smiles: str, seed: int = 1) -> Chem.Mol:
    mol = Chem.AddHs(Chem.MolFromSmiles(smiles))
    assert AllChem.EmbedMolecule(mol, randomSeed=seed) == 0
    return mol


def ink(picture: np.ndarray) -> np.ndarray:
    """Return where something is drawn."""
    return picture[..., :3].min(-1) < 0.97


def test_every_molecule_has_its_place(tmp_path: Path) -> None:
    molecules = [solid(smiles) for smiles in ("CCO", "c1ccccc1Cl", "CC#N", "O=C(O)c1ccncc1", "CCBr")]
    draw_grid(molecules, [""] * 5, tmp_path / "a.png", columns=2)
    picture = ink(imread(tmp_path / "a.png"))
    rows = np.array_split(picture, 6)  # three rows of molecules, flat above solid
    places = [part for row in rows for part in np.array_split(row, 2, axis=1)]
    drawn = [place.mean() > 0.002 for place in places]
    assert drawn == [True] * 9 + [False] + [True] + [False]  # the place beside the fifth is empty


def test_the_same_molecules_give_the_same_file(tmp_path: Path) -> None:
    for suffix in (".png", ".pdf", ".svg"):
        for name in ("a", "b"):
            draw_grid([solid("CCO")], ["ethanol"], tmp_path / f"{name}{suffix}")
        if suffix != ".svg":  # matplotlib numbers the parts of an SVG at random
            assert (tmp_path / f"a{suffix}").read_bytes() == (tmp_path / f"b{suffix}").read_bytes()
    assert (tmp_path / "a.pdf").read_bytes().startswith(b"%PDF")
    assert "<svg" in (tmp_path / "a.svg").read_text()


def test_elements_have_their_colours(tmp_path: Path) -> None:
    draw_grid([solid("CBr")], [""], tmp_path / "a.png", View.SOLID)
    picture = imread(tmp_path / "a.png")[..., :3] * 255
    brown, green = np.array([0x8F, 0x3B, 0x1B]), np.array([0x2F, 0x9E, 0x44])
    assert (np.abs(picture - brown).max(-1) < 4).sum() > 100
    assert not (np.abs(picture - green).max(-1) < 4).any()  # no chlorine


def test_a_molecule_is_turned_and_never_mirrored() -> None:
    mol = solid("C[C@H](F)Cl")
    before, after = mol.GetConformer().GetPositions(), seen(mol)
    distances = [np.linalg.norm(pos[:, None] - pos[None], axis=-1) for pos in (before, after)]
    np.testing.assert_allclose(*distances, atol=1e-9)
    volumes = [np.linalg.det(pos[1:4] - pos[0]) for pos in (before, after)]
    np.testing.assert_allclose(*volumes, atol=1e-9)
    flat = seen(solid("c1ccc(-c2ccccc2)cc1"))
    assert np.ptp(flat[:, 0]) > np.ptp(flat[:, 2])  # broad across the picture


def test_a_long_molecule_fits_into_its_place(tmp_path: Path) -> None:
    draw_grid([solid("C" * 24), solid("O")], ["", ""], tmp_path / "a.png", View.SOLID, columns=2)
    picture = ink(imread(tmp_path / "a.png"))
    assert picture[:, :3].sum() == 0 and picture[:2].sum() == 0 and picture[-2:].sum() == 0
    assert picture.any()


def test_kekule_form_is_drawn_and_the_molecule_is_left_as_it_was(tmp_path: Path) -> None:
    mol = solid("c1ccccc1")
    draw_grid([mol], [""], tmp_path / "a.png")
    assert sum(bond.GetIsAromatic() for bond in mol.GetBonds()) == 6


def test_what_cannot_be_drawn_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    flat = Chem.MolFromSmiles("CCO")
    with pytest.raises(MoldiffError, match="no 3D coordinates"):
        draw_grid([flat], [""], tmp_path / "a.png", View.SOLID)
    with pytest.raises(MoldiffError, match=r"\.jpg: pictures end in"):
        draw_grid([flat], [""], tmp_path / "a.jpg")
    with pytest.raises(MoldiffError, match="a picture shows 1 to"):
        draw_grid([flat] * (MOST + 1), [""] * (MOST + 1), tmp_path / "a.png")
    assert not list(tmp_path.iterdir())
    draw_grid([flat], [""], tmp_path / "a.png")  # flat alone
    assert ink(imread(tmp_path / "a.png")).any()


def test_files_are_drawn_and_unread_records_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "some.smi").write_text("CCO ethanol\nC1CC unclosed\nc1ccccc1 benzene\n")
    drawn = draw_file(str(tmp_path / "some.smi"), str(tmp_path / "a.png"))
    assert drawn.count == 2 and len(drawn.unread) == 1 and "record 2" in drawn.unread[0]
    with pytest.raises(MoldiffError, match="exists"):
        draw_file(tmp_path / "some.smi", tmp_path / "a.png")
    with pytest.raises(MoldiffError, match="has a tag 'dose'; there are"):
        draw_file(tmp_path / "some.smi", tmp_path / "b.png", captions=("dose",))
    (tmp_path / "bad.smi").write_text("C1CC unclosed\n")
    with pytest.raises(MoldiffError, match="no molecule that can be read"):
        draw_file(tmp_path / "bad.smi", tmp_path / "b.png")
    assert main(["show", str(SAMPLE), "-o", str(tmp_path / "c.png"), "-n", "3", "--columns", "3"]) == 0
    assert "3 molecules drawn, 0 could not be read" in capsys.readouterr().out
    height, width = imread(tmp_path / "c.png").shape[:2]
    assert width > 900 and height > 550
    assert main(["show", str(SAMPLE), "-o", str(tmp_path / "c.gif")]) == 2
    capsys.readouterr()
    table = tmp_path / "priced.csv"
    table.write_text('smiles,"price, in euros"\nCCO,3\n')
    for names, status in (('"price, in euros"', 0), ("price, in euros", 2)):
        assert main(["show", str(table), "--captions", names, "-o", str(tmp_path / "d.png")]) == status


def test_captions_are_no_formulas(tmp_path: Path) -> None:
    for name in ("a.png", "a.svg", "a.pdf"):
        draw_grid([Chem.MolFromSmiles("CCO")], [r"price: $\b$"], tmp_path / name)
        assert (tmp_path / name).stat().st_size > 0
