"""Draw the molecules of an SDF as balls and sticks, each seen along the direction in which it is flattest.

    moldiff generate -n 8 --seed 4 -o molecules.sdf
    python scripts/draw_molecules.py molecules.sdf docs/molecules.png

RDKit reads atoms, bonds and coordinates, which are drawn as they stand in the file. Kekule bonds: one, two or three
sticks.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib
import numpy as np
from rdkit import Chem

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.patches import Circle

COLOURS = {"H": "#f4f4f4", "C": "#4a4a4a", "N": "#3a5fd0", "O": "#d0342c", "F": "#4cae3a", "S": "#d9b81f"}
OTHER = "#b05fb0"
RADII = {"H": 0.20}  # of the balls, angstrom; 0.33 for all others
GAP = 0.22  # between the sticks of a multiple bond, angstrom
WIDTH, HEIGHT = 9.4, 7.6  # of a molecule's place, angstrom


def viewed(mol: Chem.Mol) -> np.ndarray:
    """Return (N, 3) coordinates along the principal axes of the heavy atoms, a little tilted; z points at the eye."""
    positions = np.asarray(mol.GetConformer().GetPositions())
    heavy = [atom.GetIdx() for atom in mol.GetAtoms() if atom.GetAtomicNum() > 1] or list(range(mol.GetNumAtoms()))
    axes = np.linalg.svd(positions[heavy] - positions[heavy].mean(0))[2]
    axes[2] *= np.linalg.det(axes)  # a rotation, no mirror image
    turned = positions @ axes.T
    angle = np.radians(25)
    tilt = np.array([[1, 0, 0], [0, np.cos(angle), -np.sin(angle)], [0, np.sin(angle), np.cos(angle)]])
    turned = turned @ tilt.T
    turned[:, :2] -= (turned[:, :2].min(0) + turned[:, :2].max(0)) / 2
    return turned


def draw(axes: Axes, mol: Chem.Mol) -> None:
    """Draw one molecule from the back to the front."""
    positions, symbols = viewed(mol), [atom.GetSymbol() for atom in mol.GetAtoms()]
    for bond in mol.GetBonds():
        first, second = bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()
        ends = positions[[first, second]]
        colours = [COLOURS.get(symbols[atom], OTHER) for atom in (first, second)]
        along = (ends[1] - ends[0])[:2]
        across = np.array([-along[1], along[0]]) / max(float(np.hypot(*along)), 1e-6)
        sticks = round(bond.GetBondTypeAsDouble())
        middle = ends.mean(0)
        for stick in range(sticks):
            aside = (stick - (sticks - 1) / 2) * GAP * across
            for colour, end in zip(colours, ends, strict=True):
                line = np.stack([end[:2] + aside, middle[:2] + aside]).T
                depth = float(end[2] + middle[2]) / 2 - 0.15
                axes.plot(*line, color="#222222", linewidth=4.0 / sticks + 2.0, zorder=depth - 0.01)
                axes.plot(*line, color=colour, linewidth=4.0 / sticks + 0.8, zorder=depth)
    for position, symbol in zip(positions, symbols, strict=True):
        colour, radius = COLOURS.get(symbol, OTHER), RADII.get(symbol, 0.33)
        ball = Circle(position[:2], radius, facecolor=colour, edgecolor="#222222", linewidth=0.7)
        ball.set_zorder(float(position[2]))
        axes.add_patch(ball)
        glint = Circle(position[:2] + 0.3 * radius, 0.3 * radius, color="white", alpha=0.35, linewidth=0)
        glint.set_zorder(float(position[2]) + 0.001)
        axes.add_patch(glint)
    axes.set(xlim=(-WIDTH / 2, WIDTH / 2), ylim=(-HEIGHT / 2, HEIGHT / 2), aspect="equal")
    axes.axis("off")


def main() -> None:
    """Read the molecules, draw them, write the picture."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", type=Path, help="an SDF with 3D coordinates")
    parser.add_argument("out", type=Path, help="PNG to write")
    parser.add_argument("-n", type=int, default=8, help="molecules to draw, the first of the file")
    parser.add_argument("--columns", type=int, default=4)
    options = parser.parse_args()

    found = [mol for mol in Chem.SDMolSupplier(str(options.file), removeHs=False) if mol is not None][: options.n]
    if not found:
        parser.error(f"{options.file} holds no molecule")
    rows = -(-len(found) // options.columns)
    figure, grid = plt.subplots(rows, options.columns, figsize=(2.35 * options.columns, 1.9 * rows), squeeze=False)
    for axes in grid.flat:
        axes.axis("off")
    for axes, mol in zip(grid.flat, found, strict=False):
        Chem.Kekulize(mol)
        draw(axes, mol)
    figure.subplots_adjust(0, 0, 1, 1, 0, 0)
    figure.savefig(options.out, dpi=100)


if __name__ == "__main__":
    main()
