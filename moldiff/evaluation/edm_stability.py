"""The distance-table stability rule of EDM, kept only for comparison with older work.

Bonds are read off a table of typical bond lengths, whatever bonds the file holds; an atom is stable if the orders
around it sum to the element's usual valence. Formal charges play no part, so zwitterions fail by construction, and so
do strained bonds: of the real QM9 molecules 99.0 % of the atoms and 95.2 % of the molecules pass (Hoogeboom et al.
2022, arXiv 2203.17003). The lengths are tabulated averages (wiredchemist.com, "Common Bond Energies and Bond Lengths");
the margins were tuned by those authors on QM9. `moldiff.chem.valence` holds the rule on the bonds of the file.
"""

from __future__ import annotations

import numpy as np

MARGINS_PM = (10.0, 5.0, 3.0)
"""Tolerance in picometres for single, double and triple bonds."""

_SINGLE = """
H-H 74 H-C 109 H-N 101 H-O 96 H-F 92 H-B 119 H-Si 148 H-P 144 H-As 152 H-S 134 H-Cl 127 H-Br 141 H-I 161
C-C 154 C-N 147 C-O 143 C-F 135 C-Si 185 C-P 184 C-S 182 C-Cl 177 C-Br 194 C-I 214
N-N 145 N-O 140 N-F 136 N-Cl 175 N-Br 214 N-S 168 N-I 222 N-P 177
O-O 148 O-F 142 O-Br 172 O-S 151 O-P 163 O-Si 163 O-Cl 164 O-I 194
F-F 142 F-S 158 F-Si 160 F-Cl 166 F-Br 178 F-P 156 F-I 187
B-Cl 175 Si-Si 233 Si-S 200 Si-Cl 202 Si-Br 215 Si-I 243
Cl-Cl 199 Cl-P 203 Cl-S 207 Cl-Br 214 S-S 204 S-Br 225 S-P 210 S-I 234
Br-Br 228 Br-P 222 P-P 221 I-I 266
"""
_DOUBLE = "C-C 134 C-N 129 C-O 120 C-S 160 N-N 125 N-O 121 O-O 121 O-P 150 P-S 186"
_TRIPLE = "C-C 120 C-N 116 C-O 113 N-N 110"

VALENCES: dict[str, tuple[int, ...]] = {
    "H": (1,), "C": (4,), "N": (3,), "O": (2,), "F": (1,), "B": (3,), "Al": (3,), "Si": (4,), "P": (3, 5), "S": (4,),
    "Cl": (1,), "As": (3,), "Br": (1,), "I": (1,), "Hg": (1, 2), "Bi": (3, 5),
}  # fmt: skip
"""Sums of bond orders that count as stable. Sulfur is 4 in the original; elements that are missing are never stable."""

_SYMBOLS = tuple(VALENCES)
_UNKNOWN = len(_SYMBOLS)


def _thresholds() -> np.ndarray:
    """Return (3, E + 1, E + 1): the distance (angstrom) that a single, double, triple bond stays below; 0 = no such."""
    table = np.zeros((3, _UNKNOWN + 1, _UNKNOWN + 1))
    for order, text in enumerate((_SINGLE, _DOUBLE, _TRIPLE)):
        words = text.split()
        for pair, length in zip(words[::2], words[1::2], strict=True):
            first, second = (_SYMBOLS.index(symbol) for symbol in pair.split("-"))
            table[order, first, second] = table[order, second, first] = (float(length) + MARGINS_PM[order]) / 100
    return table


_THRESHOLDS = _thresholds()


def bond_orders(symbols: list[str], positions: np.ndarray) -> np.ndarray:
    """Return the (n, n) symmetric integer orders that the distance table gives.

    Args:
        symbols: n element symbols.
        positions: (n, 3) angstrom. A distance that is not finite gives no bond.
    """
    element = np.array([_SYMBOLS.index(s) if s in VALENCES else _UNKNOWN for s in symbols], dtype=np.int64)
    distance = np.linalg.norm(positions[:, None] - positions[None], axis=-1)
    closer = distance < _THRESHOLDS[:, element[:, None], element[None]]
    # The tiers are nested: a triple bond is also shorter than the double and the single bond's threshold.
    orders = closer.sum(0)
    np.fill_diagonal(orders, 0)
    return orders


def stable_atoms(symbols: list[str], positions: np.ndarray) -> np.ndarray:
    """Return (n,) bool: the atoms that are stable under the distance rule; arguments as `bond_orders`."""
    sums = bond_orders(symbols, positions).sum(1)
    return np.array([total in VALENCES.get(name, ()) for name, total in zip(symbols, sums, strict=True)], dtype=bool)
