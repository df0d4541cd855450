"""PoseBusters' fast checks of single molecules (Buttenschoen et al. 2024), reasons counted, in worker processes.

The set ``mol_fast`` asks: sanitises, has an InChI, one piece, no radicals, bond lengths, angles and clashes within 25
to 30 % of distance-geometry bounds, flat aromatic rings and double bonds, puckered other rings. It checks no stereo
and no energy. The set grew over versions of that package, so the version is part of the result.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version

from moldiff.chem.filters.geometry_measures import CONFIG, failed_checks, load_posebusters
from moldiff.chem.io.records import TextRecord, mol_to_sdf_record, parse
from moldiff.evaluation.assess import Assessment
from moldiff.evaluation.checks import check_all, draw
from moldiff.evaluation.rates import Rate

TIMEOUT_S = 60.0  # for one molecule; one of a drug's size takes 0.05 s


@dataclass(frozen=True)
class PoseBustersResult:
    """Verdict of PoseBusters on a sample of the records.

    Attributes:
        version: of the posebusters package.
        sampled: records that were drawn, over all records, valid or not.
        failed: record index -> names of the failed checks, empty = passed; only of valid records, the others fail
            anyway.
        unchecked: record index -> why PoseBusters could not be asked about a valid record; such records are in no rate.
    """

    version: str
    sampled: int
    failed: dict[int, tuple[str, ...]]
    unchecked: dict[int, str] = field(default_factory=dict)

    def rates(self) -> dict[str, Rate]:
        """Return ``posebusters`` over the drawn records and ``posebusters_of_valid`` over the valid ones among them."""
        passed = sum(not names for names in self.failed.values())
        asked = self.sampled - len(self.unchecked)
        return {"posebusters": Rate(passed, asked), "posebusters_of_valid": Rate(passed, len(self.failed))}

    def told(self, index: int) -> str:
        """Return what the table of molecules says of a record: "pass", the failed checks, why it was not checked, or
        nothing if it was not drawn or is not valid."""
        if index in self.unchecked:
            return f"not checked: {self.unchecked[index]}"
        return (" ".join(self.failed[index]) or "pass") if index in self.failed else ""

    def to_json(self) -> dict[str, object]:
        """Return version, sample sizes, the number of failures of each check, and which records were not checked."""
        counts: dict[str, int] = {}
        for names in self.failed.values():
            for name in names:
                counts[name] = counts.get(name, 0) + 1
        return {
            "version": self.version,
            "config": CONFIG,
            "sampled": self.sampled,
            "checked": len(self.failed),
            "not_checked": {str(index): reason for index, reason in self.unchecked.items()},
            "failures": dict(sorted(counts.items(), key=lambda item: (-item[1], item[0]))),
        }


def run_posebusters(
    rows: Sequence[Assessment],
    *,
    most: int,
    workers: int = 1,
    isolated: bool = False,
    seed: int = 0,
    progress: Callable[[int], None] | None = None,
) -> PoseBustersResult:
    """Run PoseBusters on at most ``most`` records, drawn at random from all of them.

    Args:
        rows: all records of the file.
        most: size of the sample; with fewer records, all are taken.
        workers, isolated: processes (fed with text); see `moldiff.processes.pool_of`.
        seed: of the draw.
        progress: called with the number of molecules checked so far.
    """
    chosen = draw(len(rows), most, seed)
    pairs = [(rows[k].index, rows[k].mol) for k in chosen]
    texts = [(index, mol_to_sdf_record(mol, "", {})) for index, mol in pairs if mol is not None]
    checked = check_all(
        _bust, texts, timeout_s=TIMEOUT_S, workers=workers, isolated=isolated, ready=load_posebusters, progress=progress
    )
    return PoseBustersResult(version("posebusters"), len(chosen), checked.results, checked.unchecked)


def _bust(text: str) -> tuple[str, ...]:
    """Return the failed checks of a molecule given as SDF text. Runs in a worker."""
    mol = parse(TextRecord(0, "sdf", "", text)).mol
    return ("loading",) if mol is None else failed_checks(mol)
