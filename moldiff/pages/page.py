"""Templates of pages, filled with plain data: no foreign text becomes markup, nothing is loaded from anywhere."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

_FOLDER = Path(__file__).parent
_DATA, _VIEW = "/*DATA*/", "/*VIEW*/"
_LARGEST = 2**53 - 1  # whole number that JavaScript knows from its neighbours


def page(template: str, data: Mapping[str, object]) -> str:
    """Return a page with its data and the molecule viewer in it.

    Args:
        template: file name of a template of this package.
        data: plain JSON, finite numbers; a whole one that JavaScript would round, as a seed may be, becomes a text.
    """
    # a text could end the script early
    text = json.dumps(_exact(data), separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
    viewer = (_FOLDER / "molecule_view.js").read_text(encoding="utf-8")
    return (_FOLDER / template).read_text(encoding="utf-8").replace(_VIEW, viewer).replace(_DATA, text)


def _exact(value: object) -> object:
    """Return plain JSON in which whole numbers keep all of their digits."""
    if isinstance(value, Mapping):
        return {name: _exact(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_exact(one) for one in value]
    return str(value) if isinstance(value, int) and abs(value) > _LARGEST else value
