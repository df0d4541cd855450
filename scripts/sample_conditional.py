"""Molecules with wanted properties, by the Python API.

    python scripts/sample_conditional.py -n 32

Every target is a property that the model was trained with ('moldiff models info qm9' lists them); any of them may be
left out. Conditioning alone follows them loosely; with the score "targets", draws go down in groups of 16, and the
values measured on the way decide which of them go on.
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
    parser.add_argument("--evaluations", type=int, default=30, help="network evaluations per molecule")
    arguments = parser.parse_args()

    molecules = moldiff.generate(
        arguments.n,
        model=arguments.model,
        evaluations=arguments.evaluations,
        targets=["logp=1.5", "tpsa<40"],  # a value, a bound; "logp=1..2" is a range
        guidance=1.0,  # plain conditioning; more pulls harder, {"logp": 2.0, "tpsa": 1.0} is a scale for each
        score="targets",
        score_weight=4.0,  # molecules are drawn with the weight exp(-4 x distance in standard deviations)
        exclude_elements=["N"],
        seed=0,
    )
    for mol in molecules:
        wanted, measured = mol.GetDoubleProp("target_logp"), mol.GetDoubleProp("logp")
        smiles = Chem.MolToSmiles(Chem.RemoveHs(mol))
        print(f"{smiles:<30} logp {measured} (wanted {wanted}), tpsa {mol.GetDoubleProp('tpsa')} (wanted < 40)")


if __name__ == "__main__":
    main()
