"""A report as a table for the terminal."""

from __future__ import annotations

from collections import Counter

from rich.console import Console
from rich.table import Table

from moldiff.chem.descriptors.rdkit_descriptors import PROPERTIES
from moldiff.evaluation.compare import Comparison
from moldiff.evaluation.measurements import KINDS
from moldiff.evaluation.metrics import failures
from moldiff.evaluation.motif_frequencies import Proportions
from moldiff.evaluation.rarity import RARE, READ, WEAK, RarityReport
from moldiff.evaluation.rates import Rate
from moldiff.evaluation.report import EvaluationReport
from moldiff.shares import percent

MOST_REASONS = 10
MOST_MOTIFS = 5

_LABELS = {
    "valid_connected": "valid & connected",
    "valid": "valid by moldiff (chemistry and geometry)",
    "sanitised": "sanitised (RDKit accepts it)",
    "atom_stability": "stable atoms (bonds of the file)",
    "molecule_stability": "stable molecules (bonds of the file)",
    "edm_atom_stability": "stable atoms (EDM distance table)",
    "edm_molecule_stability": "stable molecules (EDM distance table)",
    "unique": "unique, of the valid",
    "unique_stereo": "unique with stereo, of the valid",
    "novel": "novel, of the unique",
    "novel_stereo": "novel with stereo, of the unique",
    "valid_unique_novel": "valid, unique and novel",
    "valid_unique_novel_stereo": "valid, unique and novel with stereo",
    "posebusters": "PoseBusters (mol_fast)",
    "posebusters_of_valid": "PoseBusters, of the valid",
}


_NOTHING = {
    **dict.fromkeys(("unique", "unique_stereo", "novel", "novel_stereo", "posebusters_of_valid"), "no valid molecule"),
    "atom_stability": "no atom could be read",
    "edm_atom_stability": "no atom could be read",
    "posebusters": "no molecule was checked",
}
_OUT_OF_USE = 0.5  # a share of real molecules below which a rule tells little of a sample


def render(report: EvaluationReport, console: Console) -> None:
    """Print the report: counts, rates with standard errors, distances with floors, reasons."""
    for line in _head(report):
        console.print(line, soft_wrap=True)
    own = {} if report.reference is None else report.reference.rates
    table = Table("rate", "%", "± s.e.", "95 % interval", "n", *(["reference"] if own else []), box=None)
    for name, rate in report.metrics.items():
        beside = [_reference_share(name, own.get(name))] if own else []
        table.add_row(_LABELS[name], *_cells(rate, _NOTHING.get(name, "no molecule")), *beside)
    console.print(table)
    if report.reference is not None and not own:
        text = "(the reference does not carry its own rates: an early model; an SDF or a prepared set does)"
        console.print(text, soft_wrap=True)
    real = own.get("edm_molecule_stability")
    if real is not None and real.value is not None and real.value < _OUT_OF_USE:
        told = f"only {real.value:.0%} of the reference's own molecules pass"
        console.print(f"(EDM's distance table is made for QM9: {told})", soft_wrap=True)
    if report.comparison is not None and report.reference is not None:
        source = report.reference.source
        console.print(f"Wasserstein-1 distances to {source} (floor: as many real molecules)", soft_wrap=True)
        console.print(_distances(report.comparison))
        if (made := report.comparison.proportions) is not None:
            console.print(
                f"{len(made.motifs)} motifs (atoms, bonds, rings, angles) deviate by {_number(made.deviation)} spreads "
                f"on average (floor {_number(made.floor)}: as many real molecules)",
                soft_wrap=True,
            )
            console.print(_deviant(made))
    if report.rarity is not None:
        console.print(f"Rarity, by {report.rarity.molecules} molecules of {report.rarity.source}", soft_wrap=True)
        console.print(_rarity(report.rarity))
        for name, text in READ.items():
            console.print(f"{name.replace('_', ' ')}: {text}", soft_wrap=True)
    for line in _extras(report):
        console.print(line, soft_wrap=True)
    if reasons := [item for details in failures(report.rows).values() for item in details.items()]:
        table = Table("why not valid", "molecules", box=None)
        for reason, n in sorted(reasons, key=lambda item: -item[1])[:MOST_REASONS]:
            table.add_row(reason, str(n))
        console.print(table)


