"""Optimisers, the learning-rate schedule, and what happens to the gradient before a step."""

from __future__ import annotations

import torch
from torch import nn

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


def build_optimizers(model: nn.Module, config: OptimizerConfig) -> list[torch.optim.Optimizer]:
    """Return the optimisers of a model: AdamW, and Muon (Jordan et al. 2024) for the hidden matrices if it has a rate.

    Muon orthogonalises the update of a matrix; embeddings of classes, read-outs, biases and norms stay with AdamW.
    """
    matrices: list[nn.Parameter] = []
    others: list[nn.Parameter] = []
    for name, parameter in model.named_parameters():
        hidden = parameter.dim() == 2 and ".layers." in name and ".modulate." not in name
        (matrices if hidden and config.muon_learning_rate else others).append(parameter)
    adam = torch.optim.AdamW(others, lr=config.learning_rate, betas=(0.9, 0.99), weight_decay=config.weight_decay)
    optimizers: list[torch.optim.Optimizer] = [adam]
    if matrices:
        optimizers.append(_muon(matrices, config))
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["initial_lr"] = group["lr"]
    return optimizers


def _muon(matrices: list[nn.Parameter], config: OptimizerConfig) -> torch.optim.Optimizer:
    """Return Muon with a rate on AdamW's scale: updates have a root mean square of 0.2 (Liu et al. 2025, eq. 4)."""
    return torch.optim.Muon(
        matrices, lr=config.muon_learning_rate, weight_decay=config.weight_decay, adjust_lr_fn="match_rms_adamw"
    )
