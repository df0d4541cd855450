"""SMARTS patterns of users: one way to read them, and one molecule that they see, the one without hydrogen atoms.

Whether a record has its hydrogens as atoms is chance of its file, and decides no match: [OH] and [CD2] match ethanol,
[#1] does not. Hydrogens with an isotope stay atoms, and so do those without a heavy neighbour.
"""

from __future__ import annotations

from functools import cache

from rdkit import Chem, rdBase

from moldiff.chem.descriptors.rdkit_descriptors import HYDROGENS_OUT, without_explicit_hydrogens
from moldiff.chem.io.capped import unread

MAX_SMARTS = 5_000  # characters; RDKit walks a query by recursion, and one of some 10,000 terms overflows the stack
_SHOWN = 60  # characters of a pattern in messages
_ORIGIN = "_moldiff_place"  # number of an atom in the whole molecule


@cache
def smarts_query(pattern: str) -> Chem.Mol | None:
    """Return the query of a SMARTS pattern; None where `smarts_problem` has a reason why there is none."""
    if len(pattern) > MAX_SMARTS or unread(pattern):
        return None
    with rdBase.BlockLogs():
        query = Chem.MolFromSmarts(pattern)
    return query if query is not None and query.GetNumAtoms() else None


def smarts_problem(pattern: str) -> str:
    """Return why a text is no SMARTS pattern, or none that is safe to use; "" where it is one."""
    if len(pattern) > MAX_SMARTS:
        return (
            f"the SMARTS pattern '{pattern[:_SHOWN]}...' has more than {MAX_SMARTS} characters; split it into several"
        )
    if words := unread(pattern):
        return f"the SMARTS pattern '{pattern[:_SHOWN]}' would be read in part: {words}"
    return f"RDKit cannot read the SMARTS pattern '{pattern[:_SHOWN]}'" if smarts_query(pattern) is None else ""


def has_match(mol: Chem.Mol, query: Chem.Mol) -> bool | None:
    """Return whether a query matches a sanitised molecule, its hydrogens atoms or not; None where RDKit cannot leave
    them out."""
    with rdBase.BlockLogs():
        bare = without_explicit_hydrogens(mol)
    return None if bare is None else bool(bare.HasSubstructMatch(query))


def places_of(mol: Chem.Mol, query: Chem.Mol) -> list[tuple[int, ...]]:
    """Return the atoms of each match, numbered as in the molecule, whose valences may be open."""
    marked = Chem.Mol(mol)
    for atom in marked.GetAtoms():
        atom.SetIntProp(_ORIGIN, atom.GetIdx())
    with rdBase.BlockLogs():
        bare = Chem.RemoveHs(marked, HYDROGENS_OUT, sanitize=False)
        bare.UpdatePropertyCache(strict=False)
        Chem.FastFindRings(bare)
    numbers = [atom.GetIntProp(_ORIGIN) for atom in bare.GetAtoms()]
    return [tuple(numbers[index] for index in match) for match in bare.GetSubstructMatches(query)]
