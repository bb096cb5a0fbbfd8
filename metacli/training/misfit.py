"""Whether a saved optimiser's state is one that an optimiser can go on with, which PyTorch finds out steps later."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from metacli.config.recipe import TrainConfig
from metacli.training.optimiser import make_optimizer

_HOW = ("lr", "params", "foreach", "maximize", "capturable", "differentiable", "fused")  # not what is computed


def misfit(saved: Any, optimizer: torch.optim.Optimizer, cfg: TrainConfig) -> str:
    """What is wrong with a saved state_dict for this optimiser, empty if nothing.

    Args:
        saved: from a file: tensors and plain values of any kind.
        cfg: what the optimiser was made by.
    """
    if not isinstance(saved, dict) or not isinstance(saved.get("state"), dict):
        return "it has no state"
    own = optimizer.state_dict()["param_groups"]
    groups = saved.get("param_groups")
    if not isinstance(groups, list) or len(groups) != len(own) or not all(isinstance(g, dict) for g in groups):
        return "it has other groups of parameters"
    for ours, theirs in zip(own, groups, strict=True):
        if repr(theirs.get("params")) != repr(ours["params"]):  # what is foreign may not compare
            return f"it is of other parameters than the {len(ours['params'])} here"
        for key in ours.keys() & theirs.keys() - set(_HOW):
            if repr(theirs[key]) != repr(ours[key]):
                return f"{key} is {theirs[key]!r:.40}, here {ours[key]}"
    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
    sample, shape = _sample(cfg)
    for number, kept in saved["state"].items():
        if type(number) is not int or not 0 <= number < len(weights):
            return f"it is of other parameters than the {len(weights)} here"
        if not isinstance(kept, dict) or kept.keys() != sample.keys():
            return f"it is of another optimiser than {cfg.optimizer}"
        for key, value in kept.items():
            wanted = weights[number].shape if sample[key].shape == shape else sample[key].shape
            if not isinstance(value, Tensor) or value.shape != wanted or not value.is_floating_point():
                return f"{key} of parameter {number} is not {tuple(wanted)} numbers"
    return ""


def _sample(cfg: TrainConfig) -> tuple[dict[str, Tensor], torch.Size]:
    """What such an optimiser keeps of one parameter after a step, and that parameter's shape."""
    layer = nn.Linear(2, 3, bias=False)
    layer.weight.grad = torch.ones(3, 2)
    twin = make_optimizer(layer, cfg)
    twin.step()
    return twin.state[layer.weight], layer.weight.shape
