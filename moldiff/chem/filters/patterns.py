"""SMARTS patterns of a user: what matches one of them does not pass."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from rdkit import Chem

from moldiff.arguments import check_text, refusal
from moldiff.chem.filters.checks import CheckResult, Subject
from moldiff.chem.io.capped import capped_lines, unread
from moldiff.chem.io.encodings import open_text
from moldiff.chem.smarts import smarts_problem, smarts_query
from moldiff.errors import MoldiffError
from moldiff.foreign_text import readable

Patterns = str | Path | Mapping[str, str]
"""A file of patterns, or name -> SMARTS."""


@dataclass(frozen=True)
class PatternCheck:
    """Passes what matches none of some patterns. Value: the names of those that match.

    What patterns see is said in `moldiff.chem.smarts`.

    Attributes:
        name: of the check.
        patterns: (name, SMARTS) of each.
        source: the file they came from; "" = none.
    """

    name: str
    patterns: tuple[tuple[str, str], ...]
    source: str = ""
    is_text = True

    @property
    def cost(self) -> float:
        return 0.005 * len(self.patterns)

    def __call__(self, subject: Subject) -> CheckResult:
        if subject.bare is None:
            return CheckResult(self.name, False, None, "RDKit cannot leave out the hydrogens", broken=True)
        found = "; ".join(name for name, query in _queries(self.patterns) if subject.bare.HasSubstructMatch(query))
        return CheckResult(self.name, not found, found or None, found)


@cache
def _queries(patterns: tuple[tuple[str, str], ...]) -> tuple[tuple[str, Chem.Mol], ...]:
    return tuple((name, smarts_query(smarts)) for name, smarts in patterns)


def pattern_check(patterns: Patterns) -> PatternCheck:
    """Return the check of a user's patterns.

    A file has a pattern in each line, and behind a blank its name; without one, the pattern is its own name. Empty
    lines and those that begin with # are left out.

    Raises:
        MoldiffError: the file cannot be read, is empty, or has a line that is no SMARTS pattern, or too long a one
            (FILE:LINE).
    """
    if isinstance(patterns, Mapping):
        for name, smarts in patterns.items():
            check_text(name, "smarts")
            if not isinstance(smarts, str):
                raise refusal("smarts", f"a SMARTS pattern for '{name}'", smarts)
            if problem := smarts_problem(smarts):
                raise MoldiffError(f"smarts '{name}': {problem}", argument="smarts")
        return PatternCheck("smarts", tuple(patterns.items()))
    if not isinstance(patterns, str | Path):
        raise refusal("smarts", "a file of patterns or a mapping of names to patterns", patterns)
    path = Path(patterns)
    return PatternCheck(f"smarts:{readable(path.name)}", _read(path), str(path))


def _read(path: Path) -> tuple[tuple[str, str], ...]:
    found: list[tuple[str, str]] = []
    try:
        with open_text(path) as handle:
            for number, line in enumerate(capped_lines(path, handle), start=1):
                smarts, _, name = line.strip().partition("\t")
                if unread(smarts):
                    smarts, _, rest = smarts.partition(" ")
                    name = f"{rest} {name}"
                if not smarts or smarts.startswith("#"):
                    continue
                if problem := smarts_problem(smarts):
                    raise MoldiffError(f"{path}:{number}: {problem}", argument="smarts")
                found.append((name.strip() or smarts, smarts))
    except OSError as error:
        raise MoldiffError(f"{path} cannot be read: {error.strerror or error}", argument="smarts") from error
    except (EOFError, zlib.error) as error:  # of a packed file
        raise MoldiffError(f"{path} is damaged: {error}", argument="smarts") from error
    if not found:
        raise MoldiffError(f"{path} holds no SMARTS pattern", argument="smarts")
    return tuple(found)
