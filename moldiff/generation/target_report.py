"""Targets against what came out: measured on every molecule by the true calculator, and summed up."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from moldiff.chem.descriptors.measured import measured_numbers
from moldiff.chem.descriptors.rdkit_descriptors import PROPERTIES, REPORTED
from moldiff.chem.descriptors.xtb import GFN2_PROPERTIES
from moldiff.chem.identity import text_key
from moldiff.chem.io.tags import MEASURED, apart
from moldiff.conditions import number_text
from moldiff.datasets.statistics import PropertyStatistics
from moldiff.errors import dispensable
from moldiff.extras import XTB
from moldiff.generation.molecule_result import MoleculeResult
from moldiff.generation.result_counts import FirstNumbers
from moldiff.generation.target_plot import draw_calibration
from moldiff.scoring.network import HeldOutError
from moldiff.scoring.targets import Target
from moldiff.shares import percent

if TYPE_CHECKING:
    from rdkit.Chem import Mol

logger = logging.getLogger(__name__)

Estimator = Callable[["Mol"], float | None]
"""From a molecule to a property that no calculator tells, None = not known."""

Calculator = Callable[["Mol"], float]
"""From a molecule to a property that only a run can tell, by what its model carries."""


@dataclass(frozen=True)
class TargetResult:
    """One target against what came out.

    Attributes:
        name: the property.
        asked: what was asked for, for example "6..8".
        is_value: whether that is one value.
        band: ends within which a molecule is as wanted, and on them unless ``asked`` excludes its own; infinite ends
            are None.
        draws: all draws.
        measured: valid molecules with a measured value.
        mean_absolute_error: of these, from a wanted value; None if a range or a bound is wanted.
        mean_distance_from_range: of these, 0 within a wanted range or bound; None if a value is wanted.
        in_band: valid molecules within the band.
        note: why nothing could be measured.
        estimated: what tells the values where moldiff has no calculator, and how well; "" = they are measured.
    """

    name: str
    asked: str
    is_value: bool
    band: tuple[float | None, float | None]
    draws: int
    measured: int
    mean_absolute_error: float | None
    mean_distance_from_range: float | None
    in_band: int
    note: str = ""
    estimated: str = ""

    def line(self) -> str:
        """Return the line for the terminal."""
        if self.note:
            return f"{self.name}{self.asked}: not measured, {self.note}"
        label, mean = "mean absolute error", self.mean_absolute_error
        if not self.is_value:
            label, mean = "mean distance from the range", self.mean_distance_from_range
        miss = f"{label} {'-' if mean is None else f'{mean:.3g}'}"
        low, high = ("" if end is None else f"{end:.4g}" for end in self.band)
        share = self.in_band / max(self.draws, 1)
        return (
            f"{self.name}{self.asked}: {miss} over {self.measured} valid molecules; "
            f"{self.in_band} of {self.draws} draws ({percent(share)}) valid and within {low}..{high}"
            + (f"; {self.estimated}" if self.estimated else "")
        )


@dataclass
class TargetTracker:
    """Measures results one by one and sums up.

    Attributes:
        targets: what is wanted.
        statistics: of the properties in the training data.
        conditions: the model's properties, in the order of a draw's condition.
        pursued: names of targets that are pursued as they stand, by the gradient of a property network: within a range,
            no draw has a value of its own.
        estimators: of properties without a calculator, by name.
        calculators: of properties that only this run can tell, by name.
        errors: of the estimators on held-out molecules, by name, as far as they are on record.
        taken: columns of the run beside those of the targets; a measured property of such a name is called
            ``measured_<name>`` there.
        met: draws so far that meet every target.
    """

    targets: Sequence[Target]
    statistics: Mapping[str, PropertyStatistics]
    conditions: Sequence[str]
    pursued: Collection[str] = ()
    estimators: Mapping[str, Estimator] = field(default_factory=dict)
    calculators: Mapping[str, Calculator] = field(default_factory=dict)
    errors: Mapping[str, HeldOutError] = field(default_factory=dict)
    taken: Collection[str] = ()
    met: int = 0
    _draws: int = 0
    _met_first: FirstNumbers = field(default_factory=FirstNumbers)
    _measured: dict[str, list[tuple[float, float]]] = field(default_factory=dict)
    _in_band: dict[str, int] = field(default_factory=dict)

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns of the CSV beside the usual ones."""
        measured = self.measured
        return tuple(
            column
            for target in self.targets
            for column in (
                f"target_{target.name}",
                *([] if target.name in REPORTED else [measured[target.name]]),
                f"error_{target.name}",
            )
        )

    @property
    def measured(self) -> dict[str, str]:
        """Property with a target -> column of what was measured of it; those that every run reports have one anyway."""
        names = [target.name for target in self.targets]
        ours = {f"{kind}_{name}" for kind in ("target", "error") for name in names}
        others = apart([name for name in names if name not in REPORTED], {*self.taken, *REPORTED, *ours}, MEASURED)
        return {name: others.get(name, name) for name in names}

    def measure(self, result: MoleculeResult, condition: np.ndarray) -> MoleculeResult:
        """Return a result with target, measured value and error of each property; all other numbers are forgotten.

        The error is how far the measured value lies above what is wanted, negative below: a value, or the nearer end of
        a range; within a range it is 0. The target is the value that the draw was conditioned on. Of a range that a
        property network pursues there is none, and the wanted value nearest to the measured one takes its place.

        Args:
            result: of a draw; only molecules of sound chemistry are measured.
            condition: (P,) what the draw was conditioned on.
        """
        if not self.targets:
            return result
        values, columns = self._values(result, self.known), self.measured
        found: dict[str, float] = {}
        for target in self.targets:
            value = values.get(target.name, math.nan)
            if target.name in self.pursued:
                wanted = target.low if target.is_value else target.nearest(value)
            else:
                wanted = float(condition[self.conditions.index(target.name)])
            if math.isfinite(wanted):
                found[f"target_{target.name}"] = wanted
            if math.isfinite(value):
                found |= {columns[target.name]: value, f"error_{target.name}": value - target.nearest(value)}
        return replace(result, targets=found, measured=None)

    @property
    def known(self) -> tuple[Target, ...]:
        """Targets from which the distance of a molecule can be told."""
        return tuple(target for target in self.targets if not self._note(target) or target.name in self.estimators)

    def distances(self, result: MoleculeResult) -> tuple[float, ...] | None:
        """Return how far a molecule lies from each of the `known` targets, in standard deviations of the training data;
        None if one of its values is not known."""
        targets = self.known
        values = self._values(result, targets)
        found = [target.distance(values.get(target.name, math.nan)) for target in targets]
        stds = [self.statistics[target.name].std for target in targets]
        if not all(map(math.isfinite, found)):
            return None
        return tuple(distance / std for distance, std in zip(found, stds, strict=True))

    def note(self, result: MoleculeResult, sound: bool) -> None:
        """Count a result that was measured.

        Args:
            result: of a draw.
            sound: it counts as a valid molecule, whether it meets its targets or not.
        """
        self._draws += 1
        if self.targets and sound and not self.missed(result):
            self.met += 1
            self._met_first.setdefault(text_key(result.smiles), result.number)
        columns = self.measured
        for target in self.targets if sound else ():
            value = result.targets.get(columns[target.name])
            if value is None:
                continue
            wanted = result.targets.get(f"target_{target.name}", math.nan)
            self._measured.setdefault(target.name, []).append((wanted, value))
            self._in_band[target.name] = self._in_band.get(target.name, 0) + self._is_met(target, value)

    @property
    def met_different(self) -> int:
        """Different SMILES among the molecules so far that meet every target. Of two draws of one SMILES, one may miss
        what is measured of its coordinates."""
        return len(self._met_first)

    def missed(self, result: MoleculeResult) -> str:
        """Return which target a measured molecule misses, with its value and the band that it should be in; "" = none.
        What was not measured is missed."""
        columns = self.measured
        for target in self.targets:
            low, high = target.band(self.statistics[target.name].std)
            value = result.targets.get(columns[target.name], math.nan)
            if not self._is_met(target, value):
                told = number_text(value) if math.isfinite(value) else "not known"
                band = target.text if target.strict else f"in {number_text(low)}..{number_text(high)}"
                return f"{target.name}: {told}, must be {band}"
        return ""

    def _is_met(self, target: Target, value: float) -> bool:
        return bool(target.is_met(np.array(value), self.statistics[target.name].std))

    def picture(self) -> bytes | None:
        """Return a PNG of what was wanted against what was measured so far; None if nothing was, or it cannot be drawn
        here."""
        with dispensable("picture of the targets"):
            return draw_calibration(self.targets, self._measured, self.statistics)
        return None

    def results(self) -> tuple[TargetResult, ...]:
        """Return how each target was met so far."""
        results = []
        for target in self.targets:
            misses = [abs(value - target.nearest(value)) for _, value in self._measured.get(target.name, [])]
            mean = float(np.mean(misses)) if misses else None
            low, high = target.band(self.statistics[target.name].std)
            results.append(
                TargetResult(
                    target.name,
                    target.text,
                    target.is_value,
                    (low if np.isfinite(low) else None, high if np.isfinite(high) else None),
                    self._draws,
                    len(misses),
                    mean if target.is_value else None,
                    None if target.is_value else mean,
                    self._in_band.get(target.name, 0),
                    "" if self._is_estimated(target) else self._note(target),
                    self._estimated(target),
                )
            )
        return tuple(results)

    def _values(self, result: MoleculeResult, targets: Sequence[Target]) -> dict[str, float]:
        """Return what can be told of a molecule, at least of the properties of targets."""
        values, mol = measured_values(result, [target.name for target in targets]), result.mol
        if mol is None or not values:
            return values
        own = [target.name for target in targets if target.name in self.calculators]
        values = values | {name: self.calculators[name](mol) for name in own}
        told = {one.name: self.estimators[one.name](mol) for one in targets if self._is_estimated(one)}
        return values | {name: value for name, value in told.items() if value is not None}

    def _is_estimated(self, target: Target) -> bool:
        return target.name in self.estimators and bool(self._note(target))

    def _estimated(self, target: Target) -> str:
        """Return what tells the values of a target that nothing measures, and how well."""
        if not self._is_estimated(target):
            return ""
        error = self.errors.get(target.name)
        return (
            f"values as the property network estimates them, its error: {'not on record' if error is None else error}"
        )

    def _note(self, target: Target) -> str:
        return "" if target.name in self.calculators else _note(target.name)


def measured_values(result: MoleculeResult, names: Collection[str]) -> dict[str, float]:
    """Return the numbers of a molecule of sound chemistry, see `moldiff.chem.descriptors.measured.measured_numbers`:
    those that came with the result, or else they are measured now."""
    if result.measured is not None:
        return dict(result.measured)
    if result.mol is None or not result.properties:
        return dict(result.properties)
    return measured_numbers(result.mol, result.properties, names)


def _note(name: str) -> str:
    """Return why a property cannot be measured; empty if it can."""
    if name in PROPERTIES or (name in GFN2_PROPERTIES and XTB.is_installed()):
        return ""
    if name in GFN2_PROPERTIES:
        return f"it needs {XTB.needed()}"
    return "moldiff has no calculator of it"
