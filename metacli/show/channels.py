"""A task over numbers as rows on one time axis: inputs, right answers and the model's answers."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from metacli.tasks.answers import Decoded
from metacli.tasks.sample import Sample


class ChannelRows(NamedTuple):
    """Inputs and answers over time; NaN for no value.

    Attributes:
        inputs: (channels, S + Q) in [0, 1].
        answers: (C, S + Q) in [0, 1]: the right answers, and the labels of D_train if they are numbers; (0, S + Q)
            if answers are text.
        guesses: likewise, the model's answers: probabilities or numbers.
        start: S, the step at which D_test starts.
        notes: which channels are scaled into [0, 1], and from which range.
    """

    inputs: np.ndarray
    answers: np.ndarray
    guesses: np.ndarray
    start: int
    notes: list[str]

    @property
    def values(self) -> np.ndarray:
        """(channels + C, S + Q) inputs and answers."""
        return np.concatenate([self.inputs, self.answers])

    @property
    def names(self) -> list[str]:
        """The names of the rows of `values`."""
        return [f"in {i + 1}" for i in range(len(self.inputs))] + [f"out {i + 1}" for i in range(len(self.answers))]


def channel_rows(s: Sample, decoded: Decoded | None = None) -> ChannelRows:
    """Returns the rows of a task over vectors. A channel outside [0, 1] is scaled into it, with a note."""
    x, start = np.concatenate([s.x_train, s.x_test]).T.astype(np.float64), len(s.x_train)
    notes = []
    for i, channel in enumerate(x):
        low, high = _range(channel)
        if low or high > 1:
            x[i] = (channel - low) / (high - low)
            notes.append(f"in {i + 1}: real numbers, from {low:.2f} (blank) to {high:.2f} (full)")
    right = s.answer.to_channels(s.y_test)
    y = np.full((len(right), x.shape[1]), np.nan)
    guesses = y.copy()
    y[:, start:][:, s.scored] = right[:, s.scored]
    if s.answer.label_size and len(y):
        y[:, :start] = s.answer.to_channels(s.y_train[:, : s.answer.components])
    if decoded is not None:
        predicted = decoded.prediction if decoded.probability is None else decoded.probability
        guesses[:, start:][:, s.scored] = s.answer.to_channels(predicted)[:, s.scored]
    for i, channel in enumerate(y):
        low, high = _range(channel)
        if low or high > 1:
            y[i], guesses[i] = (channel - low) / (high - low), ((guesses[i] - low) / (high - low)).clip(0, 1)
            notes.append(f"out {i + 1}: real numbers, from {low:.2f} (blank) to {high:.2f} (full)")
    return ChannelRows(x, y, guesses, start, notes)


def tick_steps(steps: int) -> list[int]:
    """Returns the steps to number on a time axis: the first and every tenth, as people count from 1."""
    return [0, *range(9, steps, 10)]


def _range(channel: np.ndarray) -> tuple[float, float]:
    """Returns the range of the known values of a channel, at least from 0 to 1."""
    known_values = channel[~np.isnan(channel)]
    high = max(1.0, float(np.abs(known_values).max(initial=0)))
    return (-high if known_values.min(initial=0) < 0 else 0.0), high
