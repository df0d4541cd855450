"""Files to a prepared folder: read, convert in worker processes, gather, describe, write."""

from __future__ import annotations

import csv
import os
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from moldiff.arguments import (
    check_flags,
    check_function,
    count,
    name_list,
    path,
    paths,
    refusal,
    seconds,
    seed_number,
    whole_number,
    with_plain_numbers,
)
from moldiff.chem.io.tables import Columns, check_columns
from moldiff.datasets import layout
from moldiff.datasets.layout import Arrays
from moldiff.datasets.properties import PropertyColumn, Unusable, property_columns, unusable_values, what_to_write
from moldiff.datasets.rows import Dropped, Part, RowOptions, merge, wide_vocabulary
from moldiff.datasets.sources import NO_RECORDS, Source, chunks, find_sources
from moldiff.datasets.statistics import DatasetStatistics, compute_statistics, tell_useless
from moldiff.datasets.workers import convert_chunks
from moldiff.errors import MoldiffError, blaming, blaming_for
from moldiff.files import atomic_writer, claimed, write_json, write_text
from moldiff.folders import new_folder, refuse_folder
from moldiff.foreign_text import safe_cell
from moldiff.vocabulary import Vocabulary

Progress = Callable[[int], None]

_BONDS, _HYDROGENS = ("aromatic", "kekule"), ("explicit", "implicit")
WITHOUT_HYDROGENS = "hydrogens without coordinates"  # `kind_of` what `moldiff.chem.convert.encode` says


@dataclass(frozen=True)
class PrepareReport:
    """Counts of the records: read = kept + dropped, always.

    Attributes:
        out: the prepared folder.
        read: records in all files.
        kept: molecules in the folder.
        distinct: molecules with different canonical SMILES with stereo.
        splits: molecules per split.
        dropped: number of dropped records per kind of reason, most frequent first.
        vocabulary: classes found.
        statistics: of the training split.
        unusable: of each tag or column with values that are no numbers or too large, how many, and the first.
    """

    out: Path
    read: int
    kept: int
    distinct: int
    splits: dict[str, int]
    dropped: dict[str, int]
    vocabulary: Vocabulary
    statistics: DatasetStatistics
    unusable: dict[str, Unusable]


@with_plain_numbers
def prepare(
    files: Sequence[Path | str] | Path | str,
    out: Path | str,
    *,
    properties: Sequence[str] | str = (),
    bonds: str | None = None,
    hydrogens: str | None = None,
    vocabulary: Vocabulary | None = None,
    fragments: bool = False,
    add_hydrogens: bool = False,
    columns: Columns | None = None,
    workers: int = 1,
    isolated: bool = False,
    overwrite: bool = False,
    seed: int = 0,
    timeout_s: int = 20,
    progress: Progress | None = None,
) -> PrepareReport:
    """Turn molecule files into a prepared folder that `PreparedDataset.open` reads.

    >>> import moldiff
    >>> from pathlib import Path
    >>> _ = Path("mine.smi").write_text("CCO\\nCC=O\\nCNC\\nC(C\\n")
    >>> report = moldiff.prepare(["mine.smi"], "mine")
    >>> report.read, report.kept
    (4, 3)

    The result does not depend on ``workers``. Nothing appears under ``out`` unless everything worked.

    Args:
        files: one, or any mix of the formats of `moldiff.chem.io.records`, or the folder of PyG's QM9; a name with * ?
            or [ stands for all that match it.
        out: folder to write.
        properties: a list, or a text with commas: what RDKit computes
            (`moldiff.chem.descriptors.rdkit_descriptors.PROPERTIES`), or names of tags or columns of the files. Of a
            name that both have, it is RDKit's; "tag:logp" and "rdkit:logp" say which.
        bonds: "aromatic" keeps a class for aromatic bonds (the default), "kekule" spells them as single and double.
        hydrogens: "explicit" (the default), or "implicit" for a set of heavy atoms only.
        vocabulary: use the classes of this (a model's) vocabulary and drop what is outside; ``bonds`` and ``hydrogens``
            are its own then. By default the vocabulary is what the molecules hold.
        fragments: keep molecules of several fragments (salts).
        add_hydrogens: place the hydrogens that records with coordinates leave out (docked poses).
        columns: where tables have their SMILES and names; None = it is found out.
        workers: processes; 1 works in this process, unless ``isolated``.
        isolated: use a process even for one: a record that crashes RDKit or holds it up then costs that record alone.
        overwrite: replace ``out`` if it is a prepared folder.
        seed: for conformers of molecules that come without coordinates.
        timeout_s: longest time for one such conformer, in whole seconds.
        progress: called with the number of records done so far.

    Raises:
        MoldiffError: bad arguments, an unreadable file, an unknown property, or no molecule that could be kept.
    """
    out, properties = path(out, "out"), name_list(properties, "properties")
    count(workers, "workers")
    seconds(timeout_s, least=1)
    whole_number(timeout_s, "timeout_s")
    seed_number(seed)
    flags = {"fragments": fragments, "add_hydrogens": add_hydrogens, "isolated": isolated, "overwrite": overwrite}
    check_flags(flags)
    check_function(progress, "progress")
    check_columns(columns)
    wide = _wide(bonds, hydrogens, vocabulary)
    if twice := [name for name, count in Counter(properties).items() if count > 1]:
        raise MoldiffError(f"property '{twice[0]}' is asked for twice", argument="properties", word="")
    # what killed runs left is cleared, so it is claimed; where there is no folder to look into, none is made for that
    with blaming("out", "overwrite"), claimed(out) if os.path.isdir(out.parent) else nullcontext():
        refuse_folder(out, layout.OURS, overwrite)
    with blaming("files", "columns"):
        sources = find_sources(list(paths(files, "files")), columns)
    with blaming("properties"):
        wanted = property_columns(properties, sources)
    options = RowOptions(
        vocabulary=wide,
        tags={column.source: place for place, column in enumerate(wanted) if not column.calculated},
        calculated={column.source: place for place, column in enumerate(wanted) if column.calculated},
        seed=seed,
        timeout_s=timeout_s,
        fragments=fragments,
        add_hydrogens=add_hydrogens,
    )
    # Made before the work, so that a place where nothing can be written is noticed at once.
    with ExitStack() as stack:
        with blaming("out", "overwrite"):
            stack.enter_context(claimed(out))
            folder = stack.enter_context(new_folder(out, layout.OURS, overwrite=overwrite))
        parts: list[Part] = []
        read = 0
        records = blaming_for(chunks(sources), "files", "columns")
        for part in convert_chunks(records, options, workers=workers, isolated=isolated):
            parts.append(part)
            read += len(part.names) + len(part.dropped)
            if progress is not None:
                progress(read)
        dropped = [entry for part in parts for entry in part.dropped]
        arrays = _gather(parts, dropped)
        if vocabulary is None:
            vocabulary = _shrink_vocabulary(arrays, options.vocabulary)
        qm9 = all(source.is_qm9 for source in sources)
        described = [column.describe(qm9=qm9) for column in wanted]
        unusable = unusable_values(parts)
        _check_values(arrays, wanted, unusable)
        statistics = _training_statistics(arrays, vocabulary, described)
        report = _report(out, arrays, dropped, vocabulary, statistics, unusable)
        info = _describe(report, described, sources, options, layout.data_hash(arrays))
        _write_files(folder, arrays, [name for part in parts for name in part.names], dropped, info)
    return report


