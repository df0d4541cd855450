"""Measure the filters on real molecules: how many pass each rule and family of alerts, what the checks cost beside a
plain loop, and whether standardisation is skipped only where it changes nothing. Writes a Markdown table.

    python -m scripts.benchmarks.filters tests/fixtures/drugs.sdf
    python -m scripts.benchmarks.filters drugs.sdf.gz -n 5000 --every 20 -o scripts/benchmarks/results/filters.md
    python -m scripts.benchmarks.filters drugs.sdf.gz -n 11500 --only-standard -o scripts/benchmarks/results/standard.md

The plain loop is what a user would write with RDKit: parse, InChIKey, six descriptors, two rules, QED, SA, PAINS and
BRENK. It and the checks take turns at every molecule, so that what else the machine does hits both. Bars: all checks on
every molecule at 0.9 of its rate; up to the first failure never slower, and 1.4 times as fast where a rule drops half.
"""

from __future__ import annotations

import argparse
import itertools
import os
import platform
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import rdkit
from rdkit import Chem, RDLogger
from rdkit.Chem import QED, Crippen, Descriptors, FilterCatalog, Lipinski, rdMolDescriptors

from moldiff.chem.descriptors.rdkit_descriptors import PROPERTIES
from moldiff.chem.filters.alerts import alerts
from moldiff.chem.filters.checks import Subject, examine
from moldiff.chem.filters.criteria import Criteria
from moldiff.chem.filters.rules import RULES, RuleCheck
from moldiff.chem.identity import canonical_smiles
from moldiff.chem.io.records import parse, read_texts
from moldiff.chem.io.text_records import TextRecord
from moldiff.chem.standardise import is_standard
from moldiff.choices import AlertFamily, RuleName
from moldiff.files import write_text
from moldiff.provenance import header
from moldiff.screening.entries import Entry
from moldiff.screening.filter_run import FilterOptions
from moldiff.screening.worker import FilterWork
from moldiff.version import VERSION

TIMED = 1000  # molecules
ALL = ("mw<5000", "logp<50", "hbd<50", "hba<50", "tpsa<1000", "rotatable_bonds<100", "qed>=0", "sa<=100")
"""Conditions that everything meets: the numbers are computed, nothing is dropped."""


def pass_rates(molecules: Sequence[Chem.Mol]) -> list[tuple[str, str]]:
    """Return rows of (rule or family, share of the molecules that pass)."""
    subjects = [Subject(mol) for mol in molecules]
    rows = []
    for rule in RuleName:
        passed = sum(examine(one, [RuleCheck(rule)]).failure is None for one in subjects)
        rows.append((f"{rule} ({RULES[rule].source})", f"{100 * passed / len(subjects):.1f} %"))
    for family in AlertFamily:
        passed = sum(one.bare is not None and not alerts(family, one.bare) for one in subjects)
        rows.append((f"{family}", f"{100 * passed / len(subjects):.1f} %"))
    return rows


def screened(molecules: Sequence[Chem.Mol]) -> list[tuple[str, str]]:
    """Return a row on whether the screened catalogue of PAINS finds what RDKit's own does."""
    catalogue, differ, bare = _catalogue("PAINS"), 0, [Subject(mol).bare for mol in molecules]
    for mol in filter(None, bare):
        expected = list(dict.fromkeys(entry.GetDescription() for entry in catalogue.GetMatches(mol)))
        differ += alerts(AlertFamily.PAINS, mol) != expected
    return [("molecules whose PAINS alerts differ from those of RDKit's catalogue", f"{differ:,} of {len(bare):,}")]


def _catalogue(name: str) -> FilterCatalog.FilterCatalog:
    parameters = FilterCatalog.FilterCatalogParams()
    parameters.AddCatalog(getattr(FilterCatalog.FilterCatalogParams.FilterCatalogs, name))
    return FilterCatalog.FilterCatalog(parameters)


def plain_loop() -> Callable[[str], object]:
    """Return what a user would write for one SMILES."""
    catalogues = [_catalogue(family) for family in ("PAINS", "BRENK")]

    def work(smiles: str) -> object:
        mol = Chem.MolFromSmiles(smiles)
        if mol is None:
            return None
        mw, logp = Descriptors.MolWt(mol), Crippen.MolLogP(mol)
        hbd, hba = Lipinski.NumHDonors(mol), Lipinski.NumHAcceptors(mol)
        tpsa, bonds = rdMolDescriptors.CalcTPSA(mol), rdMolDescriptors.CalcNumRotatableBonds(mol)
        lipinski = sum((mw > 500, logp > 5, Lipinski.NHOHCount(mol) > 5, Lipinski.NOCount(mol) > 10)) <= 1
        return (
            Chem.MolToSmiles(mol), Chem.MolToInchiKey(mol), mw, logp, hbd, hba, tpsa, bonds, lipinski,
            bonds <= 10 and tpsa <= 140, QED.qed(mol), PROPERTIES["sa"].function(mol),
            [[entry.GetDescription() for entry in catalogue.GetMatches(mol)] for catalogue in catalogues],
        )  # fmt: skip

    return work


