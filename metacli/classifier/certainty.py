"""Decides which answers are unsure: improbable, or to queries that do not resemble the class of the answer."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

# The probability of an answer times its resemblance, below which it is unsure. It marks 5 % of the right answers of
# glyphs_transformer in one-shot tasks of its 5 validation alphabets: python -m tests.own unsure --split val
MIN_CERTAINTY = 0.5


class Answers(NamedTuple):
    """The answers to Q queries.

    Attributes:
        probabilities: (Q, classes), see `Learner.predict_proba`.
        unsure: (Q,) bool, see `Learner.is_unsure`.
        resemblance: (Q,) in [-1, 1], see `measure_resemblance`; None for an encoder without `normalise`.
        attended: (Q, S), see `Learner.most_attended`; None if it was not requested.
    """

    probabilities: np.ndarray
    unsure: np.ndarray
    resemblance: np.ndarray | None
    attended: np.ndarray | None


def measure_resemblance(queries: Tensor, support: Tensor, y: np.ndarray, answers: np.ndarray) -> np.ndarray:
    """Returns (Q,) float64 in [-1, 1], how much each query resembles the support examples of its answer.

    The resemblance is the mean cosine similarity of the encoder's features.

    Args:
        queries: (Q, F) features.
        support: (S, F) features.
        y: (S,) int64, the class of each support example.
        answers: (Q,) int64, the class that answers each query; it has support examples.
    """
    cosines = F.normalize(queries.double(), dim=1) @ F.normalize(support.double(), dim=1).T
    is_same_class = torch.from_numpy(answers[:, None] == y)
    mean = (cosines * is_same_class).sum(1) / is_same_class.sum(1)
    return mean.numpy()


def find_unsure(probability: np.ndarray, resemblance: np.ndarray | None, min_probability: float) -> np.ndarray:
    """Returns (Q,) bool, whether an answer is unsure: below `min_probability`, or its certainty below MIN_CERTAINTY.

    Args:
        probability: (Q,) of the most probable class.
        resemblance: (Q,), see `measure_resemblance`. None is taken as 1.
        min_probability: see `check_min_probability`.
    """
    check_min_probability(min_probability)
    certainty = probability if resemblance is None else probability * resemblance
    return (probability < min_probability) | (certainty < MIN_CERTAINTY)


def check_min_probability(value: float) -> None:
    """Raises a ValueError unless the value is a number from 0 to 1."""
    if not isinstance(value, int | float | np.number) or not 0 <= value <= 1:
        raise ValueError(f"min_probability is {value!r}, but it must be a number from 0 to 1")
