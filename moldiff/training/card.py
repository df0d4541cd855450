"""The card that a trained model carries: what it is, what it was trained on, how, and what it is not for."""

from __future__ import annotations

from typing import Any

from moldiff.models.molecule_model import MoleculeModel
from moldiff.models.property_model import PropertyModel


def training_card(provenance: dict[str, Any], model: MoleculeModel) -> str:
    """Return the card as Markdown."""
    sizes = model.statistics.size_counts
    conditions = ", ".join(model.conditions) or "none"
    origin = provenance["config"].get("init_from")
    started = f"- Started from the weights of: {origin}\n" if origin else ""
    if feedback := model.network_config.feedback:
        started += f"- Feedback of: {', '.join(feedback.properties)}\n"
    own = provenance["config"].get("on_policy", {})
    if own.get("share"):
        evaluations = ", ".join(str(count) for count in own["sampler_evaluations"])
        started += (
            f"- Refined on its own draws: {own['draws']} walks of {evaluations} evaluations, in {own['share']:.0%} of "
            "the batches, each with the sound molecule that came of it, by itself or by structured decoding\n"
        )
        if strength := own.get("reweight"):
            started += (
                "- The draws were dropped and repeated until they were made of what the training data is made of "
                f"(strength {float(strength):g})\n"
            )
        if known := own.get("known"):
            started += (
                f"- {float(known):.0%} of the labels were chosen by how usual their rarest ring system and weakest "
                "bond are among the training molecules, in the proportions found there\n"
            )
        if own.get("teacher"):
            started += (
                f"- Distilled: each draw was noised to t = {own['teacher_start']:g} and walked down again by "
                f"{own['teacher']}, on its grid of {own['teacher_evaluations']} evaluations\n"
            )
    return f"""# A moldiff model

Generates 3D molecules: coordinates, atom types, charges and bonds.

- Elements: {", ".join(model.vocabulary.elements)}
- Charges: {", ".join(f"{charge:+d}" for charge in model.vocabulary.charges)}
- Bonds: {", ".join(model.vocabulary.bonds)}
- {model.vocabulary.atoms.capitalize()} per molecule in training: {min(sizes)} to {max(sizes)}
- Properties it can be asked for: {conditions}
- Training molecules: {provenance["training_molecules"]} (SHA-256 of the prepared arrays {provenance["data_sha256"]})
{started}{_origin(provenance)}

## Intended use
Proposing molecules like those of its training data, for research. Mirror images are equally likely.

## Out of scope
The model knows nothing of synthesis, toxicity or activity. It must not be used to look for harmful substances.
"""


def property_card(provenance: dict[str, Any], model: PropertyModel, guided: str) -> str:
    """Return the card of a property network as Markdown.

    Args:
        provenance: where the weights come from.
        model: the network.
        guided: name of the model that it was made for.
    """
    rows = model.statistics.properties
    properties = "\n".join(
        f"- {name}: {rows[name].mean:.4g} +- {rows[name].std:.4g} {rows[name].unit}, known of {rows[name].known}"
        for name in model.properties
    )
    return f"""# A moldiff property network

Predicts properties of clean molecules from noisy ones. Its gradient guides a model that generates molecules. Made for
{guided} (SHA-256 {provenance["guided_model_sha256"]}), it suits any model of the same noise curve and vocabulary.

{properties}
- Training molecules: {provenance["training_molecules"]} (SHA-256 of the prepared arrays {provenance["data_sha256"]})
{_origin(provenance)}

## Out of scope
It is no replacement for a calculation of the properties. It must not be used to look for harmful substances.
"""


def _origin(provenance: dict[str, Any]) -> str:
    """Return the lines on how a model was trained."""
    versions = provenance["versions"]
    source = f", commit {provenance['commit']}" if provenance["commit"] else ""
    return f"""- Steps: {provenance["step"]}, molecules seen: {provenance["molecules_seen"]}
- Trained for {provenance["seconds"] / 3600:.2f} h on {provenance["hardware"]}, torch {versions["torch"]}, until
  {provenance["date"][:10]}
- Command: `{provenance["command"]}`
- Source: moldiff {versions["moldiff"]}{source}"""
