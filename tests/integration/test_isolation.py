"""A molecule that crashes its process, hangs or fills the memory costs itself alone, in every command; the others come
out as if nothing had been."""

import csv
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import poison
import pytest
from generating import options_of, wishes
from rdkit import Chem

import moldiff
from moldiff.arrays import RawSample
from moldiff.chem.convert import encode
from moldiff.chem.descriptors.score_functions import Score
from moldiff.chem.io.embed import embed
from moldiff.chem.io.ready import ready_records
from moldiff.chem.io.records import mol_to_sdf_record
from moldiff.choices import TargetMethod
from moldiff.errors import MoldiffError
from moldiff.evaluation import assess as evaluation
from moldiff.generation import conformers, molecule_result, vary
from moldiff.generation.conformers import ConformerOptions, ConformerRun
from moldiff.generation.generate_run import GenerateRun
from moldiff.generation.molecule_result import MoleculeResult
from moldiff.generation.options.generation_options import GenerationOptions
from moldiff.generation.options.output import OutputOptions
from moldiff.generation.options.score import ScoreOptions
from moldiff.generation.smc_run import GroupRun
from moldiff.generation.vary import VaryOptions, VaryRun
from moldiff.models.molecule_model import MoleculeModel
from moldiff.processes import standing_pool
from moldiff.sampling import molecule_sampler
from moldiff.sampling.molecule_sampler import MoleculeSampler, Task
from moldiff.status import Status

SMILES = ["C", "N", "O", "CO", "C=O", "C#N", "CC"]  # methanol, ethane: 6 and 8 atoms; 7 is nobody
CRASHED = "crashed: the worker process ended on this record (SIGSEGV)"
GREEDY = "error: MemoryError: MemoryError"
HUNG = f"timeout: not done within {poison.DEADLINE_S:g} s"


@pytest.fixture(autouse=True)
def short_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (molecule_result, vary, evaluation):
        monkeypatch.setattr(module, "DEADLINE_S", poison.DEADLINE_S)
    for name in ("chem.descriptors.score_functions", "chem.io.ready"):
        monkeypatch.setattr(f"moldiff.{name}.DEADLINE_S", poison.DEADLINE_S)
    monkeypatch.setattr("moldiff.generation.conformer_checks.DEADLINE_S", poison.DEADLINE_S)


def placed(smiles: str) -> Chem.Mol:
    mol, _ = embed(Chem.MolFromSmiles(smiles), 1, 60)
    assert mol is not None
    return mol


@pytest.fixture
def scripted(tiny_model: MoleculeModel, monkeypatch: pytest.MonkeyPatch) -> None:
    """Draw k is the k-th molecule."""
    molecules = [encode(placed(smiles), tiny_model.vocabulary) for smiles in SMILES]

    def draw(self: MoleculeSampler, first: int, count: int) -> Iterator[RawSample]:
        yield from (RawSample(number, molecules[number], -1) for number in range(first, first + count))

    monkeypatch.setattr(MoleculeSampler, "draw", draw)


def rows_of(path: Path) -> list[dict[str, str]]:
    with open(path.with_suffix(".csv")) as handle:
        return list(csv.DictReader(handle))


def files(path: Path) -> list[bytes]:
    return [path.read_bytes(), path.with_suffix(".csv").read_bytes()]


def test_generate(packed: Path, scripted: None, tmp_path: Path) -> None:
    lost = {3: CRASHED, 6: GREEDY}
    written = {}
    for workers in (0, 1, 2):
        path = tmp_path / f"w{workers}.sdf"
        options = GenerationOptions(
            n=len(SMILES), model=packed, workers=workers, output=OutputOptions(path=path, keep_invalid=True)
        )
        gate = poison.NobleGate() if workers else (lambda mol: "")
        summary = GenerateRun(options, gate).write()
        assert summary.requested == sum(summary.counts.values()) == len(SMILES)
        written[workers] = path
    assert files(written[1]) == files(written[2])
    healthy = rows_of(written[0])
    for row, sound in zip(rows_of(written[1]), healthy, strict=True):
        if (number := int(row["draw"])) in lost:
            assert (row["status"], row["reason"]) == ("failed", lost[number])
        else:
            assert row == sound
    assert [row["status"] for row in healthy] == ["valid"] * len(SMILES)
    records = [written[workers].read_text().split("$$$$\n") for workers in (0, 1)]
    assert [one for place, one in enumerate(records[0]) if place not in lost] == records[1]


