"""Variations: the law of what comes back, whose they are and where they lie, and what cannot be varied."""

import csv
import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from generating import conformer_files, nonzero, vary_files
from rdkit import Chem
from torch import Tensor

import moldiff
from moldiff.arrays import MolArrays, RawSample
from moldiff.chem.convert import encode
from moldiff.chem.io.embed import embed
from moldiff.chem.io.records import mol_to_sdf_record, write_sdf
from moldiff.config import CurveConfig
from moldiff.diffusion.joint import CATEGORIES, JointDiffusion
from moldiff.diffusion.levels import Levels
from moldiff.diffusion.schedule import uniform_grid
from moldiff.errors import MoldiffError
from moldiff.generation.from_records import RecordRun
from moldiff.generation.vary import VaryOptions, noised_walk
from moldiff.generation.writer import RunFiles
from moldiff.models.molecule_model import schedule_from_config
from moldiff.molecules import MolBatch, MolPrediction
from moldiff.randomness import NoiseSource, Stream
from moldiff.sampling import molecule_sampler
from moldiff.sampling.molecule_sampler import Task, TaskRunner
from moldiff.sampling.solvers import SOLVERS

SEEDS = {"first": "CC(=O)O", "second": "C[C@H](O)C=O", "third": "CCO"}
SHIFT = np.array([3.0, -2.0, 7.0])


def embedded(smiles: str) -> Chem.Mol:
    mol, reason = embed(Chem.MolFromSmiles(smiles), seed=1, timeout_s=20)
    assert mol is not None, reason
    return mol


def record(mol: Chem.Mol, name: str, shift: np.ndarray = SHIFT) -> str:
    for index, place in enumerate(mol.GetConformer().GetPositions() + shift):
        mol.GetConformer().SetAtomPosition(index, place.tolist())
    return mol_to_sdf_record(mol, name, {})


@pytest.fixture
def seeds(tmp_path: Path) -> Path:
    """A file of three molecules away from the origin, and in third place one without hydrogens."""
    path = tmp_path / "seeds.sdf"
    bare = Chem.RemoveAllHs(embedded("CCN"))
    texts = [record(embedded(smiles), name) for name, smiles in SEEDS.items()]
    write_sdf(path, [*texts[:2], record(bare, "bare"), texts[2]])
    return path


@pytest.fixture
def identity(monkeypatch: pytest.MonkeyPatch) -> list[Task]:
    """Every molecule comes back as it was, the last draw of each record with another element in first place."""
    asked: list[Task] = []

    def run(self: TaskRunner, wanted: list[Task]) -> Iterator[RawSample]:
        asked.extend(wanted)
        for task in reversed(wanted):
            yield RawSample(task.key, task.arrays, -1)

    monkeypatch.setattr(molecule_sampler.TaskRunner, "run", run)
    return asked


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


Run = Callable[..., Any]
K = 3
DATA = torch.tensor([0.6, 0.3, 0.1], dtype=torch.float64)
LIMIT = torch.tensor([0.3, 0.3, 0.4], dtype=torch.float64)
CURVE = schedule_from_config(CurveConfig())
DIFFUSION = JointDiffusion(dict.fromkeys(CATEGORIES, LIMIT), torch.ones(3))


def posterior(abar: Tensor) -> Tensor:
    """Return p(x_0 | x_t) of one variable, (B, x_t, x_0): Bayes' rule."""
    eye = torch.eye(K, dtype=torch.float64)
    kernel = abar[:, None, None] * eye + (1 - abar)[:, None, None] * LIMIT  # (B, x_0, x_t)
    joint = (kernel * DATA[:, None]).transpose(1, 2)
    return joint / joint.sum(-1, keepdim=True)


def exact_denoiser(batch: MolBatch, levels: Levels, condition: Tensor, previous: MolPrediction | None) -> MolPrediction:
    rows = torch.arange(len(batch))
    logits = {}
    for field in CATEGORIES:
        x_t = getattr(batch, field)
        found = posterior(levels.abar(field))[rows[:, None], x_t.reshape(len(rows), -1)]
        logits[field] = found.log().reshape(*x_t.shape, K)
    return MolPrediction(batch.pos, **logits)


