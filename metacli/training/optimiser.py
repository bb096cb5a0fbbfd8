"""From the recipe's section `train` to updates of theta: optimiser, learning rate, clipping."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from metacli.config.recipe import TrainConfig


def make_optimizer(model: nn.Module, cfg: TrainConfig) -> torch.optim.Optimizer:
    """Adam, AdamW or RMSProp over all parameters; the first two as one operation where PyTorch has it."""
    if cfg.optimizer == "rmsprop":
        return torch.optim.RMSprop(
            model.parameters(), cfg.lr, alpha=0.95, momentum=cfg.momentum, weight_decay=cfg.weight_decay
        )
    kind = torch.optim.Adam if cfg.optimizer == "adam" else torch.optim.AdamW
    fused = all(p.device.type in ("cpu", "cuda") for p in model.parameters())
    return kind(model.parameters(), cfg.lr, weight_decay=cfg.weight_decay, fused=fused)


def learning_rate(cfg: TrainConfig, step: int) -> float:
    """The rate of update `step` (from 0): a linear rise over `warmup`, then constant or half a cosine to 1 %."""
    if step < cfg.warmup:
        return cfg.lr * (step + 1) / cfg.warmup
    if cfg.schedule == "constant":
        return cfg.lr
    done = (step - cfg.warmup) / max(cfg.steps - cfg.warmup, 1)
    return cfg.lr * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * done)))


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Let the next update take this learning rate."""
    for group in optimizer.param_groups:
        group["lr"] = rate


def clip(model: nn.Module, cfg: TrainConfig) -> Tensor:
    """Clip the gradient by value, then by norm, as the recipe asks; () the norm before the latter."""
    parameters = [p for p in model.parameters() if p.grad is not None]
    if cfg.clip_value:
        nn.utils.clip_grad_value_(parameters, cfg.clip_value)
    norm = nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
    if cfg.clip_norm:
        nn.utils.clip_grads_with_norm_(parameters, cfg.clip_norm, norm)
    return norm
