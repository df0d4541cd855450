"""A fragment as users ask for it, checked against the model and the other options."""

from __future__ import annotations

import itertools
import logging
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from moldiff.arguments import check_flag, check_text, refusal, size_range, whole_number
from moldiff.arrays import MOST_ATOMS
from moldiff.chem.fragment_smiles import PlacedFragment, placed_fragment
from moldiff.chem.fragment_stereo import StereoMarks
from moldiff.chem.fragments import MolFragment, block_of, completed_block, cut_fragment, parts_of
from moldiff.chem.io.capped import smiles_record
from moldiff.chem.io.inputs import file_of
from moldiff.chem.io.text_records import read_texts
from moldiff.deprecations import renamed_attribute
from moldiff.errors import MoldiffError, blaming
from moldiff.generation.options.composition import formula_text
from moldiff.sampling.constraints import ElementMask
from moldiff.vocabulary import BOND_ORDERS, Vocabulary

if TYPE_CHECKING:
    from rdkit.Chem import Mol

logger = logging.getLogger(__name__)

DEFAULT_RESAMPLE = 1
MOST_RESAMPLE = 1000
_MOST_RECORDS = 8
_NO_SOURCE = "fragment"  # a molecule that came without a file
_RANGE = re.compile(r"(\d{1,3})(?:-(\d{1,3}))?", flags=re.ASCII)


