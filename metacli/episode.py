"""Episode and Spec: the only data that task distributions and models exchange.

Shape legend, used in every file:

    B  tasks in a batch              N  ways (classes per task)               T  time steps
    S  support examples (D_train)    K  shots (support examples per class)    R  read heads
    Q  queries (D_test)              Y  width of a label                      L  memory locations
    H  hidden units                  O  width of an output: logits            W  width of a memory location

An item is one support example, one query, or one step of a sequence.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Literal

import torch
from torch import Tensor

Mode = Literal["independent", "sequence", "stream"]


@dataclass(frozen=True)
class Spec:
    """The properties of a task distribution that determine how a model is built.

    Attributes:
        mode: how queries are answered. `independent`: each query from its own copy of phi (N-way K-shot).
            `sequence`: in order, each step from the state after the previous step (algorithmic tasks).
            `stream`: in order, and the label of item t arrives together with item t + 1 (MANN's protocol).
        x_shape: shape of one input item, (channels, height, width) for an image or (width,) for a vector.
        y_size: Y, the width of a label as the model reads it; 0 if items have no labels.
        out_size: O, the width of the output for one answer: its logits, or with `random_labels` a vector of width Y.
        length: the largest number of steps that an answer can depend on, its own step included.
        real_labels: whether labels are real numbers. Otherwise a label is that of a class.
        random_labels: whether the label of a class is a random vector, see `Episode.label_vectors`; otherwise a label
            is one-hot by character, or a number.
    """

    mode: Mode
    x_shape: tuple[int, ...]
    y_size: int
    out_size: int
    length: int
    real_labels: bool = False
    random_labels: bool = False


@dataclass(frozen=True)
class Episode:
    """A batch of B tasks, each split into D_train and D_test.

    Attributes:
        x_train: (B, S, *x_shape) float, the inputs of D_train; S may be 0.
        y_train: (B, S, Y) float, their labels as the model reads them, see `Answer.label_size`.
        x_test: (B, Q, *x_shape) float, the inputs of D_test.
        y_test: the correct answers, which no model reads: (B, Q, C), int64 for C label characters, float for
            C bits (0 or 1) or real numbers; see `metacli.tasks.answers`.
        index: (B,) int64, the number of each episode in its split.
        y_previous: (B, Q, Y) float, `stream` only: the label of item t - 1, which arrives with item t; zero at t = 0.
        mask_train: (B, S) bool, False at padding, which is at the end. None: no padding.
        mask_test: (B, Q) bool, True where an answer is scored, False at padding too. None: every answer is scored.
        classes: (B, N) int64, the classes of each task in the order of their labels; None without classes.
        label_vectors: (B, N, Y) float, the random label of each class, see `Spec.random_labels`; None without them. The
            logit of a class is the inner product of a model's output with its label.
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
    label_vectors: Tensor | None = None

    def to(self, device: object, dtype: torch.dtype | None = None) -> Episode:
        """Returns the episode with every tensor on `device`, and what a model reads in `dtype`; None: unchanged."""
        tensors = {f.name: getattr(self, f.name) for f in fields(self)}
        moved = {k: v.to(device, non_blocking=True) for k, v in tensors.items() if v is not None}
        read = {k: moved[k].to(dtype) for k in ("x_train", "y_train", "x_test", "y_previous") if k in moved}
        return replace(self, **moved | read)

    def __len__(self) -> int:
        """Returns B, the number of tasks."""
        return self.x_test.shape[0]
