"""Optimisers, the learning-rate schedule, and what happens to the gradient before a step."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from moldiff.config import OptimizerConfig


def learning_rate_factor(step: int, total: int, config: OptimizerConfig) -> float:
    """Return the share of the full learning rate at ``step``: linear warm-up, stable, then a decay as 1 - sqrt.

    The stable part has no end of its own, so a run can be continued from any checkpoint before the decay (Hägele et al.
    2024, "Scaling laws and compute-optimal training beyond fixed training durations").
    """
    warmup = min(1.0, (step + 1) / config.warmup_steps) if config.warmup_steps else 1.0
    start = total - config.decay_steps
    if step < start or not config.decay_steps:
        return warmup
    return warmup * max(0.0, 1.0 - ((step - start) / config.decay_steps) ** 0.5)


def set_learning_rates(optimizers: Sequence[torch.optim.Optimizer], factor: float) -> None:
    """Set every group's rate to a share of its full one; a rate that is a tensor stays that tensor."""
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            rate = group["initial_lr"] * factor
            if isinstance(group["lr"], Tensor):
                group["lr"].fill_(rate)
            else:
                group["lr"] = rate


def build_optimizers(model: nn.Module, config: OptimizerConfig) -> list[torch.optim.Optimizer]:
    """Return the optimisers of a model: AdamW, and Muon (Jordan et al. 2024) for the hidden matrices if it has a rate.
    Weights without a gradient are left out.

    Muon orthogonalises the update of a matrix; embeddings of classes, read-outs, biases and norms stay with AdamW. On a
    CUDA device AdamW is one kernel, and the rates are tensors there, so that steps can be captured in a graph.
    """
    matrices: list[nn.Parameter] = []
    others: list[nn.Parameter] = []
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        hidden = parameter.dim() == 2 and ".layers." in name and ".modulate." not in name
        (matrices if hidden and config.muon_learning_rate else others).append(parameter)
    device = others[0].device
    cuda = device.type == "cuda"

    def rate(value: float) -> float | Tensor:
        return torch.tensor(value, device=device) if cuda else value

    adam = torch.optim.AdamW(
        others,
        lr=rate(config.learning_rate),
        betas=(0.9, 0.99),
        weight_decay=config.weight_decay,
        fused=cuda or None,
        capturable=cuda,
    )
    optimizers: list[torch.optim.Optimizer] = [adam]
    adam.param_groups[0]["initial_lr"] = config.learning_rate
    if matrices:
        muon = Muon(matrices, rate(config.muon_learning_rate), weight_decay=config.weight_decay)
        muon.param_groups[0]["initial_lr"] = config.muon_learning_rate
        optimizers.append(muon)
    return optimizers


class Muon(torch.optim.Optimizer):
    """Muon (Jordan et al. 2024) with Nesterov momentum, all matrices of one shape at once.

    The same updates as those of ``torch.optim.Muon`` with ``match_rms_adamw``, and the same state, but a product for
    each shape instead of one for each matrix. The rate is on AdamW's scale: updates have a root mean square of 0.2 (Liu
    et al. 2025, "Muon is scalable for LLM training", eq. 4).

    Args:
        matrices: parameters of two axes; ValueError for others.
        lr: learning rate; a tensor on their device where the step is to be captured in a CUDA graph.
        weight_decay: decoupled, times the rate.
        momentum: share of the average of gradients that stays at a step.
        precision: number type of the orthogonalisation's products.
    """

    def __init__(
        self,
        matrices: Iterable[nn.Parameter],
        lr: float | Tensor,
        *,
        weight_decay: float = 0.0,
        momentum: float = 0.95,
        precision: torch.dtype = torch.bfloat16,
    ) -> None:
        super().__init__(matrices, {"lr": lr, "weight_decay": weight_decay, "momentum": momentum})
        self.precision = precision
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.dim() != 2:
                    raise ValueError(f"Muon is for matrices, not for a parameter of shape {tuple(parameter.shape)}")

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Take one step with the gradients that are there; matrices without one stay as they are."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            shapes: dict[tuple[int, ...], list[Tensor]] = {}
            for parameter in group["params"]:
                if parameter.grad is not None:
                    shapes.setdefault(tuple(parameter.shape), []).append(parameter)
            for matrices in shapes.values():
                self._step_of_one_shape(matrices, group)
        return loss

    def _step_of_one_shape(self, matrices: list[Tensor], group: dict[str, Any]) -> None:
        """Update matrices (R, C) that all have a gradient."""
        rate, momentum = group["lr"], group["momentum"]
        gradients = [matrix.grad for matrix in matrices if matrix.grad is not None]
        for matrix in matrices:
            if "momentum_buffer" not in self.state[matrix]:
                self.state[matrix]["momentum_buffer"] = torch.zeros_like(matrix)
        averages = [self.state[matrix]["momentum_buffer"] for matrix in matrices]
        torch._foreach_lerp_(averages, gradients, 1 - momentum)
        updates = orthogonalised(torch.stack(torch._foreach_lerp(gradients, averages, momentum)).to(self.precision))
        if group["weight_decay"]:
            torch._foreach_mul_(matrices, 1 - rate * group["weight_decay"])
        size = 0.2 * math.sqrt(max(matrices[0].shape))
        torch._foreach_sub_(matrices, list((updates.to(matrices[0].dtype) * (size * rate)).unbind(0)))


def orthogonalised(matrices: Tensor) -> Tensor:
    """Return matrices (K, R, C) with their singular values moved to around 1, in their precision.

    Five Newton-Schulz steps of fifth order with the coefficients of Jordan et al. 2024, "Muon: an optimizer for hidden
    layers in neural networks": the singular values end within 0.7 to 1.2, not at 1, which serves as well.
    """
    tall = matrices.shape[1] > matrices.shape[2]
    x = matrices.mT if tall else matrices
    x = x / torch.linalg.vector_norm(x, dim=(1, 2), keepdim=True).clamp(min=1e-7)
    for _ in range(5):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=-4.7750, alpha=2.0315), x, beta=3.4445)
    return x.mT if tall else x
