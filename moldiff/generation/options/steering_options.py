"""Steering options: the user's words for what molecules should be like, read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from moldiff.arguments import (
    check_flag,
    check_text,
    choice,
    name_list,
    number,
    path_text,
    refusal,
    size_range,
    whole_number,
)
from moldiff.arrays import MOST_ATOMS
from moldiff.choices import TargetMethod
from moldiff.errors import MoldiffError
from moldiff.generation.options.composition import formula_text, parse_formula
from moldiff.generation.options.fragment import Fragment
from moldiff.sampling.guidance import read_guidance
from moldiff.scoring.rarity import FAMILIAR
from moldiff.scoring.targets import Target, Targets, read_targets

if TYPE_CHECKING:
    from rdkit.Chem import Mol


DEFAULT_MOVES, MOST_MOVES = 10, 1000
MOVES_INTO_RANGES = 24  # where a range or a bound is wanted: inside, a draw moves no further, so few need as many
MOST_CHARGE = 9999  # elementary charges, more than `MOST_ATOMS` can have


@dataclass(frozen=True, kw_only=True)
class SteeringOptions:
    """Wanted molecules; see `moldiff.generation.generate.generate`. Build it with `of`.

    Attributes:
        n_atoms: inclusive range; None = as in the training data.
        targets: wanted property values.
        familiar: those of `FAMILIAR` are among them.
        target_method: how they are met; None = what suits the other options.
        target_moves: the most moves of a draw; None = `most_moves`.
        guidance: one scale for all or by name; None = plain conditioning.
        property_model, property_scale: folder of a property network, and how strongly its gradient pulls.
        elements: the only ones; None = all.
        exclude_elements: forbidden ones.
        formula: element -> number of atoms.
        charge: total charge, elementary charges.
        fragment: atoms that come back unchanged.
    """

    n_atoms: tuple[int, int] | None = None
    targets: tuple[Target, ...] = ()
    familiar: bool = False
    target_method: TargetMethod | None = None
    target_moves: int | None = None
    guidance: float | Mapping[str, float] | None = None
    property_model: str | None = None
    property_scale: float | None = None
    elements: tuple[str, ...] | None = None
    exclude_elements: tuple[str, ...] = ()
    formula: Mapping[str, int] | None = None
    charge: int | None = None
    fragment: Fragment | None = None

    def __post_init__(self) -> None:
        if self.n_atoms is not None and not 1 <= self.n_atoms[0] <= self.n_atoms[1] <= MOST_ATOMS:
            raise refusal("n_atoms", f"a range within 1 .. {MOST_ATOMS}", self.n_atoms)
        if self.charge is not None and abs(self.charge) > MOST_CHARGE:
            raise refusal("charge", f"in -{MOST_CHARGE} .. {MOST_CHARGE}", self.charge)
        if self.property_scale is not None and self.property_model is None:
            raise MoldiffError("property_scale needs a property network (property_model)", argument="property_scale")
        if self.guidance is not None and not self.targets:
            raise MoldiffError("guidance needs a target to pull towards, for example logp=2.5", argument="guidance")
        if self.target_method is not None and not self.targets:
            raise MoldiffError("target_method needs a target, for example logp=2.5", argument="target_method")
        if self.target_moves is not None:
            if not self.targets or self.target_method not in (None, TargetMethod.MCMC):
                raise MoldiffError(
                    f"target_moves needs targets and the method {TargetMethod.MCMC}", argument="target_moves"
                )
            if not 0 <= self.target_moves <= MOST_MOVES:
                raise refusal("target_moves", f"in 0 .. {MOST_MOVES}", self.target_moves)

    @property
    def most_moves(self) -> int:
        """The most moves of a draw towards its targets."""
        if self.target_moves is not None:
            return self.target_moves
        return DEFAULT_MOVES if all(target.is_value for target in self.targets) else MOVES_INTO_RANGES

    @classmethod
    def of(
        cls,
        *,
        n_atoms: tuple[int, int] | int | str | None = None,
        targets: Targets = (),
        familiar: bool = False,
        target_method: str | None = None,
        target_moves: int | None = None,
        guidance: float | Mapping[str, float] | str | None = None,
        property_model: str | Path | None = None,
        property_scale: float | None = None,
        elements: Sequence[str] | str | None = None,
        exclude_elements: Sequence[str] | str = (),
        formula: str | None = None,
        charge: int | None = None,
        fragment: Fragment | str | Path | Mol | None = None,
    ) -> SteeringOptions:
        """Return what texts and values of a user mean.

        Raises:
            MoldiffError: a text or a value is none of its kind, or two contradict each other.
        """
        check_flag(familiar, "familiar")
        wanted = read_targets(targets)
        if formula is not None:
            check_text(formula, "formula")
        return cls(
            n_atoms=size_range(n_atoms, "n_atoms"),
            targets=_with_familiar(wanted) if familiar else wanted,
            familiar=familiar,
            target_method=None if target_method is None else choice(target_method, TargetMethod, "target_method"),
            target_moves=None if target_moves is None else whole_number(target_moves, "target_moves"),
            guidance=read_guidance(guidance),
            property_model=None if property_model is None else path_text(property_model, "property_model"),
            property_scale=None if property_scale is None else number(property_scale, "property_scale"),
            elements=None if elements is None else name_list(elements, "elements"),
            exclude_elements=name_list(exclude_elements, "exclude_elements"),
            formula=None if formula is None else parse_formula(formula),
            charge=None if charge is None else whole_number(charge, "charge"),
            fragment=fragment if fragment is None or isinstance(fragment, Fragment) else Fragment(fragment),
        )

    def record(self) -> dict[str, object]:
        """Return the options by their public names."""
        return {
            "n_atoms": None if self.n_atoms is None else list(self.n_atoms),
            "targets": [target.name + target.text for target in self.targets],
            "guidance": dict(self.guidance) if isinstance(self.guidance, Mapping) else self.guidance,
            "property_model": self.property_model,
            "property_scale": self.property_scale,
            "elements": None if self.elements is None else list(self.elements),
            "exclude_elements": list(self.exclude_elements),
            "formula": None if self.formula is None else formula_text(self.formula),
            "charge": self.charge,
        } | ({} if self.fragment is None else self.fragment.record())


def _with_familiar(targets: tuple[Target, ...]) -> tuple[Target, ...]:
    """Return targets with those of `FAMILIAR` of which the user wants nothing else."""
    named = {target.name for target in targets}
    return (*targets, *(target for target in FAMILIAR if target.name not in named))
