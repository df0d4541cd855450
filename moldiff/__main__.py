"""``python -m moldiff``, and the console script: Ctrl-C is one line from the first moment on."""

import os
import sys

_SHAPES = 40  # of products of a thread, which works on one micro-batch after the other


def main() -> int:
    """Run the command line and return its exit status."""
    # oneDNN keeps the code that it made for the last 1,024 shapes, 100 MiB that nobody comes back to
    shapes = min(1024, max(64, _SHAPES * (os.cpu_count() or 1)))
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", str(shapes))
    try:
        from moldiff.cli.main import main as run
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        return 130
    return run()


if __name__ == "__main__":
    sys.exit(main())
