"""From one's own SDF to a model that is asked for properties, decodes by what it saw and serves as a reference."""

import csv
from collections.abc import Callable
from pathlib import Path

import yaml

from moldiff.models.folder import load_model_folder

NETWORK = {
    "layers": 1, "node_width": 16, "pair_width": 8, "pair_hidden": 8, "vectors": 4, "heads": 2, "global_width": 8,
}  # fmt: skip
TRAINING = {
    "steps": 4, "batch_size": 4, "log_every": 2, "validate_every": 4, "validation_molecules": 4,
    "checkpoint_every": 2, "bf16": False, "device": "cpu", "threads": 1,
}  # fmt: skip


def test_a_fresh_training_is_ready_to_be_asked(
    run: Callable, sample_texts: list[str], write: Callable[..., Path], tmp_path: Path
) -> None:
    """No step but prepare, train and what the user wants: neither packing nor the data again."""
    mine = write(*sample_texts[:60], name="mine.sdf")
    data, config = tmp_path / "data", tmp_path / "train.yaml"
    prepared = run("data", "prepare", mine, "-o", data, "--properties", "logp,heavy_atom_count", "--workers", "1")
    assert prepared.status == 0, prepared.err
    values = {"data": str(data), "output": str(tmp_path / "run"), "network": NETWORK, "training": TRAINING}
    config.write_text(yaml.safe_dump({**values, "conditions": ["logp"], "sampling": {"evaluations": 3}}))
    assert run("train", config).status == 0
    model = tmp_path / "run" / "model"

    out = tmp_path / "asked.sdf"
    asked = run("generate", "--model", model, "--target", "logp=1.0", "--decode", "fitted", "-n", "3", "-o", out)
    assert asked.status == 0, asked.err
    rows = list(csv.DictReader(out.with_suffix(".csv").open()))
    assert [row["target_logp"] for row in rows] == ["1"] * 3
    assert [int(row["evaluations"]) - 6 * int(row["moves"]) for row in rows] == [3] * 3, "the model says how many"

    assert run("vary", mine, "--model", model, "-n", "1", "-o", tmp_path / "varied.sdf").status == 0
    report = ("-o", tmp_path / "report", "--posebusters", "0", "--workers", "1")
    evaluated = run("evaluate", mine, "--reference", model, *report)
    assert evaluated.status == 0, evaluated.err

    assert run("models", "pack", model, "-o", tmp_path / "packed").status == 0
    before, after = load_model_folder(model), load_model_folder(tmp_path / "packed")
    assert before.references.keys() == after.references.keys()
    sizes = [(folder / "model.safetensors").stat().st_size for folder in (model, tmp_path / "packed")]
    assert sizes[1] < 0.8 * sizes[0]
    told = run("models", "info", model)
    assert "3 evaluations by dpmpp_sde, grid window" in told.out
