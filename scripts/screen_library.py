"""Screen a library: the same as ``moldiff screen``, for those who look for a script (``--help``: the options)."""

from __future__ import annotations

import sys

from moldiff.cli.main import main

if __name__ == "__main__":
    sys.exit(main(["screen", *sys.argv[1:]]))
