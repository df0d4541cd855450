"""From sampled coordinates to a conformer: the graph is given, stereo and bond lengths are looked at."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from moldiff.arrays import RawSample
from moldiff.chem import conformer_set
from moldiff.chem.conformer_set import InOrder
from moldiff.chem.convert import Conversion
from moldiff.chem.filters.hazards import Gate
from moldiff.chem.filters.validity import is_valid_and_connected
from moldiff.chem.stereo import compare_stereo, with_stereo_of_geometry
from moldiff.chem.topology import Topology
from moldiff.choices import EnergyMethod
from moldiff.datasets.chemistry import TENSOR, TrainingChemistry
from moldiff.generation.decoding.decoders import LENGTH_WIDENING, DecodedMolecule
from moldiff.generation.decoding.hydrogens import with_hydrogens
from moldiff.generation.molecule_result import CHUNK, MoleculeResult, assess, failed
from moldiff.models.folder import ModelFolder
from moldiff.processes import DEADLINE_S, Lost, Pool
from moldiff.status import Status
from moldiff.vocabulary import Vocabulary

logger = logging.getLogger(__name__)

RARE_WIDENING = 0.2  # angstrom beyond the lengths of a kind of bond that training had few of


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
            geometry = f"stereo: {match.problem}"
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


def assess_conformer(
    drawn: tuple[RawSample, Topology], vocabulary: Vocabulary, seen: TrainingChemistry | None, gate: Gate
) -> MoleculeResult:
    """`moldiff.generation.molecule_result.assess` the draw of a conformer of a graph."""
    draw, item = drawn
    decoder = with_hydrogens(ConformerDecoder(item, vocabulary, seen), vocabulary)
    return assess(draw, decoder, gate, properties=())


def is_wrong(result: MoleculeResult) -> bool:
    """Return whether a draw is no conformer of its graph: a wrong diastereomer, odd bond lengths, atoms that clash."""
    return result.status == Status.INVALID  # the graph is given and sound: what is wrong is the geometry


@dataclass(frozen=True)
class Attempt:
    """An attempt at a draw.

    Attributes:
        number: of the draw.
        attempt: its number, from 0.
        made: by the sampler.
        item: the graph.
    """

    number: int
    attempt: int
    made: RawSample
    item: Topology | None


def assess_attempts(
    attempts: Sequence[Attempt],
    found: Mapping[int, MoleculeResult],
    work: Callable[[tuple[RawSample, Topology]], MoleculeResult],
    pool: Pool,
) -> Iterator[tuple[Attempt, MoleculeResult]]:
    """Yield what came of the first attempt at each draw, of the second where that was wrong, and so on.

    Args:
        attempts: those at one draw in order.
        found: number of a draw -> what is known of it so far; the results belong there as they come.
        work: `assess_conformer` with all but its first argument.
        pool: does it.
    """
    while attempts:
        first: dict[int, Attempt] = {}
        later = []
        for one in attempts:
            if one.number not in found or is_wrong(found[one.number]):
                later += [one] if one.number in first else []
                first.setdefault(one.number, one)
        pairs = [(replace(one.made, number=one.number), one.item) for one in first.values() if one.item is not None]
        results = pool.map_items(work, pairs, chunk=CHUNK, timeout_s=DEADLINE_S)
        for one, result in zip(first.values(), results, strict=True):
            yield one, failed(one.number, result) if isinstance(result, Lost) else result
        attempts = later


def in_order(results: Sequence[MoleculeResult], method: EnergyMethod, threshold: float) -> InOrder:
    """`moldiff.chem.conformer_set.in_order` of the molecules of some results."""
    return conformer_set.in_order([result.mol for result in results if result.mol is not None], method, threshold)


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
