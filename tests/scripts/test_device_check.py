"""The check of a device: on a CPU all of it runs, with and without the packages that it can do without; what fails,
takes too long or finds no time is a row."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from script import SCRIPTS, load_script

from moldiff.datasets.prepared import DeviceArrays
from moldiff.models.molecule_model import MoleculeModel

check = load_script("device_check")
cost, sampling, setting, stand_ins, training = (
    load_script(f"device/{name}") for name in ("cost", "sampling", "setting", "stand_ins", "training")
)
CPU = torch.device("cpu")
BARE = (
    "rdkit", "pydantic", "yaml", "pytorch_lightning", "e3nn", "scipy", "pandas", "rich", "typer", "pebble",
    "matplotlib",
)  # fmt: skip
RUN_BARE = f"""
import sys
for name in {BARE!r}:
    sys.modules[name] = None
from scripts.device_check import main
sys.exit(main(sys.argv[1:]))
"""


def short() -> Any:
    return setting.Setting.short(CPU, torch.float32)


def figures_of(record: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {
        one["name"]: {figure["name"]: figure["value"] for figure in one["figures"]} for one in record["measurements"]
    }


def assert_equalities(figures: dict[str, dict[str, Any]]) -> None:
    """Whatever the speed, on a CPU all is the same bit by bit."""
    for value in figures["one evaluation"].values():
        assert value == 0
    assert figures["draws repeated"]["molecules that are the same when drawn again"] == "8 of 8"
    assert figures["draws repeated"]["molecules that are the same in other company"] == "4 of 4"
    for how in ("repeated", "by graph and eagerly"):
        assert figures["trainings compared"][f"losses, {how}"] == 0
        assert figures["trainings compared"][f"weights, {how}"] == "the same bits"


def test_on_a_cpu_all_of_it_runs_and_is_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "device.md"
    assert check.main(["--device", "cpu", "--precision", "float32", "-o", str(out)]) == 0
    record = json.loads(out.with_suffix(".json").read_text(encoding="utf-8"))
    states = {one["name"]: one["state"] for one in record["measurements"]}
    assert states.pop("training, compiled") == "not measured"
    assert set(states.values()) == {"measured"}
    assert record["short"]
    figures, text = figures_of(record), out.read_text(encoding="utf-8")
    assert_equalities(figures)
    for name in states:
        assert f"| {name} | " in text
    for part in ("network", "noise", "transfer and unpacking"):
        assert 0 < figures["parts of drawing"][f"share of {part}"] < 2
    assert "qm9_fast, with RDKit" in figures["drawing, end to end"]
    assert "Not measured:\n\n- training, compiled: " in text
    assert text in capsys.readouterr().out


def test_it_runs_without_rdkit_pydantic_yaml_and_lightning_and_says_what_it_skips(tmp_path: Path) -> None:
    names = ["one evaluation", "draws repeated", "trainings compared", "drawing, end to end"]
    out = tmp_path / "device.md"
    words = ["--device", "cpu", "--precision", "float32", "--only", ";".join(names), "-o", str(out)]
    done = subprocess.run(
        [sys.executable, "-c", RUN_BARE, *words],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(SCRIPTS.parent), *sys.path])},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    record = json.loads(out.with_suffix(".json").read_text(encoding="utf-8"))
    assert [one["name"] for one in record["measurements"]] == names
    assert record["missing"] == ["rdkit", "pydantic", "yaml", "pytorch_lightning"]
    assert_equalities(figures_of(record))
    assert record["measurements"][-1]["state"] == "skipped"
    assert "- drawing, end to end: needs rdkit, pydantic, yaml" in out.read_text(encoding="utf-8")


def outcome(work: Any, *, seconds: float = 10, left: float = 100, needs: tuple[str, ...] = ()) -> Any:
    return check.outcome_of(check.Measurement("this", seconds, work, needs), short(), ("rdkit",), left)


def test_what_fails_is_a_row_that_keeps_what_was_measured_before() -> None:
    def work(setting: Any, seconds: float) -> Iterator[Any]:
        yield sampling.Figure("first", 1.0)
        yield sampling.Figure("second", float("nan"))
        raise RuntimeError("CUDA | error:\n an illegal memory access")

    found = outcome(work)
    assert (found.state, [figure.name for figure in found.figures]) == ("failed", ["first", "second"])
    json.dumps([vars(figure) for figure in found.figures], allow_nan=False)
    text = check.page(check.described(CPU, (), (), True), [found])
    for row in (
        "| this | first | 1 |  |",
        "| this | second | nan |  |",
        "| this | | failed: RuntimeError: CUDA / error: an illegal memory access | |",
    ):
        assert f"\n{row}\n" in text


def test_what_takes_longer_than_its_share_is_stopped_even_where_exceptions_are_caught() -> None:
    def work(setting: Any, seconds: float) -> Iterator[Any]:
        try:
            time.sleep(20)
        except Exception:  # noqa: BLE001 - as a compiler does that goes on eagerly
            yield sampling.Figure("none", 0.0)

    start = time.perf_counter()
    found = outcome(work, seconds=0.1)
    assert time.perf_counter() - start < 10
    assert (found.state, found.figures) == ("failed", ())
    assert "took longer" in found.reason


def test_what_finds_no_time_or_no_package_is_not_begun() -> None:
    def work(setting: Any, seconds: float) -> Iterator[Any]:
        raise AssertionError

    assert (outcome(work, left=3).state, outcome(work, left=-3).state) == ("not measured", "not measured")
    found = outcome(work, needs=("rdkit",))
    assert (found.state, found.reason) == ("skipped", "needs rdkit")


def test_all_measurements_fit_into_four_minutes_and_compilation_is_the_last() -> None:
    known = check.measurements()
    assert sum(one.seconds for one in known) <= check.SECONDS < 240
    assert known[-1].name == "training, compiled"
    with pytest.raises(SystemExit, match="unknown speed of light"):
        check.main(["--only", "ceilings;speed of light"])


def test_trainings_that_differ_are_told_apart() -> None:
    one, other = training.Training(short()), training.Training(short())
    with torch.no_grad():
        next(other.task.trained.parameters()).mul_(1.5)
    loss, weights = training.difference(one, other, "changed")
    assert loss.value > 1e-4
    assert weights.value == "not the same bits"


def test_random_molecules_have_the_widths_that_are_asked_for(tiny_model: MoleculeModel) -> None:
    data = training.random_molecules(tiny_model, [12])
    assert set(data.sizes) == {12}
    batch = DeviceArrays(data, vocabulary=tiny_model.vocabulary).assemble(torch.arange(3), 12)
    chain = torch.zeros(12, 12, dtype=torch.int64)
    chain[range(11), range(1, 12)] = chain[range(1, 12), range(11)] = 1
    assert torch.equal(batch.bond_type, chain.expand(3, -1, -1))
    assert 0.8 < float(batch.pos.std()) / tiny_model.statistics.position_std[12] < 1.2


def test_the_floor_follows_from_bytes_operations_and_ceilings(tiny_model: MoleculeModel) -> None:
    ceiling = short()
    assert [figure.value for figure in cost.Cost(4e9, 3e9).floor(ceiling, 8, 2, "it")] == ["not known"]
    ceiling.bandwidth, ceiling.throughput = 1e9, 1e9
    assert [figure.value for figure in cost.Cost(4e9, 3e9).floor(ceiling, 8, 2, "it")] == pytest.approx([8 / 6, 1])
    found = []
    for rows in (2, 4):
        batch, levels = cost.noisy_batch(tiny_model, 9, rows, CPU)
        denoiser = tiny_model.denoiser
        found.append(cost.cost_of(denoiser, lambda: denoiser(batch, levels, batch.properties, None)))  # noqa: B023
    assert found[1].operations == 2 * found[0].operations > 0
    weights = sum(parameter.nbytes for layer in tiny_model.denoiser.network.layers for parameter in layer.parameters())
    assert found[1].bytes < 2 * found[0].bytes
    assert found[0].bytes > weights


def test_stand_ins_are_sections_without_checks() -> None:
    class Inner(stand_ins.PlainSection):
        width: int = 3

    class Outer(stand_ins.PlainSection):
        data: str
        inner: Inner = Inner()

    found = Outer.model_validate({"data": "here", "inner": {"width": 4}})
    assert found.model_dump() == {"data": "here", "inner": {"width": 4}}
    assert found.model_fields_set == {"data", "inner"}
    assert found.model_copy(update={"data": "there"}).data == "there"
    assert Outer().inner.width == 3
    with pytest.raises(TypeError, match="unknown keys: depth"):
        Inner(depth=1)


def test_compiled_training_is_compared_and_measured(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    if not request.config.getoption("--compiler") or shutil.which("g++") is None:
        pytest.skip("minutes of a C++ compiler: --compiler")
    out = tmp_path / "device.md"
    words = ["--device", "cpu", "--compile", "--seconds", "900", "--only", "training, compiled", "-o", str(out)]
    assert check.main(words) == 0
    figures = figures_of(json.loads(out.with_suffix(".json").read_text(encoding="utf-8")))["training, compiled"]
    assert figures["losses, compiled and eagerly"] < 1e-3
    assert figures["trained by graph, compiled"] > 0


def test_generations_of_given_numbers_are_measured_alone(tmp_path: Path) -> None:
    out = tmp_path / "rates.md"
    assert check.main(["--device", "cpu", "--generate", "qm9_fast=40", "--seconds", "100", "-o", str(out)]) == 0
    (measured,) = json.loads(out.with_suffix(".json").read_text(encoding="utf-8"))["measurements"]
    assert (measured["name"], measured["state"]) == ("drawing, end to end", "measured")
    whole, steady = measured["figures"]
    assert (whole["name"], steady["name"]) == ("qm9_fast, with RDKit", "qm9_fast, steady")
    assert " of 40 molecules valid" in steady["note"] and steady["value"] >= 0
    assert (valid := int(whole["note"].split()[0])) > 0
    seconds = float(whole["note"].split(": ")[1].split()[0])
    assert whole["value"] == pytest.approx(valid / seconds, rel=0.05)
