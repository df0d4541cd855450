"""Molecular properties that RDKit computes, by lower-case name."""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType, ModuleType

from rdkit import Chem, RDConfig, rdBase
from rdkit.Chem import QED, Crippen, Descriptors, Lipinski, rdMolDescriptors


@dataclass(frozen=True)
class Property:
    """A property of a molecule whose hydrogens were removed.

    Attributes:
        name: lower-case name, as in files and on the command line.
        unit: unit of the value, "1" for a plain number.
        function: sanitised molecule without explicit hydrogens -> value.
        cost: about how many milliseconds a drug-like molecule takes on one core.
        whole: values are whole numbers.
        reported: a column of every table of molecules and a row of every report; the others are computed where somebody
            asks for them.
        low, high: what no value lies below or above, whatever the molecule.
    """

    name: str
    unit: str
    function: Callable[[Chem.Mol], float]
    cost: float
    whole: bool = False
    reported: bool = True
    low: float = 0.0
    high: float = math.inf

    def value(self, bare: Chem.Mol) -> float:
        """Return the value of a molecule from `without_explicit_hydrogens`; NaN where the calculator fails or gives no
        finite number."""
        try:
            value = float(self.function(bare))
        except Exception:  # noqa: BLE001 - a calculator may raise anything
            return math.nan
        return value if math.isfinite(value) else math.nan


@cache
def _sascorer() -> ModuleType:
    """Load RDKit's synthetic-accessibility score (Ertl and Schuffenhauer 2009), contributed, not importable."""
    path = Path(RDConfig.RDContribDir) / "SA_Score" / "sascorer.py"
    spec = importlib.util.spec_from_file_location("moldiff_rdkit_sascorer", path)
    if spec is None or spec.loader is None or not path.is_file():
        raise RuntimeError(f"this RDKit build has no SA_Score ({path} is missing)")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def load_tables() -> None:
    """Read what properties look up, which takes half a second."""
    _synthetic_accessibility(Chem.MolFromSmiles("C"))


def _synthetic_accessibility(mol: Chem.Mol) -> float:
    return float(_sascorer().calculateScore(mol))


def _drug_likeness(bare: Chem.Mol) -> float:
    """Return QED (Bickerton et al., Nat. Chem. 2012, 4, 90) as RDKit's function does, which takes the hydrogens away
    once more and with them what RDKit remembers of the molecule: Crippen's logp, a third of the time."""
    rings = Chem.DeleteSubstructs(Chem.Mol(bare), QED.AliphaticRings)
    found = QED.QEDproperties(
        MW=Descriptors.MolWt(bare),
        ALOGP=Crippen.MolLogP(bare),
        HBA=sum(len(bare.GetSubstructMatches(pattern)) for pattern in QED.Acceptors),
        HBD=rdMolDescriptors.CalcNumHBD(bare),
        PSA=rdMolDescriptors.CalcTPSA(bare),
        ROTB=rdMolDescriptors.CalcNumRotatableBonds(bare, rdMolDescriptors.NumRotatableBondsOptions.Strict),
        AROM=len(Chem.GetSSSR(rings)),
        ALERTS=sum(map(bare.HasSubstructMatch, QED.StructuralAlerts)),
    )
    return float(QED.qed(bare, qedProperties=found))


def _largest_ring(mol: Chem.Mol) -> int:
    return max(map(len, mol.GetRingInfo().AtomRings()), default=0)


_ALL = (
    Property("logp", "1", Crippen.MolLogP, 0.2, low=-math.inf),
    Property("tpsa", "angstrom^2", rdMolDescriptors.CalcTPSA, 0.02),
    Property("qed", "1", _drug_likeness, 3.0, high=1.0),
    Property("mw", "g/mol", Descriptors.MolWt, 0.01),
    Property("hbd", "1", Lipinski.NumHDonors, 0.02, whole=True),
    Property("hba", "1", Lipinski.NumHAcceptors, 0.02, whole=True),
    Property("rotatable_bonds", "1", rdMolDescriptors.CalcNumRotatableBonds, 0.05, whole=True),
    Property("rings", "1", rdMolDescriptors.CalcNumRings, 0.01, whole=True),
    Property("fsp3", "1", rdMolDescriptors.CalcFractionCSP3, 0.01, high=1.0),
    Property("sa", "1", _synthetic_accessibility, 1.0, low=1.0, high=10.0),
    Property("heavy_atom_count", "1", Chem.Mol.GetNumHeavyAtoms, 0.01, whole=True),
    Property("no_count", "1", Lipinski.NOCount, 0.01, whole=True, reported=False),
    Property("nhoh_count", "1", Lipinski.NHOHCount, 0.01, whole=True, reported=False),
    Property("aromatic_rings", "1", rdMolDescriptors.CalcNumAromaticRings, 0.01, whole=True, reported=False),
    Property("largest_ring", "1", _largest_ring, 0.01, whole=True, reported=False),
    Property("heteroatoms", "1", rdMolDescriptors.CalcNumHeteroatoms, 0.01, whole=True, reported=False),
    Property("formal_charge", "1", Chem.GetFormalCharge, 0.01, whole=True, reported=False, low=-math.inf),
    Property("fragments", "1", lambda mol: len(Chem.GetMolFrags(mol)), 0.01, whole=True, reported=False),
    Property("stereocentres", "1", rdMolDescriptors.CalcNumAtomStereoCenters, 0.03, whole=True, reported=False),
    Property(
        "open_stereocentres", "1", rdMolDescriptors.CalcNumUnspecifiedAtomStereoCenters, 0.03, whole=True,
        reported=False,
    ),
    Property("molar_refractivity", "1", Crippen.MolMR, 0.2, reported=False, low=-math.inf),
)  # fmt: skip

HYDROGENS_OUT = Chem.RemoveHsParameters()  # how hydrogens go before anything is computed
HYDROGENS_OUT.removeDefiningBondStereo = True
HYDROGENS_OUT.showWarnings = False

PROPERTIES: Mapping[str, Property] = MappingProxyType({entry.name: entry for entry in _ALL})
REPORTED = tuple(entry.name for entry in _ALL if entry.reported)
"""Names of the properties that every table of molecules has."""


def compute(mol: Chem.Mol, names: Iterable[str]) -> dict[str, float]:
    """Return the named properties of a sanitised molecule, hydrogens explicit or not: the result is the same.

    A value is NaN where its calculator fails or gives no finite number; no molecule makes this raise.

    Raises:
        KeyError: a name is not in `PROPERTIES`.
    """
    chosen = [PROPERTIES[name] for name in names]
    with rdBase.BlockLogs():
        bare = without_explicit_hydrogens(mol)
        return {entry.name: math.nan if bare is None else entry.value(bare) for entry in chosen}


def without_explicit_hydrogens(mol: Chem.Mol) -> Chem.Mol | None:
    """Return a sanitised molecule as properties, alerts and patterns see it; None if RDKit fails on it."""
    try:
        return Chem.RemoveHs(mol, HYDROGENS_OUT)
    except Exception:  # noqa: BLE001 - whatever RDKit makes of this molecule
        return None
