"""Bits: an answer is a vector of bits."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from metacli.tasks.answers.base import Answer, Decoded
from metacli.tasks.metrics import Metric


class Bits(Answer):
    """C bits with a probability each. The headline metric is bits per sequence, as in Graves et al. 2014."""

    def __init__(self, count: int):
        self.components = self.size = count
        self.label_size = 0
        self.metrics = (
            Metric("bits", "bits per sequence", False),
            Metric("accuracy", "%", True),
            Metric("loss", "nats per bit", False),
            Metric("errors", "wrong bits per sequence", False),
        )

    def __str__(self) -> str:
        """As in `8 bits`."""
        return f"{self.components} bits"

    def cost(self, logits: Tensor, answer: Tensor) -> Tensor:
        """Returns the cross-entropy of each bit, in nats."""
        return F.binary_cross_entropy_with_logits(logits.float(), answer, reduction="none")

    def scores(self, logits: Tensor, answer: Tensor, cost: Tensor, scored: Tensor | None) -> dict[str, Tensor]:
        """Returns `bits`, the cost per sequence; `accuracy`, the share of correct bits; `errors`, wrong bits."""
        wrong = (logits > 0) != (answer > 0.5)
        scored_steps = wrong.new_full(wrong.shape[:1], wrong.shape[1], dtype=torch.int64)
        if scored is not None:
            wrong, scored_steps = wrong & scored[..., None], scored.sum(1)
        errors = wrong.sum((1, 2)).float()
        return {
            "bits": self.headline(logits, answer, cost, scored),
            "accuracy": 1 - errors / (scored_steps * self.components),
            "errors": errors,
        }

    def headline(self, logits: Tensor, answer: Tensor, cost: Tensor, scored: Tensor | None) -> Tensor:
        """Returns `bits`, the cost per sequence."""
        return cost.sum((1, 2)) / math.log(2)

    @property
    def chance_level(self) -> dict[str, float]:
        """Metrics of a fair coin for every bit."""
        return {"accuracy": 0.5, "loss": math.log(2)}

    def decode(self, logits: np.ndarray, answer: np.ndarray) -> Decoded:
        """Decodes every bit by a sigmoid."""
        probability = 1 / (1 + np.exp(-logits.clip(-60, 60)))
        prediction = (logits > 0).astype(np.int64)
        confidence = np.maximum(probability, 1 - probability).mean(-1)
        return Decoded(prediction, probability, confidence, (prediction == (answer > 0.5)).all(-1))

    def format_answer(self, value: np.ndarray) -> str:
        """As in `01101`."""
        return "".join(str(int(v > 0.5)) for v in value)

    def format_labels(self, label: np.ndarray) -> list[str]:
        """Returns empty texts: bits are never used as labels."""
        return [""] * len(label)

    def format_prediction(self, prediction: np.ndarray, answer: np.ndarray, scale: np.ndarray | None = None) -> str:
        """Formats the number of correct bits."""
        return f"{int((prediction == (answer > 0.5)).sum())}/{len(prediction)} bits"
