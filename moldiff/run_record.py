"""How an evaluated file was made: what the record of `moldiff generate` beside it tells about cost."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from moldiff.errors import MoldiffError
from moldiff.files import read_json


@dataclass(frozen=True)
class Generation:
    """The cost of a file, from its run record.

    Attributes:
        sampler: name of the update rule.
        decoding: how predictions became molecules; "argmax" is the plain way, any other makes another kind of row.
        renoise: how often a failed draw could be noised and denoised again; above 0 it is another kind of row too.
        evaluations: of the network, for each molecule on average.
        drawn: molecules drawn, whether the file holds them or not.
        seconds_per_1000: wall seconds for 1,000 draws, loading the model included.
        device: as torch names it.
        batch_size: molecules at a time.
        model_sha256: of the model folder.
    """

    sampler: str
    decoding: str
    renoise: int
    evaluations: float
    drawn: int
    seconds_per_1000: float
    device: str
    batch_size: int
    model_sha256: str

    def to_json(self) -> dict[str, Any]:
        """Return the attributes."""
        return dict(vars(self))

    def line(self) -> str:
        """Return one line for the terminal."""
        again = f", failed ones re-noised up to {self.renoise} times" if self.renoise else ""
        return (
            f"{self.drawn} drawn by {self.sampler}, {self.decoding} decoding{again}: {self.evaluations:g} network "
            f"evaluations each, {self.seconds_per_1000:.4g} s per 1,000 molecules on {self.device} "
            f"(batch size {self.batch_size})"
        )


def read_generation(path: Path, sha256: str) -> Generation | None:
    """Return how the SDF ``path`` with this hash was made; None without a run record of just this file beside it."""
    for record in (path.with_name("run.json"), path.with_suffix(".run.json")):
        try:
            value = read_json(record)
            if value["output_sha256"] == sha256:
                return Generation(
                    sampler=str(value["request"]["sampler"]),
                    decoding=str(value["request"]["decode"]),
                    renoise=int(value["request"].get("renoise", 0)),
                    evaluations=float(value["network_evaluations_per_molecule"]),
                    drawn=int(value["drawn"]),
                    seconds_per_1000=1000 * float(value["seconds"]) / int(value["drawn"]),
                    device=str(value["device"]),
                    batch_size=int(value["request"]["batch_size"]),
                    model_sha256=str(value["model_sha256"]),
                )
        except (MoldiffError, KeyError, TypeError, ValueError, ZeroDivisionError):
            continue  # missing, or the record of something else: the file came from elsewhere
    return None
