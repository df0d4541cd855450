"""The card that a trained model carries: what it is, what it was trained on, how, and what it is not for."""

from __future__ import annotations

from typing import Any

from moldiff.model import MoleculeModel


def training_card(provenance: dict[str, Any], model: MoleculeModel) -> str:
    """Return the card as Markdown."""
    sizes = model.statistics.size_counts
    source = f", commit {provenance['commit']}" if provenance["commit"] else ""
    conditions = ", ".join(model.conditions) or "none"
    origin = provenance["config"].get("init_from")
    started = f"- Started from the weights of: {origin}\n" if origin else ""
    return f"""# A moldiff model

Generates 3D molecules: coordinates, atom types, charges and bonds.

- Elements: {", ".join(model.vocabulary.elements)}
- Charges: {", ".join(f"{charge:+d}" for charge in model.vocabulary.charges)}
- Bonds: {", ".join(model.vocabulary.bonds)}
- Atoms per molecule in training: {min(sizes)} to {max(sizes)}
- Properties it can be asked for: {conditions}
- Training molecules: {provenance["training_molecules"]} (SHA-256 of the prepared arrays {provenance["data_sha256"]})
{started}- Steps: {provenance["step"]}, molecules seen: {provenance["molecules_seen"]}
- Trained for {provenance["seconds"] / 3600:.2f} h on {provenance["hardware"]}, torch {provenance["torch"]}, until
  {provenance["date"]}
- Command: `{provenance["command"]}`
- Source: moldiff {provenance["moldiff"]}{source}

## Intended use
Proposing molecules like those of its training data, for research. Mirror images are equally likely.

## Out of scope
The model knows nothing of synthesis, toxicity or activity. It must not be used to look for harmful substances.
"""
