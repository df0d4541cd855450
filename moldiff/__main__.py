"""``python -m moldiff``, and the console script: Ctrl-C is one line from the first moment on."""

import sys


def main() -> int:
    """Run the command line and return its exit status."""
    try:
        from moldiff.cli.main import main as run
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        return 130
    return run()


if __name__ == "__main__":
    sys.exit(main())
