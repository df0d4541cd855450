"""The plain loop that a user of RDKit would write: a molecule file in, a CSV out. `screening.py` times it.

    python -m scripts.benchmarks.plain_screen FILE OUT [--everything]

It parses, computes InChIKey, SMILES, six descriptors and two rules, and leaves out copies; with --everything also QED,
SA, PAINS and BRENK. Nothing of moldiff is used.
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Iterator
from pathlib import Path

from rdkit import Chem, RDConfig, RDLogger
from rdkit.Chem import QED, Crippen, Descriptors, FilterCatalog, Lipinski, rdMolDescriptors


def molecules(path: Path) -> Iterator[tuple[str, Chem.Mol | None]]:
    """Yield names and molecules of a file."""
    if path.suffix == ".sdf":
        for mol in Chem.SDMolSupplier(str(path)):
            yield "" if mol is None else mol.GetProp("_Name"), mol
    elif path.suffix == ".csv":
        with path.open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                yield row["name"], Chem.MolFromSmiles(row["smiles"])
    else:
        with path.open(encoding="utf-8") as file:
            for line in file:
                smiles, name = line.split()
                yield name, Chem.MolFromSmiles(smiles)


def screen(path: Path, out: Path, everything: bool) -> None:
    """Write the row of every molecule that is no copy."""
    catalogues, seen = list[FilterCatalog.FilterCatalog](), set[str]()
    if everything:
        sys.path.append(str(Path(RDConfig.RDContribDir) / "SA_Score"))
        import sascorer  # type: ignore[import-not-found]

        for family in ("PAINS", "BRENK"):
            parameters = FilterCatalog.FilterCatalogParams()
            parameters.AddCatalog(getattr(FilterCatalog.FilterCatalogParams.FilterCatalogs, family))
            catalogues.append(FilterCatalog.FilterCatalog(parameters))
    with out.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        for name, mol in molecules(path):
            if mol is None or (key := Chem.MolToInchiKey(mol)) in seen:
                continue
            seen.add(key)
            mw, logp = Descriptors.MolWt(mol), Crippen.MolLogP(mol)
            hbd, hba = Lipinski.NumHDonors(mol), Lipinski.NumHAcceptors(mol)
            tpsa, bonds = rdMolDescriptors.CalcTPSA(mol), rdMolDescriptors.CalcNumRotatableBonds(mol)
            broken = (mw > 500, logp > 5, Lipinski.NHOHCount(mol) > 5, Lipinski.NOCount(mol) > 10)
            row = [name, Chem.MolToSmiles(mol), key, mw, logp, hbd, hba, tpsa, bonds, sum(broken) <= 1]
            row.append(bonds <= 10 and tpsa <= 140)
            if everything:
                found = ([entry.GetDescription() for entry in one.GetMatches(mol)] for one in catalogues)
                row += [QED.qed(mol), sascorer.calculateScore(mol), *map("; ".join, found)]
            writer.writerow(row)


def main() -> None:
    """Read the arguments and screen."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("file", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--everything", action="store_true", help="also QED, SA, PAINS and BRENK")
    arguments = parser.parse_args()
    RDLogger.DisableLog("rdApp.*")
    screen(arguments.file, arguments.out, arguments.everything)


if __name__ == "__main__":
    main()
