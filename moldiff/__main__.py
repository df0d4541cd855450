"""``python -m moldiff``, and the console script: a signal is one line from the first moment on."""

import os
import sys

_SHAPES = 40  # of products of a thread, which works on one micro-batch after the other


def main() -> int:
    """Run the command line and return its exit status."""
    try:
        from moldiff.interruption import orderly_end

        with orderly_end():
            return _run()
    except (KeyboardInterrupt, SystemExit) as end:  # what came before or behind the command itself
        from moldiff.interruption import ended_by

        return ended_by(end)


def _run() -> int:
    from moldiff.cli.main import main as run
    from moldiff.devices import usable_cores

    # oneDNN, which no command has loaded yet, keeps the code that it made for the last 1,024 shapes: 100 MiB that
    # nobody comes back to
    shapes = min(1024, max(64, _SHAPES * usable_cores()))
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", str(shapes))
    return run()


if __name__ == "__main__":
    sys.exit(main())
