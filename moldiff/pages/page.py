"""Templates of pages, filled with plain data: no foreign text becomes markup, nothing is loaded from anywhere."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

_FOLDER = Path(__file__).parent
_DATA, _VIEW = "/*DATA*/", "/*VIEW*/"


def page(template: str, data: Mapping[str, object]) -> str:
    """Return a page with its data and the molecule viewer in it.

    Args:
        template: file name of a template of this package.
        data: plain JSON, finite numbers.
    """
    # a text could end the script early
    text = json.dumps(data, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
    viewer = (_FOLDER / "molecule_view.js").read_text(encoding="utf-8")
    return (_FOLDER / template).read_text(encoding="utf-8").replace(_VIEW, viewer).replace(_DATA, text)
