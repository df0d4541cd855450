"""From what a user asks for to what the sampler needs: sizes and conditions, guidance, and the measuring of it all."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from moldiff.chem.descriptors.rarity import RarityTables
from moldiff.choices import TargetMethod
from moldiff.conditions import Condition
from moldiff.datasets.statistics import PropertyStatistics
from moldiff.errors import MoldiffError, blaming
from moldiff.generation.options.composition import constraints_of, element_mask, formula_size
from moldiff.generation.options.contradictions import HEAVY_ATOM_COUNT, check_wishes, wishes_of
from moldiff.generation.options.fragment import check_together
from moldiff.generation.options.property_guide import PropertyGuide
from moldiff.generation.options.reach import measured_statistics, tell_reach
from moldiff.generation.options.sampler_options import ResolvedSampler
from moldiff.generation.options.steering_options import SteeringOptions
from moldiff.generation.target_report import TargetTracker
from moldiff.models.molecule_model import MoleculeModel
from moldiff.models.property_model import PropertyModel
from moldiff.models.references import CONDITION_ROWS, References
from moldiff.sampling.conditions import (
    ConditionSampler,
    MappedConditionSampler,
    PinnedConditionSampler,
    TargetConditionSampler,
    UnconditionalSampler,
)
from moldiff.sampling.constraints import Constraint, ElementMask
from moldiff.sampling.fragments import FixedFragment, with_fragment
from moldiff.sampling.guidance import DEFAULT_GUIDANCE, Guidance, guidance_for
from moldiff.sampling.molecule_sampler import MoleculeSampler
from moldiff.sampling.property_guidance import PropertyGradient
from moldiff.sampling.solvers import SOLVERS, RePaint, Solver
from moldiff.sampling.time_grids import GRIDS
from moldiff.scoring.rarity import RARITY_STATISTICS, rarity_calculators
from moldiff.scoring.targets import Target, check_known, check_targets
from moldiff.threads import INLINE, Workers

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Steering:
    """Steering of a run.

    Attributes:
        tracker: measures what was wanted.
        condition_sampler: size and condition of each draw.
        guidance: how strongly conditions pull; None = nothing is wanted.
        constraints: what every molecule must obey.
        sizes: allowed numbers of atoms, inclusive; None = all.
        n_atoms: the same as the user has it.
        fragment: that comes back in every molecule; None = molecules are drawn as a whole.
        resample: how often every step is taken.
        gradient: of a property network, towards what it knows; None = there is no such network.
    """

    tracker: TargetTracker
    condition_sampler: ConditionSampler
    guidance: Guidance | None
    constraints: tuple[Constraint, ...]
    sizes: tuple[int, int] | None
    n_atoms: tuple[int, int] | None = None
    fragment: FixedFragment | None = None
    resample: int = 1
    gradient: PropertyGradient | None = None

    def at_cost(self, sampler: ResolvedSampler) -> ResolvedSampler:
        """Return the sampler's options with the evaluations that its steps take under this steering."""
        return sampler.at_cost(self._solver(sampler), 1 if self.guidance is None else self.guidance.evaluations)

    def _solver(self, sampler: ResolvedSampler) -> Solver:
        solver = SOLVERS[sampler.sampler]
        return RePaint(solver, self.resample) if self.resample > 1 else solver

    def molecule_sampler(
        self, model: MoleculeModel, sampler: ResolvedSampler, keep_predictions: bool, workers: Workers = INLINE
    ) -> MoleculeSampler:
        """Return what makes draws of a model."""
        solver, grid = self._solver(sampler), GRIDS[sampler.grid]
        if self.fragment is not None:
            model = with_fragment(model, self.fragment)
        return MoleculeSampler(
            model, solver, sampler.evaluations, sampler.options.seed, self.n_atoms, keep_predictions, grid,
            self.condition_sampler, self.guidance, self.constraints, workers, self.gradient,
        )  # fmt: skip


def warn_about_sizes(sizes: tuple[int, int] | None, model: MoleculeModel) -> None:
    """Log a warning about sizes that a model has not seen."""
    seen = model.statistics.size_counts
    if sizes and (sizes[0] < min(seen) or sizes[1] > max(seen)):
        logger.warning(
            "sizes %d..%d reach outside the training data's %d..%d %s; expect more failures",
            *sizes, min(seen), max(seen), model.vocabulary.atoms,
        )  # fmt: skip