@pytest.mark.parametrize("top", [1.0, 0.8])
def test_classes_come_back_by_the_law_of_their_strength(top: float) -> None:
    """Noise, then the exact reverse process: P(x_0' | x_0) = sum over x_t of q(x_t | x_0) p(x_0' | x_t). Strengths are
    mixed in one batch; a grid that starts below 1 is stretched."""
    strengths, count = torch.tensor([0.3, 0.55, 0.9], dtype=torch.float64), 1200
    starts = strengths.repeat_interleave(K * count)
    classes = torch.arange(K).repeat_interleave(count).repeat(len(strengths))
    atoms = classes[:, None].repeat(1, 2)
    batch = MolBatch(
        pos=torch.zeros(len(starts), 2, 3),
        atom_type=atoms,
        charge=atoms,
        bond_type=torch.zeros(len(starts), 2, 2, dtype=torch.int64),
        mask=torch.ones(len(starts), 2, dtype=torch.bool),
        properties=torch.zeros(len(starts), 0),
        ids=torch.arange(len(starts)),
    )
    molecule_sampler = SimpleNamespace(
        model=SimpleNamespace(diffusion=DIFFUSION, schedule=CURVE), denoiser=exact_denoiser,
        grid=top * uniform_grid(25), solver=SOLVERS["ddpm"], source=NoiseSource(0),
    )  # fmt: skip
    made = noised_walk(molecule_sampler)(batch, starts).molecules  # type: ignore[arg-type]
    abar = CURVE.levels(strengths).abar("atom_type")
    kernel = abar[:, None, None] * torch.eye(K) + (1 - abar)[:, None, None] * LIMIT
    expected = kernel @ posterior(abar)  # (strength, x_0, x_0')
    for s in range(len(strengths)):
        for x_0 in range(K):
            mine = (starts == strengths[s]) & (classes == x_0)
            found = torch.nn.functional.one_hot(made.atom_type[mine], K).double().mean((0, 1))
            error = 4.5 * math.sqrt(0.25 / (2 * count)) + 0.004  # and what argmax at the last level costs
            assert torch.allclose(found, expected[s, x_0], atol=error)


def test_strengths_are_spread_evenly() -> None:
    def strengths(n: int, low: float, high: float) -> list[float]:
        settings = VaryOptions(n=n, strength=(low, high))
        return [settings.strength_of(draw) for draw in range(n)]

    assert strengths(4, 0.2, 0.8) == pytest.approx([0.2, 0.4, 0.6, 0.8])
    assert strengths(1, 0.2, 0.8) == pytest.approx([0.5])
    assert strengths(3, 0.4, 0.4) == [0.4] * 3


