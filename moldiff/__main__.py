"""``python -m moldiff``: the command line where the console script is not on the path."""

import sys

from moldiff.cli.main import main

sys.exit(main())