def steer(
    options: SteeringOptions,
    model: MoleculeModel,
    references: Mapping[str, Tensor],
    source: str,
    guide: PropertyGuide | None = None,
    where: Sequence[Condition] = (),
    method: TargetMethod | None = None,
    tables: RarityTables | None = None,
) -> Steering:
    """Return what steers a run.

    The model is conditioned on what a formula fixes (the number of heavy atoms), unless a target names it: otherwise
    coordinates settle on the usual number of heavy atoms before the types are forced to be others.

    Args:
        options: of the user.
        model: that is asked.
        references: reference tensors of its folder.
        source: the folder, for error messages.
        guide: the property network that the options name. What it knows, its gradient pursues, and the model is
            conditioned on it only if the guidance names it or is one scale for all.
        where: filters, which must not contradict the options.
        method: of meeting targets. Where measured values decide, any property will do that moldiff measures and the
            model's references know; otherwise the model or the network must know it.
        tables: by which rings and bonds are measured, if that is asked for.

    Raises:
        MoldiffError: the model cannot be asked for it, or two options contradict each other.
    """
    known, names = _known_properties(model, guide)
    calculators = {} if tables is None else rarity_calculators(tables)
    unknown = [target.name for target in options.targets if target.name not in known]
    if unknown:
        measured = {**measured_statistics(references, source), **(RARITY_STATISTICS if tables is not None else {})}
        if method in (TargetMethod.MCMC, TargetMethod.SMC):
            known = {**measured, **known}
            names = [*names, *(name for name in known if name not in names)]
        elif unknown[0] in measured:
            raise MoldiffError(
                f"target {unknown[0]}: the model was never told of it, so only moves (target_method mcmc) or groups "
                "(smc) meet it; guidance, a score, a trajectory or a sampler without noise leave no room for these",
                argument="targets",
            )
    mask = element_mask(options.elements, options.exclude_elements, model.vocabulary)
    smallest = min(model.statistics.size_counts)
    fragment, sizes = _fragment(options, model, mask)
    constraints, sizes = constraints_of(mask, options.formula, options.charge, model.vocabulary, sizes, smallest)
    if fragment is not None:
        constraints = (fragment, *constraints)  # the others are conditioned on what is known
    resample = 1 if options.fragment is None else options.fragment.resample
    targets = options.targets
    check_targets(targets, names, known)
    check_wishes(
        wishes_of(targets, where),
        model.vocabulary,
        elements=model.vocabulary.elements if mask is None else mask.names,
        formula=options.formula,
        charge=options.charge,
        sizes=sizes,
    )
    if targets:
        has_rows = CONDITION_ROWS in references
        rows = References(references, source).condition_rows(model.conditions) if has_rows else None
        tell_reach(targets, model.conditions, known, rows)
    pursued = () if guide is None else guide.pursued(targets)
    unconditioned = [target.name for target in targets if target in pursued or target.name not in model.conditions]
    estimators = {} if guide is None else guide.estimators
    errors = {} if guide is None else guide.errors
    tracker = TargetTracker(targets, known, model.conditions, unconditioned, estimators, calculators, errors)
    certain = _certain(options.formula, model)
    free: ConditionSampler = UnconditionalSampler(model.statistics.size_counts, sizes, len(model.conditions))
    if not targets:
        return Steering(
            tracker, _told(free, certain, model), None, constraints, sizes, options.n_atoms, fragment, resample
        )
    guidance = _guidance(options.guidance, model, targets, pursued, certain)
    own = tuple(target for target in targets if target.name in model.conditions)
    if guide is not None and len(own) < len(targets):
        conditions: ConditionSampler = _joint_conditions(targets, guide, model, references, source, sizes)
    elif own:
        conditions = _target_conditions(own, model.conditions, known, references, source, model, sizes)
    else:
        conditions = free
    gradient = None if guide is None else guide.gradient(pursued)
    told = _told(conditions, certain, model)
    return Steering(tracker, told, guidance, constraints, sizes, options.n_atoms, fragment, resample, gradient)


def _certain(formula: Mapping[str, int] | None, model: MoleculeModel) -> dict[str, float]:
    """Return the model's properties that a formula fixes, with their values, as far as the model has seen such
    values."""
    if formula is None or HEAVY_ATOM_COUNT not in model.conditions:
        return {}
    count = sum(count for symbol, count in formula.items() if symbol != "H")
    row = model.statistics.properties[HEAVY_ATOM_COUNT]
    return {HEAVY_ATOM_COUNT: float(count)} if row.minimum <= count <= row.maximum else {}