def rates(smiles: Sequence[str]) -> list[tuple[str, str]]:
    """Return rows of (what, milliseconds for a molecule and ratio to the plain loop)."""
    weights = sorted(Descriptors.MolWt(Chem.MolFromSmiles(one)) for one in smiles)
    half = f"mw<{weights[len(weights) // 2]:.6g}"
    words: dict[str, Any] = {"rules": "lipinski,veber", "alerts": "pains,brenk"}
    whole = FilterOptions(criteria=Criteria.of(where=ALL, **words)).checks()
    halved = FilterOptions(criteria=Criteria.of(where=(half, *ALL[1:]), **words)).checks()
    works = {
        "every check of every molecule": FilterWork(whole, every=True),
        "up to the first that fails": FilterWork(whole),
        f"the same, half of them dropped by {half}": FilterWork(halved),
    }
    entries = [Entry(n, "", TextRecord(n, "smiles", "", one)) for n, one in enumerate(smiles)]
    plain = plain_loop()
    seconds = dict.fromkeys(["a plain loop", *works], 0.0)
    for number, entry in enumerate([entries[0], *entries]):
        tasks: list[tuple[str, Callable[[], object]]] = [("a plain loop", partial(plain, smiles[entry.number]))]
        tasks += [(name, partial(work.row, entry)) for name, work in works.items()]
        for name, task in (*tasks[number % 4 :], *tasks[: number % 4]):
            start = time.perf_counter()
            task()
            seconds[name] += (time.perf_counter() - start) if number else 0.0  # the first builds the catalogues
    base = seconds["a plain loop"]
    return [
        (name, f"{1000 * one / len(smiles):.2f} ms a molecule, {base / one:.2f} times the plain loop's rate")
        for name, one in seconds.items()
    ]


def skipped(molecules: Sequence[Chem.Mol]) -> list[tuple[str, str]]:
    """Return rows on how often standardisation is skipped, and how often the pipeline would have changed something."""
    from chembl_structure_pipeline import standardizer

    chosen = [mol for mol in molecules if is_standard(mol)]
    changed, look, full = 0, 0.0, 0.0
    for mol in chosen:
        flat = Chem.Mol(mol)
        flat.RemoveAllConformers()
        start = time.perf_counter()
        is_standard(mol)
        middle = time.perf_counter()
        parent, _ = standardizer.get_parent_mol(standardizer.standardize_mol(flat))
        look, full = look + middle - start, full + time.perf_counter() - middle
        Chem.SanitizeMol(parent)
        changed += canonical_smiles(parent, stereo=True) != canonical_smiles(mol, stereo=True)
    return [
        ("standardisation skipped", f"{len(chosen):,} of {len(molecules):,}"),
        ("of these, changed by the full pipeline", f"{changed:,}"),
        (
            "the cheap look, and the full pipeline",
            f"{1000 * look / len(chosen):.2f} and {1000 * full / len(chosen):.2f} ms a molecule",
        ),
    ]


def main() -> None:
    """Read the arguments, measure, print and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", type=Path, help="molecule file")
    parser.add_argument("-n", type=int, default=5000, help="molecules, at most")
    parser.add_argument("--every", type=int, default=1, help="take one of so many records")
    parser.add_argument("--only-standard", action="store_true", help="measure standardisation, nothing else")
    parser.add_argument("-o", "--out", type=Path, help="Markdown file to write")
    arguments = parser.parse_args()

    RDLogger.DisableLog("rdApp.*")
    texts = itertools.islice(read_texts(arguments.file), 0, arguments.n * arguments.every, arguments.every)
    molecules = [record.mol for record in map(parse, texts) if record.mol is not None]
    before, where = os.getloadavg()[0], header()["hardware"]
    timed = [] if arguments.only_standard else [canonical_smiles(mol, stereo=True) for mol in molecules[:TIMED]]
    rows = [*pass_rates(molecules), *screened(molecules), *rates(timed)] if timed else []
    rows += skipped(molecules)
    text = "\n".join(
        [
            f"# {'Standardisation' if arguments.only_standard else 'Filters'} on real molecules, measured",
            "",
            f"`python -m scripts.benchmarks.filters {arguments.file.name} -n {arguments.n} --every {arguments.every}"
            f"{' --only-standard' if arguments.only_standard else ''}`, "
            f"{datetime.now(UTC).date().isoformat()}, {where}, moldiff {VERSION}, "
            f"Python {platform.python_version()}, RDKit {rdkit.__version__}; {len(molecules):,} molecules"
            f"{f', {len(timed):,} of them timed' if timed else ''}; load of the machine when it began and ended "
            f"{before:.1f} and {os.getloadavg()[0]:.1f}.",
            "",
            "| what | figure |",
            "|---|---|",
            *(f"| {what} | {figure} |" for what, figure in rows),
            "",
        ]
    )
    print(text)
    if arguments.out is not None:
        write_text(arguments.out, text)


if __name__ == "__main__":
    main()