@dataclass(frozen=True, init=False)
class Fragment:
    """Part of a molecule that is kept, and what is to become of it: a file, a molecule with a 3D conformer, a SMILES.

    Lists and ranges may be texts as on the command line: "0-11", "3,7", "4..10".

    >>> from rdkit import Chem
    >>> from rdkit.Chem import AllChem
    >>> mol = Chem.AddHs(Chem.MolFromSmiles("CO"))
    >>> AllChem.EmbedMolecule(mol, randomSeed=0)
    0
    >>> Fragment(mol, attach_at=[0], grow=(4, 10)).grow
    (4, 10)

    Args:
        fragment: an SDF (several records are taken together, to be linked), an RDKit molecule, or one SMILES or a
            file with one, which is given coordinates (ETKDGv3, MMFF94s). Atoms are numbered from 0, through all
            records; hydrogens of a SMILES come behind its atoms. A ``*`` of a SMILES is no atom: it says where to grow,
            as ``attach_at`` does.
        fixed_atoms: the atoms that are kept, with their hydrogens; None = all.
        keep_smarts: keep what this SMARTS matches, with its hydrogens.
        attach_at: atoms that may get a new bond: each loses a hydrogen for each time that it is named, unless it
            has an open valence anyway.
        add_hydrogens: place the hydrogens that the file leaves out; without, they are open valences to grow at.
        grow: number of new atoms, or an inclusive range; None = as in the training data. Hydrogens are counted unless
            the model makes heavy atoms alone.
        resample: take every step so many times, see `moldiff.sampling.solvers.RePaint`.

    Attributes:
        source: the file or the SMILES, for messages.
        blocks: mol blocks of its records.
        points: atoms that the ``*`` of a SMILES hang on.
        leaving: hydrogens that stand for these ``*``, where the SMILES states stereo.
        marks: the stereo that a SMILES states; None = all that the coordinates show.
        smarts: ``keep_smarts``; see `moldiff.chem.fragments.cut_fragment`.

    Raises:
        MoldiffError: the file cannot be read, or holds no molecule with bonds; an argument is out of range or of a
            wrong type.
    """

    source: str
    blocks: tuple[str, ...]
    fixed_atoms: tuple[int, ...] | None
    smarts: str | None
    attach_at: tuple[int, ...]
    points: tuple[int, ...]
    leaving: tuple[int, ...]
    marks: StereoMarks | None
    grow: tuple[int, int] | None
    resample: int
    add_hydrogens: bool

    def __init__(
        self,
        fragment: str | Path | Mol,
        *,
        fixed_atoms: Sequence[int] | str | None = None,
        keep_smarts: str | None = None,
        attach_at: Sequence[int] | str = (),
        grow: tuple[int, int] | int | str | None = None,
        resample: int = DEFAULT_RESAMPLE,
        add_hydrogens: bool = False,
    ) -> None:
        source = str(fragment) if isinstance(fragment, str | Path) else _NO_SOURCE
        with blaming("fragment"):
            given = _read(fragment)
        blocks, points, leaving, marks = (
            ((given.block,), given.points, given.leaving, given.marks)
            if isinstance(given, PlacedFragment)
            else (given, (), (), None)
        )
        atoms = None if fixed_atoms is None else _atoms(fixed_atoms, "fixed_atoms")
        if keep_smarts is not None:
            check_text(keep_smarts, "keep_smarts")
        attached, sizes = _atoms(attach_at, "attach_at"), size_range(grow, "grow")
        resample = whole_number(resample, "resample")
        check_flag(add_hydrogens, "add_hydrogens")
        if add_hydrogens:
            with blaming("fragment"):
                blocks = tuple(completed_block(block, source) for block in blocks)
        if sizes is not None and not 1 <= sizes[0] <= sizes[1] <= MOST_ATOMS:
            raise MoldiffError(
                f"grow must be a range within 1 .. {MOST_ATOMS}, not {sizes[0]}..{sizes[1]}", argument="grow"
            )
        if not 1 <= resample <= MOST_RESAMPLE:
            raise refusal("resample", f"in 1 .. {MOST_RESAMPLE}", resample)
        own = {
            "source": source, "blocks": blocks, "fixed_atoms": atoms, "smarts": keep_smarts, "attach_at": attached,
            "points": points, "leaving": leaving, "marks": marks, "grow": sizes, "resample": resample,
            "add_hydrogens": add_hydrogens,
        }  # fmt: skip
        for name, value in own.items():
            object.__setattr__(self, name, value)

    @classmethod
    def of(
        cls,
        fragment: str | Path | Mol,
        *,
        fixed_atoms: Sequence[int] | str | None = None,
        keep_smarts: str | None = None,
        attach_at: Sequence[int] | str = (),
        grow: tuple[int, int] | int | str | None = None,
        resample: int = DEFAULT_RESAMPLE,
        add_hydrogens: bool = False,
    ) -> Fragment:
        """Return ``Fragment(...)``, as moldiff 0.1 spelled it."""
        return cls(
            fragment,
            fixed_atoms=fixed_atoms,
            keep_smarts=keep_smarts,
            attach_at=attach_at,
            grow=grow,
            resample=resample,
            add_hydrogens=add_hydrogens,
        )

    def record(self) -> dict[str, object]:
        """Return the options by their public names; a molecule that came without a file as its mol blocks."""
        return {
            "fragment": list(self.blocks) if self.source == _NO_SOURCE else self.source,
            "fixed_atoms": None if self.fixed_atoms is None else list(self.fixed_atoms),
            "keep_smarts": self.smarts,
            "attach_at": list(self.attach_at),
            "grow": None if self.grow is None else list(self.grow),
            "resample": self.resample,
            "add_hydrogens": self.add_hydrogens,
        }

    def cut(self, vocabulary: Vocabulary) -> MolFragment:
        """Return the fragment in a model's classes; MoldiffError if it does not fit."""
        cut = cut_fragment(
            self.blocks, self.source, vocabulary, self.fixed_atoms, self.smarts, self.attach_at, self.leaving,
            self.marks, self.points,
        )  # fmt: skip
        parts = parts_of(cut.mol)
        for number, part in enumerate(parts, start=1):
            if not cut.open_valences[part].any():
                where = f"part {number} of {len(parts)} of {self.source}" if len(parts) > 1 else self.source
                raise MoldiffError(
                    f"attach_at must name an atom: {where} has no open valence to attach to (a * in a SMILES is one)",
                    argument="attach_at",
                )
        return cut

    def tell(self, fragment: MolFragment) -> None:
        """Log what is kept and where it is open, and warn of what is not kept."""
        if fragment.has_isotopes:
            logger.warning("%s: isotopes are not kept; its atoms come back as the plain elements", self.source)
        lacking = zip(fragment.atoms.tolist(), fragment.open_valences.tolist(), strict=True)
        places = ", ".join(f"{atom} ({lacks})" for atom, lacks in lacking if lacks)
        atoms = "atoms are kept" if fragment.with_hydrogens else "heavy atoms are kept, their hydrogens placed anew"
        logger.info("%s: %d %s; atoms with open valences: %s", self.source, len(fragment), atoms, places)

    def sizes(
        self,
        fragment: MolFragment,
        asked: tuple[int, int] | None,
        size_counts: dict[int, int],
        vocabulary: Vocabulary,
    ) -> tuple[int, int]:
        """Return the inclusive range of the numbers of atoms of whole molecules.

        Args:
            fragment: that is kept.
            asked: for whole molecules; None = not asked.
            size_counts: number of atoms -> training molecules.
            vocabulary: of the model.

        Raises:
            MoldiffError: no size is left.
        """
        n, strongest = len(fragment), max(min(BOND_ORDERS.index(name), 3) for name in vocabulary.bonds)
        least = n + max(1, *(-(-bonds // strongest) for bonds in fragment.least_bonds.tolist()))
        if self.grow is not None and asked is not None:
            raise MoldiffError("grow and n_atoms both say how large: give one of them", argument="grow")
        if self.grow is not None:
            low, high = n + self.grow[0], n + self.grow[1]
        else:
            low, high = asked or (least, max(size_counts))
        if high < least:
            whose = (
                f"{low}..{high} {vocabulary.atoms} are asked for"
                if asked or self.grow
                else f"the model knows up to {high}"
            )
            raise MoldiffError(
                f"{self.source}: {n} {vocabulary.atoms} are kept and need {least - n} new ones at least, but {whose}"
            )
        return max(low, least), high


def parse_atoms(text: str, name: str) -> tuple[int, ...]:
    """Return the atoms of ``0-11`` or ``3,7`` or ``0-4,8``; MoldiffError names the argument."""
    atoms: list[int] = []
    for piece in text.split(","):
        match = _RANGE.fullmatch(piece.strip())
        last = int(match[2] or match[1]) if match else -1
        if match is None or last < int(match[1]):
            raise MoldiffError(f"{name} {text}: expected atom numbers from 0 up, such as 0-11 or 3,7", argument=name)
        atoms += range(int(match[1]), last + 1)
    return tuple(atoms)


def _atoms(value: object, name: str) -> tuple[int, ...]:
    """Return the atoms of a list of numbers or of a text as in `parse_atoms`."""
    if isinstance(value, str):
        return parse_atoms(value, name)
    if not isinstance(value, Iterable):
        raise refusal(name, 'a list of whole numbers or a text such as "0-11"', value)
    return tuple(whole_number(atom, name) for atom in value)


def check_together(
    fragment: MolFragment,
    source: str,
    vocabulary: Vocabulary,
    mask: ElementMask | None,
    formula: Mapping[str, int] | None,
    charge: int | None,
    sizes: tuple[int, int],
) -> None:
    """Raise MoldiffError where a fragment contradicts allowed elements, a formula or a total charge."""
    symbols = [vocabulary.elements[kind] for kind in fragment.arrays.atom_type.tolist()]
    if mask is not None:
        for symbol, allowed in zip(mask.elements, mask.allowed, strict=True):
            if symbol in symbols and not allowed:
                raise MoldiffError(f"{source} holds {symbol}, which is not among the allowed elements")
    if formula is not None:
        for symbol in sorted(set(symbols)):
            if (own := symbols.count(symbol)) > formula.get(symbol, 0):
                raise MoldiffError(
                    f"formula {formula_text(formula)} is smaller than {source}, which has {own} {symbol}"
                )
    if charge is not None:
        total = sum(vocabulary.charges[kind] for kind in fragment.arrays.charge.tolist())
        new, low, high = sizes[0] - len(fragment), min(vocabulary.charges), max(vocabulary.charges)
        if not new * min(low, 0) <= charge - total <= new * max(high, 0):
            raise MoldiffError(
                f"charge {charge:+d} is out of reach: {source} has {total:+d}, with {new} new {vocabulary.atoms}, the "
                "fewest that may be drawn; ask for more of them (grow)"
            )


def _read(fragment: str | Path | Mol) -> tuple[str, ...] | PlacedFragment:
    """Return the mol blocks of a fragment that has coordinates, or one that was given some."""
    if not isinstance(fragment, str | Path):
        return (block_of(fragment),)
    path = file_of(fragment, "fragment")
    if path is None:
        records = [smiles_record(0, str(fragment))]
    else:
        records = list(itertools.islice(read_texts(path), _MOST_RECORDS + 1))
    if len(records) > _MOST_RECORDS:
        raise MoldiffError(
            f"{path} holds more than {_MOST_RECORDS} records: a fragment is one molecule, or parts to link"
        )
    for record in records:
        if record.reason:
            raise MoldiffError(f"{path}, record {record.index + 1}: {record.reason}")
        if record.kind != "sdf" and len(records) > 1:
            raise MoldiffError(f"{path}: how parts to link lie to each other needs 3D coordinates: give an SDF")
    if len(records) == 1 and records[0].kind != "sdf":
        return placed_fragment(records[0], str(fragment))
    return tuple(record.text for record in records)


def __getattr__(name: str) -> Any:
    """Return what an old name of this module stands for."""
    return renamed_attribute(__name__, name, {"FragmentWish": "Fragment"}, globals())
