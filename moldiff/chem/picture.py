"""Molecules side by side in one picture, for papers, slides and a README: flat drawings, balls and sticks, or both."""

from __future__ import annotations

import io
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from rdkit import Chem

from moldiff.arguments import count, path
from moldiff.chem.draw import flat_png, has_coordinates
from moldiff.chem.io.records import read_records
from moldiff.chem.io.tables import Columns
from moldiff.choices import View
from moldiff.errors import MoldiffError, blaming, blaming_for
from moldiff.files import atomic_writer, refuse_existing_file
from moldiff.foreign_text import for_pictures, printable

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SUFFIXES = (".png", ".svg", ".pdf")
MOST = 200
"""Molecules of one picture; more could not be told apart."""

# As usual in chemistry (Corey, Pauling, Koltun), toned down for a white ground; hydrogen is drawn small.
_COLOURS = {
    "H": "#f4f4f4", "C": "#4a4a4a", "N": "#3a5fd0", "O": "#d0342c", "F": "#4cae3a", "Si": "#b39b72", "P": "#e0812c",
    "S": "#d9b81f", "Cl": "#2f9e44", "Br": "#8f3b1b", "I": "#6a2c9c", "B": "#e6a0a0",
}  # fmt: skip
_OTHER = "#b05fb0"
_EDGE = "#222222"
_BALL, _HYDROGEN = 0.33, 0.20  # radii, angstrom
_GAP = 0.22  # between the sticks of a multiple bond, angstrom
_TILT = np.radians(25)  # a molecule seen exactly from its flattest side hides what stands behind
_PLACE = (2.35, 1.9)  # width and height of one drawing, inches
_LEAST_VIEW = 7.6  # height of what a small molecule is shown in, angstrom: bonds are then as thick as in others
_CAPTION = 0.22  # inches
_MOST_RECORDS = 10_000  # looked at for so few molecules


