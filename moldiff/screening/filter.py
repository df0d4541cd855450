"""`filter` as users of Python know it: molecules in, those that pass out, with a reason for every other."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType

from moldiff.arguments import texts, with_plain_numbers
from moldiff.chem.filters.patterns import Patterns
from moldiff.chem.io.inputs import Molecules, file_of
from moldiff.chem.io.tables import Columns, check_columns, refuse_columns
from moldiff.conditions import Conditions
from moldiff.errors import blaming
from moldiff.screening.entries import Library, library_of
from moldiff.screening.filter_result import FilterResult, packed_molecule
from moldiff.screening.filter_run import TIMEOUT_S, FilterOptions, FilterRun


@with_plain_numbers
def filter(
    molecules: Molecules,
    *,
    where: Conditions = (),
    rules: str | Iterable[str] = (),
    alerts: str | Iterable[str] = (),
    smarts: Patterns | Iterable[Patterns] = (),
    similar_to: Molecules | None = None,
    shape_of: Molecules | None = None,
    known: Molecules | None = None,
    commands: Mapping[str, str] = MappingProxyType({}),
    dock: str | Path | None = None,
    dock_box: str | Path | Iterable[float] | None = None,
    exhaustiveness: int | None = None,
    standardise: bool = False,
    hazard_lists: str | Path | Iterable[str | Path] = (),
    release_hazards: str | None = None,
    rank: str | Iterable[str] | None = None,
    n: int | None = None,
    all_checks: bool = False,
    dedup: bool = True,
    seed: int = 0,
    workers: int = 1,
    isolated: bool = False,
    timeout_s: float = TIMEOUT_S,
    columns: Columns | None = None,
) -> FilterResult:
    """Return the molecules that are as wanted, and a table with the reason of every other.

    >>> import moldiff
    >>> result = moldiff.filter(["CCO", "CCCCCCCCCCCC", "OCC"], where=["mw<100"])
    >>> [str(status) for status in result.table["status"]], result.table["reason"][1]
    (['valid', 'filtered', 'duplicate'], 'mw: 170.34, must be <100')

    Without a condition everything passes and every property is in the table. Checks are asked in order of cost, up to
    the first that fails.

    Args:
        molecules: a molecule file, several `Path`s, an RDKit molecule, a SMILES, or molecules and SMILES one after the
            other.
        where: conditions on named numbers: "mw<450", "logp=1..4", "qed>=0.5"; properties, the numbers of
            `moldiff.chem.filters.geometry_measures` ("posebusters=0"), or your own function ("mine.py:activity>5").
        rules: presets, see `moldiff.choices.RuleName`.
        alerts: families of structural alerts, see `moldiff.choices.AlertFamily`.
        smarts: patterns none of which may match: files with a SMARTS and a name in each line, or name -> SMARTS.
        similar_to: references; the number ``similarity`` is the highest Tanimoto similarity to one of them (ECFP4).
        shape_of: references; the numbers ``shape`` and ``colour`` tell of the best overlay in space on one of them.
        known: molecules that are left out.
        commands: name of a number -> command that prints it, with {sdf} or {smiles} where the molecule goes.
        dock: PDBQT file of a rigid receptor; the number ``vina_kcal_mol`` is the affinity of the best pose by AutoDock
            Vina, and an SDF holds that pose. It needs the extra ``dock``, and seconds to minutes a molecule.
        dock_box: where poses are looked for: center x, y, z and size x, y, z in angstrom, or the file of a ligand in
            its place, with 8 angstrom around it.
        exhaustiveness: of the search, 8 by default.
        standardise: bring every molecule into ChEMBL's standard form first: charges, salts, isotopes.
        hazard_lists: lists of molecules that are withheld, beside the families of `moldiff.chem.filters.hazards`.
        release_hazards: why molecules that would be withheld are handed out, in words that every output repeats.
        rank: which are the best: "qed" (the highest), "sa:low" (the lowest), "logp=2.5" (the nearest); or wishes, whose
            desirabilities are multiplied (weighted geometric mean): "qed:max:0.2..0.9", "sa:min:2..6",
            "logp:target:0..2.5..5", "mw:range:200..300..450..550", and behind a * a weight.
        n: keep the best so many, or the first without ``rank``; None = all.
        all_checks: ask every check of every molecule.
        dedup: of molecules with the same InChIKey, keep only the first that passes every check.
        seed: of coordinates that molecules are given where an output needs them.
        workers: processes (spawned: a script needs its ``if __name__ == "__main__"``).
        isolated: use a process even for one worker: a molecule that crashes or holds it up is then failed, and the rest
            goes on.
        timeout_s: longest time for one molecule in such a process.
        columns: where files that are tables have their SMILES and names; None = it is found out.

    Raises:
        MoldiffError: an argument that means nothing, a file that is missing or damaged, or no molecules at all.
    """
    check_columns(columns)
    options = FilterOptions.of(
        where=where,
        rules=rules,
        alerts=alerts,
        smarts=smarts,
        similar_to=similar_to,
        shape_of=shape_of,
        known=known,
        commands=commands,
        dock=dock,
        dock_box=dock_box,
        exhaustiveness=exhaustiveness,
        standardise=standardise,
        hazard_lists=hazard_lists,
        release_hazards=release_hazards,
        rank=() if rank is None else texts(rank, "rank"),
        n=n,
        all_checks=all_checks,
        dedup=dedup,
        seed=seed,
        workers=workers,
        isolated=isolated,
        timeout_s=timeout_s,
    )
    with blaming("molecules", "columns"):
        library = _library(molecules, columns)
    run = FilterRun(library, options, packed_molecule)
    return FilterResult(run, list(run.rows()))


def _library(molecules: Molecules, columns: Columns | None) -> Library:
    if isinstance(molecules, list | tuple) and molecules and all(isinstance(item, Path) for item in molecules):
        return library_of(molecules, columns)
    if (path := file_of(molecules)) is not None:
        return library_of([path], columns)
    refuse_columns(columns)
    return Library(molecules=molecules)
