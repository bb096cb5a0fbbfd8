"""String labels of a task's classes: five characters from five letters (MANN, for 15 classes)."""

from __future__ import annotations

import numpy as np

from metacli.tasks.rng import CounterRNG

LETTERS = 5  # of the alphabet of string labels
CHARACTERS = 5  # of one string label


def strings(rng: CounterRNG, ways: int) -> np.ndarray:
    """(B, N, CHARACTERS) int64: a random string for each class, no two alike within a task."""
    drawn = rng.subset(LETTERS**CHARACTERS, ways)
    return drawn[..., None] // LETTERS ** np.arange(CHARACTERS) % LETTERS