def kind_of(reason: str) -> str:
    """Return the reason without its leading count, what it quotes and what it has in brackets: "3 hydrogens ..." and
    "5 hydrogens ..." are counted together."""
    unquoted = re.sub(r"^(.+): '.*'$", r"\1", reason)
    return re.sub(r"^\d+ | \(.*\)$", "", unquoted)


def _wide(bonds: str | None, hydrogens: str | None, vocabulary: Vocabulary | None) -> Vocabulary:
    """Return the classes that records are read in: all there are, or those of a vocabulary; MoldiffError for a word
    that is none, or that says something else than the vocabulary."""
    for name, value, words in (("bonds", bonds, _BONDS), ("hydrogens", hydrogens, _HYDROGENS)):
        if value is not None and not (isinstance(value, str) and value in words):
            raise refusal(name, f"{words[0]} or {words[1]}", value)
    if vocabulary is not None and not isinstance(vocabulary, Vocabulary):
        raise refusal("vocabulary", "a moldiff.vocabulary.Vocabulary, such as `vocabulary_of_model` gives", vocabulary)
    if vocabulary is None:
        return wide_vocabulary(bonds != _BONDS[1], hydrogens != _HYDROGENS[1])
    own = _words_of(vocabulary)
    for name, value in (("bonds", bonds), ("hydrogens", hydrogens)):
        if value not in (None, own[name]):
            raise MoldiffError(
                f"{name} {value}: the vocabulary that is to be used has {own[name]} ones; leave one of the two out",
                argument=name,
            )
    return vocabulary


def _words_of(vocabulary: Vocabulary) -> dict[str, str]:
    """Return the words for the bonds and the hydrogens of a vocabulary."""
    return {
        "bonds": _BONDS[0] if "aromatic" in vocabulary.bonds else _BONDS[1],
        "hydrogens": _HYDROGENS[0] if vocabulary.explicit_hydrogens else _HYDROGENS[1],
    }


@blaming("files", "add_hydrogens")
def _gather(parts: Sequence[Part], dropped: Sequence[Dropped]) -> Arrays:
    """Merge the parts; MoldiffError with the most frequent reason if nothing was kept."""
    if not any(part.names for part in parts):
        if not dropped:
            raise MoldiffError(NO_RECORDS)
        (reason, count), *_ = Counter(kind_of(entry.reason) for entry in dropped).most_common(1)
        hint = "; place them (add_hydrogens), or prepare with implicit hydrogens" if reason == WITHOUT_HYDROGENS else ""
        raise MoldiffError(
            f"none of the {len(dropped)} records could be kept; most often ({count}): {reason}{hint}",
            argument="add_hydrogens" if hint else "",
        )
    arrays = merge([part.arrays for part in parts])
    if int(np.diff(arrays["atom_offsets"]).max()) <= 256:
        arrays["bonds"] = arrays["bonds"].astype(np.uint8)
    return arrays


