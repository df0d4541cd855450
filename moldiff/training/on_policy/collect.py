"""Makes the draws that a model is trained on, see `moldiff.training.on_policy.states`.

This needs RDKit; training on draws that are there does not.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from moldiff.arrays import MolArrays, RawSample
from moldiff.config import TrainConfig, TrainingConfig
from moldiff.datasets.batching import bucket_width
from moldiff.datasets.chemistry import training_chemistry
from moldiff.datasets.prepared import PreparedDataset
from moldiff.durations import duration
from moldiff.errors import MoldiffError, blaming
from moldiff.geometry import kabsch
from moldiff.models.folder import ModelFolder, load_model_folder
from moldiff.models.loaded import LoadedModel, load_model
from moldiff.models.molecule_model import MoleculeModel
from moldiff.molecules import FIELDS, collate
from moldiff.randomness import NoiseSource, Stream, on_policy_seed
from moldiff.sampling.conditions import uniform
from moldiff.sampling.microbatches import side_by_side
from moldiff.sampling.molecule_sampler import MoleculeSampler, TrajectoryState
from moldiff.sampling.partial_walks import PartialWalks
from moldiff.sampling.smc import effective_sample_size, systematic_resampling
from moldiff.sampling.solvers import SOLVERS
from moldiff.sampling.time_grids import GRIDS
from moldiff.status import Status
from moldiff.threads import Workers, workers_for
from moldiff.training.denoiser_module import dropped_properties
from moldiff.training.on_policy.labels import Traits, label_log_weights
from moldiff.training.on_policy.states import OnPolicyData
from moldiff.training.references import rarity_tables

if TYPE_CHECKING:
    from rdkit.Chem import Mol

    from moldiff.chem.descriptors.rarity import RarityTables

logger = logging.getLogger(__name__)

_CHUNK = 600  # walks made before they are judged, on a CPU
_WANTED = 20000  # training molecules whose features are counted


@dataclass(frozen=True)
class _Entry:
    """States of one draw: its part, their padded width, their tensors, and the traits of what should come of them."""

    part: int
    width: int
    group: dict[str, Tensor]
    traits: Traits


class Collector:
    """Judges own draws and gathers their states.

    Args:
        model: that draws.
        dataset: says which chemistry is sound beside valence: elements with charges and bond lengths seen in it.
        tables: by which draws are described for `reweight`; None = their rarity plays no part.
    """

    def __init__(self, model: MoleculeModel, dataset: PreparedDataset, tables: RarityTables | None = None) -> None:
        from moldiff.generation.decoding.decoders import StructuredDecoder

        self.model, self._tables = model, tables
        self._decoder = StructuredDecoder(model.vocabulary, training_chemistry(dataset), fitted=True)
        self._entries: list[_Entry] = []
        self.counts = {"sound as drawn": 0, "sound after decoding": 0, "left out": 0}

    def take(self, draw: RawSample, passed: Sequence[TrajectoryState], part: int = 0) -> None:
        """Count states, and keep them with what should come of them: the molecule of a draw.

        Args:
            draw: the end of a walk.
            passed: states on its way.
            part: draws of one part are reweighted together.
        """
        states = len(passed)
        if not states:
            return
        found = self._sound(draw)
        if found is None:
            self.counts["left out"] += states
            return
        arrays, properties, mol, decoding = found
        self.counts["sound as drawn" if decoding == "argmax" else "sound after decoding"] += states
        width = bucket_width(len(arrays.atom_type))
        clean = collate([arrays], torch.tensor([draw.number]), width, properties[None])
        group = {"t": torch.tensor([one.t for one in passed], dtype=torch.float64)}
        group |= {name: _repeated(getattr(clean, name), states) for name in ("mask", "properties")}
        for field in FIELDS:
            as_class, as_logits = (torch.float32, torch.float32) if field == "pos" else (torch.uint8, torch.float16)
            group[f"clean.{field}"] = _repeated(getattr(clean, field), states).to(as_class)
            group[f"noisy.{field}"] = torch.cat([getattr(one.state, field) for one in passed]).to(as_class)
            group[f"previous.{field}"] = torch.cat([getattr(one.previous, field) for one in passed]).to(as_logits)
        self._entries.append(_Entry(part, width, group, Traits.of(mol, self._tables)))

    def _sound(self, draw: RawSample) -> tuple[MolArrays, Tensor, Mol, str] | None:
        """Return the molecule that should come of a draw, in the model's classes and as such, its properties (P,) and
        which decoding made it; or None."""
        from moldiff.chem.convert import EncodingError, classes_of
        from moldiff.generation.molecule_result import assess
        from moldiff.generation.target_report import measured_values

        outcome = assess(draw, self._decoder)
        if outcome.status != Status.VALID or outcome.mol is None or draw.arrays is None:
            return None
        try:
            graph = classes_of(outcome.mol, self.model.vocabulary)
        except EncodingError:
            return None
        known = measured_values(outcome, self.model.conditions)
        properties = torch.tensor([known.get(name, np.nan) for name in self.model.conditions], dtype=torch.float32)
        # RDKit's own spelling of aromatic bonds, as in the training data; coordinates as they were drawn
        arrays = MolArrays(draw.arrays.pos, graph.atom_type, graph.charge, graph.bonds)
        return arrays, properties, outcome.mol, outcome.decoding

    def reweight(self, wanted: Sequence[Traits], strength: float = 1.0, known: float = 0.0) -> None:
        """Drop and repeat draws so that each part is made of what molecules of the data are made of.

        Args:
            wanted: traits of molecules of the data.
            strength, known: see `label_log_weights`.
        """
        reweighted: list[_Entry] = []
        for part in sorted({entry.part for entry in self._entries}):
            entries = [entry for entry in self._entries if entry.part == part]
            weights = label_log_weights([entry.traits for entry in entries], wanted, strength=strength, known=known)
            copies = systematic_resampling(weights, 0.5)
            reweighted += [entry for entry, count in zip(entries, copies, strict=True) for _ in range(count)]
            share = effective_sample_size(weights) / len(entries)
            logger.info(
                "own draws, part %d: reweighted; their effective share is %.0f %%: %d stay, the heaviest %d times",
                part + 1, 100 * share, np.count_nonzero(copies), copies.max(),
            )  # fmt: skip
        self._entries = reweighted

    def result(self, made_by: dict[str, Any]) -> OnPolicyData:
        """Return all states; MoldiffError if no draw was sound."""
        if not self._entries:
            raise MoldiffError(
                "none of the own draws came to a sound molecule: take more evaluations, or train the model further"
            )
        by_width: dict[int, list[dict[str, Tensor]]] = {}
        for entry in self._entries:
            by_width.setdefault(entry.width, []).append(entry.group)
        groups = {
            width: {name: torch.cat([group[name] for group in groups]) for name in groups[0]}
            for width, groups in by_width.items()
        }
        return OnPolicyData(groups, made_by)


@dataclass(frozen=True)
class TrainingConditionSampler:
    """Size and condition of training molecules, as a network meets them in training.

    Attributes:
        rows: (R, 1 + P) number of atoms and properties of training molecules, NaN = unknown.
        training: gives the shares of draws with all of them free or all but one, and how often the others are.
    """

    rows: np.ndarray
    training: TrainingConfig

    def draw(self, numbers: Tensor, source: NoiseSource) -> tuple[np.ndarray, np.ndarray]:
        chosen = self.rows[(uniform(numbers, source, 0) * len(self.rows)).astype(np.int64)]
        coins = source.uniform(numbers, 0, Stream.CONDITION, self.rows.shape[1])
        known = torch.from_numpy(np.isfinite(chosen[:, 1:]))
        dropped = dropped_properties(coins, known, self.training).numpy()
        return chosen[:, 0].astype(np.int64), np.where(dropped, np.nan, chosen[:, 1:]).astype(np.float32)


def _repeated(values: Tensor, count: int) -> Tensor:
    """Return one row so many times."""
    return values.expand(count, *values.shape[1:])


def made_by(folder: ModelFolder, dataset: PreparedDataset, config: TrainConfig) -> dict[str, Any]:
    """Return what own draws depend on, as plain JSON."""
    own = config.on_policy
    found = {
        "model_sha256": folder.sha256,
        "data_sha256": str(dataset.info["data_hash"]),
        "seed": config.training.seed,
        "draws": own.draws,
        "sampler_evaluations": list(own.sampler_evaluations),
        "states": own.states,
        "reweight": own.reweight,
        "property_dropout": config.training.property_dropout,
        "p_unconditional": config.training.p_unconditional,
    }
    if config.training.p_single_property:
        found["p_single_property"] = config.training.p_single_property
    if own.known:
        found["known"] = own.known
    if own.teacher is None:
        return found
    return found | {
        "teacher_sha256": load_model_folder(own.teacher).sha256,
        "teacher_start": own.teacher_start,
        "teacher_evaluations": own.teacher_evaluations,
    }


def collect(loaded: LoadedModel, dataset: PreparedDataset, config: TrainConfig) -> OnPolicyData:
    """Draw with a model as its users do (default solver and grid), and gather the states.

    Sizes, and what is asked for in a part of the draws, are those of training molecules. A teacher mends each draw
    before it is judged.

    Args:
        loaded: the model, on the device to draw on.
        dataset: the training data.
        config: gives ``on_policy``, the seed and how often properties are asked for.
    """
    wanted, training, model = config.on_policy, config.training, loaded.model
    conditions = TrainingConditionSampler(_training_rows(dataset, model.conditions), training)
    tables = rarity_tables(dataset, loaded.folder) if wanted.known else None
    collector, started, done = Collector(model, dataset, tables), time.monotonic(), 0
    parts = _parts(wanted.draws, wanted.sampler_evaluations)
    total = sum(evaluations * count for evaluations, _, count in parts)
    with workers_for(model.device) as workers:
        mender = None if wanted.teacher is None else _mender(config, model, conditions, workers)
        mended_from = math.inf if mender is None else float(mender.grid[0])
        for part, (evaluations, first, count) in enumerate(parts):
            sampler = MoleculeSampler(
                model, SOLVERS[model.sampling.sampler], evaluations, on_policy_seed(training.seed),
                keep_predictions=True, grid=GRIDS[model.sampling.grid], condition_sampler=conditions, workers=workers,
            )  # fmt: skip
            size = max(_CHUNK, side_by_side(model.device, sampler.rows))
            for start in range(first, first + count, size):
                some = min(size, first + count - start)
                walked = list(sampler.walks(start, some, wanted.states))
                redrawn = [] if mender is None else mender.run([draw for draw, _ in walked], 1)
                mended = {draw.number: draw for draw in redrawn}
                for draw, passed in walked:
                    collector.take(draw, [one for one in passed if one.t < mended_from], part)
                    if early := [one for one in passed if one.t >= mended_from]:
                        collector.take(aligned(mended.get(draw.number, draw), draw), early, part)
                done += evaluations * some
                left = (time.monotonic() - started) * (total - done) / done
                logger.info("own draws %d/%d  %s left", start + some, wanted.draws, duration(left))
    if wanted.reweight or wanted.known:
        collector.reweight(_training_traits(dataset, training.seed, tables), wanted.reweight, wanted.known)
    found = collector.result(made_by(loaded.folder, dataset, config))
    counted = ", ".join(f"{count} {name}" for name, count in collector.counts.items())
    logger.info("%d own draws, their states: %s", wanted.draws, counted)
    return found


def _training_traits(dataset: PreparedDataset, seed: int, tables: RarityTables | None) -> list[Traits]:
    """Return the traits of training molecules, of so many at most that they are counted in seconds."""
    from moldiff.evaluation.load_reference import molecules_of

    rows = np.random.default_rng(seed).permutation(dataset.indices("train"))[:_WANTED]
    logger.info("counting what %d training molecules are made of", len(rows))
    return [Traits.of(mol, tables, counted=True) for mol in molecules_of(dataset, rows)]


def aligned(mended: RawSample, draw: RawSample) -> RawSample:
    """Return a draw that was walked down anew, turned and moved onto itself as it was: noise has turned it a little,
    and states that came before know nothing of that."""
    if mended.arrays is None or draw.arrays is None:
        return mended
    now, before = (torch.from_numpy(arrays.pos)[None].double() for arrays in (mended.arrays, draw.arrays))
    rotation, shift = kabsch(now, before, torch.ones(now.shape[:2], dtype=torch.bool))
    pos = (now @ rotation.transpose(1, 2) + shift[:, None])[0].float().numpy()
    return replace(mended, arrays=replace(mended.arrays, pos=pos))


def _mender(
    config: TrainConfig, model: MoleculeModel, conditions: TrainingConditionSampler, workers: Workers
) -> PartialWalks:
    """Return what walks the end of each draw anew, by the teacher; MoldiffError if it knows another chemistry or other
    noise: a time, by which states and labels find each other, is a level of one curve."""
    own, device = config.on_policy, model.device
    assert own.teacher is not None
    with blaming("teacher"):
        teacher = load_model(own.teacher, device=device, precision=model.denoiser.precision).model
    if teacher.vocabulary != model.vocabulary or teacher.conditions != model.conditions:
        raise MoldiffError(
            f"the teacher {own.teacher} and the model to start from, {config.init_from}, must know the same elements, "
            "charges, bonds and conditions"
        )
    if teacher.curve_config != model.curve_config:
        here = model.curve_config.model_dump()
        others = [
            f"{name} {value:g}, not {here[name]:g}" for name, value in teacher.curve_config if value != here[name]
        ]
        raise MoldiffError(
            f"the teacher {own.teacher} and the model to start from, {config.init_from}, must have the same noise "
            f"curve; the teacher has {'; '.join(others)}"
        )
    sampler = MoleculeSampler(
        teacher, SOLVERS[teacher.sampling.sampler], own.teacher_evaluations, on_policy_seed(config.training.seed),
        keep_predictions=True, grid=GRIDS[teacher.sampling.grid], condition_sampler=conditions, workers=workers,
    )  # fmt: skip
    return PartialWalks.late(sampler, own.teacher_start)


def _parts(draws: int, evaluations: Sequence[int]) -> list[tuple[int, int, int]]:
    """Return (evaluations, first draw, draws) of nearly equal parts."""
    ends = [draws * part // len(evaluations) for part in range(len(evaluations) + 1)]
    return [(count, ends[part], ends[part + 1] - ends[part]) for part, count in enumerate(evaluations)]


def _training_rows(dataset: PreparedDataset, conditions: Sequence[str]) -> np.ndarray:
    """Return (R, 1 + P) float32: number of atoms and properties of training molecules, NaN = unknown or not there."""
    rows = dataset.indices("train")
    properties = dataset.property_table(conditions, absent_as_unknown=True)[rows]
    return np.concatenate([dataset.sizes[rows, None].astype(np.float32), properties], axis=1)
