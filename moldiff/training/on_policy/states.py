"""A model's own draws to train on: the states that its sampler met, and the sound molecule that came of each.

Trained on noised data alone, a network never sees the mistakes that it makes on the way down: a sampler carries them
along (exposure bias; Ross et al. 2011, "A reduction of imitation learning and structured prediction to no-regret online
learning", on training where one's own decisions lead). Here the states of the model's own walks are shown to it
together with what they should have become: the molecule that was drawn if it is sound, else the most probable sound
molecule for the same coordinates (`StructuredDecoder` with ``fitted``), else nothing: the draw is left out. Large steps
and a network that is not perfect also shift the proportions of what is drawn; reweighted draws are dropped and repeated
until they are made of what the data is made of (`moldiff.training.on_policy.reweight`), and the model learns that too.

With a teacher, this is distillation to fewer steps: every draw is noised a little, and the teacher walks it down again
in small steps. What it makes of the draw is the label of the states before that noise; later ones keep the draw's own
molecule, to which they are nearer. The student, whose steps are large, learns to arrive in one step where the teacher
would. Classes have no gradient through a sampled state; here none is needed, for states and labels are both drawn
before.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from moldiff.deprecations import ON_POLICY_KEYS, renamed_keys
from moldiff.errors import MoldiffError
from moldiff.files import atomic_writer
from moldiff.molecules import FIELDS, MolBatch, MolPrediction
from moldiff.reading import check_regular, parse_json

_MADE_BY = "made_by"


@dataclass(frozen=True)
class OnPolicyBatch:
    """States of one's own walks.

    Attributes:
        clean: what came of each, with its properties as far as they are known.
        t: (B,) float64, times of the states.
        noisy: the states.
        previous: the prediction of the step before, which self-conditioning saw.
    """

    clean: MolBatch
    t: Tensor
    noisy: MolBatch
    previous: MolPrediction


class OnPolicyData:
    """Rows of states, grouped by padded width.

    Args:
        groups: width N -> tensors of S states each: "t" (S,), "mask" (S, N), "properties" (S, P), and for each field
            "clean.<field>", "noisy.<field>" and "previous.<field>" in the layout of `MolBatch` and `MolPrediction`
            (classes in uint8, logits in float16).
        made_by: plain JSON that says by which model and with which settings.
    """

    def __init__(self, groups: Mapping[int, Mapping[str, Tensor]], made_by: Mapping[str, Any]) -> None:
        self._groups, self.made_by = dict(sorted(groups.items())), dict(made_by)
        counts = [len(group["t"]) for group in self._groups.values()]
        self._first = dict(zip(self._groups, np.cumsum([0, *counts]).tolist(), strict=False))
        self.sizes = np.repeat(np.array(list(self._groups), dtype=np.int64), counts)

    def __len__(self) -> int:
        return len(self.sizes)

    def to(self, device: torch.device) -> OnPolicyData:
        """Return the rows on a device."""
        groups = {
            width: {name: value.to(device) for name, value in group.items()} for width, group in self._groups.items()
        }
        return OnPolicyData(groups, self.made_by)

    def batch(self, rows: Tensor, width: int) -> OnPolicyBatch:
        """Return rows (B,), all of one width."""
        group = self._groups[width]
        rows = (rows - self._first[width]).to(group["t"].device)
        found = {name: value[rows] for name, value in group.items()}
        shared = {"mask": found["mask"], "properties": found["properties"], "ids": rows}
        clean, noisy = (
            MolBatch(**{field: _plain(found[f"{name}.{field}"]) for field in FIELDS}, **shared)
            for name in ("clean", "noisy")
        )
        previous = MolPrediction(*(found[f"previous.{field}"].float() for field in FIELDS))
        return OnPolicyBatch(clean, found["t"], noisy, previous)

    def save(self, path: Path) -> None:
        """Write the rows as one safetensors file; MoldiffError if that fails."""
        tensors = {
            f"{width}.{name}": value.cpu().contiguous()
            for width, group in self._groups.items()
            for name, value in group.items()
        }
        with atomic_writer(path, binary=True) as handle:
            handle.write(save(tensors, {_MADE_BY: json.dumps(self.made_by, sort_keys=True)}))

    @classmethod
    def load(cls, path: Path, made_by: Mapping[str, Any]) -> OnPolicyData:
        """Read what `save` wrote.

        Args:
            path: the file.
            made_by: what is expected.

        Raises:
            MoldiffError: the file is damaged, or was made by another model or with other settings.
        """
        groups: dict[int, dict[str, Tensor]] = {}
        try:
            check_regular(path)
            with safe_open(path, framework="pt") as handle:
                settings = parse_json(handle.metadata()[_MADE_BY], str(path))
                found = renamed_keys(dict(settings), str(path), ON_POLICY_KEYS)
                for key in handle.keys():  # noqa: SIM118 - not a mapping
                    width, _, name = key.partition(".")
                    groups.setdefault(int(width), {})[name] = handle.get_tensor(key)
        except (SafetensorError, OSError, KeyError, TypeError, ValueError, MoldiffError) as error:
            raise MoldiffError(f"{path} is damaged ({error}); remove it, and the draws are made again") from error
        if found != made_by:
            differ = ", ".join(sorted(key for key in {*found, *made_by} if found.get(key) != made_by.get(key)))
            raise MoldiffError(
                f"{path} holds draws made with other settings ({differ}); set them as before or choose another output"
            )
        return cls(groups, found)


def _plain(values: Tensor) -> Tensor:
    """Return coordinates as they are, classes as int64."""
    return values if values.is_floating_point() else values.long()