def _head(report: EvaluationReport) -> list[str]:
    counts = report.counts()
    lines = [
        f"{report.path.name}: {counts['requested']} molecules = {counts['valid']} valid + {counts['invalid']} invalid"
        f" ({counts['unparsable']} unparsable, {counts['requested'] - counts['in_file']} not in the file);"
        f" {report.hydrogens} hydrogens"
    ]
    if (made := report.generation) is not None:
        lines.append(made.line())
        if made.drawn > counts["requested"]:
            lines.append(f"rates are over the records of the file; --requested {made.drawn} counts all draws")
    return lines


def _distances(comparison: Comparison) -> Table:
    table = Table("quantity", "W1", "floor", "unit", "share measured", "mean", "reference", box=None)
    for kind, found in comparison.geometry.items():
        why = "" if found.w1 is not None else ": too few of any type"
        measured = f"{percent(found.measured)}{why}"
        table.add_row(f"{kind}s", _number(found.w1), _number(found.floor), KINDS[kind], measured, "", "")
    for name, distance in comparison.properties.items():
        unit = PROPERTIES[name].unit
        why = "" if distance.w1 is not None else "too few values"
        means = _number(distance.mean), _number(distance.reference_mean)
        table.add_row(name, _number(distance.w1), _number(distance.floor), "" if unit == "1" else unit, why, *means)
    return table


def _deviant(made: Proportions) -> Table:
    table = Table("most deviant motifs", "in a molecule", "of the reference", "spreads", box=None)
    for name, (mean, wanted, deviation) in list(made.motifs.items())[:MOST_MOTIFS]:
        table.add_row(name, _number(mean), _number(wanted), f"{deviation:+.2f}")
    return table


def _rarity(found: RarityReport) -> Table:
    table = Table("share of molecules", "sample", "held-out", box=None)
    sample, real = found.sample.shares(), None if found.held_out is None else found.held_out.shares()
    for name, label, share in (
        ("rarest_ring", "rarest ring system: never seen", "unseen"),
        ("rarest_ring", f"rarest ring system: in fewer than {RARE}", "rare"),
        ("weakest_bond", "weakest bond: never seen", "unseen"),
        ("weakest_bond", f"weakest bond: association below {WEAK:g}", "weak"),
    ):
        cells = [None if one is None else one[name][share] for one in (sample, real)]
        table.add_row(label, *("-" if cell is None else percent(cell) for cell in cells))
    return table


def _extras(report: EvaluationReport) -> list[str]:
    lines = []
    if report.fcd is not None:
        floor = "" if report.fcd.floor is None else f" (floor {_number(report.fcd.floor)}: as many reference molecules)"
        lines.append(
            f"Frechet ChemNet distance of {report.fcd.n} valid molecules to {report.fcd.reference} of the reference: "
            f"{_number(report.fcd.value)}{floor}"
        )
    if report.memorisation is not None:
        lines.append(report.memorisation.line())
    if report.relaxation is not None:
        relaxed = report.relaxation.to_json()
        lines.append(
            f"GFN2-xTB relaxation of {relaxed['n']} valid molecules: median {_number(relaxed['median'])} kcal/mol,"
            f" mean {_number(relaxed['mean'])}, 90 % below {_number(relaxed['q90'])}; {relaxed['failed']} failed"
        )
    for name, result in (("PoseBusters", report.posebusters), ("GFN2-xTB", report.relaxation)):
        for reason, n in Counter(result.unchecked.values() if result is not None else ()).items():
            lines.append(f"{n} molecules not checked by {name}: {reason}")
    return lines


def _reference_share(name: str, own: Rate | None) -> str:
    """Return the reference's own value beside a rate."""
    if own is None:
        return "not asked" if name.startswith("posebusters") else "-"
    return "-" if own.value is None else percent(own.value, 2)


def _cells(rate: Rate, nothing: str) -> tuple[str, str, str, str]:
    """Return the cells of a rate; of one that there was nothing to count for, why."""
    if rate.value is None or rate.interval is None:
        return "-", "-", f"none: {nothing}", "0"
    error = "-" if rate.standard_error is None else f"{rate.standard_error:.2%}"
    low, high = map(percent, rate.interval)
    return percent(rate.value, 2), error, f"{low} to {high}", str(rate.n)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"
