"""Optimizer, learning rate and gradient clipping, as set in the recipe's section `train`."""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from metacli.config.train import TrainConfig


def _eager(kind: type[torch.optim.Optimizer]) -> Any:
    """Returns the method `step` of an optimizer class without decorators, which differ between versions of torch."""
    return torch.no_grad()(inspect.unwrap(kind.step))


class EagerOptimizer(torch.optim.Optimizer):
    """An optimizer whose methods are not decorated for torch.compile.

    The decorators import torch._dynamo at the first call, which takes about a second. A method that is not
    decorated in the installed version of torch is not changed.
    """

    add_param_group = inspect.unwrap(torch.optim.Optimizer.add_param_group)
    load_state_dict = inspect.unwrap(torch.optim.Optimizer.load_state_dict)
    state_dict = inspect.unwrap(torch.optim.Optimizer.state_dict)
    zero_grad = inspect.unwrap(torch.optim.Optimizer.zero_grad)


class Adam(EagerOptimizer, torch.optim.Adam):
    """torch.optim.Adam without torch._dynamo."""

    step = _eager(torch.optim.Adam)


class AdamW(EagerOptimizer, torch.optim.AdamW):
    """torch.optim.AdamW without torch._dynamo."""

    step = _eager(torch.optim.AdamW)


class RMSprop(EagerOptimizer, torch.optim.RMSprop):
    """torch.optim.RMSprop without torch._dynamo."""

    step = _eager(torch.optim.RMSprop)


class GravesRMSprop(EagerOptimizer):
    """RMSProp as the NTM paper uses it (Graves 2013, arXiv 1308.0850, equations 38 to 41).

    Element by element:

        n <- decay n + (1 - decay) gradient^2,    g <- decay g + (1 - decay) gradient
        Delta <- momentum Delta - lr gradient / sqrt(n - g^2 + floor),    w <- w + Delta

    PyTorch's `RMSprop(centered=True)` differs in two points. It adds `eps` after the root, which matters for gradients
    as small as these. It multiplies the sum of past steps by the current rate, and not each step by its own rate.

    Args:
        params: weights or parameter groups.
        lr: the learning rate, 1e-4 in the paper.
        decay: the decay of both running means, 0.95 in the paper.
        momentum: the momentum, 0.9 in the paper.
        floor: added under the root, 1e-4 in the paper. Gradients far below its root, 0.01, are not scaled up to `lr`.
        weight_decay: the L2 penalty, none in the paper.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-4,
        decay: float = 0.95,
        momentum: float = 0.9,
        floor: float = 1e-4,
        weight_decay: float = 0.0,
    ):
        keys = {"lr": lr, "decay": decay, "momentum": momentum, "floor": floor, "weight_decay": weight_decay}
        super().__init__(params, keys)

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Update every parameter that has a gradient."""
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is not None:
                    self._update(weight, weight.grad, group)

    def _update(self, weight: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        state = self.state[weight]
        if not state:
            state.update({name: torch.zeros_like(weight) for name in ("square", "mean", "change")})
        square, mean, change = state["square"], state["mean"], state["change"]  # n, g, Delta
        if group["weight_decay"]:
            gradient = gradient.add(weight, alpha=group["weight_decay"])
        square.mul_(group["decay"]).addcmul_(gradient, gradient, value=1 - group["decay"])
        mean.lerp_(gradient, 1 - group["decay"])
        variance = square.addcmul(mean, mean, value=-1).clamp_min_(0)  # rounding can take it below 0
        change.mul_(group["momentum"]).addcdiv_(gradient, variance.add_(group["floor"]).sqrt_(), value=-group["lr"])
        weight.add_(change)


def make_optimizer(model: nn.Module, cfg: TrainConfig) -> torch.optim.Optimizer:
    """Returns the recipe's optimizer over all parameters. Adam and AdamW use the fused kernel if PyTorch has one.

    `rmsprop` is that of PyTorch: not centered, with 1e-8 added after the root. `rmsprop-graves` is `GravesRMSprop`.
    """
    groups = _groups(model, cfg)
    if cfg.optimizer == "rmsprop-graves":
        return GravesRMSprop(groups, cfg.lr, momentum=cfg.momentum, weight_decay=cfg.weight_decay)
    if cfg.optimizer == "rmsprop":
        return RMSprop(groups, cfg.lr, alpha=0.95, momentum=cfg.momentum, weight_decay=cfg.weight_decay)
    kind = Adam if cfg.optimizer == "adam" else AdamW
    fused = all(p.device.type in ("cpu", "cuda") for p in model.parameters())
    return kind(groups, cfg.lr, weight_decay=cfg.weight_decay, fused=fused)


def _groups(model: nn.Module, cfg: TrainConfig) -> list[dict[str, Any]]:
    """Returns the parameter groups: one, or two if the encoder has another learning rate."""
    if cfg.encoder_rate == 1:
        return [{"params": list(model.parameters())}]
    weights: dict[bool, list[Tensor]] = {True: [], False: []}
    for name, weight in model.named_parameters():
        weights[name.startswith("encoder.")].append(weight)
    shares = {True: cfg.encoder_rate, False: 1.0}
    return [{"params": parameters, "share": shares[key]} for key, parameters in weights.items() if parameters]


def scale_loss(loss: Tensor, weight: int, batch: int, cfg: TrainConfig) -> Tensor:
    """Returns the loss () whose gradient is computed: the mean per answer, or the sum over a task (`cfg.loss`).

    Args:
        loss: () the mean over all scored answers.
        weight: the number of scored answers.
        batch: the number of tasks.
    """
    return loss if cfg.loss == "mean" else loss * (weight / batch)


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Set the learning rate of the next update."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group.get("share", 1.0)


def clip_gradients(model: nn.Module, cfg: TrainConfig) -> Tensor:
    """Clip the gradient by value, then by norm, as set in the recipe. Returns the norm () before the second step."""
    parameters = [p for p in model.parameters() if p.grad is not None]
    if cfg.clip_value:
        nn.utils.clip_grad_value_(parameters, cfg.clip_value)
    gradients = [p.grad for p in parameters if p.grad is not None]
    norm = nn.utils.get_total_norm(gradients)
    if cfg.clip_norm:
        norm = _norm_without_overflow(norm, gradients)
        nn.utils.clip_grads_with_norm_(parameters, cfg.clip_norm, norm)
    return norm


def _norm_without_overflow(norm: Tensor, gradients: list[Tensor]) -> Tensor:
    """Returns the norm () of all gradients, even if squares of elements (above about 1e19) overflow.

    Over a hundred steps of a sequence a gradient can grow that large. Its direction is still useful after clipping.
    """
    if norm.device.type == "cpu" and norm.isfinite():  # on a GPU this check would wait for the result
        return norm
    largest = torch.stack([g.abs().max() for g in gradients]).max()
    return torch.where(norm.isfinite(), norm, largest * nn.utils.get_total_norm([g / largest for g in gradients]))
