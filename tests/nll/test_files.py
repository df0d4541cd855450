"""`moldiff likelihood`: every record of a file accounted for, and the same rows however they are computed."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rdkit import Chem

import moldiff
from moldiff.datasets.prepare import prepare
from moldiff.diffusion.bound import BoundSettings
from moldiff.journal import Journal
from moldiff.models.folder import save_model_folder
from moldiff.models.molecule_model import MoleculeModel
from moldiff.nll import reference
from moldiff.nll.estimator import SCORED
from moldiff.nll.files import COLUMNS, Z_COLUMNS, score_file
from moldiff.nll.reference import LikelihoodReference
from moldiff.reading import sha256_of

Run = Callable[..., Any]
Write = Callable[..., Path]
SMALL = ("--chain-steps", "8", "--evaluations", "3", "--repeats", "2")
WATER = [("O", 0.0, 0.0, 0.1), ("H", 0.96, 0.0, 0.0), ("H", -0.24, 0.93, 0.0)]
SULFUR = [("S", 0.0, 0.0, 0.1), ("H", 1.34, 0.0, 0.0), ("H", -0.1, 1.33, 0.0)]


def rows_of(path: Path) -> list[dict[str, str]]:
    with open(path, newline="") as handle:
        return list(csv.DictReader(handle))


@pytest.fixture
def mixed(write: Write, record: Callable[..., str], sample_texts: list[str]) -> Path:
    """Ten real molecules, water (a size that was never seen), an unknown element, nonsense and a broken valence."""
    broken = record("broken", [("H", 0.0, 0.0, 0.0), ("H", 0.8, 0.0, 0.0), ("H", 1.6, 0, 0)], [(1, 2, 1), (2, 3, 1)])
    sulfide = record("sulfide", SULFUR, [(1, 2, 1), (1, 3, 1)])
    water = record("water", WATER, [(1, 2, 1), (1, 3, 1)])
    return write(*sample_texts[:10], water, sulfide, "nonsense\n$$$$\n", broken)


def test_every_record_has_a_row(run: Run, model: Path, mixed: Path, tmp_path: Path) -> None:
    out = tmp_path / "s.csv"
    result = run("likelihood", mixed, "--model", model, "-o", out, *SMALL)
    assert result.status == 0, result.err
    assert "14 records = 11 scored + 3 not scored" in result.out
    assert "z-scores: none" in result.out
    rows = rows_of(out)
    assert list(rows[0])[: len(COLUMNS)] == list(COLUMNS)
    assert rows[0]["smiles"], "data fields are carried on"
    assert [row["index"] for row in rows] == [str(index) for index in range(14)]
    assert [row["status"] for row in rows[:11]] == ["scored"] * 11
    assert rows[10]["reason"] == "no total: the model never makes molecules of 3 atoms"
    assert rows[10]["nats"] == "" != rows[10]["nats_pos"]
    assert rows[11]["reason"] == "element S is outside the vocabulary"
    assert all(row["reason"] and not row["nats_pos"] for row in rows[11:])
    for row in rows[:10]:
        if row["nats"]:
            parts = sum(float(row[f"nats_{name}"]) for name in ("pos", "atom_type", "charge", "bond_type", "size"))
            assert float(row["nats"]) == pytest.approx(parts, abs=1e-3)
            assert float(row["nats_per_atom"]) == pytest.approx(parts / int(row["n_atoms"]), abs=1e-3)
            assert float(row["nats_error"]) > 0
    record = json.loads(out.with_suffix(".json").read_text())
    assert (record["records"], record["scored"], sum(record["not_scored"].values())) == (14, 11, 3)
    assert record["output_sha256"] == sha256_of(out)
    assert record["bound"]["steps"] == 8


def test_the_same_seed_gives_the_same_file(model: Path, mixed: Path, tmp_path: Path) -> None:
    settings: dict[str, Any] = {"model": str(model), "chain_steps": 8, "evaluations": 3, "repeats": 2}
    for name, batch_size, seed in (("a", None, 0), ("b", None, 0), ("c", 3, 0), ("d", None, 1)):
        score_file(mixed, tmp_path / f"{name}.csv", batch_size=batch_size, seed=seed, **settings)
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()
    first, third, other = (rows_of(tmp_path / f"{name}.csv") for name in "acd")
    for a, c, d in zip(first[:11], third[:11], other[:11], strict=True):
        for name in ("nats_pos", "nats_bond_type"):
            assert float(a[name]) == pytest.approx(float(c[name]), rel=1e-4, abs=2e-3)
        assert a["nats_pos"] != d["nats_pos"]


def test_a_score_does_not_depend_on_the_place_in_the_file(
    model: Path, sample_texts: list[str], write: Write, tmp_path: Path
) -> None:
    settings: dict[str, Any] = {"model": str(model), "chain_steps": 8, "evaluations": 3, "repeats": 2}
    found = []
    for name, texts in (("one", sample_texts[:6]), ("other", sample_texts[5::-1])):
        score_file(write(*texts), tmp_path / f"{name}.csv", **settings)
        found.append(rows_of(tmp_path / f"{name}.csv"))
    for one, other in zip(found[0], reversed(found[1]), strict=True):
        assert one["name"] == other["name"]
        assert float(one["nats_pos"]) == pytest.approx(float(other["nats_pos"]), abs=2e-3)
        assert float(one["nats_bond_type"]) == pytest.approx(float(other["nats_bond_type"]), abs=2e-3)


def test_a_file_in_which_nothing_can_be_scored_is_told(
    run: Run, model: Path, record: Callable[..., str], write: Write, tmp_path: Path
) -> None:
    path = write(record("sulfide", SULFUR, [(1, 2, 1), (1, 3, 1)]))
    done = run("likelihood", path, "-o", tmp_path / "s.csv", "--model", model, *SMALL)
    assert (done.status, "none of 1 records could be scored" in done.err) == (0, True)


def test_a_model_that_carries_held_out_scores_gives_z_scores(
    run: Run, tiny_model: MoleculeModel, sample_texts: list[str], write: Write, tmp_path: Path
) -> None:
    settings = BoundSettings(8, 3, 2)
    means, spreads = np.arange(25.0).reshape(5, 5), 1 + np.arange(25.0).reshape(5, 5)
    reference = LikelihoodReference(settings, 120, np.arange(14, 19), means, spreads)
    folder, file = tmp_path / "packed", write(*sample_texts[:4])
    save_model_folder(
        folder,
        weights=tiny_model.denoiser.state_dict(),
        config=tiny_model.config_json(),
        references=reference.to_tensors(),
        card="",
        half=False,
    )
    result = run("likelihood", file, "--model", folder, "-o", tmp_path / "s.csv", *SMALL)
    assert "z-scores: against 120 held-out molecules of 14 to 18 atoms" in result.out
    for row in rows_of(tmp_path / "s.csv"):
        place = int(row["n_atoms"]) - 14
        if place < 5:
            expected = (float(row["nats_pos"]) - reference.means[place, 0]) / reference.spreads[place, 0]
            assert float(row["z_pos"]) == pytest.approx(expected, rel=1e-3)
        else:
            assert all(row[name] == "" for name in Z_COLUMNS)
    other = run("likelihood", file, "--model", folder, "-o", tmp_path / "t.csv", "--chain-steps", "9", *SMALL[2:])
    assert "none, as the model's held-out scores are those of 8 steps, 3 evaluations, 2 repeats" in other.out
    assert f"z_{SCORED[0]}" not in rows_of(tmp_path / "t.csv")[0]


def test_held_out_molecules_of_a_file(run: Run, model: Path, sample_texts: list[str], write: Write) -> None:
    held_out, file = write(*sample_texts[:45], name="h.sdf"), write(*sample_texts[50:52])
    result = run(
        "likelihood", file, "--model", model, "-o", file.with_name("s.csv"), "--calibrate", held_out,
        "--chain-steps", "2", "--evaluations", "2", "--repeats", "1",
    )  # fmt: skip
    assert "z-scores: against 45 held-out molecules" in result.out
    assert list(rows_of(file.with_name("s.csv"))[0])[: len(COLUMNS) + len(Z_COLUMNS)] == [*COLUMNS, *Z_COLUMNS]


def without_hydrogens(text: str) -> str:
    mol = Chem.RemoveAllHs(Chem.MolFromMolBlock(text, removeHs=False))
    return f"{Chem.MolToMolBlock(mol)}$$$$\n"


def test_held_out_molecules_of_a_file_get_their_hydrogens_too(
    run: Run, model: Path, sample_texts: list[str], write: Write
) -> None:
    held_out, file = write(*map(without_hydrogens, sample_texts[:45]), name="h.sdf"), write(*sample_texts[50:52])
    asked = ("likelihood", file, "--model", model, "--calibrate", held_out, *FEW, "-o")
    refused = run(*asked, file.with_name("s.csv"))
    refused.assert_refused("z-scores need 40 held-out molecules or more, not 0", "--add-hydrogens")
    some = write(*sample_texts[:42], without_hydrogens(sample_texts[42]), name="some.sdf")
    done = run("likelihood", file, "--model", model, "--calibrate", some, *FEW, "-o", file.with_name("s.csv"))
    assert "z-scores: against 42 held-out molecules" in done.out and "(--add-hydrogens places them)" in done.err
    for workers in ("0", "1"):
        done = run(*asked, file.with_name(f"{workers}.csv"), "--add-hydrogens", "--workers", workers)
        assert "z-scores: against 45 held-out molecules" in done.out
    assert file.with_name("0.csv").read_bytes() == file.with_name("1.csv").read_bytes()
    found = moldiff.likelihood(
        file, model=model, chain_steps=2, evaluations=2, repeats=1, calibration=held_out, add_hydrogens=True
    )
    assert found.table[Z_COLUMNS[0]].tolist() == [float(row[Z_COLUMNS[0]]) for row in rows_of(file.with_name("0.csv"))]


def test_refusals_are_one_line_and_leave_nothing(run: Run, model: Path, mixed: Path, tmp_path: Path) -> None:
    out = tmp_path / "s.csv"
    before = sorted(path.name for path in tmp_path.iterdir())
    run("likelihood", tmp_path / "none.sdf", "--model", model, "-o", out).assert_refused("none.sdf")
    run("likelihood", mixed, "--model", model, "-o", tmp_path / "s.txt").assert_refused(
        "must end in one of .csv, .csv.gz, .parquet"
    )
    run("likelihood", mixed, "--model", model, "-o", out, "--chain-steps", "4", "--evaluations", "9").assert_refused(
        "2 .. 5"
    )
    run("likelihood", mixed, "--model", model, "-o", out, "--calibrate", mixed, *SMALL).assert_refused("40 held-out")
    assert sorted(path.name for path in tmp_path.iterdir()) == before
    out.write_text("mine")
    run("likelihood", mixed, "--model", model, "-o", out, *SMALL).assert_refused("exists already")
    assert out.read_text() == "mine"


def test_parts_of_a_file_are_those_of_the_whole(run: Run, model: Path, mixed: Path, tmp_path: Path) -> None:
    asked = ("likelihood", mixed, "--model", model, *SMALL)
    assert run(*asked, "-o", tmp_path / "whole.csv").status == 0
    parts = []
    for part in (1, 2, 3):
        out = tmp_path / f"part{part}.csv"
        assert run(*asked, "-o", out, "--shard", f"{part}/3").status == 0
        parts += rows_of(out)
    assert parts == rows_of(tmp_path / "whole.csv")
    run(*asked, "-o", tmp_path / "x.csv", "--shard", "1/15").assert_refused("--shard: there are only 14 records")
    refused = run(*asked, "-o", tmp_path / "part1.csv", "--shard", "2/3", "--resume")
    refused.assert_refused("part1.csv exists already")


def test_a_run_that_has_ended_says_so(run: Run, model: Path, mixed: Path, tmp_path: Path) -> None:
    asked = ("likelihood", mixed, "--model", model, *SMALL, "-o", tmp_path / "s.csv", "--resume")
    first = run(*asked)
    before = (tmp_path / "s.csv").stat().st_mtime_ns
    again = run(*asked)
    assert again.status == 0
    assert again.out.splitlines() == [*first.out.splitlines(), "the run had ended before: nothing is left to do"]
    assert (tmp_path / "s.csv").stat().st_mtime_ns == before
    run(*asked, "--seed", "1").assert_refused("s.csv exists already")
    (tmp_path / "s.csv").write_text("mine")
    run(*asked).assert_refused("s.csv exists already")
    assert (tmp_path / "s.csv").read_text() == "mine"


def test_processes_change_nothing(run: Run, model: Path, mixed: Path, tmp_path: Path) -> None:
    for workers in ("0", "1", "2"):
        asked = ("likelihood", mixed, "--model", model, *SMALL, "--workers", workers, "-o", tmp_path / f"{workers}.csv")
        assert run(*asked).status == 0
    assert len({(tmp_path / f"{workers}.csv").read_text() for workers in ("0", "1", "2")}) == 1


FEW = ("--chain-steps", "2", "--evaluations", "2", "--repeats", "1")


@pytest.mark.parametrize("kind", ["set", "file"])
def test_other_held_out_molecules_under_the_same_name_are_another_request(
    run: Run, model: Path, sample_texts: list[str], write: Write, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr(reference, "FEWEST_MOLECULES", 5)
    file = write(*sample_texts[:3])
    folder, out = file.parent, file.with_name("s.csv")

    def held_out(name: str, texts: list[str]) -> Path:
        path = write(*texts, name=f"{name}.sdf")
        if kind == "set":
            prepare([path], folder / name, overwrite=True)
        return folder / name if kind == "set" else path

    yardstick = held_out("h", sample_texts[3:90])
    asked = ["likelihood", file, "--model", model, "-o", out, *FEW, "--resume", "--calibrate"]
    add, added = Journal.add, []

    def killed(self: Journal, entry: object, seconds: float) -> None:
        add(self, entry, seconds)
        added.append(entry)
        raise RuntimeError("killed")

    with monkeypatch.context() as patch, pytest.raises(RuntimeError, match="killed"):
        patch.setattr(Journal, "add", killed)
        run(*asked, yardstick)
    held_out("h", sample_texts[90:180])
    run(*asked, yardstick).assert_refused("holds 1 results of another run (calibration ")
    held_out("h", sample_texts[3:90])
    assert run(*asked, yardstick).status == 0
    assert "nothing is left to do" in run(*asked, yardstick).out, "the same molecules, made anew"
    yardstick = yardstick.rename(folder / f"moved{yardstick.suffix}")
    assert "nothing is left to do" in run(*asked, yardstick).out, "wherever they lie"
    made = out.read_bytes()
    run(*asked, held_out("h", sample_texts[90:180])).assert_refused("s.csv exists already")
    assert out.read_bytes() == made


def test_held_out_molecules_are_told_as_they_are_scored(model: Path, sample_texts: list[str], write: Write) -> None:
    held_out, file = write(*sample_texts[:50], name="h.sdf"), write(*sample_texts[60:62])
    seen: list[int] = []
    score_file(
        file, file.with_name("s.csv"), model=str(model), chain_steps=2, evaluations=2, repeats=1, batch_size=8,
        calibration=held_out, progress=seen.append,
    )  # fmt: skip
    end = seen.index(50)
    assert end > 3 and seen[:end] == sorted(seen[:end]), "held-out ones, some at a time"
    assert seen[-1] == 2 and max(seen[end + 1 :]) == 2, "records, counted anew"
