"""What a molecule is: one function says it, nothing that breaks ends a run, and what is withheld has no structure."""

import contextlib
import copy
import csv
import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from generating import generate_files, options_of
from methane import METHANE, METHYL, SQUEEZED
from rdkit import Chem
from rdkit.Chem import AllChem

from moldiff.arrays import LogProbabilities, RawSample
from moldiff.chem.descriptors import rdkit_descriptors
from moldiff.chem.descriptors.rdkit_descriptors import PROPERTIES
from moldiff.chem.filters.hazard_list import hazard_list_of
from moldiff.chem.filters.hazards import STANDARD_GATE, WITHHELD, HazardGate
from moldiff.chem.identity import text_key
from moldiff.chem.io.embed import embed
from moldiff.errors import MoldiffError
from moldiff.evaluation.evaluate import evaluate
from moldiff.generation import molecule_result, smc_run
from moldiff.generation.conformers import ConformerOptions, ConformerRun
from moldiff.generation.decoding import decoders
from moldiff.generation.decoding.decoders import ArgmaxDecoder
from moldiff.generation.generate_run import GenerateRun
from moldiff.generation.molecule_result import Gate, MoleculeResult, assess, assess_all, chunk_of
from moldiff.generation.options.output import OutputOptions
from moldiff.generation.options.sampler_options import SamplerOptions
from moldiff.generation.options.score import ScoreOptions
from moldiff.generation.renoise import Renoiser, settled_by
from moldiff.generation.result import result_of
from moldiff.generation.result_counts import FirstNumbers, ResultCounts
from moldiff.generation.run import Run
from moldiff.generation.smc_run import GroupRun
from moldiff.generation.vary import VaryOptions, VaryRun
from moldiff.models.molecule_model import MoleculeModel
from moldiff.processes import Pool
from moldiff.sampling.molecule_sampler import MoleculeSampler, Task, TaskRunner
from moldiff.sampling.partial_walks import PartialWalks
from moldiff.sampling.sampler import Sample
from moldiff.sampling.solvers import SOLVERS
from moldiff.status import Status

BELIEFS = LogProbabilities(np.zeros((5, 4), np.float32), np.zeros((5, 3), np.float32), np.zeros((5, 5, 5), np.float32))


