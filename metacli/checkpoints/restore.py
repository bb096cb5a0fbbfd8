"""Load the weights, the optimizer state and the random states of a checkpoint, if they fit and are finite."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules import module as hooks

from metacli.checkpoints.errors import RefusedError
from metacli.checkpoints.schema import RandomStates

_SPARE = 1_000_000  # elements that a model may allocate beyond its weights


def build_within_size(build: Callable[[], nn.Module], weights: dict[str, Tensor]) -> nn.Module:
    """Returns the model that `build` builds, unless it is far larger than the weights in the file.

    Raises:
        RefusedError: the model is far larger, so its construction was ended, or it does not fit into memory.
    """
    with _limit_size(2 * sum(w.numel() for w in weights.values()) + _SPARE):
        try:
            return build()
        except (RuntimeError, MemoryError) as e:  # PyTorch raises a RuntimeError if memory is insufficient
            raise RefusedError(f"the model of its recipe cannot be built: {str(e).splitlines()[0][:200]}") from None


@contextmanager
def _limit_size(most: int) -> Iterator[None]:
    """Raises a RefusedError in this thread once modules have registered more than `most` elements."""
    thread, left = threading.get_ident(), [most]

    def count(_module: nn.Module, _name: str, value: Tensor | None) -> None:
        if value is not None and threading.get_ident() == thread:
            left[0] -= value.numel()
            if left[0] < 0:
                raise RefusedError("the model of its recipe is far larger than the weights in the file")

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
    """Load the weights of a file into a model.

    Args:
        model: untrained.
        name: of the model, for messages.

    Raises:
        RefusedError: names, shapes or dtypes differ from the model's, or a number is not finite that is finite in the
            untrained model.
    """
    untrained = model.state_dict()
    wrong = [
        f"{key} is {str(weights[key].dtype).removeprefix('torch.')}, not {str(value.dtype).removeprefix('torch.')}"
        for key, value in untrained.items()
        if key in weights and not _have_same_kind(weights[key], value)
    ]
    if wrong:
        raise RefusedError(f"the weights do not fit model {name!r}: {wrong[0]}")
    bad = {key: _count_not_finite(weights[key], value) for key, value in untrained.items() if key in weights}
    bad = {key: count for key, count in bad.items() if count}
    if bad:
        key, count = next(iter(bad.items()))
        raise RefusedError(
            f"weights that are not finite in {len(bad):,} of {len(untrained):,} tensors, first {key}: {count:,} of "
            f"{weights[key].numel():,} numbers",
            "use an earlier checkpoint; if training diverges, lower train.lr or set train.clip_norm=1",
        )
    try:
        model.load_state_dict(weights)
    except RuntimeError as e:
        raise RefusedError(f"the weights do not fit model {name!r}: {str(e).splitlines()[-1].strip()[:300]}") from None


def load_optimizer(optimizer: torch.optim.Optimizer, saved: dict[int, dict[str, Tensor]]) -> None:
    """Load the state of an optimizer from a file. Its settings stay those of the recipe.

    Args:
        saved: the state of another optimizer, by the number of the weight.

    Raises:
        RefusedError: the state does not fit the optimizer or its weights, or is not finite.
    """
    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
    content, example = optimizer.state_dict(), _make_example_state(optimizer)
    content["state"] = {}
    for i, state in saved.items():
        if i >= len(weights) or state.keys() != example.keys():
            raise _wrong_optimizer_error()
        content["state"][i] = {}
        for key, like in example.items():
            value, shape = state[key], weights[i].shape if like.dim() else like.shape
            if value.shape != shape or not value.is_floating_point():
                raise _wrong_optimizer_error()
            if not value.isfinite().all() or (not like.dim() and value < 0):
                raise RefusedError(f"the optimizer's {key} of weight {i} is not finite", "use an earlier checkpoint")
            copied = torch.empty_like(weights[i] if like.dim() else like, dtype=value.dtype)  # strides of the weight
            content["state"][i][key] = copied.copy_(value)
    optimizer.load_state_dict(content)


def _make_example_state(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Returns the state that such an optimizer has for a weight of shape (1, 1) after its first step."""
    weight = nn.Parameter(torch.zeros(1, 1))
    settings = {key: value for key, value in optimizer.param_groups[0].items() if key != "params"}
    kind: Any = type(optimizer)
    example = kind([{"params": [weight], **settings}], lr=settings["lr"])
    weight.grad = torch.zeros_like(weight)
    example.step()
    state: dict[str, Tensor] = example.state[weight]
    return state


def get_random_states() -> RandomStates:
    """Returns the states of PyTorch's random generators, which dropout uses."""
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []
    return RandomStates(torch.get_rng_state(), cuda)


def set_random_states(states: RandomStates) -> None:
    """Set the states of PyTorch's random generators. Those of GPUs are set only if the number of GPUs is the same.

    Raises:
        RefusedError: the values are not states of random generators.
    """
    try:
        torch.set_rng_state(states.cpu)
        if states.cuda and len(states.cuda) == torch.cuda.device_count():
            torch.cuda.set_rng_state_all(states.cuda)
    except (RuntimeError, TypeError):
        raise RefusedError("the states of its random generators are damaged", "use an earlier checkpoint") from None


def _have_same_kind(first: Tensor, second: Tensor) -> bool:
    return first.dtype == second.dtype or (first.is_floating_point() and second.is_floating_point())


def _count_not_finite(value: Tensor, untrained: Tensor) -> int:
    """Counts elements that are finite in the untrained model only. Returns 0 if the shapes differ."""
    if value.shape != untrained.shape:
        return 0
    if bool(value.isfinite().all()):
        return 0
    return int((~value.isfinite() & untrained.to(value.device).isfinite()).sum())


def _wrong_optimizer_error() -> RefusedError:
    return RefusedError("its optimizer state does not fit the optimizer and model of its recipe", "start a new run")
