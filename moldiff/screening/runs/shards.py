"""Tables of shards: the rows of a fixed range of records, in a Parquet file that is there whole or not at all."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from moldiff.chem.io.outputs import ParquetRows
from moldiff.errors import MoldiffError, first_line
from moldiff.files import atomic_writer, write_json
from moldiff.reading import check_regular, read_json
from moldiff.screening.filter_run import records_sheet
from moldiff.screening.outputs import Sheet
from moldiff.screening.rows import COLUMNS, Row
from moldiff.screening.runs.chain import Chain
from moldiff.status import Status

CHAIN = "chain.json"
_NAME = re.compile(r"(\d{6,})\.parquet")


@dataclass(frozen=True)
class ShardTables:
    """The tables of one chain of checks.

    Attributes:
        folder: they lie in.
        chain: whose findings they hold.
        sheet: their columns.
    """

    folder: Path
    chain: Chain
    sheet: Sheet

    @classmethod
    def opened(cls, folder: Path, chain: Chain) -> ShardTables:
        """Return the tables of a chain in a folder of all tables, which is made if it is not there."""
        tables = cls.seen(folder, chain)
        if not (tables.folder / CHAIN).is_file():
            write_json(tables.folder / CHAIN, chain.record())
        return tables

    @classmethod
    def seen(cls, folder: Path, chain: Chain) -> ShardTables:
        """Return the tables of a chain for somebody who only looks; see `opened`."""
        return cls(folder / chain.key, chain, _sheet(chain))

    @classmethod
    def others(cls, folder: Path, chain: Chain) -> list[ShardTables]:
        """Return the tables of other chains there, the one that shares most checks with ``chain`` first."""
        found = []
        for path, other in _chains(folder).items():
            if other != chain and chain.shared(other):
                found.append(cls(path, other, _sheet(other)))
        return sorted(found, key=lambda tables: -len(chain.shared(tables.chain)))

    @property
    def outdated(self) -> str:
        """The difference to tables of the same checks that are there while these are not, see `Chain.other_base`."""
        return "" if self.numbers() else self.chain.other_base(_chains(self.folder.parent).values())

    def path(self, shard: int) -> Path:
        """Return the file of a shard."""
        return self.folder / f"{shard:06d}.parquet"

    def numbers(self) -> set[int]:
        """Return the numbers of the shards that are there."""
        if not self.folder.is_dir():
            return set()
        return {int(match[1]) for path in self.folder.iterdir() if (match := _NAME.fullmatch(path.name))}

    def write(self, shard: int, rows: Sequence[Row]) -> None:
        """Write a shard; the same rows give the same bytes.

        Raises:
            MoldiffError: it cannot be written; nothing of it is left then.
        """
        with (
            atomic_writer(self.path(shard), binary=True) as handle,
            contextlib.closing(ParquetRows(handle, self.sheet)) as table,
        ):
            for row in rows:
                table.add(row)

    @cached_property
    def _found(self) -> tuple[str, ...]:
        """Columns of what the checks found."""
        return tuple(name for name in self.sheet.columns if name not in COLUMNS)

    def read(self, shard: int) -> list[Row]:
        """Return the rows of a shard.

        Raises:
            MoldiffError: the file is missing or damaged.
        """
        try:
            return [self._row(cells) for cells in _cells(self.path(shard), None)]
        except (KeyError, TypeError, ValueError) as error:
            raise _other_table(self.path(shard)) from error

    def counts(self, shard: int) -> Iterator[tuple[str, str]]:
        """Yield status and stage of the rows of a shard; errors as in `read`."""
        try:
            for cells in _cells(self.path(shard), ["status", "stage"]):
                yield str(cells["status"]), str(cells["stage"])
        except (KeyError, ValueError) as error:
            raise _other_table(self.path(shard)) from error

    def _row(self, cells: dict[str, object]) -> Row:
        values: dict[str, Any] = {name: value for name in self._found if (value := cells[name]) is not None}
        stage, number = str(cells["stage"]), cells["record"]
        if not isinstance(number, int):
            raise TypeError("the number of a record is whole")
        return Row(
            number=number,
            file=str(cells["file"]),
            name=str(cells["name"]),
            status=Status(str(cells["status"])),
            stage=stage,
            reason=str(cells["reason"]),
            value=values.get(stage),  # the column of texts has it with six digits
            limit=str(cells["limit"]),
            smiles=str(cells["smiles"]),
            inchikey=str(cells["inchikey"]),
            values=values,
        )


def _chains(folder: Path) -> dict[Path, Chain]:
    """Return the folders of tables in a folder, and their chains."""
    found = {}
    for path in sorted(folder.glob(f"*/{CHAIN}")):
        try:
            found[path.parent] = Chain.from_record(read_json(path))
        except (KeyError, TypeError, ValueError) as error:
            raise MoldiffError(f"{path} is damaged; remove its folder, which holds earlier results") from error
    return found


def _other_table(path: Path) -> MoldiffError:
    return MoldiffError(f"{path} has other columns than this run; remove it to do it again")


def _cells(path: Path, columns: list[str] | None) -> list[dict[str, object]]:
    import pyarrow
    import pyarrow.parquet

    check_regular(path)
    try:
        found: list[dict[str, object]] = pyarrow.parquet.read_table(
            path, columns=columns, page_checksum_verification=True
        ).to_pylist()
    except (OSError, pyarrow.ArrowException) as error:
        raise MoldiffError(f"{path} cannot be read ({first_line(error)}); remove it to do it again") from error
    return found


def _sheet(chain: Chain) -> Sheet:
    return records_sheet((link.name, link.is_text) for link in chain.links)
