"""Molecules with wanted properties, by the Python API.

    python scripts/sample_conditional.py -n 32

Every target is a property that the model was trained with ('moldiff models info qm9' lists them); any of them may be
left out. Each draw moves on until it meets them, or has made ten moves.
"""

from __future__ import annotations

import argparse

from rdkit import Chem

import moldiff


def main() -> None:
    """Generate, and print what was wanted and what came out."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-n", type=int, default=32, help="molecules to draw")
    parser.add_argument("--model", default="qm9", help="built-in model or model folder")
    parser.add_argument("--evaluations", type=int, default=20, help="network evaluations of a draw before it moves")
    arguments = parser.parse_args()

    molecules = moldiff.generate(
        arguments.n,
        model=arguments.model,
        evaluations=arguments.evaluations,
        targets=["logp=1.5", "tpsa<40"],  # a value, a bound; "logp=1..2" is a range
        target_moves=10,  # of a draw, at most; target_method="condition" makes none
        exclude_elements=["N"],
        seed=0,
    )
    for mol in molecules:
        wanted, measured = mol.GetDoubleProp("target_logp"), mol.GetDoubleProp("logp")
        smiles = Chem.MolToSmiles(Chem.RemoveHs(mol))
        print(f"{smiles:<30} logp {measured} (wanted {wanted}), tpsa {mol.GetDoubleProp('tpsa')} (wanted < 40)")


if __name__ == "__main__":
    main()
