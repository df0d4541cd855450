"""`Model`: a model that is loaded once and then asked as often as you like."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial, wraps
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar, cast

import torch

from moldiff.choices import Precision
from moldiff.devices import name_of
from moldiff.errors import MoldiffError
from moldiff.generation import conformers as conformer_jobs
from moldiff.generation import generate as generate_jobs
from moldiff.generation import vary as vary_jobs
from moldiff.models.folder import DEFAULT_MODEL
from moldiff.models.loaded import LoadedModel, load_model
from moldiff.nll import likelihood as likelihood_jobs

P = ParamSpec("P")
R = TypeVar("R")


def _method(function: Callable[P, R]) -> Callable[Concatenate[Model, P], R]:
    """Return a function that takes ``model=`` as a method of `Model`, with its signature but for that argument."""

    @wraps(function)
    def method(self: Model, *arguments: P.args, **keywords: P.kwargs) -> R:
        if "model" in keywords:
            raise MoldiffError("model is the one that the method belongs to", argument="model")
        return cast(Callable[P, R], partial(cast(Callable[..., R], function), model=self))(*arguments, **keywords)

    signature = inspect.signature(function)
    own = inspect.Parameter("self", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    others = [parameter for parameter in signature.parameters.values() if parameter.name != "model"]
    method.__signature__ = signature.replace(parameters=[own, *others])  # type: ignore[attr-defined]
    return method


class Model(LoadedModel):
    """A model that generates molecules, read, checked and put on its device once. Get it from `load`.

    `generate`, `vary`, `conformers` and `likelihood` are the functions of `moldiff` with this model.

    >>> import moldiff
    >>> moldiff.load("qm9", device="cpu").info["elements"]
    ['H', 'C', 'N', 'O']
    """

    __hash__ = object.__hash__

    generate = _method(generate_jobs.generate)
    vary = _method(vary_jobs.vary)
    conformers = _method(conformer_jobs.conformers)
    likelihood = _method(likelihood_jobs.likelihood)

    def __eq__(self, other: object) -> bool:
        return self is other

    @property
    def info(self) -> dict[str, Any]:
        """The model in plain values: source, chemistry, sizes, what it can be asked for (property -> unit and the 1 to
        99 % range of its training data), and how it samples by default."""
        said, sampling = self.model.statistics, self.sampling
        return {
            "name": self.name,
            "path": str(self.path),
            "sha256": self.sha256,
            "device": str(self.device),
            "precision": name_of(self.precision),
            "parameters": sum(tensor.numel() for tensor in self.model.denoiser.parameters()),
            "elements": list(self.model.vocabulary.elements),
            "charges": list(self.model.vocabulary.charges),
            "n_atoms": [min(said.size_counts), max(said.size_counts)],
            "targets": {
                name: {"unit": row.unit, "range": [row.q01, row.q99]}
                for name, row in ((name, said.properties[name]) for name in self.model.conditions)
            },
            "evaluations": sampling.evaluations,
            "sampler": str(sampling.sampler),
            "grid": str(sampling.grid),
            "temperature": sampling.temperature,
        }

    def __repr__(self) -> str:
        info = self.info
        targets = f"; targets {', '.join(info['targets'])}" if info["targets"] else ""
        smallest, largest = info["n_atoms"]
        atoms = self.model.vocabulary.atoms
        return (
            f"<moldiff.Model {self.name}: {' '.join(info['elements'])}, {smallest} to {largest} {atoms}{targets}; "
            f"{info['evaluations']} evaluations by {info['sampler']}; on {info['device']} in {info['precision']}>"
        )


def load(
    model: str | Path = DEFAULT_MODEL,
    *,
    device: str | torch.device = "auto",
    precision: str | torch.dtype = Precision.AUTO,
) -> Model:
    """Load a model: its folder is read and checked once, however often it is asked.

    >>> import moldiff
    >>> model = moldiff.load("qm9", device="cpu")
    >>> result = model.generate(2, evaluations=4)
    >>> len(result.table)
    2

    Args:
        model: a built-in model's name or a model folder.
        device: auto, cpu, cuda or cuda:<number>, or PyTorch's own.
        precision: number type of the network's matrix products: auto, float32 or bfloat16, or PyTorch's own.

    Raises:
        MoldiffError: no such model, a damaged one, a property network, or no such device.
    """
    loaded = load_model(model, device=device, precision=precision)
    return Model(loaded.folder, loaded.model)
