"""PoseBusters' fast checks of single molecules (Buttenschoen et al. 2024), reasons counted, in worker processes.

The set ``mol_fast`` asks: sanitises, has an InChI, one piece, no radicals, bond lengths, angles and clashes within 25
to 30 % of distance-geometry bounds, flat aromatic rings and double bonds, puckered other rings. It checks no stereo
and no energy. The set grew over versions of that package, so the version is part of the result.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING

import numpy as np

from moldiff.chem.io.records import TextRecord, mol_to_sdf_record, parse
from moldiff.evaluation.assess import Assessment
from moldiff.evaluation.rates import Rate
from moldiff.processes import map_chunks

if TYPE_CHECKING:
    from rdkit.Chem import Mol

CONFIG = "mol_fast"
CHUNK = 25  # molecules sent to a worker at once: about half a second of work
FEW = 100  # below this many molecules starting processes costs more than it saves


@dataclass(frozen=True)
class PoseBustersResult:
    """What PoseBusters says about a sample of the records.

    Attributes:
        version: of the posebusters package.
        sampled: records that were drawn, over all records, valid or not.
        failed: record index -> names of the failed checks, empty = passed; only of valid records, the others fail
            anyway.
    """

    version: str
    sampled: int
    failed: dict[int, tuple[str, ...]]

    def rates(self) -> dict[str, Rate]:
        """Return ``posebusters`` over the drawn records and ``posebusters_of_valid`` over the valid ones among them."""
        passed = sum(not names for names in self.failed.values())
        return {"posebusters": Rate(passed, self.sampled), "posebusters_of_valid": Rate(passed, len(self.failed))}

    def to_json(self) -> dict[str, object]:
        """Return version, sample sizes and the number of failures of each check."""
        counts: dict[str, int] = {}
        for names in self.failed.values():
            for name in names:
                counts[name] = counts.get(name, 0) + 1
        return {
            "version": self.version,
            "config": CONFIG,
            "sampled": self.sampled,
            "checked": len(self.failed),
            "failures": dict(sorted(counts.items(), key=lambda item: (-item[1], item[0]))),
        }


def run_posebusters(
    rows: Sequence[Assessment],
    *,
    most: int,
    workers: int = 1,
    seed: int = 0,
    progress: Callable[[int], None] | None = None,
) -> PoseBustersResult:
    """Run PoseBusters on at most ``most`` records, drawn at random from all of them.

    Args:
        rows: all records of the file.
        most: size of the sample; with fewer records, all are taken.
        workers: processes (started afresh, fed with text); 1 = in this process.
        seed: of the draw.
        progress: called with the number of molecules checked so far.

    Raises:
        MoldiffError: a worker process died.
    """
    chosen = np.arange(len(rows))
    if len(rows) > most:
        chosen = np.sort(np.random.default_rng(seed).choice(len(rows), size=most, replace=False))
    pairs = [(rows[k].index, rows[k].mol) for k in chosen.tolist()]
    texts = [(index, mol_to_sdf_record(mol, "", {})) for index, mol in pairs if mol is not None]
    chunks = [texts[start : start + CHUNK] for start in range(0, len(texts), CHUNK)]
    failed: dict[int, tuple[str, ...]] = {}

    done = map_chunks(_bust, chunks, workers=workers if len(texts) >= FEW else 1, what="PoseBusters")
    for chunk in done:
        failed.update(chunk)
        if progress is not None:
            progress(len(failed))
    return PoseBustersResult(version("posebusters"), len(chosen), failed)


def _bust(chunk: Sequence[tuple[int, str]]) -> dict[int, tuple[str, ...]]:
    """Check molecules given as (record index, SDF text); return the failed checks of each. Runs in a worker."""
    from posebusters import PoseBusters

    molecules: list[Mol] = []
    failed: dict[int, tuple[str, ...]] = {}
    indices = []
    for index, text in chunk:
        mol = parse(TextRecord(index, "sdf", "", text)).mol
        if mol is None:
            failed[index] = ("loading",)
        else:
            indices.append(index)
            molecules.append(mol)
    if molecules:
        table = PoseBusters(config=CONFIG).bust(molecules)
        # A check that could not be run is missing in the table, and no pass.
        passed = table.astype(object).where(table.notna(), False).to_numpy(dtype=bool)
        for index, flags in zip(indices, passed, strict=True):
            failed[index] = tuple(name for name, flag in zip(table.columns, flags, strict=True) if not flag)
    return failed
