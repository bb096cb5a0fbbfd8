"""What a model did with an episode, as named arrays on one time axis: the items of D_train, then those of D_test."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import torch
from torch import Tensor

from metacli.episode import Episode

if TYPE_CHECKING:
    from metacli.models.base import Recurrent

Role = Literal["", "read", "write", "attention", "weighting", "memory", "usage", "kept"]
DISTRIBUTIONS = ("read", "write", "attention", "weighting")


class About(NamedTuple):
    """What an array means.

    Attributes:
        axes: the name of each axis after the time step: head, slot, width, offset, layer, unit, block, step.
        text: one sentence, with the paper's symbol and the range.
        role: what a reader may do with it without knowing the model. `read`, `write` (head, slot): where heads read
            and wrote. `attention` (block, step): which steps were looked at. `weighting`: another distribution over
            its last axis. `memory` (slot, width). `usage` (slot). `kept` (slot): the share of a slot's earlier
            content that survives the step. Rows of the first four sum to 1.
    """

    axes: tuple[str, ...]
    text: str
    role: Role = ""


class Traced(NamedTuple):
    """An array and its meaning; values (B, S + Q, *axes)."""

    values: Tensor
    about: About


class Trace(NamedTuple):
    """What a model did with a batch of tasks.

    Attributes:
        logits: (B, Q, O), those of `MetaLearner.forward`.
        arrays: by name. In the mode `independent` each item of D_test is a step of its own right after D_train.
        reads_first: whether a step reads the memory as it was before the step wrote.
    """

    logits: Tensor
    arrays: dict[str, Traced]
    reads_first: bool = False


def trace_recurrent(model: Recurrent, episode: Episode) -> Trace:
    """Every state and signal of the fold that `model.described` describes; empty ones are left out."""
    state, batch = model.initial_state(len(episode)), len(episode)
    frames = []
    if episode.x_train.shape[1]:
        steps, state = model.fold(state, model.inputs(episode.x_train, episode.y_train), episode.mask_train)
        frames = [leaves(s.state) | leaves(s.signals) for s in steps]
    questions = model.inputs(episode.x_test, episode.y_late)  # (B, Q, I)
    if model.spec.mode == "independent":
        count = questions.shape[1]
        step = model.step(*model.copies(state, questions))
        outputs = step.output.unflatten(0, (batch, count))
        asked = leaves(step.state) | leaves(step.signals)
        frames += [{k: v.unflatten(0, (batch, count))[:, q] for k, v in asked.items()} for q in range(count)]
    else:
        steps, _ = model.fold(state, questions)
        outputs = torch.stack([s.output for s in steps], 1)
        frames += [leaves(s.state) | leaves(s.signals) for s in steps]
    arrays = {name: Traced(torch.stack([f[name] for f in frames], 1), about) for name, about in model.described.items()}
    return Trace(model.output(outputs), {k: v for k, v in arrays.items() if v.values.numel()})


def leaves(tree: Any) -> dict[str, Tensor]:
    """The tensors of a NamedTuple by name, those of nested ones beside the others; none of None."""
    found: dict[str, Tensor] = {}
    for name, value in ({} if tree is None else tree._asdict()).items():
        part = {name: value} if isinstance(value, Tensor) else leaves(value)
        assert not found.keys() & part.keys(), f"two tensors named {found.keys() & part.keys()}"
        found |= part
    return found
