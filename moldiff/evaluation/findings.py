"""Findings of an evaluation, and report.json, version 1.

A change of meaning raises the version; new keys may appear. ``distance`` stands for {n, mean, reference_mean, w1,
floor}: the Wasserstein-1 distance to the reference, and that of as many real molecules; null where too few values
were found.

| key             | content                                                                                    |
|-----------------|--------------------------------------------------------------------------------------------|
| format, version | "moldiff-evaluation", 1                                                                    |
| file, sha256    | name and hash of the evaluated file                                                        |
| hydrogens       | "explicit" (all are atoms of the file), "implicit" (RDKit placed them) or how many are so  |
| counts          | requested = valid + invalid; in_file; unparsable                                           |
| failures        | code word -> full reason -> count, of the records that are not valid and connected         |
| metrics         | name -> {value, standard_error, interval95, count, n}; value = count / n, null if n = 0    |
| geometry        | null without reference, or bond, angle, torsion -> {unit, w1, floor, measured, unknown,    |
|                 | types: label -> distance}                                                                  |
| properties      | name -> {unit, n, mean, std}, with a reference also {reference_mean, w1, floor}            |
| composition     | size, element, charge, bond -> {counts, total_variation}                                   |
| motifs          | null without reference, or {deviation, floor, motifs: name -> {mean, reference_mean,       |
|                 | deviation}}: how often each occurs in a molecule, deviations in the reference's spreads    |
| posebusters     | null if not run, or {version, config, sampled, checked, not_checked: index -> reason,      |
|                 | failures: check -> count}                                                                  |
| relaxation      | null if not run, or {method, unit, n, failed, not_checked: index -> reason, unconverged,   |
|                 | median, mean, q90, median_rmsd} of the energy that GFN2-xTB sets free, over the valid      |
|                 | molecules drawn                                                                            |
| fcd             | null if not run, or {value, floor, n, reference, version}: Frechet ChemNet distance of the |
|                 | n valid molecules to the reference's, and that of as many reference molecules to the rest  |
| memorisation    | null without a prepared set as reference, or {in_training, held_out_in_training (rates),   |
|                 | training, sample and held_out: {n, mean, median, share_from: similarity -> share}} of the  |
|                 | Tanimoto similarity (ECFP4) to the nearest of so many training molecules                   |
| rarity          | null without tables, or {source, molecules, n, reference_n, rarest_ring: {unseen, rare,    |
|                 | median, reference: the same of held-out molecules, read: how to read it}, weakest_bond:    |
|                 | {unseen, weak, median, reference, read}}; unseen, rare and weak are shares of molecules    |
| generation      | null without a run record of just this file beside it, or {sampler, decoding, renoise,     |
|                 | evaluations, drawn, seconds_per_1000, device, batch_size, model_sha256}                    |
| reference       | null, or {source, molecules}                                                               |
| command, date, commit, platform, hardware, versions | see `moldiff.provenance.header`                        |
| seconds         | wall time of each stage                                                                    |

Rates are over all requested molecules, except: atom rates (over the atoms that could be read), ``unique`` and
``..._of_valid`` (over the valid molecules), ``novel`` (over the unique ones), ``posebusters`` (over the records drawn,
but for those that could not be checked).
Geometry, properties and composition are those of the valid molecules, whole molecules always, never a fragment.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from moldiff.evaluation.assess import MISSING, Assessment
from moldiff.evaluation.compare import Comparison, summaries
from moldiff.evaluation.fcd import ChemNetDistance
from moldiff.evaluation.measurements import KINDS, Measurements
from moldiff.evaluation.memorisation import Memorisation
from moldiff.evaluation.metrics import failures
from moldiff.evaluation.posebusters import PoseBustersResult
from moldiff.evaluation.rarity import RarityReport
from moldiff.evaluation.rates import Rate
from moldiff.evaluation.reference import Reference
from moldiff.evaluation.relaxation import RelaxationResult
from moldiff.run_record import Generation
from moldiff.status import Status

FORMAT = "moldiff-evaluation"
FORMAT_VERSION = 1
IN_MEMORY = "molecules"  # stands for the file where there is none


@dataclass(frozen=True, repr=False, eq=False)  # arrays do not compare as one
class Findings:
    """All results of one file; the module's table says what each means.

    Attributes:
        path: the evaluated file; `IN_MEMORY` if molecules were given themselves.
        sha256: its hash; "" likewise.
        hydrogens: the convention that was used.
        rows: one assessment per requested molecule, in file order.
        metrics: name -> rate.
        sample: the valid molecules.
        reference: None if there was none.
        comparison: None without a reference.
        posebusters: None if not run.
        relaxation: None if not run.
        fcd: None if not run.
        memorisation: None without a prepared data set as reference.
        rarity: of ring systems and bonds; None without tables.
        generation: how the file was made, None if that is not on record.
        seconds: stage -> wall time.
        header: of the run, see `moldiff.provenance.header`.
    """

    path: Path
    sha256: str
    hydrogens: str
    rows: list[Assessment]
    metrics: dict[str, Rate]
    sample: Measurements
    reference: Reference | None
    comparison: Comparison | None
    posebusters: PoseBustersResult | None
    relaxation: RelaxationResult | None
    fcd: ChemNetDistance | None
    memorisation: Memorisation | None
    rarity: RarityReport | None
    generation: Generation | None
    seconds: dict[str, float]
    header: dict[str, Any]

    def counts(self) -> dict[str, int]:
        """Return requested, in_file, unparsable, valid and invalid; requested = valid + invalid."""
        valid = sum(row.valid for row in self.rows)
        missing = sum(row.reason == MISSING for row in self.rows)
        return {
            "requested": len(self.rows),
            "in_file": len(self.rows) - missing,
            "unparsable": sum(row.n_atoms == 0 and row.status != Status.WITHHELD for row in self.rows) - missing,
            "valid": valid,
            "invalid": len(self.rows) - valid,
        }

    @property
    def summary(self) -> dict[str, Any]:
        """Counts, failures by reason, and each rate as a number (None if there is nothing to divide by)."""
        rates = {name: rate.to_json()["value"] for name, rate in self.metrics.items()}
        return {"counts": self.counts(), "failures": failures(self.rows), "metrics": rates}

    def to_json(self) -> dict[str, Any]:
        """Return the content of report.json as plain JSON types."""
        reference = self.reference
        proportions = self.comparison.proportions if self.comparison else None
        return {
            "format": FORMAT,
            "version": FORMAT_VERSION,
            "file": self.path.name,
            "sha256": self.sha256,
            "hydrogens": self.hydrogens,
            "counts": self.counts(),
            "failures": failures(self.rows),
            "metrics": {name: rate.to_json() for name, rate in self.metrics.items()},
            "geometry": self._geometry(),
            "properties": self._properties(),
            "composition": self._composition(),
            "motifs": proportions.to_json() if proportions else None,
            "posebusters": self.posebusters.to_json() if self.posebusters else None,
            "relaxation": self.relaxation.to_json() if self.relaxation else None,
            "fcd": self.fcd.to_json() if self.fcd else None,
            "memorisation": self.memorisation.to_json() if self.memorisation else None,
            "rarity": self.rarity.to_json() if self.rarity else None,
            "generation": self.generation.to_json() if self.generation else None,
            "reference": {"source": reference.source, "molecules": reference.molecules} if reference else None,
            **self.header,
            "seconds": {name: round(value, 3) for name, value in self.seconds.items()},
        }

    def _geometry(self) -> dict[str, Any] | None:
        if self.comparison is None:
            return None
        return {kind: found.to_json(KINDS[kind]) for kind, found in self.comparison.geometry.items()}

    def _properties(self) -> dict[str, dict[str, Any]]:
        result = summaries(self.sample)
        for name, distance in self.comparison.properties.items() if self.comparison else ():
            result[name] |= {
                "reference_mean": distance.reference_mean,
                "w1": distance.w1,
                "floor": distance.floor,
            }
        return result

    def _composition(self) -> dict[str, dict[str, Any]]:
        variation = self.comparison.composition if self.comparison else {}
        return {
            name: {"counts": counts, "total_variation": variation.get(name)}
            for name, counts in self.sample.composition().items()
        }
