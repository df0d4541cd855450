"""Generation: every draw accounted for, the same molecules whatever the batch, and what happens when it goes wrong."""

import contextlib
import csv
import hashlib
import json
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from generating import generate_files, nonzero, options_of
from methane import METHANE, METHYL, SQUEEZED
from rdkit import Chem

import moldiff
from moldiff.arguments import with_plain_numbers
from moldiff.arrays import MolArrays, RawSample
from moldiff.diffusion.preconditioning import PreconditionedDenoiser
from moldiff.errors import MoldiffError
from moldiff.generation import generate_run
from moldiff.generation.decoding.decoders import ArgmaxDecoder
from moldiff.generation.generate import generation_run
from moldiff.generation.generate_run import GenerateRun
from moldiff.generation.molecule_result import MoleculeResult
from moldiff.generation.options.output import OutputOptions
from moldiff.generation.result_counts import ResultCounts
from moldiff.models.folder import load_model_folder, save_model_folder
from moldiff.models.molecule_model import MoleculeModel
from moldiff.nn.network import EquivariantNetwork
from moldiff.sampling import molecule_sampler
from moldiff.sampling.conditions import size_distribution
from moldiff.sampling.microbatches import CPU_ROWS, MicroBatches
from moldiff.sampling.molecule_sampler import MoleculeSampler
from moldiff.sampling.solvers import SOLVERS


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Draws 0, 3, 6, ... are methane, 1, 4, ... a methyl radical, 2 never finite, 5, 8, ... squeezed methane."""

    def draw(self: MoleculeSampler, first: int, count: int) -> Iterator[RawSample]:
        for number in reversed(range(first, first + count)):
            arrays = [METHANE, METHYL, SQUEEZED][number % 3]
            yield RawSample(number, None if number == 2 else arrays, 7 if number == 2 else -1)

    monkeypatch.setattr(MoleculeSampler, "draw", draw)


def positions(model: MoleculeModel, batch_size: int, n: int, seed: int = 0) -> dict[int, MolArrays]:
    molecule_sampler = MoleculeSampler(model, SOLVERS["ddpm"], 6, seed)
    found = {}
    for first in range(0, n, batch_size):
        for draw in molecule_sampler.draw(first, min(batch_size, n - first)):
            assert draw.arrays is not None
            found[draw.number] = draw.arrays
    return found


@pytest.mark.parametrize("batch_size", [1, 7])
def test_a_molecule_does_not_depend_on_the_batch_size(tiny_model: MoleculeModel, batch_size: int) -> None:
    together, apart = positions(tiny_model, 64, 15), positions(tiny_model, batch_size, 15)
    assert together.keys() == apart.keys() == set(range(15))
    for number in together:
        for name in ("pos", "atom_type", "charge", "bonds"):
            assert np.array_equal(getattr(together[number], name), getattr(apart[number], name)), (number, name)


def test_another_seed_gives_other_molecules(tiny_model: MoleculeModel) -> None:
    one, other = positions(tiny_model, 8, 8), positions(tiny_model, 8, 8, seed=1)
    assert any(one[k].pos.shape != other[k].pos.shape or not np.allclose(one[k].pos, other[k].pos) for k in one)


def test_the_mean_of_every_molecule_is_zero(tiny_model: MoleculeModel) -> None:
    for arrays in positions(tiny_model, 8, 8).values():
        assert np.abs(arrays.pos.mean(0)).max() < 1e-4


def test_every_draw_is_accounted_for(scripted: None, model: Path, tmp_path: Path) -> None:
    out = tmp_path / "m.sdf"
    summary = generate_files(out, n=9, model=str(model), seed=3, batch_size=4)
    assert nonzero(summary.counts) == {"valid": 3, "invalid": 5, "failed": 1}
    assert sum(summary.counts.values()) == summary.requested == summary.drawn == 9
    assert summary.results.unique == 1
    rows = list(csv.DictReader(out.with_suffix(".csv").open()))
    assert [int(row["draw"]) for row in rows] == list(range(9))
    assert [row["status"] for row in rows[:3]] == ["valid", "invalid", "failed"]
    assert rows[2]["reason"] == "not finite: at step 7"
    assert all(row["reason"] for row in rows if row["status"] != "valid")
    assert [row["duplicate_of"] for row in rows if row["status"] == "valid"] == [
        "",
        rows[0]["moldiff_id"],
        rows[0]["moldiff_id"],
    ]
    molecules = list(Chem.SDMolSupplier(str(out), removeHs=False))
    assert [mol.GetProp("draw") for mol in molecules] == ["0", "3", "6"]
    assert all(Chem.MolToSmiles(Chem.RemoveHs(mol)) == "C" for mol in molecules)
    assert {mol.GetProp("moldiff_seed") for mol in molecules} == {"3"}
    record = json.loads((tmp_path / "m.run.json").read_text())
    assert record["counts"] == summary.counts
    assert record["model_sha256"] == load_model_folder(model).sha256
    assert "9 requested = 3 valid + 5 invalid + 0 filtered + 0 duplicate + 0 withheld + 1 failed" in summary.line()


def test_keep_invalid_writes_what_can_be_written(scripted: None, model: Path, tmp_path: Path) -> None:
    generate_files(tmp_path / "m.sdf", n=6, model=str(model), keep_invalid=True)
    supplier = Chem.SDMolSupplier(str(tmp_path / "m.sdf"), removeHs=False, sanitize=False)
    assert [mol.GetProp("draw") for mol in supplier] == ["0", "1", "3", "4", "5"]


def test_files_do_not_depend_on_the_number_of_threads(model: Path, tmp_path: Path) -> None:
    before = torch.get_num_threads()
    files = []
    try:
        for threads in (1, 4):
            torch.set_num_threads(threads)
            out = tmp_path / f"{threads}.sdf"
            generate_files(out, n=40, model=str(model), evaluations=3, n_atoms=(3, 20), keep_invalid=True, renoise=1)
            files.append((out.read_bytes(), out.with_suffix(".csv").read_bytes()))
    finally:
        torch.set_num_threads(before)
    assert files[0] == files[1]


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_the_network_computes_in_the_precision_asked_for(
    model: Path, tmp_path: Path, precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    found, made = set(), set()
    forward, denoise = EquivariantNetwork.forward, PreconditionedDenoiser.forward

    def network(self, *arguments):
        found.add(torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else torch.float32)
        return forward(self, *arguments)

    def denoiser(self, batch, *arguments):
        prediction = denoise(self, batch, *arguments)
        made.update((prediction.pos.dtype, prediction.bond_type.dtype, len(batch)))
        return prediction

    monkeypatch.setattr(EquivariantNetwork, "forward", network)
    monkeypatch.setattr(PreconditionedDenoiser, "forward", denoiser)
    generate_files(tmp_path / "m.sdf", n=3, model=str(model), evaluations=2, precision=precision)
    expected = getattr(torch, precision)
    assert found == {expected}
    assert made == {torch.float32, CPU_ROWS}
    record = json.loads((tmp_path / "m.run.json").read_text())
    assert (record["precision"], record["options"]["precision"]) == (precision, precision)


def test_a_temperature_is_told_and_changes_the_molecules(model: Path, tmp_path: Path) -> None:
    def made(name: str, **asked: float) -> tuple[str, dict[str, Any], str]:
        summary = generate_files(tmp_path / name, n=6, model=str(model), evaluations=5, keep_invalid=True, **asked)
        options = json.loads((tmp_path / name).with_suffix(".run.json").read_text())["options"]
        rows = list(csv.DictReader((tmp_path / name).with_suffix(".csv").open()))
        assert summary.drawn == 6
        return (tmp_path / name).read_text(), options, rows[0]["moldiff_id"]

    plain, told, number = made("plain.sdf")
    assert told["temperature"] == 1
    assert made("one.sdf", temperature=1) == (plain, told, number)
    _, told, other = made("cool.sdf", temperature=0.3)
    assert told["temperature"] == 0.3
    assert other != number
    blocks = [
        [Chem.MolToXYZBlock(mol).split("\n")[2:] for mol in Chem.SDMolSupplier(str(tmp_path / name), False, False)]
        for name in ("plain.sdf", "one.sdf", "cool.sdf")
    ]
    assert blocks[0] == blocks[1] != blocks[2]


@pytest.mark.parametrize("batch_size", [1, 5, 512])
def test_until_valid_ends_at_the_same_draw(scripted: None, model: Path, tmp_path: Path, batch_size: int) -> None:
    out = tmp_path / f"{batch_size}.sdf"
    summary = generate_files(out, n=4, model=str(model), until_valid=True, batch_size=batch_size)
    assert summary.counts["valid"] == 4
    assert summary.drawn == 10
    assert len(list(csv.DictReader(out.with_suffix(".csv").open()))) == 10


def test_until_valid_gives_up_and_says_so(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def draw(self: MoleculeSampler, first: int, count: int) -> Iterator[RawSample]:
        return (RawSample(number, METHYL, -1) for number in range(first, first + count))

    monkeypatch.setattr(MoleculeSampler, "draw", draw)
    with pytest.raises(MoldiffError, match="only 0 of 3 valid molecules in 30 draws"):
        generate_files(tmp_path / "m.sdf", n=3, model=str(model), until_valid=True)
    assert len(list(csv.DictReader((tmp_path / "m.csv").open()))) == 30


def test_the_python_function_says_if_none_is_valid(model: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert moldiff.generate(n=3, model=model, evaluations=2, n_atoms=9).molecules == []
    assert "none of the 3 molecules that were drawn is valid" in caplog.text


def test_the_python_function_returns_valid_molecules(scripted: None, model: Path) -> None:
    molecules = moldiff.generate(n=9, model=model, seed=0)
    assert [mol.GetProp("draw") for mol in molecules] == ["0", "3", "6"]
    assert all(mol.GetNumConformers() == 1 for mol in molecules)
    assert len(moldiff.generate(n=9, model=model, keep_invalid=True)) == 8


def test_less_memory_means_smaller_micro_batches(
    tiny_model: MoleculeModel, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    expected = positions(tiny_model, 64, 12)
    original = molecule_sampler.sample

    def short_of_memory(*arguments: object) -> object:
        template = arguments[3]
        if len(template) > 2:  # type: ignore[arg-type]
            raise torch.OutOfMemoryError("no memory")
        return original(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(molecule_sampler, "sample", short_of_memory)
    found = positions(tiny_model, 64, 12)
    assert found.keys() == expected.keys()
    for number in expected:
        np.testing.assert_allclose(found[number].pos, expected[number].pos, atol=1e-3)
    assert "going on with 2 molecules at a time" in caplog.text


def test_what_was_done_before_memory_ran_out_stands() -> None:
    done: list[list[int]] = []

    def work(items: list[int]) -> list[int]:
        if len(items) > 2 and 9 in items:
            raise torch.OutOfMemoryError("no memory")
        done.append(items)
        return [10 * item for item in items]

    batches = MicroBatches(torch.device("cpu"), rows=4)
    found = list(batches.run(list(range(11)), [2] * 8 + [1] * 3, work))
    assert found == [(place, 10 * place) for place in range(11)]
    assert done == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9], [10, 10]]
    assert batches.rows == 2


def test_no_memory_at_all_is_one_line(tiny_model: MoleculeModel, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_memory(*_: object) -> None:
        raise RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr(molecule_sampler, "sample", no_memory)
    with pytest.raises(MoldiffError, match="memory does not suffice for one molecule"):
        positions(tiny_model, 64, 4)


def test_sizes_follow_the_training_data_or_the_request(tiny_model: MoleculeModel) -> None:
    numbers = torch.arange(6000)
    free = np.bincount(MoleculeSampler(tiny_model, SOLVERS["ddpm"], 1, 0).size(numbers), minlength=16)
    assert set(np.flatnonzero(free)) == {5, 9, 12, 15}
    assert abs(free[9] / 6000 - 1 / 3) < 0.03
    asked = MoleculeSampler(tiny_model, SOLVERS["ddpm"], 1, 0, (9, 12)).size(numbers)
    assert set(asked.tolist()) == {9, 12}
    sizes, cumulative = size_distribution({5: 1}, (20, 22))
    assert sizes.tolist() == [20, 21, 22]
    assert cumulative.tolist() == [1, 2, 3]


def test_a_size_outside_the_training_range_is_a_warning(
    model: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    summary = generate_files(tmp_path / "m.sdf", n=2, model=str(model), n_atoms=(40, 40), evaluations=2)
    assert summary.drawn == 2
    assert "outside the training data's 5..15 atoms" in caplog.text


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"n": 0}, "n must be at least 1"),
        ({"evaluations": 0}, "evaluations must be at least 1"),
        ({"batch_size": -1}, "batch_size must be at least 1"),
        ({"seed": -1}, "seed must be in"),
        ({"sampler": "ddpn"}, "did you mean 'ddpm'"),
        ({"n_atoms": (5, 4)}, "n_atoms must be a range"),
        ({"device": "gpu"}, "unknown device"),
        ({"precision": "float16"}, "unknown precision 'float16'.*did you mean 'bfloat16'"),
    ],
)
def test_arguments_out_of_range(model: Path, tmp_path: Path, arguments: dict[str, object], words: str) -> None:
    with pytest.raises(MoldiffError, match=words):
        generate_files(tmp_path / "m.sdf", **{"n": 2, "model": str(model), **arguments})  # type: ignore[arg-type]
    assert list(tmp_path.glob("*.sdf")) == []


def test_nothing_is_written_over(scripted: None, model: Path, tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_text("mine")
    with pytest.raises(MoldiffError, match=r"m\.csv exists already"):
        generate_files(tmp_path / "m.sdf", n=2, model=str(model))
    generate_files(tmp_path / "m.sdf", n=2, model=str(model), overwrite=True)
    assert "moldiff_id" in (tmp_path / "m.csv").read_text()


def test_the_record_has_the_name_of_its_output(scripted: None, model: Path, tmp_path: Path) -> None:
    generate_files(tmp_path / "a.sdf", n=2, model=str(model))
    generate_files(tmp_path / "b.sdf", n=2, model=str(model))
    for name in ("a", "b"):
        assert json.loads((tmp_path / f"{name}.run.json").read_text())["output"] == f"{name}.sdf"


def test_a_set_without_its_record_is_said_to_be_unfinished(scripted: None, model: Path, tmp_path: Path) -> None:
    generate_files(tmp_path / "a.sdf", n=2, model=str(model))
    with pytest.raises(MoldiffError, match=r"exists already; choose another name or pass overwrite$"):
        generate_files(tmp_path / "a.sdf", n=2, model=str(model))
    (tmp_path / "a.run.json").unlink()
    with pytest.raises(MoldiffError, match="it has no run record: unfinished, or from elsewhere"):
        generate_files(tmp_path / "a.sdf", n=2, model=str(model))


def test_an_older_record_goes_when_its_molecules_go(scripted: None, model: Path, tmp_path: Path) -> None:
    old = tmp_path / "run.json"
    for name, stays in (("m.sdf", False), ("other.sdf", True)):
        old.write_text(json.dumps({"output": name}))
        generate_files(tmp_path / "m.sdf", n=2, model=str(model), overwrite=True)
        assert old.exists() == stays


def test_progress_of_a_resumed_run_begins_with_what_is_there(
    model: Path, tmp_path: Path, usual_signals: None, caplog: pytest.LogCaptureFixture
) -> None:
    """Whoever tells the time left has to know what took none of it."""

    def run(resume: bool) -> GenerateRun:
        output = OutputOptions(path=tmp_path / "m.sdf", resume=resume, keep_invalid=True)
        return generation_run(options_of(n=12, model=str(model), batch_size=4, evaluations=2, output=output))

    told: list[int] = []

    def stop(done: int) -> None:
        told.append(done)
        if done >= 6:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        run(False).write(stop)
    assert told[0] == 0
    (there,) = (int(message.split()[2]) for message in caplog.messages if message.startswith("interrupted after"))
    told.clear()
    run(True).write(told.append)
    assert 0 < told[0] <= there < told[-1] == 12


@pytest.mark.parametrize("stop", range(6))
def test_no_set_is_torn_unseen(
    scripted: None, packed_targets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop: int
) -> None:
    """The program ends at any one of the renames: the old set is whole, or there is no run record."""
    asked: dict[str, Any] = {"n": 3, "model": str(packed_targets), "targets": "logp=0.5", "overwrite": True}
    generate_files(tmp_path / "m.sdf", **asked)
    before = {path.name: path.read_bytes() for path in tmp_path.glob("m.*")}
    replace, calls = os.replace, []

    def killed(*arguments: Any) -> None:
        calls.append(1)
        if len(calls) > stop:
            raise KeyboardInterrupt
        replace(*arguments)

    monkeypatch.setattr(os, "replace", killed)
    with contextlib.suppress(KeyboardInterrupt):
        generate_files(tmp_path / "m.sdf", **{**asked, "n": 6})
    after = {path.name: path.read_bytes() for path in tmp_path.glob("m.*")}
    assert not list(tmp_path.glob(".*.part"))
    if "m.run.json" in after:
        record = json.loads(after["m.run.json"])
        assert record["requested"] == 6
        assert record["output_sha256"] == hashlib.sha256(after["m.sdf"]).hexdigest()
        assert stop >= 4
    else:
        assert before.keys() - after.keys() == {"m.run.json"}


@pytest.fixture
def packed_targets(tmp_path: Path, tiny_model: MoleculeModel) -> Path:
    folder, weights = tmp_path / "packed", tiny_model.denoiser.state_dict()
    references = {"condition_rows": torch.tensor([[9.0, 0.5], [12.0, 0.6]])}
    config = tiny_model.config_json()
    save_model_folder(folder, weights=weights, config=config, references=references, card="#", half=True)
    return folder


def test_all_draws_failed_is_an_error(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        MoleculeSampler, "draw", lambda self, first, count: (RawSample(k, None, 3) for k in range(first, first + count))
    )
    with pytest.raises(MoldiffError, match="all 4 draws failed; the first: not finite: at step 3; what was made"):
        generate_files(tmp_path / "m.sdf", n=4, model=str(model))
    assert json.loads((tmp_path / "m.run.json").read_text())["problem"].startswith("all 4 draws failed")


def test_a_lost_draw_is_an_error(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lost = {3}

    def draw(self: MoleculeSampler, first: int, count: int) -> Iterator[RawSample]:
        return (RawSample(k, METHANE, -1) for k in range(first, first + count) if k not in lost)

    monkeypatch.setattr(MoleculeSampler, "draw", draw)
    with pytest.raises(MoldiffError, match="only 3 of 4 draws came out"):
        generate_files(tmp_path / "m.sdf", n=4, model=str(model))
    with pytest.raises(MoldiffError, match="draw 3 was lost on the way"):
        generate_files(tmp_path / "o.sdf", n=5, model=str(model))
    assert [path.name for path in tmp_path.glob("o.*")] == ["o.sdf.unfinished"], "what came before is not lost"


def test_the_next_batch_is_begun_before_the_last_one_is_converted(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[str] = []

    def draw(self: MoleculeSampler, first: int, count: int) -> Iterator[RawSample]:
        order.append(f"begin {first}")
        return (RawSample(k, METHANE, -1) for k in range(first, first + count))

    original = MoleculeResult.row
    monkeypatch.setattr(MoleculeSampler, "draw", draw)
    monkeypatch.setattr(
        MoleculeResult, "row", lambda self, *columns: order.append(f"write {self.number}") or original(self, *columns)
    )
    generate_files(tmp_path / "m.sdf", n=3, model=str(model), batch_size=1)
    assert order == ["begin 0", "begin 1", "write 0", "begin 2", "write 1", "write 2"]
    order.clear()
    generate_files(tmp_path / "v.sdf", n=2, model=str(model), batch_size=1, until_valid=True)
    assert order == ["begin 0", "write 0", "begin 1", "write 1"]


def test_draws_are_judged_while_others_are_drawn(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []

    def draw(self: MoleculeSampler, first: int, count: int) -> Iterator[RawSample]:
        for number in reversed(range(first, first + count)):
            order.append(f"draw {number}")
            yield RawSample(number, METHANE, -1)

    original = ArgmaxDecoder.decode
    monkeypatch.setattr(MoleculeSampler, "draw", draw)
    monkeypatch.setattr(
        ArgmaxDecoder, "decode", lambda self, one: order.append(f"judge {one.number}") or original(self, one)
    )
    generate_files(tmp_path / "m.sdf", n=3, model=str(model))
    assert order == ["draw 2", "judge 2", "draw 1", "judge 1", "draw 0", "judge 0"]
    rows = list(csv.DictReader((tmp_path / "m.csv").open()))
    assert [row["draw"] for row in rows] == ["0", "1", "2"]


def test_ranges_of_draws_made_apart_are_parts_of_one_run(model: Path, tmp_path: Path) -> None:
    keywords: dict[str, Any] = {"model": str(model), "evaluations": 3, "seed": 5, "keep_invalid": True}
    generate_files(tmp_path / "all.sdf", n=7, **keywords)
    generate_files(tmp_path / "a.sdf", n=3, **keywords)
    generate_files(tmp_path / "b.sdf", n=4, first=3, **keywords)
    whole, *parts = ((tmp_path / f"{name}.sdf").read_text() for name in ("all", "a", "b"))
    assert whole == "".join(parts) and whole.count("$$$$") > 1
    with pytest.raises(MoldiffError, match="first must be in 0"):
        moldiff.generate(1, first=-1)
    with pytest.raises(MoldiffError, match="score and first do not go together"):
        moldiff.generate(1, first=3, score="qed", score_weight=1)
    late = moldiff.generate(2, first=5, model=model, evaluations=3, seed=5, keep_invalid=True)
    assert list(late.table["draw"]) == [5, 6]


def test_an_output_that_appeared_during_the_work_is_not_replaced(model: Path, tmp_path: Path) -> None:
    """Two runs were asked for the same file; the other one was faster."""
    run = generation_run(
        options_of(n=1, model=str(model), evaluations=2, output=OutputOptions(path=tmp_path / "a.sdf"))
    )
    (tmp_path / "a.sdf").write_text("of another run")
    with pytest.raises(MoldiffError, match="exists already"):
        run.write()
    assert [path.name for path in tmp_path.iterdir() if path.name != "model[1]"] == ["a.sdf"]


@pytest.mark.parametrize(
    ("least", "made", "seconds", "size"),
    [(8192, 0, 0.0, 8192), (8192, 8192, 4.0, 30720), (8192, 8192, 100.0, 8192), (8192, 10**6, 10.0, 1 << 15)],
)
def test_a_fast_card_takes_more_draws_at_a_time(least: int, made: int, seconds: float, size: int) -> None:
    assert generate_run.filling_size(least, made, seconds) == size


@pytest.mark.parametrize(
    ("device", "asked", "sizes"), [("cuda", None, [512, 6000]), ("cuda", 100, [100, 100]), ("cpu", None, [512, 512])]
)
def test_that_is_so_where_nobody_said_how_many(
    model: Path, monkeypatch: pytest.MonkeyPatch, device: str, asked: int | None, sizes: list[int]
) -> None:
    run = GenerateRun(options_of(n=100_000, model=model, batch_size=asked))
    run.device = torch.device(device)
    now = iter([10.0, 10.0, 12.0])
    monkeypatch.setattr(generate_run, "time", SimpleNamespace(monotonic=lambda: next(now)))
    drawn = [3000]  # by an earlier run
    monkeypatch.setattr(ResultCounts, "drawn", property(lambda self: drawn[0]))
    batches = run._batches(48)
    found = [next(batches)]
    drawn[0] += 800
    found.append(next(batches))
    assert found == [(3000, sizes[0]), (3000 + sizes[0], sizes[1])]


def test_numbers_of_numpy_are_those_of_python(packed: Path, tmp_path: Path) -> None:
    """They come from columns and ranges, and are no texts of JSON."""
    plain = {"n": 2, "seed": 3, "batch_size": 1, "first": 5, "evaluations": 3, "renoise": 1, "temperature": 0.75}
    kinds = (np.int64, np.uint64, np.int16, np.int32, np.uint8, np.int8, np.float32)
    given = {name: kind(value) for (name, value), kind in zip(plain.items(), kinds, strict=True)}
    for name, asked in (("plain", plain), ("numpy", given)):
        result = moldiff.generate(**asked, model=packed, n_atoms=5, keep_invalid=True)
        assert json.loads(json.dumps(result.summary.requested)) == 2
        result.save(tmp_path / f"{name}.sdf")
    read = [(tmp_path / f"{name}.sdf").read_bytes() for name in ("plain", "numpy")]
    assert read[0] == read[1]
    records = [json.loads((tmp_path / f"{name}.run.json").read_text()) for name in ("plain", "numpy")]
    assert records[0]["options"] == records[1]["options"]


@pytest.mark.parametrize(
    "function",
    [
        moldiff.conformers,
        moldiff.evaluate,
        moldiff.filter,
        moldiff.likelihood,
        moldiff.prepare,
        moldiff.screen,
        moldiff.vary,
    ],
)
def test_every_job_takes_numbers_of_numpy(function: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, object] = {}

    def spy(*args: object, **kwargs: object) -> None:
        seen.update(kwargs)

    decorated = with_plain_numbers(spy)
    decorated(seed=np.int64(1), share=np.float16(0.5), flag=np.bool_(True), name="x")
    assert [type(value) for value in seen.values()] == [int, float, np.bool_, str]
    assert function.__code__ is decorated.__code__, "decorated alike"