def _told(sampler: ConditionSampler, certain: Mapping[str, float], model: MoleculeModel) -> ConditionSampler:
    """Return a sampler of sizes and conditions whose draws are conditioned on what is certain as well."""
    if not certain:
        return sampler
    return PinnedConditionSampler(sampler, {model.conditions.index(name): value for name, value in certain.items()})


def _known_properties(
    model: MoleculeModel, guide: PropertyGuide | None
) -> tuple[Mapping[str, PropertyStatistics], list[str]]:
    """Return statistics of the properties that can be asked for, and their names, the model's own first."""
    own = model.statistics.properties
    if guide is None:
        return own, list(model.conditions)
    others = [name for name in guide.statistics if name not in model.conditions]
    return {**own, **{name: guide.statistics[name] for name in others}}, [*model.conditions, *others]


@blaming("guidance")
def _guidance(
    scale: float | Mapping[str, float] | None,
    model: MoleculeModel,
    targets: tuple[Target, ...],
    pursued: tuple[Target, ...],
    certain: Collection[str],
) -> Guidance:
    """Return how strongly the model's own conditions pull: those that a property network pursues only if the scale is
    for all or names them; what is certain goes without saying."""
    by_name: Collection[str] = scale if isinstance(scale, Mapping) else ()
    for target in pursued:
        if target.name in by_name:
            check_known(target.name, model.conditions, model.statistics.properties)
    given = [target.name for target in targets if target not in pursued or target.name in by_name]
    if isinstance(scale, int | float):
        given = [target.name for target in targets]
    asked = [name for name in given if name in model.conditions]
    return guidance_for(DEFAULT_GUIDANCE if scale is None else scale, model.conditions, asked, certain)


def _joint_conditions(
    targets: tuple[Target, ...],
    guide: PropertyGuide,
    model: MoleculeModel,
    references: Mapping[str, Tensor],
    source: str,
    sizes: tuple[int, int] | None,
) -> ConditionSampler:
    """Return sizes and conditions where the model does not know all targets: from the data of the property network if
    that knows them all; otherwise from the model's own data, by what the model knows."""
    names, known = guide.model.properties, guide.statistics
    if all(target.name in names for target in targets):
        folder = guide.folder
        conditions = _target_conditions(targets, names, known, folder.references, str(folder.path), guide.model, sizes)
        columns = [names.index(name) if name in names else None for name in model.conditions]
        return MappedConditionSampler(conditions, tuple(columns))
    own = tuple(target for target in targets if target.name in model.conditions)
    return _target_conditions(own, model.conditions, model.statistics.properties, references, source, model, sizes)


@blaming("fragment")
def _fragment(
    options: SteeringOptions, model: MoleculeModel, mask: ElementMask | None
) -> tuple[FixedFragment | None, tuple[int, int] | None]:
    """Return the fragment that is kept, if any, and the sizes that are left."""
    asked, vocabulary, sizes = options.fragment, model.vocabulary, options.n_atoms
    if asked is None:
        return None, sizes
    fragment = asked.cut(vocabulary)
    if options.formula is not None and sizes is None and asked.grow is None:
        n = formula_size(options.formula, vocabulary)
        sizes = (n, n)
    sizes = asked.sizes(fragment, sizes, model.statistics.size_counts, vocabulary)
    check_together(fragment, asked.source, vocabulary, mask, options.formula, options.charge, sizes)
    asked.tell(fragment)
    return FixedFragment(fragment, vocabulary), sizes


@blaming("targets")
def _target_conditions(
    targets: tuple[Target, ...],
    names: Sequence[str],
    known: Mapping[str, PropertyStatistics],
    references: Mapping[str, Tensor],
    source: str,
    model: MoleculeModel | PropertyModel,
    sizes: tuple[int, int] | None,
) -> TargetConditionSampler:
    """Return sizes and conditions of a model's own data; its reference rows hold the properties ``names``."""
    columns = [1 + names.index(target.name) for target in targets]
    table = References(references, source).condition_rows(names).table
    if not np.isfinite(table[:, columns]).all(1).any():
        raise MoldiffError(f"{source}: no training molecule has all of {', '.join(target.name for target in targets)}")
    std = np.array([known[name].std for name in names])
    return TargetConditionSampler(targets, names, table, std, model.statistics.size_counts, sizes)
