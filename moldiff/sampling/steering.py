"""From what a user wishes to what the sampler needs: sizes and conditions, guidance, and the measuring of it all."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from moldiff.errors import MoldiffError
from moldiff.model import MoleculeModel
from moldiff.sampling.aims import Aims
from moldiff.sampling.constraints import Constraint, ElementMask
from moldiff.sampling.fragment_wish import FragmentWish, check_together
from moldiff.sampling.fragments import FixedFragment
from moldiff.sampling.guidance import DEFAULT_GUIDANCE, Guidance, guidance_for
from moldiff.sampling.limits import constraints_of, element_mask, parse_formula
from moldiff.sampling.starts import FreeStarts, Starts, TargetStarts
from moldiff.sampling.targets import Target, check_known, parse_targets

CONDITION_ROWS = "condition_rows"


@dataclass(frozen=True)
class Wishes:
    """What molecules should be like, in the user's words; see `moldiff.sampling.generate.generate`."""

    targets: tuple[str, ...] = ()
    guidance: float | dict[str, float] | None = None
    elements: tuple[str, ...] | None = None
    exclude_elements: tuple[str, ...] = ()
    formula: str | None = None
    charge: int | None = None
    fragment: FragmentWish | None = None


NO_WISHES = Wishes()


@dataclass(frozen=True)
class Steering:
    """What steers a run.

    Attributes:
        aims: measures what was wanted.
        starts: size and condition of each draw.
        guidance: how strongly conditions pull; None = nothing is wanted.
        constraints: what every molecule must obey.
        sizes: allowed numbers of atoms, inclusive; None = all.
        fragment: that comes back in every molecule; None = molecules are drawn as a whole.
        resample: how often every step is taken.
    """

    aims: Aims
    starts: Starts
    guidance: Guidance | None
    constraints: tuple[Constraint, ...]
    sizes: tuple[int, int] | None
    fragment: FixedFragment | None = None
    resample: int = 1


def steer(
    wishes: Wishes, model: MoleculeModel, references: Mapping[str, Tensor], source: str, sizes: tuple[int, int] | None
) -> Steering:
    """Return what steers a run.

    Args:
        wishes: of the user.
        model: that is asked.
        references: reference tensors of its folder.
        source: the folder, for error messages.
        sizes: allowed numbers of atoms, inclusive; None = all.

    Raises:
        MoldiffError: a wish is none, or the model cannot be asked for it.
    """
    known = model.statistics.properties
    mask = element_mask(wishes.elements, wishes.exclude_elements, model.vocabulary)
    smallest = min(model.statistics.size_counts)
    fragment, sizes = _fragment(wishes, model, mask, sizes)
    constraints, sizes = constraints_of(mask, wishes.formula, wishes.charge, model.vocabulary, sizes, smallest)
    if fragment is not None:
        constraints = (fragment, *constraints)  # the others are conditioned on what is known
    resample = 1 if wishes.fragment is None else wishes.fragment.resample
    targets = parse_targets(wishes.targets, model.conditions, known)
    aims = Aims(targets, known, model.conditions)
    if not targets:
        if isinstance(wishes.guidance, dict):
            for name in wishes.guidance:
                check_known(name, model.conditions, known)
        if wishes.guidance is not None:
            raise MoldiffError("guidance needs a target to pull towards, for example --target logp=2.5")
        free = FreeStarts(model.statistics.size_counts, sizes, len(model.conditions))
        return Steering(aims, free, None, constraints, sizes, fragment, resample)
    scale = DEFAULT_GUIDANCE if wishes.guidance is None else wishes.guidance
    guidance = guidance_for(scale, model.conditions, [target.name for target in targets])
    starts = _target_starts(targets, model, references, source, sizes)
    return Steering(aims, starts, guidance, constraints, sizes, fragment, resample)


def _fragment(
    wishes: Wishes, model: MoleculeModel, mask: ElementMask | None, sizes: tuple[int, int] | None
) -> tuple[FixedFragment | None, tuple[int, int] | None]:
    """Return the fragment that is kept, if any, and the sizes that are left."""
    wish, vocabulary = wishes.fragment, model.vocabulary
    if wish is None:
        return None, sizes
    fragment = wish.cut(vocabulary)
    if wishes.formula is not None and sizes is None and wish.grow is None:
        n = sum(parse_formula(wishes.formula).values())
        sizes = (n, n)
    sizes = wish.sizes(fragment, sizes, model.statistics.size_counts, vocabulary)
    check_together(fragment, wish.source, vocabulary, mask, wishes.formula, wishes.charge, sizes)
    wish.tell(fragment)
    return FixedFragment(fragment, vocabulary), sizes


def _target_starts(
    targets: tuple[Target, ...],
    model: MoleculeModel,
    references: Mapping[str, Tensor],
    source: str,
    sizes: tuple[int, int] | None,
) -> TargetStarts:
    rows = references.get(CONDITION_ROWS)
    if rows is None or rows.ndim != 2 or rows.shape[1] != 1 + len(model.conditions):
        raise MoldiffError(
            f"{source} does not carry the sizes and properties of training molecules, which targets need; "
            "'moldiff models pack' adds them"
        )
    columns = [1 + model.conditions.index(target.name) for target in targets]
    table = rows.double().numpy()
    if not np.isfinite(table[:, columns]).all(1).any():
        raise MoldiffError(f"{source}: no training molecule has all of {', '.join(target.name for target in targets)}")
    std = np.array([model.statistics.properties[name].std for name in model.conditions])
    return TargetStarts(targets, model.conditions, table, std, model.statistics.size_counts, sizes)
