"""Writes the canaries of the built-in models (`moldiff models verify`) anew: python -m scripts.make_canaries

For a release whose built-in models or sampler have changed. Look at the difference before it is committed: a canary
that changes without a reason has done its work.
"""

import argparse
import json

from moldiff.files import write_text
from moldiff.models.folder import list_models, load_model_folder
from moldiff.sampling.canaries import canary_file


def main() -> None:
    """Draw them and write the file, a line for each draw."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    path, value = canary_file([load_model_folder(name) for name in list_models()])
    draws = ",\n".join(
        f"  {json.dumps(key)}: [\n"
        + ",\n".join(f"   {json.dumps(row, separators=(',', ':'))}" for row in rows)
        + "\n  ]"
        for key, rows in value["draws"].items()
    )
    head = ",\n".join(f" {json.dumps(key)}: {json.dumps(value[key])}" for key in ("settings", "models"))
    write_text(path, f'{{\n{head},\n "draws": {{\n{draws}\n }}\n}}\n')


if __name__ == "__main__":
    main()
