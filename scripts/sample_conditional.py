"""Molecules with wanted properties, by the Python API.

    python scripts/sample_conditional.py -n 20

Every target is a property that the model was trained with ('moldiff models info qm9' lists them); any of them may be
left out.
"""

from __future__ import annotations

import argparse

from rdkit import Chem

import moldiff


def main() -> None:
    """Generate, and print what was wanted and what came out."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-n", type=int, default=20, help="molecules to draw")
    parser.add_argument("--model", default="qm9", help="built-in model or model folder")
    parser.add_argument("--steps", type=int, default=50, help="network evaluations per molecule")
    arguments = parser.parse_args()

    molecules = moldiff.generate(
        arguments.n,
        model=arguments.model,
        steps=arguments.steps,
        targets=["logp=1.5", "tpsa<40"],  # a value, a bound; "logp=1..2" is a range
        guidance=2.0,  # 1.0: plain conditioning; {"logp": 2.0, "tpsa": 1.0}: a scale for each
        exclude_elements=["N"],
        seed=0,
    )
    for mol in molecules:
        wanted, measured = mol.GetProp("target_logp"), mol.GetProp("logp")
        smiles = Chem.MolToSmiles(Chem.RemoveHs(mol))
        print(f"{smiles:<30} logp {measured} (wanted {wanted}), tpsa {mol.GetProp('tpsa')} (wanted < 40)")


if __name__ == "__main__":
    main()
