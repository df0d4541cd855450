"""Records of a file: the traps, the golden set, the hydrogens, and what is no SDF."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from rdkit import Chem
from rdkit.Chem import rdDistGeom

from moldiff.errors import MoldiffError
from moldiff.evaluation.assess import MISSING, Assessment, assess_file
from moldiff.reading import sha256_of
from moldiff.run_record import record_path

GOLDEN = json.loads((Path(__file__).parents[1] / "fixtures" / "golden_molecules.json").read_text())
ORDERS = {"-": 1, "=": 2, "#": 3, ":": 4}

WATER = [("O", 0.0, 0.0, 0.0), ("H", 0.96, 0.0, 0.0), ("H", -0.24, 0.93, 0.0)]
METHYL = [("C", 0.0, 0.0, 0.0), ("H", 1.09, 0.0, 0.0), ("H", -0.5, 0.9, 0.0), ("H", -0.5, -0.9, 0.0)]
CORNERS = [(1, 1, 1), (1, -1, -1), (-1, 1, -1), (-1, -1, 1)]
AMMONIUM = [("N", 0.0, 0.0, 0.0), *(("H", 0.6 * x, 0.6 * y, 0.6 * z) for x, y, z in CORNERS)]
STAR = [(1, k, 1) for k in range(2, 6)]

# name: (atoms, bonds, extra lines, valid, code word, atoms counted, stable atoms)
TRAPS: dict[str, tuple[list, list, str, bool, str, int, int]] = {
    "water": (WATER, [(1, 2, 1), (1, 3, 1)], "", True, "", 3, 3),
    # Cast to int, 1.5 + 1.5 aromatic bonds would be two single ones and a stable water.
    "aromatic water": (WATER, [(1, 2, 4), (1, 3, 4)], "", False, "kekulize", 3, 0),
    "two waters": (
        WATER + [(s, x + 5, y, z) for s, x, y, z in WATER],
        [(1, 2, 1), (1, 3, 1), (4, 5, 1), (4, 6, 1)],
        "",
        False,
        "one_fragment",
        6,
        6,
    ),
    # A reader fills the fourth hydrogen in; here it is an open valence.
    "methyl": (METHYL, STAR[:3], "", False, "no_radicals", 4, 3),
    "declared radical": (METHYL, STAR[:3], "M  RAD  1   1   2\n", False, "no_radicals", 4, 3),
    "lone carbon": ([("C", 0.0, 0.0, 0.0)], [], "", False, "no_radicals", 1, 0),
    "five bonds": ([("C", 0.0, 0.0, 0.0), *AMMONIUM[1:], ("H", -1.0, 0.0, 0.0)], [(1, k, 1) for k in range(2, 7)], "",
                   False, "valence", 6, 5),
    "ammonium without its charge": (AMMONIUM, STAR, "", False, "valence", 5, 4),
    "ammonium": (AMMONIUM, STAR, "M  CHG  1   1   1\n", True, "", 5, 5),
    "dummy": ([("*", 0.0, 0.0, 0.0), ("H", 1.0, 0.0, 0.0)], [(1, 2, 1)], "", False, "element", 2, 1),
    "dative bond": (WATER, [(1, 2, 9), (1, 3, 1)], "", False, "bond type", 3, 1),
    "no coordinates": ([("O", float("nan"), 0.0, 0.0), *WATER[1:]], [(1, 2, 1), (1, 3, 1)], "", False,
                       "non-finite coordinates", 0, 0),
    "far away": ([("O", 99999.0, 0.0, 0.0), *WATER[1:]], [(1, 2, 1), (1, 3, 1)], "", False,
                 "coordinates out of range", 0, 0),
    "no atoms": ([], [], "", False, "empty", 0, 0),
}  # fmt: skip


def only(rows: list[Assessment]) -> Assessment:
    assert len(rows) == 1
    return rows[0]


@pytest.mark.parametrize("name", TRAPS)
def test_traps(name: str, record: Callable[..., str], water: str, write: Callable[..., Path]) -> None:
    atoms, bonds, extra, valid, word, n_atoms, stable = TRAPS[name]
    rows, convention = assess_file(write(water, record(name, atoms, bonds, extra)), hydrogens="explicit")
    row = rows[1]
    assert convention == "explicit"
    assert (row.index, row.name) == (1, name)
    assert (row.valid, row.reason.split(":")[0]) == (valid, word)
    assert (row.n_atoms, row.stable_atoms) == (n_atoms, stable)
    assert row.stable == (0 < n_atoms == stable)
    assert (row.mol is not None) == bool(row.smiles) == bool(row.smiles_stereo) == valid


def test_text_that_is_no_molecule_keeps_its_row(water: str, write: Callable[..., Path]) -> None:
    rows, _ = assess_file(write(water, "garbage\n\n\nnot a molecule\n$$$$\n", water, "\n$$$$\n"))
    assert [row.valid for row in rows] == [True, False, True, False]
    assert [row.index for row in rows] == [0, 1, 2, 3]
    assert rows[1].name == "garbage"
    assert rows[1].reason == "mol block: RDKit cannot read it"


def test_golden_molecules_keep_every_verdict_in_a_file(record: Callable[..., str], write: Callable[..., Path]) -> None:
    texts = []
    for golden in GOLDEN:
        atoms = golden["atoms"].split()
        signs = [{"+": 1, "-": -1}.get(atom[-1], 0) for atom in atoms]
        charges = "".join(f"M  CHG  1{k:4d}{charge:4d}\n" for k, charge in enumerate(signs, 1) if charge)
        places = [(atom.rstrip("+-"), *xyz) for atom, xyz in zip(atoms, golden["pos"], strict=True)]
        found = (re.fullmatch(r"(\d+)([-=#:])(\d+)", bond) for bond in golden["bonds"].split())
        bonds = [(int(m[1]) + 1, int(m[3]) + 1, ORDERS[m[2]]) for m in found if m]
        texts.append(record(golden["name"], places, bonds, charges))
    rows, _ = assess_file(write(*texts), hydrogens="explicit")
    assert len(rows) == 60
    for golden, row in zip(GOLDEN, rows, strict=True):
        verdict = (row.valid, row.reason.split(":")[0], row.n_atoms - row.stable_atoms)
        assert verdict == (golden["valid"], golden["reason"], len(golden["unstable"])), golden["name"]
        assert row.sanitises == (golden["radicals"] is not None), golden["name"]


def test_real_molecules_are_all_valid_and_stable(sample_path: Path) -> None:
    rows, convention = assess_file(sample_path)
    assert (len(rows), convention) == (200, "explicit")
    assert all(row.valid and row.stable for row in rows)
    assert sum(row.n_atoms for row in rows) == sum(row.stable_atoms for row in rows)


def test_how_a_record_has_its_hydrogens_is_told_of_each(
    record: Callable[..., str], water: str, write: Callable[..., Path]
) -> None:
    ethanol = record(
        "ethanol", [("C", 0.0, 0.0, 0.0), ("C", 1.5, 0.0, 0.0), ("O", 2.0, 1.3, 0.0)], [(1, 2, 1), (2, 3, 1)]
    )
    rows, convention = assess_file(write(ethanol))
    assert convention == "implicit"
    assert (only(rows).valid, only(rows).smiles, only(rows).n_atoms, only(rows).stable) == (True, "CCO", 9, True)
    rows, convention = assess_file(write(ethanol, water))
    assert convention == "1 explicit, 1 implicit"
    assert [row.valid for row in rows] == [True, True]
    assert not only(assess_file(write(ethanol), hydrogens="explicit")[0]).valid


def test_implicit_hydrogens_do_not_hide_a_wrong_valence(record: Callable[..., str], write: Callable[..., Path]) -> None:
    places = [("C", 0.0, 0.0, 0.0), *(("O", 1.4, 0.5 * k, 0.3 * k) for k in range(5))]
    row = only(assess_file(write(record("five", places, [(1, k, 1) for k in range(2, 7)])))[0])
    assert (row.valid, row.reason) == (False, "valence: C with 5 bonds")
    assert not row.stable


def test_requested_molecules_without_a_record_have_failed(water: str, write: Callable[..., Path]) -> None:
    rows, _ = assess_file(write(water, water), requested=5)
    assert [row.valid for row in rows] == [True, True, False, False, False]
    assert {row.reason for row in rows[2:]} == {MISSING}
    assert [row.index for row in rows] == [0, 1, 2, 3, 4]


def test_an_empty_file_is_all_missing_if_the_number_is_known(write: Callable[..., Path]) -> None:
    rows, _ = assess_file(write(), requested=3)
    assert [row.reason for row in rows] == [MISSING] * 3
    with pytest.raises(MoldiffError, match="is empty"):
        assess_file(write())


@pytest.mark.parametrize("requested", [1, 0, -3])
def test_fewer_requested_than_there_are_is_an_error(requested: int, water: str, write: Callable[..., Path]) -> None:
    with pytest.raises(MoldiffError, match="requested"):
        assess_file(write(water, water), requested=requested)


def test_compressed_files_read_the_same(water: str, tmp_path: Path) -> None:
    path = tmp_path / "molecules.sdf.gz"
    path.write_bytes(gzip.compress((water * 3).encode()))
    assert [row.smiles for row in assess_file(path)[0]] == ["O", "O", "O"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("empty.sdf", b"", "is empty"),
        ("text.sdf", b"Dear all,\nno molecules here.\n", "not an SDF"),
        ("molecules.smi", b"CCO\n", "not an SDF"),
        ("binary.sdf", bytes(range(256)) * 20, "is no text"),
        ("cut.sdf.gz", gzip.compress(b"water\n" * 2000, mtime=0)[:-30], "damaged"),
    ],
)
def test_what_is_no_sdf_is_one_line(name: str, content: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(MoldiffError, match=message) as caught:
        assess_file(path)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


def test_a_missing_file_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(MoldiffError, match="cannot be read"):
        assess_file(tmp_path / "nowhere.sdf")


def test_progress_counts_records(water: str, write: Callable[..., Path]) -> None:
    seen: list[int] = []
    assess_file(write(water, water, water), progress=seen.append)
    assert seen == [1, 2, 3]


def made(path: Path, records: str, drawn: int | None) -> Path:
    """Write an output, packed by its suffix, with the run record of so many draws, None = without one."""
    data = records.encode()
    path.write_bytes(gzip.compress(data, mtime=0) if path.suffix == ".gz" else data)
    options = {"sampler": "ddpm", "decode": "argmax", "batch_size": 64}
    if drawn is not None:
        run = {
            "format": "moldiff-run", "version": 1, "output": path.name, "output_sha256": sha256_of(path),
            "options": options, "network_evaluations_per_molecule": 50, "drawn": drawn, "seconds": 8.0,
            "device": "cpu", "model_sha256": "b" * 64,
        }  # fmt: skip
        record_path(path).write_text(json.dumps(run))
    return path


# name: (records and draws of each file, rows, words of the warnings)
SHARDS: dict[str, tuple[list[tuple[str, int, int | None]], int, list[str]]] = {
    "all empty": ([("a.sdf", 0, 7), ("b.sdf", 0, 7)], 14, []),
    "one packed": ([("a.sdf", 0, 7), ("b.sdf.gz", 0, 5), ("c.sdf", 0, 1)], 13, []),
    "all have some": ([("a.sdf", 2, 7), ("b.sdf", 1, 4)], 3, []),
    "one has none": ([("a.sdf", 2, 7), ("b.sdf", 0, 4)], 11, ["b.sdf holds no molecules: all 11 draws count"]),
    "a packed one has none": ([("a.sdf.gz", 0, 4), ("b.sdf", 3, 3)], 7, ["a.sdf.gz holds no molecules: all 7 draws"]),
    "one is from elsewhere": (
        [("a.sdf", 2, None), ("b.sdf", 0, 4), ("c.sdf", 1, 3)],
        9,
        ["a.sdf: no run record of it tells how many molecules were drawn; its 2 records count", "b.sdf holds no"],
    ),
}


@pytest.mark.parametrize("name", SHARDS)
def test_draws_of_files_without_records_count(
    name: str, water: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    parts, expected, words = SHARDS[name]
    files = [made(tmp_path / file, water * records, drawn) for file, records, drawn in parts]
    rows, _ = assess_file(files)
    there = sum(records for _, records, _ in parts)
    assert (len(rows), sum(row.valid for row in rows)) == (expected, there)
    assert [row.index for row in rows] == list(range(expected))
    assert {row.reason for row in rows[there:]} <= {MISSING}
    told = [entry.getMessage() for entry in caplog.records if entry.name == "moldiff.evaluation.assess"]
    assert len(told) == len(words)
    assert all(word in message for word, message in zip(words, told, strict=True))
    assert len(assess_file(files, requested=20)[0]) == 20, "what is said counts"


def test_an_empty_output_of_an_unknown_number_of_draws_is_told(
    water: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """As an output of filter is, or one whose record is that of another file."""
    first, second = made(tmp_path / "a.sdf", "", 4), made(tmp_path / "b.sdf", water, 9)
    second.write_text("")
    rows, _ = assess_file([first, second])
    assert len(rows) == 4
    assert "b.sdf: no run record of it tells how many molecules were drawn; its 0 records count" in caplog.text
    assert len(assess_file(second)[0]) == 0
    stranger = tmp_path / "c.sdf"
    stranger.write_text("")
    with pytest.raises(MoldiffError, match=r"c\.sdf is empty"):
        assess_file([first, stranger])
    assert len(assess_file([first, stranger], requested=6)[0]) == 6


def test_an_output_of_before_the_format_that_is_empty_counts_among_others(tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    old, new = made(tmp_path / "old" / "m.sdf", "", 3), made(tmp_path / "m.sdf", "", 2)
    record = json.loads(record_path(old).read_text())
    record_path(old).unlink()
    before = {name: value for name, value in record.items() if name not in ("format", "version", "options")}
    (old.parent / "run.json").write_text(json.dumps(before | {"request": record["options"]}))
    assert len(assess_file(old)[0]) == 3
    assert len(assess_file([old, new])[0]) == 5


def test_isotopes_make_other_molecules_and_centres() -> None:
    texts = ["[2H]C", "C", "[2H][C@H](O)C", "[2H][C@@H](O)C", "CCO", "[13CH3]O"]
    molecules = [Chem.AddHs(Chem.MolFromSmiles(text)) for text in texts]
    for mol in molecules:
        assert rdDistGeom.EmbedMolecule(mol, randomSeed=1) == 0
    rows, _ = assess_file(molecules, hydrogens="explicit")
    assert [row.smiles_stereo for row in rows] == [Chem.MolToSmiles(Chem.MolFromSmiles(text)) for text in texts]
    assert [row.smiles for row in rows] == ["C", "C", "CCO", "CCO", "CCO", "CO"]
    assert all(row.valid for row in rows)
