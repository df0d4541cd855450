"""Own draws on the device: walks by captured steps of SDE-DPM-Solver++(2M), their states, and batches of these."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import torch
from torch import Tensor

from moldiff.choices import DEFAULTS
from moldiff.molecules import MolBatch, MolPrediction
from moldiff.sampling.time_grids import GRIDS
from scripts.drugs_model.judging import Drawn, Verdict
from scripts.drugs_model.trainer import Inputs, Trainer, put

CATEGORIES = ("atom_type", "charge", "bond_type")


@dataclass
class Walks:
    """Walks of one padded width: D draws, S states each.

    Attributes:
        n_atoms: (D,).
        conditions: (D, P) that were asked for.
        pos: (D, N, 3), the end.
        classes: types, charges (D, N), bonds (D, N, N), uint8.
        logits: of the last prediction, float16.
        states: pos and classes of each state, then pos and logits of the prediction before: (S, D, ...) each.
    """

    n_atoms: np.ndarray
    conditions: np.ndarray
    pos: Tensor
    classes: list[Tensor]
    logits: list[Tensor]
    states: list[Tensor] = field(default_factory=list)

    def draws(self, width: int, only: set[tuple[int, int]] | None = None) -> Iterator[Drawn]:
        """Yield the draws for judging, by key (width, row); ``only`` these, with their logits."""
        pos, classes = self.pos.cpu().numpy(), [value.cpu().numpy() for value in self.classes]
        logits = None if only is None else [value.cpu().numpy() for value in self.logits]
        for row, n in enumerate(self.n_atoms.tolist()):
            if only is not None and (width, row) not in only:
                continue
            atom_type, charge, bond_type = classes[0][row, :n], classes[1][row, :n], classes[2][row, :n, :n]
            beliefs = None if logits is None else (logits[0][row, :n], logits[1][row, :n], logits[2][row, :n, :n])
            yield Drawn((width, row), pos[row, :n], atom_type, charge, bond_type, beliefs)


@dataclass(frozen=True)
class Wanted:
    """Sizes (M,) and conditions (M, P) of draws to make."""

    sizes: np.ndarray
    conditions: np.ndarray

    @classmethod
    def of(cls, sizes: np.ndarray, properties: np.ndarray, free: float, generator: np.random.Generator) -> Wanted:
        """Ask for properties of training molecules as training does, of a share ``free`` of them for nothing."""
        count, kinds = properties.shape
        kind, place = generator.random((count, 1)), generator.random((count, kinds))
        few = place.argsort(1).argsort(1) >= 1 + (generator.random((count, 1)) < 0.5)
        dropped = np.where(kind < free + 0.6 * (1 - free), few, place < 0.5) | (kind < free)
        return cls(sizes, np.where(dropped, np.nan, properties).astype(np.float32))


class Walker:
    """Draws with a trainer's averaged weights."""

    def __init__(self, trainer: Trainer, widths: tuple[int, ...]) -> None:
        self.trainer, self.model, self.widths = trainer, trainer.model, widths

    def width_of(self, n: int) -> int:
        """Return the padded width of a molecule of n atoms: coarser than the package's, for fewer graphs."""
        return next(width for width in self.widths if n <= width)

    def grid(self, evaluations: int) -> list[float]:
        """Return the default times of so many evaluations."""
        model = self.model
        largest = min(max(model.statistics.size_counts), len(model.diffusion.position_std) - 1)
        end = model.sampling.window_start * float(model.diffusion.position_std[largest])
        times: list[float] = GRIDS[DEFAULTS.grid].times(model.schedule, evaluations, end).tolist()
        return times

    def walk(self, wanted: Wanted, evaluations: int, keep_states: bool) -> dict[int, Walks]:
        """Return the walks by padded width."""
        grid, found = self.grid(evaluations), dict[int, list[Walks]]()
        widths = np.array([self.width_of(n) for n in wanted.sizes.tolist()])
        with self.trainer.averaged():
            for width in sorted(set(widths.tolist())):
                members = np.nonzero(widths == width)[0]
                for start in range(0, len(members), self.trainer.rows):
                    part = members[start : start + self.trainer.rows]
                    asked = Wanted(wanted.sizes[part], wanted.conditions[part])
                    found.setdefault(width, []).append(self._walk(asked, width, grid, keep_states))
        return {width: joined(parts) for width, parts in found.items()}

    def walk_anew(
        self,
        walks: Mapping[int, Walks],
        rows: Mapping[int, np.ndarray],
        evaluations: int,
        generator: np.random.Generator,
    ) -> dict[int, Walks]:
        """Return walks that leave others' at a state and go on with other noise; they hold the states before it, too.

        Args:
            walks: with their states.
            rows: those to be left, by padded width; each batch of them at a state of its own.
            evaluations: of the walks.
            generator: chooses the states: between a tenth and two thirds of the way.
        """
        grid, found = self.grid(evaluations), dict[int, list[Walks]]()
        states = len(grid) - 2
        with self.trainer.averaged():
            for width, members in rows.items():
                for start in range(0, len(members), self.trainer.rows):
                    part = members[start : start + self.trainer.rows]
                    state = int(generator.integers(max(1, states // 10), max(2, 2 * states // 3)))
                    found.setdefault(width, []).append(self._walk_from(walks[width], part, width, grid, state))
        return {width: joined(parts) for width, parts in found.items()}

    def _walk(self, wanted: Wanted, width: int, grid: list[float], keep_states: bool) -> Walks:
        trainer, model = self.trainer, self.model
        template, inputs = self._template(wanted, width), trainer.inputs(width)
        start = torch.full((trainer.rows,), grid[0], dtype=torch.float64, device=trainer.device)
        with torch.no_grad():
            put(
                inputs.noisy, model.diffusion.sample_prior(template, model.schedule.levels(start), trainer.noise(width))
            )
        return self._go_on(wanted, width, grid, 1, [], keep_states)

    def _walk_from(self, walks: Walks, rows: np.ndarray, width: int, grid: list[float], state: int) -> Walks:
        trainer, inputs = self.trainer, self.trainer.inputs(width)
        wanted = Wanted(walks.n_atoms[rows], walks.conditions[rows])
        chosen = torch.from_numpy(rows).to(trainer.device)
        filled = chosen[torch.arange(trainer.rows, device=trainer.device) % len(rows)]
        pos, *others = (values[state, filled] for values in walks.states)
        met = dict(zip(CATEGORIES, (one.long() for one in others[:3]), strict=True))
        with torch.no_grad():
            put(inputs.noisy, self._template(wanted, width).replace(pos=pos, **met))
            put(inputs.previous, MolPrediction(*(one.float() for one in others[3:])))
            inputs.t.fill_(grid[state])
            inputs.last.copy_(self.model.schedule.levels(inputs.t).pos)
        before = [[values[number, chosen] for values in walks.states] for number in range(state + 1)]
        return self._go_on(wanted, width, grid, state + 2, before, True)

    def _template(self, wanted: Wanted, width: int) -> MolBatch:
        """Return a batch without molecules: sizes and conditions; where there are too few, the first ones again."""
        trainer = self.trainer
        rows = np.resize(np.arange(len(wanted.sizes)), trainer.rows)
        sizes = torch.from_numpy(wanted.sizes[rows]).to(trainer.device)
        return Inputs(self.model, trainer.rows, width, trainer.device).clean.replace(
            mask=torch.arange(width, device=trainer.device)[None] < sizes[:, None],
            properties=torch.from_numpy(wanted.conditions[rows]).to(trainer.device),
        )

    def _go_on(
        self, wanted: Wanted, width: int, grid: list[float], first: int, states: list[list[Tensor]], keep_states: bool
    ) -> Walks:
        """Take the steps from number ``first`` on, of the walks that stand in the width's inputs."""
        trainer, model, inputs, count = self.trainer, self.model, self.trainer.inputs(width), len(wanted.sizes)
        for number in range(first, len(grid) - 1):
            inputs.t.fill_(grid[number - 1])
            inputs.s.fill_(grid[number])
            after, prediction = trainer.run(("walk", width, number == 1), partial(self._step, inputs, number == 1), 1)
            with torch.no_grad():
                put(inputs.noisy, after)
                put(inputs.previous, prediction)
                inputs.last.copy_(model.schedule.levels(inputs.t).pos)
            if keep_states:
                states.append([*_packed(after, count, torch.uint8), *_packed(prediction, count, torch.float16)])
        inputs.t.fill_(grid[-2])
        prediction = trainer.run(("end", width), lambda: self._denoised(inputs), 1)
        end = model.diffusion.decode(inputs.noisy, prediction)
        pos, *classes = _packed(end, count, torch.uint8)
        kept = [torch.stack(values) for values in zip(*states, strict=True)]
        logits = _packed(prediction, count, torch.float16)[1:]
        return Walks(wanted.sizes, wanted.conditions, pos, classes, logits, kept)

    def _step(self, inputs: Inputs, first: bool) -> tuple[MolBatch, MolPrediction]:
        """Return one step of `moldiff.sampling.solvers.Ancestral` with eta 1, of second order but for the first."""
        trainer, model, noisy = self.trainer, self.model, inputs.noisy
        with torch.no_grad(), trainer.autocast():
            at, to = model.schedule.levels(inputs.t), model.schedule.levels(inputs.s)
            prediction = model.denoiser(noisy, at, noisy.properties, None if first else inputs.previous)
            estimate = prediction
            if not first:
                gone, coming = inputs.last - at.pos, at.pos - to.pos
                weight = torch.where(gone > 0, 0.5 * coming / gone, torch.zeros_like(gone))[:, None, None]
                ahead = weight.to(prediction.pos.dtype) * (prediction.pos - inputs.previous.pos)
                estimate = prediction.replace(pos=prediction.pos + ahead)
            noise = trainer.noise(noisy.mask.shape[1])
            return model.diffusion.reverse_step(noisy, estimate, at, to, noise, 1.0, None), prediction

    def _denoised(self, inputs: Inputs) -> MolPrediction:
        with torch.no_grad(), self.trainer.autocast():
            levels = self.model.schedule.levels(inputs.t)
            return self.model.denoiser(inputs.noisy, levels, inputs.noisy.properties, inputs.previous)


def _packed(values: MolBatch | MolPrediction, count: int, dtype: torch.dtype) -> list[Tensor]:
    """Return copies of the first rows, coordinates as they are, the rest in fewer bits."""
    return [values.pos[:count].float().clone(), *(getattr(values, name)[:count].to(dtype) for name in CATEGORIES)]


def joined(parts: list[Walks]) -> Walks:
    """Return walks of one width as one."""

    def cat(rows: list[list[Tensor]], dim: int = 0) -> list[Tensor]:
        return [torch.cat(values, dim) for values in zip(*rows, strict=True)]

    return Walks(
        np.concatenate([part.n_atoms for part in parts]),
        np.concatenate([part.conditions for part in parts]),
        torch.cat([part.pos for part in parts]),
        cat([part.classes for part in parts]),
        cat([part.logits for part in parts]),
        cat([part.states for part in parts], 1),
    )


class OwnStates:
    """States of chosen walks with the molecules that came of them, as batches.

    Args:
        walks: with their states.
        grid: their times.
        verdicts: what became of each walk, by (width, row).
        copies: how often each key's walk is among the labels.
        properties: P.
    """

    def __init__(
        self,
        walks: Mapping[int, Walks],
        grid: list[float],
        verdicts: Mapping[object, Verdict],
        copies: Mapping[tuple[int, int], int],
        properties: int,
        seed: int,
    ) -> None:
        self._walks, self._generator = walks, np.random.default_rng(seed)
        chosen: dict[int, list[int]] = {}
        for (width, row), count in copies.items():
            chosen.setdefault(width, []).extend([row] * count)
        device = next(iter(walks.values())).pos.device
        self._chosen = {width: torch.tensor(rows, device=device) for width, rows in chosen.items()}
        self._widths = sorted(chosen)
        counts = np.array([len(chosen[width]) for width in self._widths], dtype=float)
        self._shares = counts / counts.sum()
        self._t = torch.tensor(grid[1:-1], dtype=torch.float64, device=device)
        self._n_atoms = {width: torch.from_numpy(walks[width].n_atoms).to(device) for width in chosen}
        self._labels = {width: _labels(walks[width], width, chosen[width], verdicts, properties) for width in chosen}

    def batch(self, rows: int) -> tuple[MolBatch, MolBatch, Tensor, MolPrediction]:
        """Return (clean, noisy, t, previous) of random states of one width."""
        width = self._widths[self._generator.choice(len(self._widths), p=self._shares)]
        walks, chosen, (classes, properties) = self._walks[width], self._chosen[width], self._labels[width]
        device = chosen.device
        draw = chosen[torch.randint(len(chosen), (rows,), device=device)]
        state = torch.randint(len(self._t), (rows,), device=device)
        mask = torch.arange(width, device=device)[None] < self._n_atoms[width][draw][:, None]
        known = properties[draw]
        ends = dict(zip(CATEGORIES, (one[draw].long() for one in classes), strict=True))
        clean = MolBatch(pos=walks.pos[draw] * mask[..., None], **ends, mask=mask, properties=known, ids=draw)
        pos, *others = (one[state, draw] for one in walks.states)
        met = dict(zip(CATEGORIES, (one.long() for one in others[:3]), strict=True))
        noisy = MolBatch(pos=pos, **met, mask=mask, properties=known, ids=draw)
        return clean, noisy, self._t[state], MolPrediction(*(one.float() for one in others[3:]))


def _labels(
    walks: Walks, width: int, rows: list[int], verdicts: Mapping[object, Verdict], properties: int
) -> tuple[list[Tensor], Tensor]:
    """Return classes (in the layout of the walks) and properties (D, P) of the molecules that came of these rows."""
    device = walks.pos.device
    classes = [one.cpu().numpy().copy() for one in walks.classes]
    known = np.full((len(walks.n_atoms), properties), math.nan, dtype=np.float32)
    for row in set(rows):
        verdict = verdicts[(width, row)]
        assert verdict.graph is not None and verdict.properties is not None
        atom_type, charge, bonds = verdict.graph
        classes[0][row, : len(atom_type)], classes[1][row, : len(charge)] = atom_type, charge
        classes[2][row] = 0
        classes[2][row, bonds[:, 0], bonds[:, 1]] = classes[2][row, bonds[:, 1], bonds[:, 0]] = bonds[:, 2]
        known[row] = verdict.properties
    return [torch.from_numpy(one).to(device) for one in classes], torch.from_numpy(known).to(device)
