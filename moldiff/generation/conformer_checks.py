"""From sampled coordinates to a judged conformer: the graph is given, stereo and geometry are looked at."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from moldiff.arrays import MolArrays
from moldiff.chem.filters.validity import bond_lengths_plausible, no_clashes
from moldiff.chem.stereo import compare_stereo, with_stereo_of_geometry
from moldiff.chem.topology import Skeleton
from moldiff.datasets.chemistry import TENSOR, SeenChemistry
from moldiff.generation.decoding.decoders import LENGTH_WIDENING
from moldiff.models.folder import ModelFolder
from moldiff.sampling.molecule_sampler import Draw
from moldiff.vocabulary import Vocabulary

if TYPE_CHECKING:
    from rdkit.Chem import Mol

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Conformation:
    """What became of one attempt.

    Attributes:
        mol: with its coordinates; None if the walk did not stay finite.
        problem: why it is not as wanted, a code word, a colon and detail; "" if it is.
        stereo_is_wrong: it is a wrong diastereomer.
        mirrored: it is the mirror image of what was drawn.
    """

    mol: Mol | None
    problem: str
    stereo_is_wrong: bool = False
    mirrored: bool = False


@dataclass(frozen=True)
class Judge:
    """Mirrors what is all inverted, and checks stereo and geometry.

    Attributes:
        vocabulary: class labels.
        seen: bond lengths of training, which a conformer may leave by `LENGTH_WIDENING`; None = not known.
    """

    vocabulary: Vocabulary
    seen: SeenChemistry | None

    @classmethod
    def of(cls, folder: ModelFolder, vocabulary: Vocabulary) -> Judge:
        """Return a judge with the bond lengths that a model folder carries; warn if it carries none."""
        if TENSOR in folder.references:
            return cls(vocabulary, SeenChemistry.from_tensors(folder.references, str(folder.path)))
        logger.warning(
            "%s does not carry the bond lengths of its training data ('moldiff models pack' adds them): "
            "lengths are held against covalent radii alone",
            folder.path,
        )
        return cls(vocabulary, None)

    def judge(self, item: Skeleton, draw: Draw) -> Conformation:
        """Put the coordinates of a draw and the graph together, and judge them."""
        if draw.arrays is None:
            return Conformation(None, f"not finite: at step {draw.failed_at}")
        pos = draw.arrays.pos
        mol = item.place(pos)
        match = compare_stereo(mol)
        if match.mirrored:
            pos = -pos
            mol = item.place(pos)
        elif not match.right:
            return Conformation(with_stereo_of_geometry(mol), f"stereo: {match.problem}", stereo_is_wrong=True)
        mol = with_stereo_of_geometry(mol)
        return Conformation(mol, self._geometry_problem(mol, replace(item.arrays, pos=pos)), mirrored=match.mirrored)

    def _geometry_problem(self, mol: Mol, arrays: MolArrays) -> str:
        problem = "" if self.seen is None else self.seen.length_problem(arrays, self.vocabulary, LENGTH_WIDENING)
        if problem:
            return f"length: {problem}"
        failed = (result for result in (bond_lengths_plausible(mol), no_clashes(mol)) if not result.passed)
        first = next(failed, None)
        return "" if first is None else f"{first.name}: {first.detail}"