@pytest.fixture
def decoder(tiny_model: MoleculeModel) -> ArgmaxDecoder:
    return ArgmaxDecoder(tiny_model.vocabulary)


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Draws 0, 3, 6, ... are methane, 1, 4, ... a methyl radical, 2 never finite, 5, 8, ... squeezed methane."""

    def draw(self: MoleculeSampler, first: int, count: int) -> Iterator[RawSample]:
        for number in range(first, first + count):
            arrays = [METHANE, METHYL, SQUEEZED][number % 3]
            yield RawSample(number, None if number == 2 else arrays, 7 if number == 2 else -1)

    monkeypatch.setattr(MoleculeSampler, "draw", draw)


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize(
    ("arrays", "status", "reason", "sound"),
    [
        (METHANE, Status.VALID, "", True),
        (METHYL, Status.INVALID, "no_radicals", False),
        (SQUEEZED, Status.INVALID, "bond_lengths_plausible", True),
        (None, Status.FAILED, "not finite", False),
    ],
)
def test_states(decoder: ArgmaxDecoder, arrays: Any, status: Status, reason: str, sound: bool) -> None:
    found = assess(RawSample(3, arrays, 7), decoder)
    assert (found.number, found.status, found.reason.partition(":")[0]) == (3, status, reason)
    assert (found.smiles == "C") == bool(found.properties) == sound
    assert (found.mol is None) == (arrays is None)


def test_what_breaks_on_a_molecule_makes_that_one_failed(
    scripted: None, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original, calls = decoders.decode, []

    def decode(*arguments: Any) -> Any:
        calls.append(1)
        if len(calls) == 1:
            raise KeyError("an odd molecule")
        return original(*arguments)

    monkeypatch.setattr(decoders, "decode", decode)
    summary = generate_files(tmp_path / "m.sdf", n=9, model=str(model))
    rows = rows_of(tmp_path / "m.csv")
    assert (rows[0]["status"], rows[0]["reason"]) == ("failed", "error: KeyError: 'an odd molecule'")
    assert [row["status"] for row in rows[3::3]] == ["valid", "valid"]
    assert summary.counts["failed"] == 2


def test_a_calculator_that_fails_ends_no_run_and_is_counted(
    scripted: None, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(mol: Chem.Mol) -> float:
        raise ValueError("no")

    entries = dict(PROPERTIES) | {"qed": replace(PROPERTIES["qed"], function=broken)}
    monkeypatch.setattr(rdkit_descriptors, "PROPERTIES", entries)
    summary = generate_files(tmp_path / "m.sdf", n=9, model=str(model))
    valid = [row for row in rows_of(tmp_path / "m.csv") if row["status"] == "valid"]
    assert [(row["qed"], row["mw"]) for row in valid] == [("", "16.043")] * 3
    assert summary.results.property_failures == {"qed": 5}  # the squeezed ones are described as well
    assert json.loads((tmp_path / "m.run.json").read_text())["property_failures"] == {"qed": 5}


def test_what_is_withheld_has_no_structure(decoder: ArgmaxDecoder) -> None:
    seen = []

    def gate(mol: Chem.Mol) -> str:
        seen.append(mol)
        return "hazard: a test"

    for arrays in (METHANE, METHYL, SQUEEZED):
        beliefs = BELIEFS if arrays is not METHYL else None
        assert assess(RawSample(4, arrays, -1, beliefs), decoder).mol is not None
        found = assess(RawSample(4, arrays, -1, beliefs), decoder, gate)
        assert found == MoleculeResult(4, Status.WITHHELD, "hazard: a test")
        assert found.sdf_record(found.row(), 0, "m") is None
        told = {name: value for name, value in found.row().items() if value != ""}
        assert told == {
            "draw": 4, "status": "withheld", "reason": "hazard: a test", "renoised": 0,
            "evaluations": 0,
        }  # fmt: skip
        shown = " ".join(str(getattr(found, field.name)) for field in fields(found))
        assert "Mol" not in shown
    assert len(seen) == 3, "the gate sees all that could be shown, invalid molecules too"
    assert assess(RawSample(4, METHANE, -1), decoder, lambda mol: "").status == Status.VALID


@pytest.mark.parametrize(
    "part",
    [
        {"mol": Chem.MolFromSmiles("C")},
        {"smiles": "C"},
        {"properties": {"mw": 16.0}},
        {"block": "M  END"},
        {"data": b"C"},
    ],
)
def test_nothing_can_give_it_one(part: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="no structure"):
        replace(MoleculeResult(0, Status.WITHHELD), **part)


def test_a_gate_that_breaks_lets_nothing_through(decoder: ArgmaxDecoder) -> None:
    def gate(mol: Chem.Mol) -> str:
        raise RuntimeError("no table")

    found = assess(RawSample(0, METHANE, -1), decoder, gate)
    assert (found.status, found.mol, found.smiles) == (Status.FAILED, None, "")


def test_what_is_withheld_is_not_tried_again(tiny_model: MoleculeModel, monkeypatch: pytest.MonkeyPatch) -> None:
    sampler = MoleculeSampler(tiny_model, SOLVERS["ddpm"], 4, 0)
    monkeypatch.setattr(PartialWalks, "run", lambda self, draws, walk: [] if not draws else pytest.fail("tried"))
    judge = partial(assess_all, decoder=ArgmaxDecoder(tiny_model.vocabulary), gate=lambda mol: "hazard: a test")
    (found,) = Renoiser(sampler, judge).settle(settled_by(judge, [RawSample(0, METHYL, -1)]), 2)
    assert found.result.status == Status.WITHHELD


@pytest.mark.parametrize("numbers", [[0, 2], [0, 0], [1]])
def test_every_number_comes_once(numbers: list[int]) -> None:
    counts = ResultCounts()
    with pytest.raises(MoldiffError, match="was lost on the way"):
        for number in numbers:
            counts.take(MoleculeResult(number, Status.FAILED))


def test_the_sum_holds_and_duplicates_are_marked() -> None:
    counts = ResultCounts()
    mol = Chem.MolFromSmiles("C")
    for number, status in enumerate([*Status, Status.VALID]):
        shown = status != Status.WITHHELD
        found = counts.take(MoleculeResult(number, status, "", mol if shown else None, "C" if shown else ""))
        assert found.duplicate_of == ("0" if number == len(Status) else None)
    assert counts.by_status == {str(status): 2 if status == Status.VALID else 1 for status in Status}
    assert (counts.drawn, counts.valid, counts.unique) == (7, 2, 1)


def test_evaluate_says_the_same_of_the_file(scripted: None, model: Path, tmp_path: Path) -> None:
    summary = generate_files(tmp_path / "m.sdf", n=9, model=str(model), keep_invalid=True)
    report = evaluate(tmp_path / "m.sdf", requested=9, posebusters=0)
    found = {str(status): sum(row.status == status for row in report.rows) for status in Status}
    assert found == summary.counts
    assert (report.metrics["valid"].count, report.metrics["valid_connected"].count) == (3, 5)
    rows = rows_of(tmp_path / "m.csv")
    problems = [row.problem for row in report.rows if row.status != Status.FAILED]
    assert problems == [row["reason"] for row in rows if row["status"] != "failed"]


def test_what_breaks_evaluate_costs_one_record(
    write: Callable[..., Path], water: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from moldiff.evaluation import assess as module

    original, calls = module.judge, []

    def judge(*arguments: Any, **keywords: Any) -> Any:
        calls.append(1)
        if len(calls) == 2:
            raise KeyError("odd")
        return original(*arguments, **keywords)

    monkeypatch.setattr(module, "judge", judge)
    rows, _ = module.assess_file(write(water, water, water))
    assert [row.status for row in rows] == [Status.VALID, Status.FAILED, Status.VALID]
    assert rows[1].reason == "error: KeyError: 'odd'"


def hazardous(mol: Chem.Mol) -> str:
    return "hazard: a test"


@pytest.fixture
def methanes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every draw and every walk ends in methane."""

    def draw(self: MoleculeSampler, first: int, count: int) -> Iterator[RawSample]:
        return (RawSample(number, METHANE, -1, BELIEFS) for number in range(first, first + count))

    def run(self: TaskRunner, wanted: list[Task]) -> Iterator[RawSample]:
        return (RawSample(task.key, METHANE, -1) for task in wanted)

    def scored(self: smc_run.MoleculePotential, sample: Sample) -> RawSample:
        return RawSample(int(sample.molecules.ids[0]), METHANE, -1)

    monkeypatch.setattr(MoleculeSampler, "draw", draw)
    monkeypatch.setattr(TaskRunner, "run", run)
    monkeypatch.setattr(smc_run.MoleculePotential, "_draw", scored)
    monkeypatch.setattr(smc_run.MoleculePotential, "_guesses", lambda self, samples: [None] * len(samples))


