"""Real numbers: regression."""

from __future__ import annotations

import numpy as np
from torch import Tensor
from torch.nn import functional as F

from metacli.tasks.answers.base import Answer, Decoded
from metacli.tasks.metrics import Metric


class Reals(Answer):
    """C real numbers, predicted as they are.

    As a label a model reads them beside a 1, so that a label of 0 is not taken for a question.
    """

    def __init__(self, count: int = 1):
        self.parts = self.size = count
        self.label_size = count + 1
        self.metrics = (Metric("squared_error", "", False, "d_test_squared_error"),)

    def __str__(self) -> str:
        """As in `1 real number`."""
        return f"{self.parts} real number{'s' if self.parts > 1 else ''}"

    def encode(self, answer: Tensor) -> Tensor:
        """(B, T, C) to (B, T, Y), as a model reads it."""
        return F.pad(answer, (0, 1), value=1.0)

    def cost(self, logits: Tensor, answer: Tensor) -> Tensor:
        """The squared error of each number."""
        return (logits.float() - answer).square()

    def scores(self, logits: Tensor, answer: Tensor, cost: Tensor, scored: Tensor | None) -> dict[str, Tensor]:
        """`squared_error`, its mean."""
        count = cost.shape[1] if scored is None else scored.sum(1)
        return {"squared_error": cost.sum((1, 2)) / (count * self.parts)}

    @property
    def guessing(self) -> dict[str, float]:
        """Nothing: it depends on the task."""
        return {}

    def decode(self, logits: np.ndarray, answer: np.ndarray) -> Decoded:
        """The numbers themselves."""
        return Decoded(logits, None, None, None)

    def word(self, value: np.ndarray) -> str:
        """As in `-1.20`."""
        return " ".join(f"{v:.2f}" for v in value)

    def read(self, label: np.ndarray) -> list[str]:
        """The numbers of each label."""
        return [self.word(row[:-1]) if row[-1] else "" for row in label]

    def said(self, prediction: np.ndarray, answer: np.ndarray) -> str:
        """The number, and how far it is off."""
        return f"{self.word(prediction)}, off {np.abs(prediction - answer).max():.2f}"
