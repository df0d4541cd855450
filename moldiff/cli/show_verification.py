"""Output of `moldiff models verify`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from moldiff.errors import MoldiffError
from moldiff.models.folder import is_model, load_model_folder
from moldiff.sampling.canaries import TOLERANCE, check_canaries, known_canaries

if TYPE_CHECKING:
    from rich.console import Console


def render_verification(names: Sequence[str], console: Console) -> bool:
    """Print for each model if its files are as they were saved and its canaries as they were drawn; return False if one
    is not."""
    known = known_canaries()
    healthy = True
    for name in names:
        if not is_model(name):
            load_model_folder(name)  # which says that there is none: nothing is damaged
        try:
            model = load_model_folder(name)
            canaries = check_canaries(model, known)
        except MoldiffError as error:
            healthy = False
            console.print(f"{name}: DAMAGED: {error}", soft_wrap=True)
            continue
        told = "no canary is known of it"
        if canaries is not None:
            told = f"{canaries.draws} draws are as they were, to {canaries.largest:.3f} angstrom"
            if not canaries.passed:
                healthy = False
                numbers = ", ".join(map(str, canaries.differ))
                told = f"DIFFERENT: of {canaries.draws} draws, {numbers}, in atoms or by over {TOLERANCE} angstrom"
        console.print(f"{name}: files are as they were saved, sha256 {model.sha256}; {told}", soft_wrap=True)
    return healthy