def test_every_draw_has_a_row_with_its_record(identity: list[Task], model: Path, seeds: Path, tmp_path: Path) -> None:
    told = vary_files(seeds, tmp_path / "v.sdf", n=3, strength=(0.2, 0.6), model=str(model), batch_size=4)
    rows = rows_of(tmp_path / "v.csv")
    assert [row["moldiff_id"].rpartition("-")[2] for row in rows] == [
        f"{record}.{draw}" for record in range(4) for draw in range(3)
    ]
    assert [row["record"] for row in rows] == [str(k // 3) for k in range(12)]
    assert [row["name"] for row in rows[::3]] == ["first", "second", "bare", "third"]
    assert [row["draw"] for row in rows] == ["0", "1", "2"] * 4
    used = [row for row in rows if row["name"] != "bare"]
    assert [row["strength"] for row in used] == ["0.2", "0.4", "0.6"] * 3
    assert {row["status"] for row in used} == {"valid"}
    assert {(row["similarity"], row["same_molecule"]) for row in used} == {("1", "yes")}
    assert [row["status"] for row in rows[6:9]] == ["failed"] * 3
    assert {row["reason"] for row in rows[6:9]} == {"7 hydrogens without coordinates (add_hydrogens places them)"}
    assert nonzero(told.counts) == {"valid": 9, "failed": 3}
    assert told.requested == 12
    assert told.results.unique == 3
    kept = list(Chem.SDMolSupplier(str(tmp_path / "v.sdf"), removeHs=False))
    assert [mol.GetProp("name") for mol in kept[::3]] == list(SEEDS)
    assert kept[0].GetProp("strength") == "0.2"
    found = json.loads((tmp_path / "v.run.json").read_text())
    assert found["options"]["strength"] == [0.2, 0.6]
    assert found["counts"] == told.counts


def test_variations_lie_where_their_seeds_lie(identity: list[Task], model: Path, seeds: Path, tmp_path: Path) -> None:
    vary_files(seeds, tmp_path / "v.sdf", n=1, strength=(0.2, 0.2), model=str(model))
    wanted = [mol for mol in Chem.SDMolSupplier(str(seeds), removeHs=False) if mol.GetProp("_Name") != "bare"]
    for task in identity:
        assert np.abs(task.arrays.pos.mean(0)).max() < 1e-5
    for mol, seed in zip(Chem.SDMolSupplier(str(tmp_path / "v.sdf"), removeHs=False), wanted, strict=True):
        assert np.abs(mol.GetConformer().GetPositions() - seed.GetConformer().GetPositions()).max() < 2e-4


def mirrored(arrays: MolArrays) -> MolArrays:
    return MolArrays(-arrays.pos, arrays.atom_type, arrays.charge, arrays.bonds)


def without_the_last_atom(arrays: MolArrays) -> MolArrays:
    last = len(arrays.pos) - 1
    bonds = arrays.bonds[arrays.bonds[:, 1] < last]
    return MolArrays(arrays.pos[:-1], arrays.atom_type[:-1], arrays.charge[:-1], bonds)


def test_what_came_back_is_told(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same molecule, its mirror image, another molecule, one that is not valid, and nothing finite."""
    other = embedded("OCCC=O")

    def run(self: TaskRunner, wanted: list[Task]) -> Iterator[RawSample]:
        same, mirror, new, radical, broken = wanted
        yield RawSample(same.key, same.arrays, -1)
        yield RawSample(mirror.key, mirrored(mirror.arrays), -1)
        yield RawSample(new.key, encode(other, self.sampler.model.vocabulary), -1)
        yield RawSample(radical.key, without_the_last_atom(radical.arrays), -1)
        yield RawSample(broken.key, None, 7)

    monkeypatch.setattr(molecule_sampler.TaskRunner, "run", run)
    write_sdf(tmp_path / "seed.sdf", [record(embedded("C[C@H](O)C=O"), "chiral")])
    told = vary_files(tmp_path / "seed.sdf", tmp_path / "v.sdf", n=5, strength=(0.1, 0.8), model=str(model))
    rows = rows_of(tmp_path / "v.csv")
    assert [row["same_molecule"] for row in rows] == ["yes", "stereoisomer", "no", "", ""]
    assert [row["status"] for row in rows] == ["valid", "valid", "valid", "invalid", "failed"]
    assert [float(row["similarity"]) for row in rows[:2]] == [1, 1]
    similar = float(rows[2]["similarity"])
    assert 0.1 < similar < 0.9
    assert rows[3]["similarity"] == rows[4]["similarity"] == ""
    assert rows[4]["reason"] == "not finite: at step 7"
    known = "1 drawn, 1 valid, of these {} the seed itself; mean similarity 1.00"
    assert told.details == (
        f"strength 0.10..0.28: {known.format(1)}",
        f"strength 0.28..0.45: {known.format(0)}",
        f"strength 0.45..0.62: 1 drawn, 1 valid, of these 0 the seed itself; mean similarity {similar:.2f}",
        "strength 0.62..0.80: 2 drawn, 0 valid",
    )


def test_isotopes_are_refused_as_in_every_command(identity: list[Task], model: Path) -> None:
    with pytest.raises(MoldiffError, match="isotope 13C is outside the vocabulary"):
        moldiff.vary([embedded("[13CH3]C([2H])=O")], 1, model=model)


def test_the_result_does_not_depend_on_batch_size_or_other_records(model: Path, seeds: Path, tmp_path: Path) -> None:
    keywords = {"strength": (0.05, 0.3), "evaluations": 4, "model": str(model), "keep_invalid": True}
    for name, size in (("one", 1), ("five", 5), ("all", 512)):
        vary_files(seeds, tmp_path / name / "v.sdf", n=3, batch_size=size, **keywords)  # type: ignore[arg-type]
    texts = [(tmp_path / name / "v.csv").read_text() for name in ("one", "five", "all")]
    assert texts[0] == texts[1] == texts[2]
    records = [(tmp_path / name / "v.sdf").read_text() for name in ("one", "all")]
    assert records[0] == records[1]
    first = list(Chem.SDMolSupplier(str(seeds), removeHs=False))[:1]
    alone = moldiff.vary(first, 3, strength=(0.05, 0.3), evaluations=4, model=model, keep_invalid=True)
    together = moldiff.vary(seeds, 3, strength=(0.05, 0.3), evaluations=4, model=model, keep_invalid=True)
    of_first = [mol for mol in together if mol.GetProp("record") == "0"]
    assert len(alone) == len(of_first)
    for one, other in zip(alone, of_first, strict=True):
        assert np.array_equal(one.GetConformer().GetPositions(), other.GetConformer().GetPositions())
        assert one.GetProp("strength") == other.GetProp("strength")


def test_no_run_meets_the_noise_that_made_its_molecules(packed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All jobs have one seed, and records have the keys of draws: a molecule that met its own noise again would be
    drawn back to where it came from."""
    met: set[tuple[Stream, int, int]] = set()
    words = NoiseSource._words

    def watched(self: NoiseSource, ids: Tensor, counter: int | Tensor, stream: Stream, elements: Tensor) -> object:
        for one in {*torch.as_tensor(stream).unique().tolist()} & {*range(4)}:  # of the four fields
            met.update((Stream(one), int(counter), number) for number in ids.tolist())
        return words(self, ids, counter, stream, elements)

    monkeypatch.setattr(NoiseSource, "_words", watched)
    given, options = [embedded("CCO"), embedded("CC=O")], {"model": packed, "seed": 5, "evaluations": 3}
    jobs: dict[str, Callable[[], object]] = {
        "draws": lambda: moldiff.generate(130, n_atoms=5, **options),
        "draws that move and are re-noised": lambda: moldiff.generate(
            130, n_atoms=5, renoise=2, targets="logp=1", target_moves=2, **options
        ),
        "variations": lambda: moldiff.vary(given, 3, **options),
        "conformers": lambda: moldiff.conformers(given, 3, redraws=2, **options),
    }
    of: dict[str, set[tuple[Stream, int, int]]] = {}
    for name, job in jobs.items():
        met.clear()
        job()
        of[name] = set(met)
    drawn, moved, varied, placed = of.values()
    assert moved > drawn  # those of draws are the same, whatever is asked for beside
    assert {key for *_, key in varied} & {key for *_, key in drawn} & {key for *_, key in placed}
    assert not varied & moved
    assert not placed & (moved | varied)


@pytest.mark.parametrize(("files", "walk"), [(vary_files, 34), (conformer_files, 35)])
def test_results_of_other_noise_are_not_gone_on_with(
    files: Callable[..., Any], walk: int, model: Path, seeds: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As it was before these runs had walks of their own."""
    asked = {"n": 1, "evaluations": 2, "model": str(model), "keep_invalid": True}
    now = RecordRun.identity

    def killed(*_: object) -> None:
        raise RuntimeError("killed")

    with monkeypatch.context() as then:
        then.setattr(RecordRun, "identity", lambda self: {k: v for k, v in now(self).items() if k != "walk"})
        then.setattr(RunFiles, "finish", killed)
        with pytest.raises(RuntimeError, match="killed"):
            files(seeds, tmp_path / "out.sdf", **asked)
    with pytest.raises(MoldiffError, match=rf"holds 4 results of another run \(walk not given, now {walk}\)"):
        files(seeds, tmp_path / "out.sdf", resume=True, **asked)


@pytest.mark.parametrize("strength", [(0.0, 0.5), (-0.1, 0.1), (0.2, 1.01), (math.nan, math.nan)])
def test_a_strength_out_of_range_is_refused(model: Path, seeds: Path, strength: tuple[float, float]) -> None:
    with pytest.raises(MoldiffError, match="strength must be above 0 and at most 1"):
        moldiff.vary(seeds, strength=strength, model=model)


def test_files_without_a_usable_molecule_are_refused(run: Run, model: Path, tmp_path: Path) -> None:
    (tmp_path / "a.smi").write_text("CCO ethanol\nC(C\n")
    (tmp_path / "empty.sdf").write_text("")
    out = tmp_path / "v.sdf"

    def vary(*arguments: str | Path) -> Any:
        return run("vary", *arguments, "-o", out, "--model", model)

    vary(tmp_path / "a.smi").assert_refused("none of the records can be used", "no 3D conformer")
    vary(tmp_path / "empty.sdf").assert_refused("empty.sdf is empty")
    vary(tmp_path / "none.sdf").assert_refused("none.sdf")
    for text in ("0.8..0.1", "2", "x", "0"):
        vary(tmp_path / "a.smi", "--strength", text).assert_refused("strength")
    assert [path.name for path in tmp_path.iterdir() if path.suffix in (".sdf", ".csv", ".json")] == ["empty.sdf"]
    with pytest.raises(MoldiffError, match="there are no molecules"):
        moldiff.vary([], model=model)
    with pytest.raises(
        MoldiffError, match="the molecules: none of the records can be used; the first: no 3D conf"
    ) as told:
        moldiff.vary([Chem.MolFromSmiles("CC")], model=model)
    assert told.value.argument == "molecules"


def test_elements_outside_the_vocabulary_and_unusual_sizes(
    identity: list[Task], model: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_sdf(tmp_path / "s.sdf", [record(embedded(smiles), smiles) for smiles in ("CCCl", "CCCCCCC", "CCCCCC")])
    vary_files(tmp_path / "s.sdf", tmp_path / "v.sdf", n=1, model=str(model))
    rows = rows_of(tmp_path / "v.csv")
    assert [row["status"] for row in rows] == ["failed", "valid", "valid"]
    assert rows[0]["reason"] == "element Cl is outside the vocabulary"
    assert [text.getMessage() for text in caplog.records] == [
        "record 1 (CCCCCCC) has 23 atoms, outside the training data's 5..15; expect more failures "
        "(more such records are not named)"
    ]


def test_what_is_far_larger_than_the_training_data_costs_itself_alone(
    identity: list[Task], model: Path, tmp_path: Path
) -> None:
    sizes = {name: embedded(name) for name in ("CCCC", "C" * 32, "C" * 33)}
    write_sdf(tmp_path / "s.sdf", [record(mol, name) for name, mol in sizes.items()])
    vary_files(tmp_path / "s.sdf", tmp_path / "v.sdf", n=2, model=str(model))
    rows = rows_of(tmp_path / "v.csv")
    assert [row["status"] for row in rows] == ["valid"] * 4 + ["failed"] * 2
    assert rows[4]["reason"] == rows[5]["reason"] == "too large: 101 atoms, more than 100"


def test_the_command(run: Callable[..., Any], identity: list[Task], model: Path, seeds: Path, tmp_path: Path) -> None:
    options = ["-n", "2", "--strength", ".25..0.5", "--evaluations", "9", "--sampler", "dpmpp", "--seed", "4"]
    result = run("vary", seeds, *options, "--model", model, "-o", tmp_path / "v.sdf")
    assert result.status == 0
    lines = result.out.splitlines()
    assert lines[0].startswith(
        "8 requested = 6 valid + 0 invalid + 0 filtered + 0 duplicate + 0 withheld + 2 failed; 3 unique; "
    )
    assert lines[1:] == [
        "strength 0.25..0.31: 3 drawn, 3 valid, of these 3 the seed itself; mean similarity 1.00",
        "strength 0.44..0.50: 3 drawn, 3 valid, of these 3 the seed itself; mean similarity 1.00",
    ]
    request = json.loads((tmp_path / "v.run.json").read_text())["options"]
    assert {name: request[name] for name in ("n", "evaluations", "sampler", "strength", "seed")} == {
        "n": 2, "evaluations": 9, "sampler": "dpmpp", "strength": [0.25, 0.5], "seed": 4,
    }  # fmt: skip
    assert {task.start for task in identity} == {0.25, 0.5}


def test_molecules_in_memory_keep_their_fields_as_those_of_a_file_do(tmp_path: Path) -> None:
    mol, _ = embed(Chem.MolFromSmiles("CCO"), seed=1, timeout_s=20)
    mol.SetProp("_Name", "mine")
    mol.SetProp("series", "A")
    path = tmp_path / "in.sdf"
    with Chem.SDWriter(str(path)) as writer:
        writer.write(mol)
    for call in (moldiff.vary, moldiff.conformers):
        tables = [
            call(source, n=1, model="qm9_fast", device="cpu", seed=1).table
            for source in (path, mol, [mol], iter([mol]))
        ]
        assert list(tables[0]["series"]) == ["A"]
        for table in tables[1:]:
            assert list(table["series"]) == ["A"]
            assert set(table.columns) == set(tables[0].columns)
