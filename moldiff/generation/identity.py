"""Identity of a run: what its molecules follow from, as plain data and as a short key for their ids."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from moldiff.run_record import digest, versions

if TYPE_CHECKING:
    from moldiff.generation.options.output import OutputOptions
    from moldiff.generation.run import Run

# of options: said by a hash, or without effect on a molecule
_WITHOUT_EFFECT = frozenset(
    {"model", "property_model", "device", "batch_size", "keep_invalid", "report", "confidence", "trajectory", "shard"}
)
_OF_THE_SET = frozenset(
    {"n", "first", "until", "max_draws", "where", "rules", "alerts", "smarts", "rms", "heavy_only", "hazards"}
)
_LONGEST_NAME = 24


def identity_of(run: Run) -> dict[str, Any]:
    """Return all that the draws of a run follow from, plain JSON."""
    options = {k: v for k, v in run.request.record(run.sampler).items() if k not in _WITHOUT_EFFECT}
    return {
        "task": run.task,
        "model": run.folder.sha256,
        "property network": None if run.guide is None else run.guide.folder.sha256,
        "precision": run.precision,
        **options,
        **run.identity(),
    }


def request_of(run: Run, output: OutputOptions) -> dict[str, Any]:
    """Return what must be the same where one run goes on with the results of another, plain JSON."""
    here = {"device": run.device.type, "confidence": output.confidence, **versions()}
    return json_of(identity_of(run) | {"shard": run.request.record(run.sampler).get("shard")} | here)


def key_of(run: Run) -> str:
    """Return the name of a model and 8 hexadecimal digits: the same for two draws of one seed and number only if they
    are the same molecule. Which draws are asked for, and which of them pass, is no part of it."""
    whole = identity_of(run)
    kept = {name: value for name, value in whole.items() if name not in _OF_THE_SET - run.own_options}
    kept.pop("seed", None)
    name = re.sub(r"[^A-Za-z0-9_.]", "_", run.folder.name)[:_LONGEST_NAME]
    return f"{name}-{digest(kept)[:8]}"


def json_of(value: dict[str, Any]) -> dict[str, Any]:
    """Return a value as JSON reads it again."""
    result: dict[str, Any] = json.loads(json.dumps(value, default=str))
    return result
