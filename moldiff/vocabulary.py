"""Elements, formal charges and bond orders that a data set or a model knows, and their class indices."""

from __future__ import annotations

from dataclasses import dataclass

NO_BOND = "none"
BOND_ORDERS = (NO_BOND, "single", "double", "triple", "aromatic")

_SYMBOLS = (
    "H He Li Be B C N O F Ne Na Mg Al Si P S Cl Ar K Ca Sc Ti V Cr Mn Fe Co Ni Cu Zn Ga Ge As Se Br Kr Rb "
    "Sr Y Zr Nb Mo Tc Ru Rh Pd Ag Cd In Sn Sb Te I Xe Cs Ba La Ce Pr Nd Pm Sm Eu Gd Tb Dy Ho Er Tm Yb Lu "
    "Hf Ta W Re Os Ir Pt Au Hg Tl Pb Bi Po At Rn Fr Ra Ac Th Pa U Np Pu Am Cm Bk Cf Es Fm Md No Lr Rf Db "
    "Sg Bh Hs Mt Ds Rg Cn Nh Fl Mc Lv Ts Og"
)
ELEMENTS = tuple(_SYMBOLS.split())
"""The symbols of the chemical elements in order of their atomic number."""
DUMMY = "*"
"""RDKit's symbol of an atom without an element."""


@dataclass(frozen=True)
class Vocabulary:
    """Class labels of the three categorical fields, in index order.

    Attributes:
        elements: element symbols, sorted by atomic number, for example ("H", "C", "N", "O").
        charges: formal charges, ascending, for example (-1, 0, 1).
        bonds: names out of `BOND_ORDERS`, in that order, the first always "none".
        explicit_hydrogens: False for a set of heavy atoms whose hydrogens are placed afterwards.
    """

    elements: tuple[str, ...]
    charges: tuple[int, ...]
    bonds: tuple[str, ...]
    explicit_hydrogens: bool = True

    @property
    def atoms(self) -> str:
        """Word for the atoms of a molecule where they are counted."""
        return "atoms" if self.explicit_hydrogens else "heavy atoms"

    def __post_init__(self) -> None:
        if not self.elements or not self.charges or self.bonds[:1] != (NO_BOND,):
            raise ValueError(f"a vocabulary needs elements, charges and bonds that start with 'none', not {self}")
        if unknown := [bond for bond in self.bonds if bond not in BOND_ORDERS]:
            raise ValueError(f"unknown bond orders {unknown!r:.80}; known are {', '.join(BOND_ORDERS)}")
        if unknown := [symbol for symbol in self.elements if symbol not in (*ELEMENTS, DUMMY)]:
            raise ValueError(f"unknown elements {unknown!r:.80}")
        if any(isinstance(charge, bool) or not isinstance(charge, int) or abs(charge) > 99 for charge in self.charges):
            raise ValueError(f"charges must be whole numbers, not {self.charges!r:.80}")
        for labels in (self.elements, self.charges, self.bonds):
            if len(set(labels)) < len(labels):
                raise ValueError(f"the classes {labels!r:.80} stand there twice")

    @property
    def sizes(self) -> dict[str, int]:
        """Number of classes of each categorical field, by field name."""
        return {"atom_type": len(self.elements), "charge": len(self.charges), "bond_type": len(self.bonds)}

    def to_json(self) -> dict[str, object]:
        """Return plain JSON types; `from_json` reads them back."""
        return {
            "elements": list(self.elements),
            "charges": list(self.charges),
            "bonds": list(self.bonds),
            "explicit_hydrogens": self.explicit_hydrogens,
        }

    @classmethod
    def from_json(cls, value: dict[str, object]) -> Vocabulary:
        """Build a vocabulary from `to_json`'s output; ValueError, KeyError or TypeError if it is not one."""
        elements, charges, bonds = value["elements"], value["charges"], value["bonds"]
        if not (isinstance(elements, list) and isinstance(charges, list) and isinstance(bonds, list)):
            raise TypeError("elements, charges and bonds must be lists")
        if not isinstance(value["explicit_hydrogens"], bool):
            raise TypeError(f"explicit_hydrogens must be true or false, not {value['explicit_hydrogens']!r:.80}")
        return cls(tuple(elements), tuple(charges), tuple(bonds), value["explicit_hydrogens"])