def _shrink_vocabulary(arrays: Arrays, wide: Vocabulary) -> Vocabulary:
    """Take out the classes that never occur and renumber the arrays (in place); charge 0 always stays."""
    elements = np.unique(arrays["atom_type"])
    charges = np.union1d(np.unique(arrays["charge"]), [wide.charges.index(0)])
    orders = np.union1d(np.unique(arrays["bonds"][:, 2]), [0])
    arrays["atom_type"] = np.searchsorted(elements, arrays["atom_type"]).astype(np.uint8)
    arrays["charge"] = np.searchsorted(charges, arrays["charge"]).astype(np.uint8)
    arrays["bonds"][:, 2] = np.searchsorted(orders, arrays["bonds"][:, 2])
    return Vocabulary(
        elements=tuple(wide.elements[k] for k in elements.tolist()),
        charges=tuple(wide.charges[int(k)] for k in charges.tolist()),
        bonds=tuple(wide.bonds[int(k)] for k in orders.tolist()),
        explicit_hydrogens=wide.explicit_hydrogens,
    )


@blaming("properties")
def _check_values(arrays: Arrays, columns: Sequence[PropertyColumn], unusable: Mapping[str, Unusable]) -> None:
    """Raise MoldiffError if a property is unknown for every molecule kept."""
    for place, column in enumerate(columns):
        if np.isfinite(arrays["properties"][:, place]).any():
            continue
        if not column.calculated and column.source in unusable:
            count, first = unusable[column.source]
            raise MoldiffError(
                f"property '{column.name}' is a number in none of the molecules kept: {count} values, "
                f"{what_to_write(first)}"
            )
        raise MoldiffError(f"property '{column.name}' has no value in any of the molecules kept")


@blaming("files")
def _training_statistics(
    arrays: Arrays, vocabulary: Vocabulary, columns: Sequence[dict[str, str]]
) -> DatasetStatistics:
    """Describe the training split, and tell what is constant there; MoldiffError if it is empty."""
    train = np.flatnonzero(arrays["split"] == layout.SPLITS.index("train"))
    if not len(train):
        raise MoldiffError(f"none of the {len(arrays['split'])} molecules falls into the training split; add molecules")
    names, units = [entry["name"] for entry in columns], [entry["unit"] for entry in columns]
    statistics = compute_statistics(arrays, train, vocabulary, names, units)
    tell_useless(statistics.properties, names)
    return statistics


def _report(
    out: Path,
    arrays: Arrays,
    dropped: Sequence[Dropped],
    vocabulary: Vocabulary,
    statistics: DatasetStatistics,
    unusable: dict[str, Unusable],
) -> PrepareReport:
    kept = len(arrays["split"])
    return PrepareReport(
        out=out,
        read=kept + len(dropped),
        kept=kept,
        distinct=len(np.unique(arrays["keys"][:, 1])),
        splits={name: int((arrays["split"] == k).sum()) for k, name in enumerate(layout.SPLITS)},
        dropped=dict(Counter(kind_of(entry.reason) for entry in dropped).most_common()),
        vocabulary=vocabulary,
        statistics=statistics,
        unusable=unusable,
    )


def _describe(
    report: PrepareReport,
    columns: Sequence[dict[str, str]],
    sources: Sequence[Source],
    options: RowOptions,
    data_hash: str,
) -> dict[str, object]:
    """The content of dataset.json; file names without their folders, so that a set can be passed on."""
    return {
        "format": layout.FORMAT,
        "version": layout.FORMAT_VERSION,
        "data_hash": data_hash,
        "molecules": report.kept,
        "distinct": report.distinct,
        "records": report.read,
        "splits": report.splits,
        "dropped": report.dropped,
        "vocabulary": report.vocabulary.to_json(),
        "properties": list(columns),
        "unusable": {name: [count, first] for name, (count, first) in report.unusable.items()},
        "options": {
            **_words_of(options.vocabulary),
            "fragments": options.fragments,
            "add_hydrogens": options.add_hydrogens,
            "seed": options.seed,
            "timeout_s": options.timeout_s,
        },
        "sources": [entry for source in sources for entry in source.hashes()],
        "statistics": report.statistics.to_json(),
    }


def _write_files(
    folder: Path, arrays: Arrays, names: list[str], dropped: Sequence[Dropped], info: dict[str, object]
) -> None:
    layout.write_arrays(folder, arrays)
    write_text(folder / "names.txt", "".join(f"{name}\n" for name in names))
    with atomic_writer(folder / "dropped.csv") as handle:
        table = csv.writer(handle, lineterminator="\n")
        table.writerow(("source", "index", "name", "reason"))
        rows = ((entry.source, entry.index, entry.name, entry.reason) for entry in dropped)
        table.writerows(map(safe_cell, row) for row in rows)
    write_json(folder / "dataset.json", info)
    layout.write_sums(folder)
