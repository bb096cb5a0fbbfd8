"""Trace: a model's internal arrays over an episode, on one time axis: the items of D_train, then those of D_test."""

from __future__ import annotations

from typing import Literal, NamedTuple

from torch import Tensor

Role = Literal["", "read", "write", "attention", "weighting", "memory", "usage", "retention", "links", "level"]
WEIGHTINGS = ("read", "write", "attention", "weighting")
EXACTLY_1, AT_MOST_1 = (1.0, 1.0), (0.0, 1.0)  # range of the sum of a weighting


class ArrayInfo(NamedTuple):
    """The meaning of an array.

    Attributes:
        axes: the name of each axis after the time step: head, location, width, offset, layer, unit, block, step.
        text: one sentence, with the paper's symbol and the range.
        role: how the array can be displayed for any model. `read`, `write` (head, location): the weights of read and
            write heads. `attention` (block, step): attention weights over steps. `weighting`: other weights over the
            last axis. `memory` (location, width). `usage` (location). `retention` (location): the share of a
            location's earlier content that the step retains. `links` (location, location): the order of writes.
            `level` (head, one): a number of each head that is at least 0.
        total: for the first four roles, the minimum and maximum of a row's sum.
        names: names of the entries of the first axis; empty if their numbers suffice.
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
    """A model's internal arrays over a batch of tasks.

    Attributes:
        logits: (B, Q, O), equal to `MetaLearner.forward`.
        arrays: arrays by name. In the mode `independent` each query is a step directly after D_train.
        reads_first: whether a step reads the memory before it writes.
        state: (B, S + Q, D) the state of each step as one vector. For a recurrent model it is the state after the step.
            In a network of layers it is the item after the last layer. None: not named.
    """

    logits: Tensor
    arrays: dict[str, Traced]
    reads_first: bool = False
    state: Tensor | None = None
