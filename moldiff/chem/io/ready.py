"""Records made ready for a model, in worker processes: none of them can end the work of the others."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Generic, TypeVar

from moldiff.chem.convert import EncodingError
from moldiff.chem.io.inputs import files_of, records_of, texts_of
from moldiff.chem.io.records import Record, completed, parse
from moldiff.chem.io.tables import Columns
from moldiff.chem.io.text_records import TextRecord
from moldiff.chem.sanitize import error_reason
from moldiff.errors import blaming, blaming_for
from moldiff.processes import DEADLINE_S, THIS_PROCESS, Lost, Pool

if TYPE_CHECKING:
    from rdkit.Chem import Mol

    from moldiff.chem.filters.hazards import Gate

logger = logging.getLogger(__name__)

Item = TypeVar("Item")
CHUNK = 16  # records that are sent to a worker at once


@dataclass(frozen=True)
class Ready(Generic[Item]):
    """A record, and what became of its molecule.

    Attributes:
        record: without its molecule.
        item: what the model begins with; None if that is impossible.
        reason: why; "" if all is well.
        withheld: by the gate.
    """

    record: Record
    item: Item | None
    reason: str
    withheld: bool = False


def ready_records(
    molecules: object,
    prepare: Callable[[Mol], Item],
    *,
    columns: Columns | None = None,
    add_hydrogens: bool = False,
    span: range | None = None,
    pool: Pool = THIS_PROCESS,
    gate: Gate | None = None,
) -> Iterator[Ready[Item]]:
    """Yield the records of files or of given molecules, in order, each with what ``prepare`` makes of its molecule.

    What breaks on a record, or costs a worker of the pool, is the reason of that record alone. Molecules that are given
    themselves are looked at in this process: RDKit has had them there already.

    Args:
        molecules: what users have, see `moldiff.chem.io.inputs.records_of`.
        prepare: a function of a module; EncodingError if it cannot begin with a molecule. Its result is plain data.
        columns, add_hydrogens, span: see `moldiff.chem.io.inputs.records_of`.
        pool: reads and prepares.
        gate: asked of records that have no item, for nobody else sees their molecules, sanitised or not.

    Raises:
        MoldiffError: as `moldiff.chem.io.inputs.records_of`.
    """
    if (files := files_of(molecules)) is None:
        for record in records_of(molecules, columns, span=span):
            yield Ready(_bare(record), *_prepared(record, prepare, add_hydrogens, gate))
        return
    with blaming("molecules", "columns"):
        texts: Iterator[tuple[Path, TextRecord]] = blaming_for(texts_of(files, columns), "molecules", "columns")
    sent, known = itertools.tee(texts if span is None else itertools.islice(texts, span.start, span.stop))
    work = partial(_read, prepare=prepare, add_hydrogens=add_hydrogens, gate=gate)
    found = pool.map_items(work, (text for _, text in sent), chunk=CHUNK, timeout_s=DEADLINE_S)
    for (path, text), one in zip(known, found, strict=True):
        record = Record(text.index, text.name, None, text.tags, file=str(path))
        yield Ready(record, None, one.reason) if isinstance(one, Lost) else Ready(record, *one)


def _read(
    text: TextRecord, prepare: Callable[[Mol], Item], add_hydrogens: bool, gate: Gate | None
) -> tuple[Item | None, str, bool]:
    """Read and prepare a record. Runs in a worker."""
    return _prepared(parse(text), prepare, add_hydrogens, gate)


def _prepared(
    record: Record, prepare: Callable[[Mol], Item], add_hydrogens: bool, gate: Gate | None
) -> tuple[Item | None, str, bool]:
    """Return item, reason, and whether the record is withheld."""
    item, reason = _item(record, prepare, add_hydrogens)
    if item is not None or gate is None or record.seen is None:
        return item, reason, False
    try:
        withheld = gate(record.seen)
    except Exception as error:  # noqa: BLE001 - InChI refuses it, say
        return None, error_reason(error), False
    return None, withheld or reason, bool(withheld)


def _item(record: Record, prepare: Callable[[Mol], Item], add_hydrogens: bool) -> tuple[Item | None, str]:
    if record.mol is None:
        return None, record.reason
    try:
        return prepare((completed(record) if add_hydrogens else record).mol), ""
    except EncodingError as error:
        return None, str(error)
    except Exception as error:  # a record that breaks something costs itself alone
        logger.debug("record %d", record.index, exc_info=True)
        return None, error_reason(error)


def _bare(record: Record) -> Record:
    return replace(record, mol=None, raw=None)