def test_draws_are_not_judged_in_this_process(packed: Path, scripted: None) -> None:
    options = GenerationOptions(n=2, model=packed, workers=1)
    (here,) = {result.reason for result in GenerateRun(options, poison.NamingGate()).results()}
    assert here.startswith("process ") and here != f"process {os.getpid()}"


def same_draws(wanted: Sequence[Task]) -> Iterator[RawSample]:
    yield from (RawSample(task.key, task.arrays, -1) for task in wanted)


@pytest.mark.parametrize("kind", ["vary", "conformers"])
def test_vary_and_conformers(
    kind: str, packed: Path, tiny_model: MoleculeModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A record that cannot be read, and a draw that cannot be judged."""
    known = [encode(placed(smiles), tiny_model.vocabulary) for smiles in SMILES]
    places = {arrays.atom_type.tobytes(): arrays.pos for arrays in known}

    def run(self: object, wanted: Sequence[Task]) -> Iterator[RawSample]:
        for task in wanted:
            pos = places[task.arrays.atom_type.tobytes()] if kind == "conformers" else task.arrays.pos
            yield RawSample(task.key, replace(task.arrays, pos=pos), -1)

    monkeypatch.setattr(molecule_sampler.TaskRunner, "run", run)
    given = tmp_path / "given.sdf"
    given.write_text("".join(mol_to_sdf_record(placed(smiles), smiles, {}) for smiles in SMILES))
    written = {}
    for workers in (0, 1, 2):
        path = tmp_path / f"w{workers}.sdf"
        gate = poison.NobleGate() if workers else (lambda mol: "")
        output = OutputOptions(path=path)
        if kind == "vary":
            VaryRun(VaryOptions(n=2, model=packed, workers=workers, output=output), given, gate).write()
        else:
            ConformerRun(ConformerOptions(n=2, model=packed, workers=workers, output=output), given, gate).write()
        written[workers] = path
    assert files(written[1]) == files(written[2])
    for row, sound in zip(rows_of(written[1]), rows_of(written[0]), strict=True):
        if row["name"] in ("CO", "CC"):
            assert (row["status"], row["reason"]) == ("failed", CRASHED if row["name"] == "CO" else GREEDY)
        else:
            assert row == sound
            assert row["status"] == "valid"


def test_conformers_that_cannot_be_compared_are_conformers(
    packed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(molecule_sampler.TaskRunner, "run", lambda self, wanted: same_draws(wanted))
    monkeypatch.setattr(conformers, "in_order", poison.compared)
    monkeypatch.setattr(conformers, "assess_attempts", sound_attempts)
    given = tmp_path / "given.smi"
    given.write_text("C methane\nN ammonia\n")
    path = tmp_path / "c.sdf"
    ConformerRun(ConformerOptions(n=2, model=packed, workers=1, output=OutputOptions(path=path)), given).write()
    rows = rows_of(path)
    assert [row["status"] for row in rows] == ["valid"] * 4
    assert [row["energy_rank"] for row in rows] == ["1", "2", "2", "1"]
    assert f"conformers of record 0 cannot be compared with each other: {CRASHED}" in caplog.text


def sound_attempts(attempts: Any, found: Any, work: Any, pool: Any) -> Iterator[tuple[Any, MoleculeResult]]:
    for one in attempts:
        mol = placed("C" if one.number < 2 else "N")
        yield one, MoleculeResult(one.number, Status.VALID, mol=mol, smiles=Chem.MolToSmiles(mol))


@pytest.mark.parametrize("workers", [1, 2])
def test_records_that_vary_conformers_and_likelihood_begin_with(workers: int, tmp_path: Path) -> None:
    names = ["C", "[Ar]", "N", "[Kr]", "[Xe]", "CC", "C1CC", "O"]
    path = tmp_path / "a.smi"
    path.write_text("".join(f"{smiles} m{place}\n" for place, smiles in enumerate(names)))
    found = list(ready_records(path, poison.noble_prepared, pool=standing_pool(workers)))
    assert [(one.record.index, one.record.name) for one in found] == [(k, f"m{k}") for k in range(len(names))]
    assert [one.item for one in found] == [1, None, 1, None, None, 2, None, 1]
    reasons = [found[place].reason for place in (1, 3, 4)]
    assert reasons == [CRASHED, HUNG, GREEDY]


@pytest.mark.parametrize("workers", [1, 2])
def test_targets_are_measured_where_a_crash_costs_one_molecule(
    scripted: None, packed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workers: int
) -> None:
    monkeypatch.setattr(molecule_result, "measured_numbers", None)  # nobody measures in this process
    options = options_of(
        n=len(SMILES), model=packed, workers=workers, output=OutputOptions(path=tmp_path / "t.sdf"),
        steering=wishes("logp=1", target_method=TargetMethod.CONDITION),
    )  # fmt: skip
    run = GenerateRun(options)
    run.judge = partial(run.judge, decoder=poison.NobleDecoder(run.decoder))
    run.write()
    rows = rows_of(tmp_path / "t.sdf")
    reasons = {SMILES[k]: row["reason"] for k, row in enumerate(rows) if row["status"] == "failed"}
    assert reasons == {"CO": CRASHED, "CC": HUNG}
    assert {row["error_logp"] for row in rows if row["status"] == "valid"} == {"0"}


@pytest.mark.parametrize("workers", [1, 2])
def test_a_score_that_is_chemistry_crashes_elsewhere(workers: int) -> None:
    mols = [placed(smiles) for smiles in SMILES]
    score = Score("noble", poison.NobleScore(), travels=True)
    found = dict(zip(SMILES, score.of(mols, standing_pool(workers)), strict=True))
    atoms = {smiles: float(mol.GetNumAtoms()) for smiles, mol in zip(SMILES, mols, strict=True)}
    assert found == {**atoms, "CO": None, "CC": None}


def test_scores_and_targets_are_the_same_in_any_number_of_processes(tmp_path: Path) -> None:
    small = {"n_atoms": "9..13"}
    for name, score, steering in (
        ("score", ScoreOptions.of("tpsa<60", 2.0, 4), wishes(**small)),
        ("similar", ScoreOptions.of("similarity:CC(N)C(=O)O", 20.0, 4), wishes(**small)),
        ("target", None, wishes("logp=0.5", "gfn2_gap_eV=7", target_moves=2, **small)),
    ):
        made = []
        for workers in (0, 2):
            output = OutputOptions(path=tmp_path / f"{name}{workers}.sdf")
            options = options_of(n=8, model="qm9_fast", workers=workers, score=score, steering=steering, output=output)
            (GenerateRun if score is None else GroupRun)(options).write()
            made.append(files(output.path))
        assert made[0] == made[1], name


def test_evaluate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write_noble: Callable[[], Path]) -> None:
    plain, _ = evaluation.assess_file(write_noble())
    monkeypatch.setattr(evaluation, "_assessed", poison.noble_block)
    for workers in (1, 2):
        rows, _ = evaluation.assess_file(write_noble(), workers=workers, isolated=True)
        reasons = {row.name: row.reason for row in rows if row.name in poison.DEEDS}
        assert reasons == {"Ar": CRASHED, "Kr": HUNG, "Xe": "memory: more than 4096 MiB"}
        healthy, known = ([row for row in some if row.name not in reasons] for some in (rows, plain))
        assert healthy == known
        for row, twin in zip(healthy, known, strict=True):  # measured there too, and nothing of it is lost on the way
            assert (row.measured is None) == (not row.valid)
            if row.measured is not None and twin.measured is not None:
                assert row.measured.motifs == twin.measured.motifs
                assert row.measured.properties == twin.measured.properties
                assert np.array_equal(row.measured.graph.positions, twin.measured.graph.positions)


@pytest.fixture
def write_noble(tmp_path: Path) -> Callable[[], Path]:
    texts = [mol_to_sdf_record(placed(smiles), smiles, {}) for smiles in SMILES]
    for symbol in poison.DEEDS:
        mol = Chem.MolFromSmiles(f"[{symbol}]")
        mol.AddConformer(Chem.Conformer(1))
        texts.insert(3, mol_to_sdf_record(mol, symbol, {}))

    def write() -> Path:
        path = tmp_path / "noble.sdf"
        path.write_text("".join([*texts[:3], *reversed(texts[3:6]), *texts[6:]]))
        return path

    return write


def test_functions_of_python_have_workers_too(packed: Path) -> None:
    tables = [moldiff.generate(2, model=packed, evaluations=2, workers=workers).table for workers in (0, 1)]
    assert tables[0].equals(tables[1])
    with pytest.raises(MoldiffError, match="workers must be at least 0"):
        moldiff.generate(2, model=packed, workers=-1)
