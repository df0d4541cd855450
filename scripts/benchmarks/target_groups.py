"""Draws in groups that share a target and a size, as training data have them together: what a score or a property
network makes of them. Imported by `scripts.benchmarks.steering`."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
import torch

from moldiff.chem.descriptors.score_functions import Score
from moldiff.devices import DEFAULT_PRECISION, resolve_device, resolve_precision
from moldiff.generation.decoding.decoders import ArgmaxDecoder
from moldiff.generation.molecule_result import MoleculeResult, assess, assess_all
from moldiff.generation.options.property_guide import PropertyGuide
from moldiff.generation.options.sampler_options import SamplerOptions
from moldiff.generation.options.score import ScoreOptions
from moldiff.generation.options.steering import steer
from moldiff.generation.options.steering_options import SteeringOptions
from moldiff.generation.smc_run import ReweightedSampler
from moldiff.models.contents import sampling_of_model
from moldiff.models.folder import ModelFolder, load_model_folder
from moldiff.models.molecule_model import MoleculeModel
from moldiff.models.property_model import PropertyModel
from moldiff.randomness import NoiseSource
from moldiff.sampling.molecule_sampler import MoleculeSampler
from moldiff.scoring.named import targets_score
from moldiff.scoring.network import PredictedNearness
from moldiff.scoring.targets import Target, parse_target
from moldiff.status import Status
from moldiff.threads import Workers, workers_for

Made = tuple[np.ndarray, list[list[str]], float]
"""Distances from the targets (groups, members), NaN = failed; SMILES likewise, "" = failed; network evaluations of one
member."""


class TargetGroups:
    """Groups of K draws; the first n / K targets and sizes are those of the single draws 0, 1, ...

    Args:
        name: the property.
        text: range of the targets, for example "logp=-3.0..4.0".
        arguments: of the command line.
        folder: the model.
    """

    def __init__(self, name: str, text: str, arguments: argparse.Namespace, folder: ModelFolder) -> None:
        device = resolve_device(arguments.device)
        self.name, self.arguments, self.folder, self.device = name, arguments, folder, device
        self.model = MoleculeModel.from_folder(folder, device, resolve_precision(DEFAULT_PRECISION, device))
        self.members, self.count = arguments.particles, arguments.n // arguments.particles
        starts = steer(
            SteeringOptions.of(targets=text), self.model, folder.references, str(folder.path)
        ).condition_sampler
        self.sizes, conditions = starts.draw(torch.arange(self.count), NoiseSource(arguments.seed))
        self.targets = conditions[:, self.model.conditions.index(name)]
        self.std = self.model.statistics.properties[name].std
        self.decoder = ArgmaxDecoder(self.model.vocabulary)

    def by_score(self, weight: float, network: str | None) -> Made:
        """Draw each group by sequential Monte Carlo, conditioned on its target at scale 1; what guides it is the judge
        itself, or a property network."""
        guide = None if network is None else PropertyModel.from_folder(load_model_folder(network))

        def draw(molecule_sampler: MoleculeSampler, group: int, target: Target) -> list[MoleculeResult]:
            score = self._judge(target) if guide is None else Score(self.name, PredictedNearness(guide, target))
            asked = ScoreOptions(score=score, weight=weight, particles=self.members)
            draws = ReweightedSampler(molecule_sampler, partial(assess_all, decoder=self.decoder), asked)
            results = [result for result, _ in draws.results(range(group, group + 1))]
            # the judge has not seen what a network has guided
            return results if guide is None else [replace(result, score=None) for result in results]

        return self._made(draw, guidance=1.0)

    def by_gradient(self, property_model: str, scale: float | None, guidance: float | None) -> Made:
        """Draw each group singly, pulled by a property network, and conditioned as well if there is a guidance."""

        def draw(molecule_sampler: MoleculeSampler, group: int, target: Target) -> list[MoleculeResult]:
            draws = sorted(molecule_sampler.draw(group * self.members, self.members), key=lambda draw: draw.number)
            return [assess(draw, self.decoder) for draw in draws]

        guide = PropertyGuide.load(property_model, scale, self.model, self.folder.name, self.device)
        return self._made(draw, guidance, guide)

    def _made(
        self,
        draw: Callable[[MoleculeSampler, int, Target], list[MoleculeResult]],
        guidance: float | None,
        guide: PropertyGuide | None = None,
    ) -> Made:
        """Draw the groups, each with its own target and size, and measure them."""
        distances, smiles, evaluations = [], list[list[str]](), 0
        with workers_for(self.device) as workers:
            for group, (size, value) in enumerate(zip(self.sizes.tolist(), self.targets.tolist(), strict=True)):
                text = f"{self.name}={value!r}"
                wanted = SteeringOptions.of(n_atoms=size, targets=text, guidance=guidance)
                molecule_sampler = self._sampler(wanted, guide, workers)
                target, evaluations = parse_target(text), molecule_sampler.evaluations
                results = draw(molecule_sampler, group, target)
                distances.append([self._distance(result, target) for result in results])
                smiles.append([result.smiles if result.status == Status.VALID else "" for result in results])
        return np.array(distances), smiles, float(evaluations)

    def _sampler(self, wanted: SteeringOptions, guide: PropertyGuide | None, workers: Workers) -> MoleculeSampler:
        """Return what draws molecules of one size towards one target."""
        arguments = self.arguments
        sampler = SamplerOptions.of(evaluations=arguments.steps, sampler=arguments.sampler, seed=arguments.seed)
        steering = steer(wanted, self.model, self.folder.references, str(self.folder.path), guide)
        resolved = sampler.resolved(sampling_of_model(self.folder), self.model.device)
        return steering.molecule_sampler(self.model, resolved, True, workers)

    def _judge(self, target: Target) -> Score:
        """Return minus the distance of the true value from a target, in standard deviations."""
        return targets_score([target], self.model.statistics.properties)

    def _distance(self, result: MoleculeResult, target: Target) -> float:
        """Return how far a valid molecule lies from the target, natural units; NaN for what failed."""
        score = result.score
        if result.status == Status.VALID and result.mol is not None and score is None:
            (score,) = self._judge(target)([result.mol])
        return np.nan if score is None else -self.std * score


def copies_as_failed(distances: np.ndarray, smiles: list[list[str]]) -> np.ndarray:
    """Return distances (groups, members) in which, of the same molecule in a group, only the first counts."""
    first = [[own.index(one) == place for place, one in enumerate(own)] for own in smiles]
    return np.where(first, distances, np.nan)