def run_of(
    command: str, model: Path, output: OutputOptions, gate: Gate | None, hazards: HazardGate = STANDARD_GATE
) -> Run:
    sampler = SamplerOptions.of(evaluations=3)
    if command in ("vary", "conformers"):
        mol, _ = embed(Chem.MolFromSmiles("C"), seed=1, timeout_s=20)
        made: Any = VaryOptions if command == "vary" else ConformerOptions
        asked = made(n=4, model=str(model), sampler=sampler, output=output, hazards=hazards)
        return VaryRun(asked, [mol], gate) if command == "vary" else ConformerRun(asked, [mol], gate)
    score = ScoreOptions.of("mw", 0.1, 4) if command == "score" else None
    renoise = 0 if score else 2
    options = options_of(n=4, model=str(model), evaluations=3, renoise=renoise, score=score, output=output)
    options = replace(options, hazards=hazards)
    return (GroupRun if score else GenerateRun)(options, gate)


@pytest.mark.parametrize("command", ["generate", "score", "vary", "conformers"])
def test_no_command_writes_what_is_withheld(
    methanes: None, model: Path, tmp_path: Path, command: str, caplog: pytest.LogCaptureFixture
) -> None:
    paths = [tmp_path / "t.xyz"] if command == "generate" else []
    output = OutputOptions(path=tmp_path / "m.sdf", keep_invalid=True, trajectories=paths)
    run = run_of(command, model, output, hazardous)
    with contextlib.suppress(MoldiffError):  # of a score: that no molecule has one
        run.write()
    assert run.counts.by_status["withheld"] == 4
    assert (tmp_path / "m.sdf").read_bytes() == b""
    rows = rows_of(tmp_path / "m.csv")
    assert [(row["status"], row["reason"], row["smiles"], row["n_atoms"]) for row in rows] == [
        ("withheld", "hazard: a test", "", "")
    ] * 4
    assert sorted(path.name for path in tmp_path.glob("*.*")) == ["m.csv", "m.run.json", "m.sdf"]
    assert "[H]" not in (tmp_path / "m.run.json").read_text()
    if paths:
        assert "no draw came to a molecule that a trajectory could show" in caplog.text
    again = run_of(command, model, replace(output, overwrite=True), hazardous)
    with contextlib.suppress(MoldiffError):
        assert result_of(again, keep_invalid=True).molecules == []
    assert again.counts.by_status["withheld"] == 4
    assert result_of(run_of(command, model, replace(output, overwrite=True), None), keep_invalid=True)


@pytest.mark.parametrize("command", ["generate", "score", "vary", "conformers"])
def test_every_command_asks_the_gate_of_its_options(methanes: None, model: Path, tmp_path: Path, command: str) -> None:
    (tmp_path / "m.smi").write_text("C\n")
    listed = HazardGate((hazard_list_of([tmp_path / "m.smi"], "a test"),))
    output = OutputOptions(path=tmp_path / "m.sdf", keep_invalid=True)
    run = run_of(command, model, output, None, listed)
    with contextlib.suppress(MoldiffError):  # of a score: that no molecule has one
        run.write()
    rows = rows_of(tmp_path / "m.csv")
    assert [(row["status"], row["reason"], row["smiles"]) for row in rows] == [("withheld", WITHHELD, "")] * 4
    assert [row.get("name", "") for row in rows] == [""] * 4
    told = json.loads((tmp_path / "m.run.json").read_text())
    assert told["options"]["hazards"]["lists"] == [{"source": "a test", "sha256": listed.lists[0].sha256}]


