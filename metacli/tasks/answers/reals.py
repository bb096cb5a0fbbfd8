"""Reals: an answer is real numbers, for regression."""

from __future__ import annotations

import numpy as np
from torch import Tensor
from torch.nn import functional as F

from metacli.tasks.answers.base import Answer, Decoded
from metacli.tasks.metrics import Metric


class Reals(Answer):
    """C real numbers, predicted directly.

    A label is encoded with an additional 1, so that the label 0 differs from no label.
    """

    def __init__(self, count: int = 1):
        self.components = self.size = count
        self.label_size = count + 1
        self.metrics = (Metric("squared_error", "", False),)

    def __str__(self) -> str:
        """As in `1 real number`."""
        return f"{self.components} real number{'s' if self.components > 1 else ''}"

    def encode(self, answer: Tensor) -> Tensor:
        """Encodes answers (B, T, C) as labels (B, T, Y)."""
        return F.pad(answer, (0, 1), value=1.0)

    def cost(self, logits: Tensor, answer: Tensor) -> Tensor:
        """Returns the squared error of each number."""
        return (logits.float() - answer).square()

    def scores(self, logits: Tensor, answer: Tensor, cost: Tensor, scored: Tensor | None) -> dict[str, Tensor]:
        """Returns `squared_error`, the mean squared error."""
        count = cost.shape[1] if scored is None else scored.sum(1)
        return {"squared_error": cost.sum((1, 2)) / (count * self.components)}

    @property
    def chance_level(self) -> dict[str, float]:
        """Empty: the chance level depends on the task distribution."""
        return {}

    def decode(self, logits: np.ndarray, answer: np.ndarray) -> Decoded:
        """Returns the numbers themselves."""
        return Decoded(logits, None, None, None)

    def format_answer(self, value: np.ndarray) -> str:
        """As in `-1.20`."""
        return " ".join(f"{v:.2f}" for v in value)

    def format_labels(self, label: np.ndarray) -> list[str]:
        """Formats the numbers of each label."""
        return [self.format_answer(row[:-1]) if row[-1] else "" for row in label]

    def format_prediction(self, prediction: np.ndarray, answer: np.ndarray, scale: np.ndarray | None = None) -> str:
        """Formats the number and its error, as in `-1.20 ± 0.10, off 0.03`."""
        half = "" if scale is None else f" ± {self.format_answer(scale)}"
        return f"{self.format_answer(prediction)}{half}, off {np.abs(prediction - answer).max():.2f}"
