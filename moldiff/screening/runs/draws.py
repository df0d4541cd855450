"""Draws of a model as the last input of a run: made once, shard by shard, and kept as text beside it.

A file has a line of JSON for each draw: its status and reason, and the mol block of a valid one. PyTorch is loaded
where draws are made, and nowhere else.
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from moldiff.arguments import check_flag, check_text, count, refusal, seed_number, texts
from moldiff.chem.filters.hazards import STANDARD_GATE, HazardGate
from moldiff.chem.io.capped import MAX_RECORD, TextRecord, capped_lines
from moldiff.chem.io.encodings import open_text
from moldiff.chem.io.records import mol_to_sdf_record
from moldiff.errors import MoldiffError
from moldiff.files import atomic_writer
from moldiff.foreign_text import readable
from moldiff.journal import differences
from moldiff.provenance import versions
from moldiff.reading import check_regular, parse_json
from moldiff.screening.entries import Entry
from moldiff.status import Status

if TYPE_CHECKING:
    from moldiff.generation.model import Model
    from moldiff.generation.run import Run

DRAWS = "draws"
_LONGEST = 2 * MAX_RECORD  # characters of a line: a record as JSON, each of its ends of lines two characters


@dataclass(frozen=True)
class Draws:
    """Draws of a model.

    Attributes:
        model: a built-in model's name or a model folder.
        sha256: of the model.
        records: draws 0 to this.
        seed: of the draws.
        targets: wanted property values, as texts.
        familiar: want rings and bonds that are known, see `moldiff.generation.generate.generate`.
        versions: that make them, as every run record has them; others make other draws.
    """

    model: str
    sha256: str
    records: int
    seed: int
    targets: tuple[str, ...] = ()
    familiar: bool = False
    versions: Mapping[str, str] = field(default_factory=versions, hash=False)

    @property
    def file(self) -> str:
        """The input's name in tables."""
        return f"model {readable(self.model)}"

    def going_on(self, before: Draws | None) -> Draws:
        """Return the same draws by the versions that an earlier plan tells; these, if it tells none or has other
        draws."""
        return before if before is not None and before.versions and self._asks_as(before) else self

    def is_like(self, other: Draws | None) -> bool:
        """Return whether these are the draws of another plan; where one tells no versions, those of the other."""
        if other is None:
            return False
        is_told = self.versions and other.versions
        return self._asks_as(other) and (not is_told or self.versions == other.versions)

    def _asks_as(self, other: Draws) -> bool:
        """Return whether both ask a model for the same, by whatever versions."""
        return replace(other, versions=self.versions) == self

    def make(self, path: Path, first: int, count: int, gate: HazardGate = STANDARD_GATE) -> None:
        """Write some of the draws; a draw is the same in whatever range it is made.

        Args:
            path: of the file.
            first: number of the first draw.
            count: how many.
            gate: what it withholds is not written.

        Raises:
            MoldiffError: no such model, another one or other versions than planned, or the file cannot be written.
        """
        if _model(self.model).sha256 != self.sha256:
            raise MoldiffError(f"{self.file} has changed since the run was planned; start another run")
        if self.versions and (told := differences(self.versions, versions())):
            raise MoldiffError(
                f"{self.file}: its draws were begun with other versions ({told}); use those, or start another run"
            )
        with (
            atomic_writer(path, binary=True) as handle,
            gzip.GzipFile(filename="", fileobj=handle, mode="wb", mtime=0) as packed,
        ):
            for result in self.run(first, count, gate).results():
                value = {"status": str(result.status), "reason": result.reason}
                if result.status == Status.VALID and result.mol is not None:
                    value["block"] = mol_to_sdf_record(result.mol, "", {}).removesuffix("$$$$\n")
                packed.write(json.dumps(value).encode("utf-8") + b"\n")

    def run(self, first: int, count: int, gate: HazardGate = STANDARD_GATE) -> Run:
        """Return the generation of some of the draws; MoldiffError if the model cannot be asked for the targets."""
        from moldiff.generation.generate import generation_run
        from moldiff.generation.options.generation_options import GenerationOptions
        from moldiff.generation.options.sampler_options import SamplerOptions
        from moldiff.generation.options.steering_options import SteeringOptions

        options = GenerationOptions(
            n=count, first=first, model=_model(self.model), sampler=SamplerOptions.of(seed=self.seed), hazards=gate,
            steering=SteeringOptions.of(targets=self.targets, familiar=self.familiar),
        )  # fmt: skip
        return generation_run(options)

    def entries(self, path: Path, number: int, first: int) -> Iterator[Entry]:
        """Yield the records of a file of draws.

        Args:
            path: of the file.
            number: of its first record in the run.
            first: number of its first draw.

        Raises:
            MoldiffError: the file cannot be read.
        """
        check_regular(path)
        try:
            with open_text(path) as handle:
                for place, line in enumerate(capped_lines(path, handle, _LONGEST)):
                    value, name = parse_json(line, str(path)), str(first + place)
                    if not isinstance(value, dict) or not isinstance(value.get("block", ""), str):
                        raise ValueError(f"line {place + 1} is no draw")
                    text = TextRecord(first + place, "sdf", name, value.get("block", ""))
                    judged = None if "block" in value else (Status(value["status"]), str(value["reason"]))
                    yield Entry(number + place, self.file, text, judged=judged)
        except (OSError, EOFError, zlib.error, ValueError, KeyError, MoldiffError) as error:
            raise MoldiffError(f"{path} cannot be read ({str(error)[:80]}); remove it to draw again") from error


def drawn(value: Mapping[str, Any]) -> Draws:
    """Return the draws that a plan tells of; MoldiffError or KeyError if it tells something else."""
    check_text(value["model"], "model")
    check_text(value["sha256"], "sha256")
    check_flag(familiar := value.get("familiar", False), "familiar")
    made_by = value.get("versions", {})  # older plans do not tell: whoever goes on is taken at its word
    if not isinstance(made_by, dict) or not all(isinstance(one, str) for one in made_by.values()):
        raise refusal("versions", "a version for each name", made_by)
    return Draws(
        model=value["model"],
        sha256=value["sha256"],
        records=count(value["records"], "records"),
        seed=seed_number(value["seed"]),
        targets=texts(value.get("targets", ()), "targets"),
        familiar=familiar,
        versions=made_by,
    )


def draws_of(model: str, n: int, seed: int, targets: Sequence[str] = (), familiar: bool = False) -> Draws:
    """Return the first n draws of a model.

    Raises:
        MoldiffError: no such model, a damaged one, n is less than 1, or targets that the model cannot be asked for.
    """
    draws = Draws(model, str(_model(model).sha256), count(n, "n"), seed, tuple(targets), familiar)
    if targets or familiar:
        draws.run(0, 1)
    return draws


@cache
def _model(name: str) -> Model:
    from moldiff.generation.model import load

    return load(name)
