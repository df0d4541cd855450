"""The plan of a run: its inputs, counted and hashed, and its options. Every process that works on a run reads it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from moldiff.arguments import check_text, count, refusal, texts, whole_number
from moldiff.chem.filters.hazards import STANDARD_GATE, HazardGate
from moldiff.chem.filters.measures import fields_asked, unknown_field
from moldiff.chem.io.records import read_texts
from moldiff.chem.io.tables import Columns, add_fields
from moldiff.conditions import TAG
from moldiff.errors import MoldiffError
from moldiff.files import write_text
from moldiff.foreign_text import readable
from moldiff.path_names import written_out
from moldiff.reading import read_json, sha256_of
from moldiff.screening.entries import Entry, library_of
from moldiff.screening.filter_run import FilterOptions
from moldiff.screening.runs.draws import DRAWS, Draws, drawn
from moldiff.screening.runs.options import ScreenOptions
from moldiff.sections import validate

FORMAT, FORMAT_VERSION = "moldiff-screen", 1
PLAN = "plan.json"


@dataclass(frozen=True)
class Input:
    """A molecule file of a run.

    Attributes:
        file: as the user named it; tables have it so.
        sha256, size: of its bytes.
        records: that it holds.
        tags: names of its data fields, in the order in which they come.
    """

    file: str
    sha256: str
    size: int
    records: int
    tags: tuple[str, ...]

    @classmethod
    def from_record(cls, value: Mapping[str, Any]) -> Input:
        """Return the input that a plan tells of; MoldiffError or KeyError if it tells something else."""
        check_text(value["file"], "file")
        check_text(value["sha256"], "sha256")
        size, records = whole_number(value["size"], "size"), count(value["records"], "records", least=0)
        return cls(value["file"], value["sha256"], size, records, texts(value["tags"], "tags"))


@dataclass(frozen=True)
class Plan:
    """The plan of a run.

    Attributes:
        folder: that the names of the inputs are seen from.
        inputs: files, one after the other.
        options: of the run.
        draws: of a model, behind the files; None = there are none.
        columns: of inputs that are tables; None = they are found out.
    """

    folder: str
    inputs: tuple[Input, ...]
    options: ScreenOptions
    draws: Draws | None = None
    columns: Columns | None = None

    @property
    def records(self) -> int:
        """All records."""
        return self._in_files + (0 if self.draws is None else self.draws.records)

    @property
    def _in_files(self) -> int:
        return sum(one.records for one in self.inputs)

    @property
    def tags(self) -> tuple[str, ...]:
        """Names of the data fields of all inputs, in the order in which they come."""
        return tuple(dict.fromkeys(name for one in self.inputs for name in one.tags))

    @property
    def shards(self) -> int:
        """All shards."""
        return -(-self.records // self.options.shard_size)

    def start(self, shard: int) -> int:
        """Return the first record of a shard; of the number behind the last one, the number of records."""
        return min(shard * self.options.shard_size, self.records)

    def size(self, shard: int) -> int:
        """Return the number of records of a shard."""
        return self.start(shard + 1) - self.start(shard)

    def path(self, one: Input) -> Path:
        """Return where an input lies."""
        return Path(self.folder) / one.file

    def asked(self) -> FilterOptions:
        """Return what is asked of each molecule, by the files that the options name: as the inputs, they are seen from
        the plan's folder. Errors as of `ScreenOptions.filter_options`."""
        return self.options.filter_options(self._from_elsewhere)

    def located(self, model: str) -> str:
        """Return the path of a model or reference that the run names, unless it is the name of a built-in model."""
        from moldiff.models.folder import list_models

        folder = self._from_elsewhere
        return model if folder is None or model in list_models() else str(folder / model)

    @property
    def _from_elsewhere(self) -> Path | None:
        """The plan's folder, if that is not the one at hand."""
        return None if os.path.realpath(self.folder) == os.path.realpath(os.curdir) else Path(self.folder)

    def entries(self, shards: set[int], run: Path) -> Iterator[Entry]:
        """Yield the records of some shards, in order; draws that are not there are made.

        Args:
            shards: their numbers.
            run: folder that draws lie in.

        Raises:
            MoldiffError: a file cannot be read, or holds another number of records than planned; a model cannot be
                loaded.
        """
        first = 0
        for one in self.inputs:
            last = first + one.records
            size = self.options.shard_size
            if any(shard in shards for shard in range(first // size, -(-last // size))):
                yield from self._entries(one, first, shards)
            first = last
        if self.draws is not None:
            for shard in sorted(shards):
                yield from self._drawn(self.draws, shard, run)

    def make_draws(self, shard: int, run: Path) -> None:
        """Make the draws of a shard, if it has any that are not there.

        Raises:
            MoldiffError: the model cannot be loaded, or a file cannot be written.
        """
        start, stop = max(self.start(shard), self._in_files), self.start(shard + 1)
        path = self.draws_path(run, shard)
        if self.draws is not None and start < stop and not path.exists():
            draws = replace(self.draws, model=self.located(self.draws.model))
            draws.make(path, start - self._in_files, stop - start, self._gate)

    def draws_path(self, run: Path, shard: int) -> Path:
        """Return the file of the draws of a shard; what a list withholds is not in it, so every gate has its own."""
        gate = "" if self._gate == STANDARD_GATE else f".{self._gate.digest[:8]}"
        return run / DRAWS / f"{shard:06d}{gate}.jsonl.gz"

    @cached_property
    def _gate(self) -> HazardGate:
        return self.options.gate(self._from_elsewhere)

    def _drawn(self, draws: Draws, shard: int, run: Path) -> Iterator[Entry]:
        start = max(self.start(shard), self._in_files)
        if start < self.start(shard + 1):
            self.make_draws(shard, run)
            yield from draws.entries(self.draws_path(run, shard), start, start - self._in_files)

    def _entries(self, one: Input, first: int, shards: set[int]) -> Iterator[Entry]:
        number = first - 1
        for number, text in enumerate(read_texts(self.path(one), self.columns), start=first):
            if number // self.options.shard_size in shards:
                yield Entry(number, readable(one.file), text)
        if number + 1 - first != one.records:
            raise MoldiffError(f"{one.file} has changed since the run was planned")

    @property
    def column_names(self) -> dict[str, str]:
        """Names of columns that are given, see `Columns.record`."""
        return {} if self.columns is None else self.columns.record()

    def check_inputs(self) -> None:
        """Raise MoldiffError unless every input is there, byte for byte as planned."""
        for one in self.inputs:
            path = self.path(one)
            try:
                same = path.stat().st_size == one.size and sha256_of(path) == one.sha256
            except (OSError, ValueError) as error:  # ValueError: a name that no file can have
                raise MoldiffError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from error
            if not same:
                raise MoldiffError(f"{path} has changed since the run was planned; start another run in another folder")

    def same_input(self, other: Plan) -> bool:
        """Return whether two plans divide the same records into the same shards."""
        same_draws = other.draws is None if self.draws is None else self.draws.is_like(other.draws)
        same = self.inputs == other.inputs and same_draws and self.column_names == other.column_names
        return same and self.options.shard_size == other.options.shard_size

    def record(self) -> dict[str, Any]:
        """Return the plan as plain JSON."""
        return {
            "format": FORMAT,
            "version": FORMAT_VERSION,
            "folder": self.folder,
            "inputs": [{**vars(one), "tags": list(one.tags)} for one in self.inputs],
            "draws": None if self.draws is None else vars(self.draws),
            "columns": self.column_names or None,
            "records": self.records,
            "shards": self.shards,
            "options": self.options.model_dump(mode="json"),
        }


def make_plan(
    files: Sequence[str | Path], options: ScreenOptions, draws: Draws | None = None, before: Plan | None = None,
    columns: Columns | None = None,
) -> Plan:  # fmt: skip
    """Return the plan of a run, from a pass over its files.

    Args:
        files: one after the other; a name with * ? or [ stands for all that match it, sorted.
        options: of the run.
        draws: of a model, behind the files; with them, there need be no files.
        before: an earlier plan, whose counts are taken of the files that are still the same.
        columns: where files that are tables have their SMILES and names; None = it is found out.

    Raises:
        MoldiffError: a file is missing, damaged or named twice, there are no records, or none has a data field that is
            asked for.
    """
    known = {one.sha256: one for one in (() if before is None else before.inputs)}
    draws = draws if draws is None or before is None else draws.going_on(before.draws)
    found = list[Input]()
    for path in library_of(files, columns).files if files or draws is None else ():
        sha256 = sha256_of(path)
        if sha256 in known and path.suffixes == Path(known[sha256].file).suffixes:
            found.append(replace(known[sha256], file=str(path)))
            continue
        records, tags = 0, dict[str, None]()
        for text in read_texts(path, columns):
            records += 1
            add_fields(tags, text.tags, path)
        found.append(Input(str(path), sha256, path.stat().st_size, records, tuple(tags)))
    plan = Plan(str(Path.cwd()), tuple(found), options, draws, columns)
    if any(TAG in word for word in (*options.where, *options.rank)):
        for name in fields_asked(options.filter_options().checks()):
            if name not in plan.tags:
                asked = "where" if any(name in word for word in options.where) else "rank"
                raise MoldiffError(unknown_field(name, plan.tags), argument=asked, word="")
    return plan


def write_plan(run: Path, plan: Plan) -> None:
    """Write the plan of a run folder. Bytes of a file's name that are no text, halves of characters in Python, stand
    there as JSON's escapes: the file is to be found again."""
    text = json.dumps(plan.record(), indent=1, allow_nan=False, ensure_ascii=False) + "\n"
    write_text(run / PLAN, text.encode("utf-8", errors="backslashreplace").decode("utf-8"))


def read_plan(run: Path) -> Plan:
    """Read the plan of a run folder.

    Raises:
        MoldiffError: there is none, one of another format, or a damaged one.
    """
    if not (written_out(run) / PLAN).is_file():
        raise MoldiffError(f"{run} is no screening run: it has no {PLAN}")
    value = read_json(run / PLAN, halves=True)
    if not isinstance(value, Mapping) or value.get("format") != FORMAT or value.get("version") != FORMAT_VERSION:
        raise MoldiffError(f"{run / PLAN} is not a plan of version {FORMAT_VERSION}, which this moldiff reads")
    try:
        check_text(value["folder"], "folder")
        if not isinstance(value["inputs"], list):
            raise refusal("inputs", "a list", value["inputs"])
        return Plan(
            folder=value["folder"],
            inputs=tuple(Input.from_record(_section(one, "an input")) for one in value["inputs"]),
            options=validate(ScreenOptions, _section(value["options"], "options"), "options"),
            draws=None if value["draws"] is None else drawn(_section(value["draws"], "draws")),
            columns=_columns(_section(value.get("columns") or {}, "columns")),  # older plans name none
        )
    except KeyError as error:
        raise MoldiffError(f"{run / PLAN} is damaged: {error} is missing") from error
    except MoldiffError as error:  # not with its argument, which is none of the command
        raise MoldiffError(f"{run / PLAN} is damaged: {error}") from error


def _columns(names: Mapping[str, Any]) -> Columns | None:
    """Return the columns that a plan names."""
    for name in names:
        check_text(names[name], name)
    return Columns.of(names.get("smiles_column"), names.get("name_column"), names.get("delimiter"))


def _section(value: object, name: str) -> dict[str, Any]:
    """Return a value of a plan that has keys of its own."""
    if not isinstance(value, dict):
        raise refusal(name, "a section with keys below it", value)
    return value
