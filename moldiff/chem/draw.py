"""Molecules as pictures: flat drawings (SVG), for notebooks."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from rdkit import Chem

logger = logging.getLogger(__name__)

_PIXELS = 180  # width and height of one drawing


def molecule_svg(mol: Chem.Mol) -> str:
    """Return the flat drawing of a molecule as SVG, hydrogens left out; "" if it cannot be drawn."""
    from rdkit.Chem import rdDepictor
    from rdkit.Chem.Draw import rdMolDraw2D

    try:
        flat = Chem.RemoveHs(mol)
        rdDepictor.Compute2DCoords(flat)
        drawer = rdMolDraw2D.MolDraw2DSVG(_PIXELS, _PIXELS)
        rdMolDraw2D.PrepareAndDrawMolecule(drawer, flat)
        drawer.FinishDrawing()
        svg = str(drawer.GetDrawingText())
    except (ValueError, RuntimeError):
        logger.debug("no drawing", exc_info=True)
        return ""
    return svg[svg.find("<svg") :]  # without the XML declaration, which has no place in a page


def gallery_html(molecules: Sequence[Chem.Mol], labels: Sequence[str]) -> str:
    """Return drawings side by side as HTML, each above its label (plain text)."""
    from html import escape

    cells = [
        f'<div style="display:inline-block">{molecule_svg(mol)}<br><small>{escape(label)}</small></div>'
        for mol, label in zip(molecules, labels, strict=True)
    ]
    return f"<div>{''.join(cells)}</div>" if cells else ""
