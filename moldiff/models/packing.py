"""The files of a model folder as bytes: tensors and configuration, there and back, checked."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from moldiff.errors import MoldiffError, first_line
from moldiff.reading import parse_json

if TYPE_CHECKING:
    from torch import Tensor

FORMAT = "moldiff-model"
FORMAT_VERSION = 1


def pack_weights(weights: dict[str, Tensor], half: bool) -> bytes:
    """Serialise weights, see `save_model_folder`; MoldiffError names a tensor that is not finite then."""
    import torch

    packed = {}
    for name, tensor in weights.items():
        if tensor.is_floating_point():
            halved = half and tensor.dim() > 1
            tensor = tensor.detach().to(torch.float16 if halved else torch.float32)
            if not bool(torch.isfinite(tensor).all()):
                precision = "half precision" if halved else "single precision"
                raise MoldiffError(
                    f"weights '{name}' hold values that are not finite in {precision}; the model is not saved"
                )
        packed[name] = tensor
    return pack_tensors(packed)


def pack_tensors(tensors: dict[str, Tensor]) -> bytes:
    """Serialise tensors; copies, because safetensors refuses tensors that share memory (tied weights, views)."""
    from safetensors.torch import save

    return save({name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()})


def pack_config(config: dict[str, Any]) -> bytes:
    """Serialise a configuration; ValueError or TypeError if it is not plain JSON."""
    wrapped = {"format": FORMAT, "format_version": FORMAT_VERSION, "config": config}
    return (json.dumps(wrapped, indent=1, allow_nan=False) + "\n").encode("utf-8")


def unpack_config(path: Path, data: bytes) -> dict[str, Any]:
    """Parse config.json, given as the bytes of the file at ``path``; MoldiffError if it is of another kind."""
    wrapped = parse_json(data, str(path))
    if not isinstance(wrapped, dict) or wrapped.get("format") != FORMAT:
        raise MoldiffError(f"{path} is not the configuration of a moldiff model")
    if (version := wrapped.get("format_version")) != FORMAT_VERSION:
        raise MoldiffError(
            f"{path} has format version {version!r:.20}; this moldiff reads version {FORMAT_VERSION}: upgrade moldiff"
        )
    if not isinstance(wrapped.get("config"), dict):
        raise MoldiffError(f"{path} holds no configuration")
    config: dict[str, Any] = wrapped["config"]
    return config


def unpack_tensors(path: Path, data: bytes) -> dict[str, Tensor]:
    """Parse a safetensors file; MoldiffError if it is none."""
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        return load(data)
    except (SafetensorError, ValueError, KeyError, TypeError, RuntimeError, OverflowError) as error:
        raise MoldiffError(f"{path} is not a safetensors file ({first_line(error)})") from error


def unpack_weights(path: Path, data: bytes) -> dict[str, Tensor]:
    """Parse weights into float32; MoldiffError if there are none, or one is not finite."""
    import torch

    from moldiff.threads import SINGLE

    weights = {}
    with SINGLE:  # in a process that was forked, more threads of OpenMP would wait for each other for ever
        for name, tensor in unpack_tensors(path, data).items():
            if tensor.is_floating_point():
                tensor = tensor.to(torch.float32)
                if not bool(torch.isfinite(tensor).all()):
                    raise MoldiffError(f"{path} holds values that are not finite numbers, in '{name:.80}'")
            weights[name] = tensor
    if not weights:
        raise MoldiffError(f"{path} holds no weights")
    return weights
