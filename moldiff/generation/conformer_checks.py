"""From sampled coordinates to a conformer: the graph is given, stereo and bond lengths are looked at."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace

from moldiff.chem.convert import Conversion
from moldiff.chem.filters.validity import is_valid_and_connected
from moldiff.chem.stereo import compare_stereo, with_stereo_of_geometry
from moldiff.chem.topology import Topology
from moldiff.datasets.chemistry import TENSOR, TrainingChemistry
from moldiff.generation.decoding.decoders import LENGTH_WIDENING, DecodedMolecule
from moldiff.models.folder import ModelFolder
from moldiff.sampling.molecule_sampler import RawSample
from moldiff.vocabulary import Vocabulary

logger = logging.getLogger(__name__)

RARE_WIDENING = 0.2  # angstrom beyond the lengths of a kind of bond that training had few of
WRONG_STEREO = "stereo"
"""Code word of the reason of a wrong diastereomer."""


@dataclass(frozen=True)
class ConformerDecoder:
    """Puts the coordinates of a draw and a given graph together; mirrors what is all inverted.

    Attributes:
        item: the graph.
        vocabulary: class labels.
        seen: bond lengths of training, which a conformer may leave by `LENGTH_WIDENING`; None = not known.
    """

    item: Topology
    vocabulary: Vocabulary
    seen: TrainingChemistry | None

    def decode(self, draw: RawSample) -> DecodedMolecule:
        """Return the conformer; a fact is whether it is the mirror image of what was drawn."""
        assert draw.arrays is not None
        pos = draw.arrays.pos
        mol = self.item.place(pos)
        match = compare_stereo(mol)
        if match.mirrored:
            pos = -pos
            mol = self.item.place(pos)
        conversion = Conversion(with_stereo_of_geometry(mol), None, "")
        if not (match.right or match.mirrored):
            geometry = f"{WRONG_STEREO}: {match.problem}"
        else:
            arrays = replace(self.item.arrays, pos=pos)
            length = (
                ""
                if self.seen is None
                else self.seen.length_problem(arrays, self.vocabulary, LENGTH_WIDENING, RARE_WIDENING)
            )
            geometry = f"length: {length}" if length else ""
        facts = {"mirrored": "yes" if match.mirrored else "no"}
        return DecodedMolecule(conversion, is_valid_and_connected(conversion)[1], geometry, "", facts=facts)


def seen_lengths(folder: ModelFolder) -> TrainingChemistry | None:
    """Return the bond lengths that a model folder carries; None, with a warning, if it carries none."""
    if TENSOR in folder.references:
        return TrainingChemistry.from_tensors(folder.references, str(folder.path))
    logger.warning(
        "%s does not carry the bond lengths of its training data ('moldiff models pack' adds them): "
        "lengths are held against covalent radii alone",
        folder.path,
    )
    return None
