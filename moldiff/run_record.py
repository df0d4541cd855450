"""The run record, ``<output>.run.json``: how an SDF or a table was made. Written and read here alone.

| key                              | content                                                                       |
|----------------------------------|-------------------------------------------------------------------------------|
| format, version                  | "moldiff-run", 1; a change of meaning raises the version, new keys may appear |
| task, command                    | generate, vary, conformers or filter; the command line                        |
| options                          | what was asked for, by the names that users give it, nothing left open        |
| output, output_sha256            | name and hash of the SDF or table                                             |
| beside                           | not of filter: name and sha256 of each other file, null for a page with times |
| inputs                           | of filter: name and sha256 of each molecule file                              |
| stages                           | of filter: stage -> records that it cost                                      |
| model_sha256, property_model     | of the model; null, or sha256 and scale of a property network                 |
| device, precision                | as torch names them                                                           |
| requested, drawn, counts         | counts: status -> draws, which add up to drawn                                |
| reasons, decodings, renoised     | code of a reason -> draws; decoding -> status -> draws; re-noised draws       |
| property_failures                | property -> molecules that its calculator failed on                           |
| unique                           | different SMILES among the valid                                              |
| targets, score                   | how each target was met; null, or what came of drawing by a score             |
| problem                          | why the run ended early; empty if it did not                                  |
| network_evaluations_per_molecule | on average over all draws                                                     |
| seconds, versions                | wall time from request to result; of moldiff, Python and libraries            |
"""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from moldiff.errors import MoldiffError
from moldiff.foreign_text import readable
from moldiff.provenance import command_line, versions
from moldiff.reading import read_json, sha256_of

FORMAT, FORMAT_VERSION = "moldiff-run", 1


def record_path(output: Path) -> Path:
    """Return where the record of an SDF, packed or not, or of a table stands."""
    plain = output.with_suffix("") if output.suffix.lower() == ".gz" else output
    return plain.with_suffix(".run.json")


def digest(value: object) -> str:
    """Return the SHA-256 of a value, such as a request, as JSON."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode("utf-8")).hexdigest()


def record_left(record: Path, output: Path) -> dict[str, Any] | None:
    """Return the record of the run that made an output, if that is as the run left it; else None."""
    try:
        value = read_json(record)
        return dict(value) if value["output_sha256"] == sha256_of(output) else None
    except (MoldiffError, KeyError, TypeError, OSError):
        return None


def entry_beside(path: Path, sha256: str | None) -> dict[str, str | None]:
    """Return the entry of a file under ``beside``."""
    return {"file": readable(path.name), "sha256": sha256}


def lost_beside(record: Mapping[str, Any], asked: Iterable[Path]) -> str:
    """Return in words which of the files that are asked for beside an output is not as the run left it; "" = none.

    An old record lists none: then a file that is there counts as whole.
    """
    listed = record.get("beside")
    for path in asked:
        if not path.is_file():
            return f"{path} is not there"
        if listed is not None and not any(
            entry in listed for entry in (entry_beside(path, None), entry_beside(path, sha256_of(path)))
        ):
            return f"{path} is not what that run wrote"
    return ""


def begins_anew(output: Path, lost: str, overwrite: bool) -> bool:
    """Return whether a run that has ended is made again; MoldiffError if something is lost of it, and may not be.

    Args:
        output: of the run, which is whole.
        lost: see `lost_beside`.
        overwrite: it may.
    """
    if lost and not overwrite:
        raise MoldiffError(
            f"{output} is whole, but {lost}; pass overwrite to make all of it again, or choose another name",
            argument="overwrite",
        )
    return bool(lost)


def is_output(path: Path) -> bool:
    """Return whether a run record beside a file says that moldiff wrote it."""
    try:
        record = read_json(record_path(path))
        return bool(record["format"] == FORMAT and record["output"] == readable(path.name))
    except (MoldiffError, KeyError, TypeError):
        return False


def old_record(output: Path) -> Path | None:
    """Return where moldiff 0.1 and older left the record of an SDF, ``run.json``; None if it is not there."""
    path = output.with_name("run.json")
    try:
        return path if read_json(path)["output"] == readable(output.name) else None
    except (MoldiffError, KeyError, TypeError):
        return None


def run_record(
    *,
    task: str,
    options: Mapping[str, object],
    output: str,
    output_sha256: str,
    made_by: Mapping[str, object],
    results: Mapping[str, object],
) -> dict[str, Any]:
    """Return a run record, plain JSON types; the module's table says what each key means.

    Args:
        task: what was done.
        options: by their public names.
        output, output_sha256: the SDF.
        made_by: model and device.
        results: counts and times.
    """
    return {
        "format": FORMAT,
        "version": FORMAT_VERSION,
        "task": task,
        "command": command_line(),
        "options": dict(options),
        "output": output,
        "output_sha256": output_sha256,
        **made_by,
        **results,
        "versions": {"python": platform.python_version(), **versions()},
    }


@dataclass(frozen=True)
class Generation:
    """The cost of a file, from its run record.

    Attributes:
        sampler: name of the update rule.
        decoding: how predictions became molecules; "argmax" is the plain way, any other makes another kind of row;
            "given" where the molecules' graphs were given.
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
    """Return how the SDF ``path`` with this hash was made; None without a run record of just this file beside it.

    A ``run.json`` of before the format had a version is read as well.
    """
    for record in (record_path(path), path.with_name("run.json")):
        try:
            value = read_json(record)
            if value["output_sha256"] == sha256:
                options = value["options"] if value.get("format") == FORMAT else value["request"]
                return Generation(
                    sampler=str(options["sampler"]),
                    decoding=str(options.get("decode", "given")),
                    renoise=int(options.get("renoise", 0)),
                    evaluations=float(value["network_evaluations_per_molecule"]),
                    drawn=int(value["drawn"]),
                    seconds_per_1000=1000 * float(value["seconds"]) / int(value["drawn"]),
                    device=str(value["device"]),
                    batch_size=int(options["batch_size"]),
                    model_sha256=str(value["model_sha256"]),
                )
        except (MoldiffError, KeyError, TypeError, ValueError, ZeroDivisionError):
            continue  # missing, or the record of something else: the file came from elsewhere
    return None
