"""Embedded labels: the label of a class is a random vector, so that one model serves any number of classes."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from metacli.tasks.answers.base import Answer
from metacli.tasks.answers.symbols import Symbols
from metacli.tasks.rng import CounterRNG

WIDTH = 64  # Y, a power of 2; up to so many classes have orthogonal labels


class EmbeddedLabels(Symbols):
    """The label of a class, which the model reads and predicts as a random vector of WIDTH numbers.

    Every task draws a new vector e_n for each of its N classes. The model's output u has the same width, and its inner
    product <u, e_n> is the logit of class n. So the number of weights does not depend on N. With one-hot labels, the
    inner product with label n is the n-th logit: they are the same model with another basis.

    Args:
        choices: N.
    """

    def __init__(self, choices: int):
        super().__init__(choices)
        self.size = self.label_size = WIDTH

    def __str__(self) -> str:
        """As in `one of 5 embedded labels`."""
        return f"{super().__str__()} embedded labels"

    def draw_labels(self, rng: CounterRNG, classes: int) -> Tensor:
        """Returns (B, classes, Y) float32, a vector of length 1 for each class, whose entries sum to 1 as a one-hot's.

        The vectors are the rows of H diag(s) H / Y in random order, with the Hadamard matrix H and random signs s,
        s_0 = 1. They are orthogonal. For more than Y classes, further matrices are drawn. The inner product of rows of
        two matrices has mean 1 / Y and standard deviation about 1 / sqrt(Y). Every number is exact in float32.
        """
        matrices = math.ceil(classes / WIDTH)
        signs = np.where(rng.uniform(matrices, WIDTH) < 0.5, -1.0, 1.0)
        signs[..., 0] = 1
        order = rng.permutation(WIDTH, matrices)  # (B, matrices, Y)
        rows = (_HADAMARD * signs[..., None, :]) @ _HADAMARD / WIDTH
        shuffled = np.take_along_axis(rows, order[..., None], 2)
        return torch.from_numpy(shuffled.reshape(len(shuffled), -1, WIDTH)[:, :classes].astype(np.float32))

    def encode(self, answer: Tensor, label_vectors: Tensor | None = None) -> Tensor:
        """Encodes classes (B, T, 1) as labels (B, T, Y), the vectors (B, N, Y) of the classes."""
        assert label_vectors is not None, "embedded labels are drawn for every task"
        return label_vectors.gather(1, answer.expand(-1, -1, WIDTH))

    def logits(self, output: Tensor, label_vectors: Tensor | None = None) -> Tensor:
        """Returns the logits (B, Q, N) from a model's output (B, Q, Y): the inner product with each class's vector."""
        assert label_vectors is not None, "embedded labels are drawn for every task"
        return output @ label_vectors.to(output.dtype).mT

    def check_compatible(self, trained: Answer) -> str | None:
        """See `Answer.check_compatible`; the number of classes does not matter."""
        return None if isinstance(trained, EmbeddedLabels) else super().check_compatible(trained)


def _hadamard(size: int) -> np.ndarray:
    """Returns Sylvester's Hadamard matrix (size, size) of a power of 2: entries 1 and -1, orthogonal rows."""
    matrix: np.ndarray = np.ones((1, 1))
    while len(matrix) < size:
        matrix = np.kron(matrix, [[1, 1], [1, -1]])
    return matrix


_HADAMARD = _hadamard(WIDTH)
