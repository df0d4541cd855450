"""Output of `moldiff doctor` and `moldiff models`: the installation, the built-in models, one model's contents."""

from __future__ import annotations

import importlib.metadata
import platform
from collections.abc import Mapping
from typing import TYPE_CHECKING

from moldiff.devices import describe_devices
from moldiff.errors import MoldiffError
from moldiff.foreign_text import printable
from moldiff.models.contents import conditions_of_model, sampling_of_model, statistics_of_model, vocabulary_of_model
from moldiff.models.folder import DENOISER, ModelFolder, list_models, load_model_folder
from moldiff.version import VERSION

if TYPE_CHECKING:
    from rich.console import Console

PACKAGES = (
    "torch", "rdkit", "e3nn", "numpy", "scipy", "pytorch-lightning", "torch-geometric", "safetensors", "pydantic",
    "posebusters", "pyarrow", "tblite", "fcd",
)  # fmt: skip


def render_models(console: Console) -> bool:
    """Print one line for each built-in model; return False if one of them is damaged."""
    names = list_models()
    if not names:
        console.print("  none")
        return True
    healthy = True
    for name in names:
        try:
            model = load_model_folder(name)
        except MoldiffError as error:
            healthy = False
            console.print(f"  {name:<18} DAMAGED: {error}", soft_wrap=True)
            continue
        size = sum(path.stat().st_size for path in model.path.iterdir()) / 2**20
        console.print(
            f"  {name:<18} {_parameters(model):,} parameters, {size:.1f} MiB, sha256 {model.sha256}", soft_wrap=True
        )
    return healthy


def render_model(model: ModelFolder, console: Console) -> None:
    """Print what a model knows (classes, sizes, properties with units and ranges) and its card."""
    from rich.markdown import Markdown
    from rich.table import Table

    vocabulary, statistics = vocabulary_of_model(model), statistics_of_model(model)
    sizes = sorted(statistics.size_counts)
    facts = {
        "model": f"{model.name} ({model.path})",
        "kind": "generates molecules" if model.kind == DENOISER else "property network, guides another model",
        "sha256": model.sha256,
        "parameters": f"{_parameters(model):,}",
        "elements": " ".join(vocabulary.elements),
        "charges": " ".join(f"{charge:+d}" if charge else "0" for charge in vocabulary.charges),
        "bonds": " ".join(vocabulary.bonds[1:]),
        "hydrogens": "explicit" if vocabulary.explicit_hydrogens else "placed afterwards",
        vocabulary.atoms: f"{sizes[0]} to {sizes[-1]} in {sum(statistics.size_counts.values()):,} training molecules",
    }
    if model.kind == DENOISER:
        facts |= _methods(model)
    for key, value in facts.items():
        console.print(f"{key:<12}{value}", soft_wrap=True)
    purpose = "can be asked for" if model.kind == DENOISER else "this network predicts and pulls towards"
    console.print(f"\nproperties that {purpose}, with the training data's mean and 1 to 99 % range:")
    properties = Table("name", "unit", "mean", "1 %", "99 %", "known for", box=None, pad_edge=False)
    for name in conditions_of_model(model):
        if (row := statistics.properties.get(name)) is None:
            raise MoldiffError(f"{model.path}: the configuration has no statistics of its condition '{name}'")
        figures = [f"{value:.4g}" for value in (row.mean, row.q01, row.q99)]
        properties.add_row(name, row.unit, *figures, f"{row.known:,}")
    console.print(properties if properties.row_count else "none")
    console.print()
    console.print(Markdown(printable(model.card)))


def _methods(model: ModelFolder) -> dict[str, str]:
    """Return how a model is sampled by default."""
    sampling = sampling_of_model(model)
    return {
        name: f"{method.evaluations} evaluations by {method.sampler}, grid {method.grid}, "
        f"temperature {method.temperature:g}"
        for name, method in (("sampling", sampling), ("conformers", sampling.conformers))
    }


def render_doctor(console: Console) -> bool:
    """Print versions, devices, built-in models with hashes and equivariance errors; return False if one is wrong."""
    console.print(f"moldiff {VERSION}, Python {platform.python_version()}, {platform.platform()}", soft_wrap=True)
    console.print("\nlibraries")
    healthy = True
    for name in PACKAGES:
        try:
            version = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            version = "not installed (optional)" if name in ("tblite", "fcd") else "MISSING"
            healthy = healthy and version != "MISSING"
        console.print(f"  {name:<18} {version}")
    console.print("\ndevices")
    for line in describe_devices():
        console.print(f"  {line}")
    console.print("\nbuilt-in models")
    healthy = render_models(console) and healthy
    console.print("\nequivariance: largest relative error under rotation, reflection, translation and permutation")
    return _render_equivariance(console) and healthy


def _render_equivariance(console: Console) -> bool:
    """Print the equivariance error of each built-in model by number type; return False if one is too large."""
    import torch

    from moldiff.models.equivariance import TOLERANCE, equivariance_errors
    from moldiff.models.loaded import load_model

    healthy = True
    for name in list_models():
        try:
            loaded = load_model(name, device="cpu", precision="float32")
        except MoldiffError as error:
            console.print(f"  {name:<18} not measured: {error}", soft_wrap=True)
            healthy = False
            continue
        for dtype in (torch.float32, torch.float64):
            motion, measured = _worst(equivariance_errors(loaded.model, dtype))
            passed = measured < TOLERANCE[dtype]
            healthy = healthy and passed
            verdict = "ok" if passed else f"TOO LARGE, must be below {TOLERANCE[dtype]:.0e}"
            console.print(f"  {name:<18} {measured:.1e} in {str(dtype).removeprefix('torch.')} ({motion}), {verdict}")
        motion, measured = _worst(equivariance_errors(loaded.in_precision(torch.bfloat16).model, torch.float32))
        console.print(
            f"  {name:<18} {measured:.1e} with products in bfloat16 ({motion}), which is rounding: not judged"
        )
    return healthy


def _worst(errors: Mapping[str, float]) -> tuple[str, float]:
    return max(errors.items(), key=lambda item: item[1])


def _parameters(model: ModelFolder) -> int:
    return sum(tensor.numel() for tensor in model.weights.values() if tensor.is_floating_point())
