"""What a model did with an episode, as named arrays on one time axis: the items of D_train, then those of D_test."""

from __future__ import annotations

from typing import Literal, NamedTuple

from torch import Tensor

Role = Literal["", "read", "write", "attention", "weighting", "memory", "usage", "retention", "links"]
WEIGHTINGS = ("read", "write", "attention", "weighting")
EXACTLY_1, AT_MOST_1 = (1.0, 1.0), (0.0, 1.0)  # what the weights of a weighting sum to


class ArrayInfo(NamedTuple):
    """What an array means.

    Attributes:
        axes: the name of each axis after the time step: head, location, width, offset, layer, unit, block, step.
        text: one sentence, with the paper's symbol and the range.
        role: what a reader may do with it without knowing the model. `read`, `write` (head, location): where heads
            read and wrote. `attention` (block, step): which steps were looked at. `weighting`: other weights over its
            last axis. `memory` (location, width). `usage` (location). `retention` (location): the share of a
            location's earlier content that survives the step. `links` (location, location): which was written after
            which.
        total: of the first four, what a row sums to at least and at most.
        names: of the entries of the first axis; empty where their numbers say enough.
    """

    axes: tuple[str, ...]
    text: str
    role: Role = ""
    total: tuple[float, float] = EXACTLY_1
    names: tuple[str, ...] = ()


class Traced(NamedTuple):
    """An array and its meaning; values (B, S + Q, *axes)."""

    values: Tensor
    about: ArrayInfo


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
