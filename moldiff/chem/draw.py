"""Molecules as pictures: flat drawings (SVG, PNG) and plain 3D models, for notebooks, pages and `draw_grid`."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
from rdkit import Chem

from moldiff.chem.coordinates import has_conformer

logger = logging.getLogger(__name__)

_PIXELS = 180  # width and height of one drawing


def molecule_svg(mol: Chem.Mol) -> str:
    """Return the flat drawing of a molecule as SVG, hydrogens left out; "" if it cannot be drawn."""
    from rdkit.Chem.Draw import rdMolDraw2D

    svg = str(_drawn(mol, rdMolDraw2D.MolDraw2DSVG(_PIXELS, _PIXELS)) or "")
    return svg[svg.find("<svg") :] if svg else ""  # without the XML declaration, which has no place in a page


def flat_png(mol: Chem.Mol, width: int, height: int) -> bytes:
    """Return the same drawing as a PNG of so many pixels; b"" if it cannot be drawn."""
    from rdkit.Chem.Draw import rdMolDraw2D

    png = _drawn(mol, rdMolDraw2D.MolDraw2DCairo(width, height))
    return png if isinstance(png, bytes) else b""


def _drawn(mol: Chem.Mol, drawer: Any) -> str | bytes | None:
    """Return what one of RDKit's drawers makes of a molecule without its hydrogens; None if it fails."""
    from rdkit.Chem import rdDepictor
    from rdkit.Chem.Draw import rdMolDraw2D

    try:
        flat = Chem.RemoveHs(mol)
        rdDepictor.Compute2DCoords(flat)
        rdMolDraw2D.PrepareAndDrawMolecule(drawer, flat)
        drawer.FinishDrawing()
        drawing: str | bytes = drawer.GetDrawingText()
    except (ValueError, RuntimeError):
        logger.debug("no drawing", exc_info=True)
        return None
    return drawing


def has_coordinates(mol: Chem.Mol) -> bool:
    """Return whether a molecule has a 3D conformer of finite coordinates."""
    return has_conformer(mol) and bool(np.isfinite(mol.GetConformer().GetPositions()).all())


def plain_model(mol: Chem.Mol) -> dict[str, object] | None:
    """Return elements, positions in angstrom around their centre and bonds (i, j, order) as plain JSON; None without a
    finite 3D conformer."""
    if not has_coordinates(mol):
        return None
    pos = mol.GetConformer().GetPositions()
    pos = pos - pos.mean(axis=0)
    return {
        "elements": [atom.GetSymbol() for atom in mol.GetAtoms()],
        "pos": [[round(float(value), 3) for value in row] for row in pos],
        "bonds": [
            [bond.GetBeginAtomIdx(), bond.GetEndAtomIdx(), bond.GetBondTypeAsDouble()] for bond in mol.GetBonds()
        ],
    }


def gallery_html(molecules: Sequence[Chem.Mol], labels: Sequence[str]) -> str:
    """Return drawings side by side as HTML, each above its label (plain text)."""
    from html import escape

    cells = [
        f'<div style="display:inline-block">{molecule_svg(mol)}<br><small>{escape(label)}</small></div>'
        for mol, label in zip(molecules, labels, strict=True)
    ]
    return f"<div>{''.join(cells)}</div>" if cells else ""
