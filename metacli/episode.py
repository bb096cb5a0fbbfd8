"""Episode and Spec: what tasks make and models read. Nothing else passes between the two.

Shape legend, used in every file:

    B  tasks in a batch        N  ways (classes of a task)    T  time steps
    S  items of D_train        K  shots (instances of each)    R  read heads
    Q  items of D_test         Y  width of a label            L  memory locations
    H  hidden units            O  logits of an answer         W  width of a memory row
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Literal

from torch import Tensor

Mode = Literal["independent", "sequence", "stream"]


@dataclass(frozen=True)
class Spec:
    """The only thing that a model learns about its tasks.

    Attributes:
        mode: how D_test is asked. `independent`: every item from its own copy of phi (N-way K-shot).
            `sequence`: the items in order, each step continuing the last (algorithmic tasks).
            `stream`: in order, with the label of item t arriving beside item t + 1 (MANN's protocol).
        x_shape: shape of one input item, (channels, height, width) for an image or (width,) for a vector.
        y_size: Y, the width of a label as the model reads it; 0 where inputs carry no label.
        out_size: O, the number of logits of one answer.
        length: the longest run of steps that one answer can depend on, itself included.
    """

    mode: Mode
    x_shape: tuple[int, ...]
    y_size: int
    out_size: int
    length: int


@dataclass(frozen=True)
class Episode:
    """A batch of B tasks, each split into D_train and D_test.

    Attributes:
        x_train: (B, S, *x_shape) float, the inputs of D_train; S may be 0.
        y_train: (B, S, Y) float, their labels as the model reads them, see `Answer.label_size`.
        x_test: (B, Q, *x_shape) float, the inputs of D_test.
        y_test: the answers, never given to a model: (B, Q, C), int64 for C label characters, float for
            C bits (0 or 1) or real numbers; see `metacli.tasks.answers`.
        index: (B,) int64, the number of each episode in its split.
        y_previous: (B, Q, Y) float, `stream` only: the label of item t - 1, which arrives with item t; zero at t = 0.
        mask_train: (B, S) bool, True where an item is real; padding stands at the end. None: all are.
        mask_test: (B, Q) bool, likewise: True where an answer is asked for and scored. None: all are.
        classes: (B, N) int64, the classes of each task in the order of their labels; None without classes.
    """

    x_train: Tensor
    y_train: Tensor
    x_test: Tensor
    y_test: Tensor
    index: Tensor
    y_previous: Tensor | None = None
    mask_train: Tensor | None = None
    mask_test: Tensor | None = None
    classes: Tensor | None = None

    def to(self, device: object) -> Episode:
        """The same episode with every tensor on `device`."""
        moved = {f.name: getattr(self, f.name) for f in fields(self)}
        return replace(self, **{k: v.to(device, non_blocking=True) for k, v in moved.items() if v is not None})

    def __len__(self) -> int:
        """B, the number of tasks."""
        return self.x_test.shape[0]