def test_what_a_model_makes_is_never_released(model: Path) -> None:
    with pytest.raises(MoldiffError, match="cannot be released"):
        replace(options_of(n=1, model=str(model)), hazards=HazardGate(released="because we want to"))


def test_a_result_that_travels_between_processes_keeps_every_digit() -> None:
    mol = Chem.AddHs(Chem.MolFromSmiles("C[C@H](O)F"))
    AllChem.EmbedMolecule(mol, randomSeed=1)
    mol.GetConformer().SetAtomPosition(0, (1 / 3, 2 / 3, 1e-9))
    result = MoleculeResult(3, Status.VALID, mol=mol, smiles="C[C@H](O)F", facts={"strength": 0.1}, title="a")
    arrived = copy.deepcopy(result)  # by the same way
    assert replace(arrived, mol=None) == replace(result, mol=None)
    assert arrived.mol is not None and Chem.MolToSmiles(arrived.mol) == Chem.MolToSmiles(mol)
    assert (arrived.mol.GetConformer().GetPositions() == mol.GetConformer().GetPositions()).all()


@pytest.mark.parametrize(("draws", "chunk"), [(1, 8), (512, 8), (2560, 10), (8192, 32), (10**6, 32)])
def test_draws_go_to_workers_in_few_parcels_where_there_are_many(
    draws: int, chunk: int, decoder: ArgmaxDecoder
) -> None:
    assert chunk_of(draws) == chunk
    pool = Counting()
    assert len(list(assess_all([RawSample(0, None, 1)], decoder, pool=pool, chunk=chunk))) == 1
    assert pool.chunks == [chunk]


class Counting(Pool):
    """This process, with the chunks that it is asked for."""

    def __init__(self) -> None:
        self.chunks = list[int]()

    def map_items(self, function: Any, items: Any, *, chunk: int = 1, timeout_s: float) -> Any:
        self.chunks.append(chunk)
        return super().map_items(function, items, chunk=chunk, timeout_s=timeout_s)


def test_a_block_that_came_along_gives_the_same_record(decoder: ArgmaxDecoder) -> None:
    for arrays in (METHANE, METHYL, SQUEEZED):
        found = assess(RawSample(0, arrays, -1), decoder)
        assert found.block.endswith("\nM  END")
        for result in (found, found.without_hydrogens()):
            record = result.sdf_record({"draw": 0}, 0, "m")
            assert record is not None and record == replace(result, block="").sdf_record({"draw": 0}, 0, "m")
            assert record == copy.deepcopy(result).sdf_record({"draw": 0}, 0, "m")
            assert result.packed() == replace(result, data=b"").packed()
    assert assess(RawSample(0, None, 1), decoder).block == ""


def test_a_molecule_that_cannot_be_written_has_no_block(
    decoder: ArgmaxDecoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(mol: Chem.Mol) -> str:
        raise ValueError("no block")

    monkeypatch.setattr(molecule_result, "headless_block", broken)
    found = assess(RawSample(0, METHANE, -1), decoder)
    assert (found.status, found.block) == (Status.VALID, "")
    assert found.sdf_record({}, 0, "m") is None


def test_a_molecule_that_does_not_become_bytes_is_failed(
    decoder: ArgmaxDecoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(mol: Chem.Mol) -> bytes:
        raise RuntimeError("Pickle Error")

    monkeypatch.setattr(molecule_result, "to_bytes", broken)
    found = assess(RawSample(7, METHANE, -1), decoder)
    assert (found.number, found.status, found.mol) == (7, Status.FAILED, None)


def test_first_numbers_are_those_of_a_dictionary_in_a_fraction_of_its_memory() -> None:
    found, known = FirstNumbers(), dict[int, int]()
    draws = np.random.default_rng(0).integers(0, 30_000, size=50_000)
    keys = [text_key(f"C{number}") if number else 0 for number in draws.tolist()]
    for number, key in enumerate(keys):
        assert found.setdefault(key, number) == known.setdefault(key, number)
    assert len(found) == len(known)
    assert sum(sys.getsizeof(part) for part in vars(found).values()) < 50 * len(known)
    crowded = [(number << 40) + 7 for number in range(5)]  # one place for all
    assert [found.setdefault(key, place) for place, key in enumerate(crowded * 2)] == [0, 1, 2, 3, 4] * 2
