"""Bits: a vector of them at each step."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from metacli.tasks.answers.base import Answer, Decoded
from metacli.tasks.metrics import Metric


class Bits(Answer):
    """C bits, a probability each; the cost is in bits per sequence, as in the figures of Graves et al. 2014."""

    def __init__(self, count: int):
        self.parts = self.size = count
        self.label_size = 0
        self.metrics = (
            Metric("bits", "bits per sequence", False, "bits_per_sequence"),
            Metric("accuracy", "%", True, "d_test_accuracy"),
            Metric("loss", "nats per bit", False, "loss"),
            Metric("errors", "wrong bits per sequence", False, "errors_per_sequence"),
        )

    def __str__(self) -> str:
        """As in `8 bits`."""
        return f"{self.parts} bits"

    def cost(self, logits: Tensor, answer: Tensor) -> Tensor:
        """Cross-entropy of each bit, in nats."""
        return F.binary_cross_entropy_with_logits(logits.float(), answer, reduction="none")

    def scores(self, logits: Tensor, answer: Tensor, cost: Tensor, scored: Tensor | None) -> dict[str, Tensor]:
        """`bits` the cost of the sequence; `accuracy` the share of right bits; `errors` wrong bits in the sequence."""
        wrong = (logits > 0) != (answer > 0.5)
        asked = wrong.new_full(wrong.shape[:1], wrong.shape[1], dtype=torch.int64)
        if scored is not None:
            wrong, asked = wrong & scored[..., None], scored.sum(1)
        errors = wrong.sum((1, 2)).float()
        return {
            "bits": cost.sum((1, 2)) / math.log(2),
            "accuracy": 1 - errors / (asked * self.parts),
            "errors": errors,
        }

    @property
    def guessing(self) -> dict[str, float]:
        """Every bit a coin."""
        return {"accuracy": 0.5, "loss": math.log(2)}

    def decode(self, logits: np.ndarray, answer: np.ndarray) -> Decoded:
        """By sigmoid, bit by bit."""
        probability = 1 / (1 + np.exp(-logits.clip(-60, 60)))
        prediction = (logits > 0).astype(np.int64)
        confidence = np.maximum(probability, 1 - probability).mean(-1)
        return Decoded(prediction, probability, confidence, (prediction == (answer > 0.5)).all(-1))

    def word(self, value: np.ndarray) -> str:
        """As in `01101`."""
        return "".join(str(int(v > 0.5)) for v in value)

    def read(self, label: np.ndarray) -> list[str]:
        """Bits are never read as labels."""
        return [""] * len(label)

    def said(self, prediction: np.ndarray, answer: np.ndarray) -> str:
        """How many bits are right."""
        return f"{int((prediction == (answer > 0.5)).sum())}/{len(prediction)} bits"
