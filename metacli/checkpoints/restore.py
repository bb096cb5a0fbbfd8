"""Weights, optimiser and random states of a file, taken over only where they fit and are finite."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules import module as hooks

from metacli.checkpoints.archive import RefusedError
from metacli.checkpoints.schema import RandomStates

_SPARE = 1_000_000  # numbers that a model may make beside those that it keeps


def build_fitting(build: Callable[[], nn.Module], weights: dict[str, Tensor]) -> nn.Module:
    """What `build` makes, given up as soon as it is far larger than the weights that it is for.

    Raises:
        RefusedError: it is, or it does not fit into memory.
    """
    with _limited(2 * sum(w.numel() for w in weights.values()) + _SPARE):
        try:
            return build()
        except (RuntimeError, MemoryError) as e:  # what PyTorch says where there is no room
            raise RefusedError(f"the model of its recipe cannot be built: {str(e).splitlines()[0][:200]}") from None


@contextmanager
def _limited(most: int) -> Iterator[None]:
    """Raises a RefusedError in this thread once modules have registered more numbers than `most`."""
    here, left = threading.get_ident(), [most]

    def count(_module: nn.Module, _name: str, value: Tensor | None) -> None:
        if value is not None and threading.get_ident() == here:
            left[0] -= value.numel()
            if left[0] < 0:
                raise RefusedError("the model of its recipe is far larger than the weights beside it")

    handles = (
        hooks.register_module_parameter_registration_hook(count),
        hooks.register_module_buffer_registration_hook(count),
    )
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def load_weights(model: nn.Module, weights: dict[str, Tensor], name: str) -> None:
    """Give a model the weights of a file.

    Args:
        model: untrained.
        name: of the model, for messages.

    Raises:
        RefusedError: names, shapes or kinds are not the model's, or a number is not finite where the untrained model
            has one that is.
    """
    before = model.state_dict()
    wrong = [
        f"{key} is {str(weights[key].dtype).removeprefix('torch.')}, not {str(value.dtype).removeprefix('torch.')}"
        for key, value in before.items()
        if key in weights and not _same_kind(weights[key], value)
    ]
    if wrong:
        raise RefusedError(f"the weights do not fit model {name!r}: {wrong[0]}")
    bad = {key: _not_finite(weights[key], value) for key, value in before.items() if key in weights}
    bad = {key: count for key, count in bad.items() if count}
    if bad:
        key, count = next(iter(bad.items()))
        raise RefusedError(
            f"weights that are not finite in {len(bad):,} of {len(before):,} tensors, first {key}: {count:,} of "
            f"{weights[key].numel():,} numbers",
            "take an earlier checkpoint; a training that diverges wants a smaller train.lr or train.clip_norm=1",
        )
    try:
        model.load_state_dict(weights)
    except RuntimeError as e:
        raise RefusedError(f"the weights do not fit model {name!r}: {str(e).splitlines()[-1].strip()[:300]}") from None


def load_optimizer(optimizer: torch.optim.Optimizer, saved: dict[str, Any]) -> None:
    """Give an optimizer the running values of a file; its other settings are the recipe's.

    Args:
        saved: the state_dict of another one.

    Raises:
        RefusedError: the values are not those of such an optimiser over such weights, or not finite.
    """
    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
    values, content = saved.get("state"), optimizer.state_dict()
    kept = _state_after_a_step(optimizer)
    if not isinstance(values, dict) or not all(type(i) is int and 0 <= i < len(weights) for i in values):
        raise _no_optimizer()
    for i, value in values.items():
        if not isinstance(value, dict) or value.keys() != kept.keys():
            raise _no_optimizer()
        for key, like in kept.items():
            found, shape = value[key], weights[i].shape if like.dim() else like.shape
            if not isinstance(found, Tensor) or found.shape != shape or not found.is_floating_point():
                raise _no_optimizer()
            if not found.isfinite().all() or (not like.dim() and found < 0):
                raise RefusedError(f"the optimiser's {key} of weight {i} is not finite", "take an earlier checkpoint")
    content["state"] = {i: {key: found.clone() for key, found in value.items()} for i, value in values.items()}
    optimizer.load_state_dict(content)


def _state_after_a_step(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """What an optimizer of this kind keeps of a weight of shape (1, 1), once it has taken a step."""
    weight = nn.Parameter(torch.zeros(1, 1))
    settings = {key: value for key, value in optimizer.param_groups[0].items() if key != "params"}
    kind: Any = type(optimizer)
    example = kind([{"params": [weight], **settings}], lr=settings["lr"])
    weight.grad = torch.zeros_like(weight)
    example.step()
    state: dict[str, Tensor] = example.state[weight]
    return state


def random_states() -> dict[str, Any]:
    """The states of PyTorch's random generators, which dropout draws from."""
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []
    return {"cpu": torch.get_rng_state(), "cuda": cuda}


def set_random_states(states: RandomStates) -> None:
    """Set them back; those of GPUs where there are as many.

    Raises:
        RefusedError: they are none.
    """
    try:
        torch.set_rng_state(states.cpu)
        if states.cuda and len(states.cuda) == torch.cuda.device_count():
            torch.cuda.set_rng_state_all(states.cuda)
    except (RuntimeError, TypeError):
        raise RefusedError("the states of its random generators are none", "take an earlier checkpoint") from None


def _same_kind(one: Tensor, other: Tensor) -> bool:
    return one.dtype == other.dtype or (one.is_floating_point() and other.is_floating_point())


def _not_finite(value: Tensor, untrained: Tensor) -> int:
    """How many numbers are not finite that were so in the untrained model, of the same shape; 0 for another shape."""
    if value.shape != untrained.shape:
        return 0
    if bool(value.isfinite().all()):
        return 0
    return int((~value.isfinite() & untrained.to(value.device).isfinite()).sum())


def _no_optimizer() -> RefusedError:
    return RefusedError("its optimiser's state is not that of the recipe's optimiser and model", "start a new run")
