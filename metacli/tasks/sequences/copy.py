"""Copy and repeat copy (Graves et al. 2014, sections 4.1 and 4.2): give back what was shown, once or many times."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
from pydantic import Field, model_validator
from torch import Tensor

from metacli.config.base import BaseConfig
from metacli.episode import Episode, Spec
from metacli.tasks.answers import Bits
from metacli.tasks.rng import CounterRNG
from metacli.tasks.sequences.base import Algorithmic, Phases, check_range, draw_length, length_mask


class Copy(Algorithmic):
    """Random bit vectors, then a delimiter on its own channel; the answer is the vectors in order."""

    class Config(BaseConfig):
        """Keys of `copy`."""

        name: Literal["copy"] = Field("copy", description="Registered name of the task distribution.")
        width: int = Field(8, ge=1, le=256, description="Bits per vector.")
        min_length: int = Field(1, ge=1, le=10_000, description="Shortest sequence, in vectors.")
        max_length: int = Field(20, ge=1, le=10_000, description="Longest sequence, in vectors.")
        length: int = Field(
            0, ge=0, le=10_000, description="Fixed length, inside or outside the range. 0 draws from the range."
        )
        curriculum: int = Field(
            0,
            ge=0,
            description=(
                "Training episodes over which the longest length grows from `min_length` to `max_length`. 0 disables "
                "the curriculum."
            ),
        )

        @model_validator(mode="after")
        def _check_length_range(self) -> Copy.Config:
            check_range("length", self.min_length, self.max_length)
            return self

    @classmethod
    def answer_of(cls, config: Config) -> Bits:
        """The bits of a step."""
        return Bits(config.width)

    @classmethod
    def spec_of(cls, config: Config) -> Spec:
        """Inputs: the bits and the delimiter. Answers: the bits."""
        longest = config.length or config.max_length
        return Spec("sequence", (config.width + 1,), 0, config.width, 2 * longest + 1)

    def draw(self, random: CounterRNG, grown: np.ndarray) -> Phases:
        """L vectors and the delimiter; L answers."""
        c = self.config
        length = draw_length(random, grown, c.length, c.min_length, c.max_length)
        vectors, x_train, mask_train = presented(random, length, c.width, extra=0)
        return Phases(x_train, mask_train, np.zeros_like(x_train[:, :-1]), vectors, length_mask(length))

    def describe(self) -> str:
        """One line."""
        c = self.config
        return f"copy: {_span(c.length, c.min_length, c.max_length)} vectors of {c.width} bits, generated"


class RepeatCopy(Algorithmic):
    """Random bit vectors, then how often to repeat them; the answer is that, and an end marker on its own channel.

    The count comes with the delimiter, on a channel of its own, brought to mean 0 and variance 1 over
    min_repeats, ..., max_repeats, also where `repeats` lies beyond.
    """

    class Config(BaseConfig):
        """Keys of `repeat-copy`."""

        name: Literal["repeat-copy"] = Field("repeat-copy", description="Registered name of the task distribution.")
        width: int = Field(8, ge=1, le=256, description="Bits per vector.")
        min_length: int = Field(1, ge=1, le=1000, description="Shortest sequence, in vectors.")
        max_length: int = Field(10, ge=1, le=1000, description="Longest sequence, in vectors.")
        length: int = Field(
            0, ge=0, le=1000, description="Fixed length, inside or outside the range. 0 draws from the range."
        )
        min_repeats: int = Field(1, ge=1, le=1000, description="Smallest number of repeats.")
        max_repeats: int = Field(10, ge=1, le=1000, description="Largest number of repeats.")
        repeats: int = Field(0, ge=0, le=1000, description="Fixed number of repeats. 0 draws from the range.")
        curriculum: int = Field(
            0,
            ge=0,
            description=(
                "Training episodes over which both ranges grow from their minimum to their maximum. 0 disables the "
                "curriculum."
            ),
        )

        @model_validator(mode="after")
        def _check_ranges(self) -> RepeatCopy.Config:
            check_range("length", self.min_length, self.max_length)
            check_range("repeats", self.min_repeats, self.max_repeats)
            return self

    @classmethod
    def answer_of(cls, config: Config) -> Bits:
        """The bits of a step."""
        return Bits(config.width + 1)

    @classmethod
    def spec_of(cls, config: Config) -> Spec:
        """Inputs: the bits, the delimiter, the count. Answers: the bits and the end marker."""
        length = config.length or config.max_length
        answers = length * (config.repeats or config.max_repeats) + 1
        return Spec("sequence", (config.width + 2,), 0, config.width + 1, length + 1 + answers)

    def draw(self, random: CounterRNG, grown: np.ndarray) -> Phases:
        """L vectors and the delimiter with the count n; L n answers and the end marker."""
        c = self.config
        length = draw_length(random, grown, c.length, c.min_length, c.max_length)
        repeats = draw_length(random, grown, c.repeats, c.min_repeats, c.max_repeats)
        vectors, x_train, mask_train = presented(random, length, c.width, extra=1)
        mean = (c.min_repeats + c.max_repeats) / 2
        deviation = math.sqrt(((c.max_repeats - c.min_repeats + 1) ** 2 - 1) / 12) or 1.0  # of a discrete uniform
        rows, end = np.arange(len(length)), length * repeats
        x_train[rows, length, -1] = (repeats - mean) / deviation
        asked = length_mask(end + 1)  # (B, Q)
        source = np.arange(asked.shape[1]) % length[:, None]
        y_test = np.zeros((*asked.shape, c.width + 1))
        y_test[..., :-1] = (
            np.take_along_axis(vectors, source[..., None], 1) * length_mask(end, asked.shape[1])[..., None]
        )
        y_test[rows, end, -1] = 1
        return Phases(x_train, mask_train, np.zeros((*asked.shape, c.width + 2)), y_test, asked)

    def size(self, episode: Episode) -> Tensor:
        """(B,) vectors of the sequence."""
        assert episode.mask_train is not None
        return episode.mask_train.sum(1) - 1

    def score(self, logits: Tensor, episode: Episode) -> dict[str, Tensor]:
        """The scores of every algorithmic task, and `repeats` (B,)."""
        scores = super().score(logits, episode)
        return {**scores, "repeats": (super().size(episode) - 1) / scores["length"]}

    def describe(self) -> str:
        """One line."""
        c = self.config
        shown = f"{_span(c.length, c.min_length, c.max_length)} vectors of {c.width} bits"
        return f"repeat-copy: {shown}, {_span(c.repeats, c.min_repeats, c.max_repeats)} times, generated"


def presented(
    random: CounterRNG, length: np.ndarray, width: int, extra: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Random vectors (B, L, width), zero beyond `length` (B,); the input phase and its mask (B, L + 1).

    The input phase (B, L + 1, width + 1 + extra) is the vectors, then a step with the delimiter, channel `width`.
    """
    real = length_mask(length)
    vectors = random.integers(2, real.shape[1], width) * real[..., None]
    x_train = np.zeros((len(length), real.shape[1] + 1, width + 1 + extra))
    x_train[:, :-1, :width] = vectors
    x_train[np.arange(len(length)), length, width] = 1
    return vectors, x_train, length_mask(length + 1)


def _span(fixed: int, low: int, high: int) -> str:
    return str(fixed) if fixed else f"{low} to {high}"
