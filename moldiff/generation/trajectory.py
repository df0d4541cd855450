"""The path from noise to a molecule: frames, as a multi-frame .xyz or as an animation that opens offline."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from moldiff.arrays import MolArrays
from moldiff.diffusion.schedule import NoiseSchedule
from moldiff.errors import MoldiffError
from moldiff.molecules import MolBatch, MolPrediction, unbatch
from moldiff.pages.page import page
from moldiff.sampling.molecule_sampler import MoleculeSampler
from moldiff.vocabulary import Vocabulary

SUFFIXES = (".xyz", ".html")
_ORDERS = {"double": 2, "triple": 3, "aromatic": 1.5}


@dataclass(frozen=True)
class Frame:
    """State after a step.

    Attributes:
        step: from 1 up; the last one decodes.
        t: the time that it leads to, 1 is noise and 0 data.
        sigma: coordinate noise at that time, angstrom; 0 after the last step.
        state: the noisy molecule; after the last step, the decoded one.
        estimate: what the model took the clean molecule for.
    """

    step: int
    t: float
    sigma: float
    state: MolArrays
    estimate: MolArrays


def trace(sampler: MoleculeSampler, number: int) -> list[Frame]:
    """Draw once more and return the frames of draw ``number``, as far as they are finite."""
    model, times = sampler.model, sampler.grid
    frames: list[Frame] = []

    def keep(step: int, state: MolBatch, prediction: MolPrediction) -> None:
        first, last = state[:1], step == len(times) - 1
        row = MolPrediction(*(getattr(prediction, field)[:1] for field in ("pos", "atom_type", "charge", "bond_type")))
        molecules = [unbatch(first)[0], unbatch(model.diffusion.decode(first, row))[0]]
        is_finite = all(torch.isfinite(torch.from_numpy(molecule.pos)).all() for molecule in molecules)
        if is_finite and len(frames) == step - 1:  # what comes after a state that was not finite means nothing
            sigma = 0.0 if last else _sigma(model.schedule, float(times[step]))
            frames.append(Frame(step, float(times[step]), sigma, *molecules))

    sampler.watch(number, keep)
    return frames


def _sigma(schedule: NoiseSchedule, t: float) -> float:
    return float(schedule.levels(torch.tensor([t], dtype=torch.float64)).sigma)


def check_suffix(path: Path) -> None:
    """Raise MoldiffError unless a trajectory can be written under this name."""
    if path.suffix.lower() not in SUFFIXES:
        raise MoldiffError(f"{path}: a trajectory must end in {' or '.join(SUFFIXES)}")


def trajectories(paths: Sequence[Path], sampler: MoleculeSampler, number: int) -> dict[Path, str]:
    """Draw once more and return the path from noise to draw ``number``, in the form of each file's suffix."""
    frames, vocabulary = trace(sampler, number), sampler.model.vocabulary
    forms = {".xyz": xyz, ".html": html}
    return {path: forms[path.suffix.lower()](frames, vocabulary, f"moldiff_{number}") for path in paths}


def xyz(frames: Sequence[Frame], vocabulary: Vocabulary, title: str) -> str:
    """Return the noisy states as a multi-frame .xyz, angstrom."""
    lines = []
    for frame in frames:
        lines += [str(len(frame.state.atom_type)), f"{title} step={frame.step} t={frame.t:.4f} sigma={frame.sigma:.4f}"]
        for kind, (x, y, z) in zip(frame.state.atom_type.tolist(), frame.state.pos.tolist(), strict=True):
            lines.append(f"{vocabulary.elements[kind]:<2} {x:12.5f} {y:12.5f} {z:12.5f}")
    return "\n".join([*lines, ""])


def html(frames: Sequence[Frame], vocabulary: Vocabulary, title: str) -> str:
    """Return one page with everything in it: the frames, and a canvas that plays them."""
    shown = [
        {
            "step": frame.step,
            "t": round(frame.t, 4),
            "sigma": round(frame.sigma, 4),
            "state": _plain(frame.state, vocabulary),
            "estimate": _plain(frame.estimate, vocabulary),
        }
        for frame in frames
    ]
    return page("trajectory.html", {"title": title, "frames": shown})


def _plain(molecule: MolArrays, vocabulary: Vocabulary) -> dict[str, object]:
    orders = [_ORDERS.get(name, 1) for name in vocabulary.bonds]
    return {
        "elements": [vocabulary.elements[kind] for kind in molecule.atom_type.tolist()],
        "pos": [[round(value, 3) for value in row] for row in molecule.pos.tolist()],
        "bonds": [[i, j, orders[kind]] for i, j, kind in molecule.bonds.tolist()],
    }
