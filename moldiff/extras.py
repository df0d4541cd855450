"""Extras: packages that only some uses need, installed with ``pip install 'moldiff[NAME]'`` (see pyproject.toml)."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass

from moldiff.errors import MoldiffError


@dataclass(frozen=True)
class Extra:
    """An extra.

    Attributes:
        name: in pyproject.toml.
        packages: that it brings, by the names by which they are imported; what users know comes first.
        hint: where it can be had, if that is not everywhere.
    """

    name: str
    packages: tuple[str, ...]
    hint: str = ""

    def is_installed(self) -> bool:
        """Return whether all of it is there; nothing is loaded."""
        return not self._missing()

    def needed(self) -> str:
        """Return what is missing and how it is installed: "tblite: pip install 'moldiff[xtb]'"."""
        return f"{' and '.join(self._missing())}: pip install 'moldiff[{self.name}]'{self.hint}"

    def require(self, purpose: str, argument: str = "") -> None:
        """Raise MoldiffError unless it is installed.

        Args:
            purpose: what cannot be done without it: "engine dask".
            argument: of the call that asked for that; empty if none did.
        """
        if not self.is_installed():
            raise MoldiffError(f"{purpose} needs {self.needed()}", argument=argument)

    def _missing(self) -> list[str]:
        return [name for name in self.packages if importlib.util.find_spec(name) is None]


XTB = Extra("xtb", ("tblite", "threadpoolctl"))
EVAL = Extra("eval", ("fcd",))
CLUSTER = Extra("cluster", ("dask", "distributed"))
DOCK = Extra("dock", ("vina", "meeko", "gemmi"), ", on Python 3.11 or 3.12, for which Vina comes built")