def draw_grid(
    molecules: Sequence[Chem.Mol], captions: Sequence[str], out: Path, view: View = View.BOTH, columns: int = 4
) -> None:
    """Draw molecules in rows and write the picture, by its suffix as PNG, SVG or PDF.

    With both views a molecule's flat drawing stands above its balls and sticks. One without coordinates has the first
    alone.

    Args:
        molecules: 1 to `MOST` sanitised molecules; balls and sticks are drawn as the coordinates stand.
        captions: below each of them; "" = none.
        out: file to write.
        view: what is drawn.
        columns: molecules of a row.

    Raises:
        MoldiffError: no molecules or too many, balls and sticks alone of a molecule without coordinates, or a suffix
            that is none of `SUFFIXES`.
    """
    _check(molecules, out, view)
    from matplotlib.figure import Figure

    painters: list[Callable[[Axes, Chem.Mol], None]] = []
    if view != View.SOLID:
        painters.append(_draw_flat)
    if view != View.FLAT and any(has_coordinates(mol) for mol in molecules):
        painters.append(_draw_solid)
    columns = min(columns, len(molecules))
    rows, captioned = -(-len(molecules) // columns), any(captions)
    heights = [*[_PLACE[1]] * len(painters), *([_CAPTION] if captioned else [])]
    figure = Figure(figsize=(_PLACE[0] * columns, sum(heights) * rows))
    grid = figure.subplots(
        len(heights) * rows, columns, squeeze=False, gridspec_kw={"height_ratios": heights * rows, "hspace": 0}
    )
    for axes in grid.flat:
        axes.axis("off")
    for place, (mol, caption) in enumerate(zip(molecules, captions, strict=True)):
        row, column = divmod(place, columns)
        for line, paint in enumerate(painters):
            paint(grid[row * len(heights) + line, column], mol)
        if captioned:
            text = for_pictures(caption)
            below = grid[(row + 1) * len(heights) - 1, column]
            below.text(0.5, 0.5, text, ha="center", va="center", fontsize=8, transform=below.transAxes, clip_on=True)
    figure.subplots_adjust(0, 0, 1, 1, 0, 0)
    with atomic_writer(out, binary=True) as handle:
        figure.savefig(handle, format=out.suffix[1:].lower(), dpi=150, metadata=_undated(out))


@dataclass(frozen=True)
class DrawnFile:
    """The end of `draw_file`.

    Attributes:
        count: molecules in the picture.
        unread: a line for each record on the way to them that could not be read.
    """

    count: int
    unread: tuple[str, ...]


def draw_file(
    file: Path | str,
    out: Path | str,
    *,
    number: int = 8,
    view: View = View.BOTH,
    columns: int = 4,
    captions: Sequence[str] | None = None,
    table: Columns | None = None,
    overwrite: bool = False,
) -> DrawnFile:
    """Draw the first molecules of a file, see `draw_grid`.

    Args:
        file: of any kind that moldiff reads.
        out: picture to write.
        number: molecules, at most.
        view, columns: see `draw_grid`.
        captions: tags or columns of the file whose values stand below each; None = its title.
        table: columns of a table, see `moldiff.chem.io.text_records.read_texts`.
        overwrite: replace the picture if it exists.

    Raises:
        MoldiffError: the picture exists, the file holds no molecule that can be read, or none has a tag of that name.
    """
    file, out = path(file, "file"), path(out, "out")
    count(number, "number")
    count(columns, "columns")
    with blaming("out", "overwrite"):
        refuse_existing_file(out, overwrite)
    found, unread = [], []
    with blaming("file"):
        records = read_records(file, table)
    for record in blaming_for(itertools.islice(records, _MOST_RECORDS), "file", "table"):
        if record.mol is None:
            unread.append(f"{file}, record {record.index + 1}: {printable(record.reason)}")
        else:
            found.append(record)
        if len(found) == number:
            break
    if not found:
        told = f"{file} holds no molecule that can be read{f'; {unread[0]}' if unread else ''}"
        raise MoldiffError(told, argument="file", word="")
    for name in captions or ():
        if not any(name in record.tags for record in found):
            known = ", ".join(sorted({tag for record in found for tag in record.tags})) or "none"
            raise MoldiffError(f"no molecule of {file} has a tag '{name}'; there are {printable(known)}")
    below = [
        record.name if captions is None else "  ".join(f"{n} {record.tags[n]}" for n in captions if n in record.tags)
        for record in found
    ]
    draw_grid([record.mol for record in found if record.mol is not None], below, out, view, columns)
    return DrawnFile(len(found), tuple(unread))


def _check(molecules: Sequence[Chem.Mol], out: Path, view: View) -> None:
    if out.suffix.lower() not in SUFFIXES:
        raise MoldiffError(f"{out}: pictures end in {', '.join(SUFFIXES)}", argument="out")
    if not 1 <= len(molecules) <= MOST:
        raise MoldiffError(f"{len(molecules)} molecules: a picture shows 1 to {MOST}", argument="number")
    flat = sum(not has_coordinates(mol) for mol in molecules)
    if view == View.SOLID and flat:
        raise MoldiffError(
            f"{flat} of {len(molecules)} molecules have no 3D coordinates, and no balls and sticks without; "
            "draw them flat",
            argument="view",
        )


def _undated(out: Path) -> dict[str, str | None]:
    """Return what keeps the time of day out of a picture, so that the same molecules give the same file."""
    named = {".svg": "Date", ".pdf": "CreationDate"}.get(out.suffix.lower())
    return {} if named is None else {named: None}


def _draw_flat(axes: Axes, mol: Chem.Mol) -> None:
    """Show the flat drawing of a molecule; nothing of one that cannot be drawn."""
    from matplotlib.image import imread

    if png := flat_png(mol, 4 * round(100 * _PLACE[0]), 4 * round(100 * _PLACE[1])):
        axes.imshow(imread(io.BytesIO(png)))


def seen(mol: Chem.Mol) -> np.ndarray:
    """Return (N, 3) coordinates of a molecule as it is looked at: turned so that its heavy atoms are widest across the
    picture and least deep, and tilted a little; never mirrored. z points at the eye."""
    pos = np.asarray(mol.GetConformer().GetPositions())
    heavy = [atom.GetIdx() for atom in mol.GetAtoms() if atom.GetAtomicNum() > 1] or list(range(mol.GetNumAtoms()))
    axes = np.linalg.svd(pos[heavy] - pos[heavy].mean(0))[2]
    axes[2] *= np.linalg.det(axes)
    cos, sin = np.cos(_TILT), np.sin(_TILT)
    turned: np.ndarray = pos @ axes.T @ np.array([[1, 0, 0], [0, cos, sin], [0, -sin, cos]])
    turned[:, :2] -= (turned[:, :2].min(0) + turned[:, :2].max(0)) / 2
    return turned


def _draw_solid(axes: Axes, mol: Chem.Mol) -> None:
    """Draw balls and sticks from the back to the front, one, two or three sticks for a bond of the Kekule form."""
    if not has_coordinates(mol):
        return
    kekule = Chem.Mol(mol)
    Chem.Kekulize(kekule)
    pos, symbols = seen(mol), [atom.GetSymbol() for atom in mol.GetAtoms()]
    height = max(_LEAST_VIEW, np.ptp(pos[:, 1]) + 4 * _BALL, (np.ptp(pos[:, 0]) + 4 * _BALL) * _PLACE[1] / _PLACE[0])
    scale = _LEAST_VIEW / height
    for bond in kekule.GetBonds():
        ends = [bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()]
        colours = [_COLOURS.get(symbols[atom], _OTHER) for atom in ends]
        _draw_sticks(axes, pos[ends], colours, max(1, round(bond.GetBondTypeAsDouble())), scale)
    for place, symbol in zip(pos, symbols, strict=True):
        _draw_ball(axes, place, _COLOURS.get(symbol, _OTHER), _HYDROGEN if symbol == "H" else _BALL)
    width = height * _PLACE[0] / _PLACE[1]
    axes.set(xlim=(-width / 2, width / 2), ylim=(-height / 2, height / 2), aspect="equal")


def _draw_sticks(axes: Axes, ends: np.ndarray, colours: Sequence[str], sticks: int, scale: float) -> None:
    """Draw a bond: each half in the colour of its atom."""
    along = (ends[1] - ends[0])[:2]
    across = np.array([-along[1], along[0]]) / max(float(np.hypot(*along)), 1e-6)
    middle = ends.mean(0)
    for stick in range(sticks):
        aside = (stick - (sticks - 1) / 2) * _GAP * across
        for colour, end in zip(colours, ends, strict=True):
            line = np.stack([end[:2] + aside, middle[:2] + aside]).T
            depth = float(end[2] + middle[2]) / 2 - 0.15
            axes.plot(*line, color=_EDGE, linewidth=scale * (4.0 / sticks + 2.0), zorder=depth - 0.01)
            axes.plot(*line, color=colour, linewidth=scale * (4.0 / sticks + 0.8), zorder=depth)


def _draw_ball(axes: Axes, place: np.ndarray, colour: str, radius: float) -> None:
    """Draw an atom and the light on it."""
    from matplotlib.patches import Circle

    depth, centre = float(place[2]), (float(place[0]), float(place[1]))
    light = (centre[0] + 0.3 * radius, centre[1] + 0.3 * radius)
    axes.add_patch(Circle(centre, radius, facecolor=colour, edgecolor=_EDGE, linewidth=0.5, zorder=depth))
    axes.add_patch(Circle(light, 0.3 * radius, color="white", alpha=0.35, linewidth=0, zorder=depth + 0.001))
