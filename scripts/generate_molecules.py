"""Generate molecules: the same as ``moldiff generate``, for those who look for a script (``--help``: the options)."""

from __future__ import annotations

import sys

from moldiff.cli.main import main

if __name__ == "__main__":
    sys.exit(main(["generate", *sys.argv[1:]]))
