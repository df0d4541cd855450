"""The end of a benchmark: its page, written or printed. Used by the benchmarks, not run by itself."""

from __future__ import annotations

from pathlib import Path

from moldiff.files import write_text


def deliver(text: str, out: Path | None) -> None:
    """Write a page to a file; without one, print it."""
    if out is None:
        print(text, end="")
    else:
        write_text(out, text)
