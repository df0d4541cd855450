"""Linear maps, and what computes them.

On a CPU, PyTorch gives products of float32 matrices to MKL, which leaves half of the vector units of processors that
are not Intel's idle. oneDNN, which PyTorch brings along for its convolutions and for bfloat16, uses all of them, and
applies SiLU on the way.
"""

from __future__ import annotations

import platform
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.backends import mkldnn
from torch.nn import functional

# What PyTorch's own compiler calls on CPUs: x W^T + b and what follows it. Not every build of PyTorch has it; before
# 2.12 a row comes out otherwise beside others; on processors of other makes nobody has measured whether it is faster.
_IS_X86 = platform.machine().lower() in ("x86_64", "amd64")
_IS_NEW = tuple(int(part) for part in torch.__version__.split(".")[:2]) >= (2, 12)
_USED = _IS_X86 and _IS_NEW and mkldnn.is_available()
_ONEDNN = getattr(torch.ops.mkldnn, "_linear_pointwise", None) if _USED else None
# bfloat16 takes instructions that not every processor has: PyTorch's own products do without.
_HAS_BFLOAT16 = _ONEDNN is not None and torch.ops.mkldnn._is_mkldnn_bf16_supported()
_PRECISIONS = (torch.float32, torch.bfloat16) if _HAS_BFLOAT16 else (torch.float32,)


class Linear(nn.Linear):
    """x W^T + b of the last axis, (..., in) -> (..., out)."""

    def forward(self, x: Tensor) -> Tensor:
        """Return x W^T + b."""
        return linear(x, self.weight, self.bias)

    def activated(self, x: Tensor) -> Tensor:
        """Return silu(x W^T + b)."""
        return linear(x, self.weight, self.bias, activate=True)


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None, *, activate: bool = False) -> Tensor:
    """Return x W^T + b, or SiLU of it, (..., out).

    Args:
        x: (..., in).
        weight: (out, in).
        bias: (out,), or None.
        activate: SiLU follows.
    """
    autocast = x.device.type == "cpu" and torch.is_autocast_enabled("cpu")
    gradients = torch.is_grad_enabled()
    if autocast and not gradients:
        dtype = torch.get_autocast_dtype("cpu")
        x, weight, bias = x.to(dtype), weight.to(dtype), None if bias is None else bias.to(dtype)
    if torch.compiler.is_compiling() or not _knows(x, weight) or (autocast and gradients):
        mapped = functional.linear(x, weight, bias)
    elif gradients:
        mapped = _Product.apply(x, weight, bias)
    else:
        return _product(x, weight, bias, "swish" if activate else "none")
    return functional.silu(mapped) if activate else mapped


def plus(x: Tensor, y: Tensor) -> Tensor:
    """Return x + y, of x's number type; x, of which nobody else may know, is lost where there are no gradients."""
    return x + y if torch.is_grad_enabled() else x.add_(y)


def _knows(x: Tensor, weight: Tensor) -> bool:
    """Return True for what oneDNN can map: not empty, of one number type, of which it has products."""
    return _ONEDNN is not None and x.device.type == "cpu" and x.dtype == weight.dtype in _PRECISIONS and x.numel() > 0


class _Product(torch.autograd.Function):
    """x W^T + b with its gradients."""

    @staticmethod
    def forward(context: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        context.save_for_backward(x, weight)
        return _product(x, weight, bias)

    @staticmethod
    @once_differentiable
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        x, weight = context.saved_tensors
        wanted = context.needs_input_grad
        rows, of_rows = x.flatten(0, -2), gradient.flatten(0, -2)
        return (
            _product(gradient, weight.t()) if wanted[0] else None,
            _product(of_rows.t(), rows.t()) if wanted[1] else None,
            of_rows.sum(0) if wanted[2] else None,
        )


def _product(x: Tensor, weight: Tensor, bias: Tensor | None = None, then: str = "none") -> Tensor:
    assert _ONEDNN is not None
    product: Tensor = _ONEDNN(x, weight, bias, then, [], "")
    return product
