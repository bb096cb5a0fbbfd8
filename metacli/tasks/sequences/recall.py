"""Associative recall (Graves et al. 2014, section 4.3): shown an item again, give the item that followed it."""

from __future__ import annotations

from typing import Literal

import numpy as np
from pydantic import Field, model_validator
from torch import Tensor

from metacli.config.base import BaseConfig
from metacli.episode import Episode, Spec
from metacli.tasks.answers import Bits
from metacli.tasks.rng import CounterRNG
from metacli.tasks.sequences.base import Algorithmic, Phases, check_range, draw_length, length_mask


class AssociativeRecall(Algorithmic):
    """Items of a few bit vectors each, then one of them as the query; the answer is the next item.

    Two delimiter channels: one step with the first before every item, one with the second before and after the
    query. The query is any item but the last. Two items of a task can be alike by chance (one pair in 2^18).
    """

    class Config(BaseConfig):
        """Keys of `associative-recall`."""

        name: Literal["associative-recall"] = Field(
            "associative-recall", description="Registered name of the task distribution."
        )
        width: int = Field(6, ge=1, le=256, description="Bits per vector.")
        item_length: int = Field(3, ge=1, le=100, description="Vectors per item.")
        min_items: int = Field(2, ge=2, le=1000, description="Smallest number of items.")
        max_items: int = Field(6, ge=2, le=1000, description="Largest number of items.")
        items: int = Field(
            0, ge=0, le=1000, description="Fixed number of items, inside or outside the range. 0 draws from the range."
        )
        curriculum: int = Field(
            0,
            ge=0,
            description=(
                "Training episodes over which the largest number of items grows from `min_items` to `max_items`. 0 "
                "disables the curriculum."
            ),
        )

        @model_validator(mode="after")
        def _check_items(self) -> AssociativeRecall.Config:
            check_range("items", self.min_items, self.max_items)
            if self.items == 1:
                raise ValueError("items 1 leaves no item to follow the query: at least 2, or 0 for the range")
            return self

    @classmethod
    def answer_of(cls, config: Config) -> Bits:
        """The bits of a step."""
        return Bits(config.width)

    @classmethod
    def spec_of(cls, config: Config) -> Spec:
        """Inputs: the bits, the item delimiter, the query delimiter. Answers: the bits."""
        items, k = config.items or config.max_items, config.item_length
        return Spec("sequence", (config.width + 2,), 0, config.width, items * (k + 1) + 2 * k + 2)

    def draw(self, random: CounterRNG, grown: np.ndarray) -> Phases:
        """Items of k vectors, each after its delimiter, then the query between two of its own; k answers."""
        c = self.config
        k = c.item_length
        items = draw_length(random, grown, c.items, c.min_items, c.max_items)
        query = random.integers(items - 1)
        rows, most = np.arange(len(items)), int(items.max())
        vectors = random.integers(2, most, k, c.width)
        blocks = np.zeros((len(items), most, k + 1, c.width + 2))
        blocks[:, :, 0, -2] = 1
        blocks[:, :, 1:, : c.width] = vectors
        blocks *= length_mask(items)[..., None, None]

        start = items * (k + 1)  # (B,) the step of the first query delimiter
        x_train = np.zeros((len(items), most * (k + 1) + k + 2, c.width + 2))
        x_train[:, : most * (k + 1)] = blocks.reshape(len(items), -1, c.width + 2)
        x_train[rows, start, -1] = 1
        x_train[rows[:, None], start[:, None] + np.arange(1, k + 1), : c.width] = vectors[rows, query]
        x_train[rows, start + k + 1, -1] = 1
        answer = vectors[rows, query + 1]
        return Phases(
            x_train,
            length_mask(start + k + 2),
            np.zeros((len(items), k, c.width + 2)),
            answer,
            np.ones(answer.shape[:2], dtype=bool),
        )

    def size(self, episode: Episode) -> Tensor:
        """(B,) items."""
        assert episode.mask_train is not None
        k = self.config.item_length
        return (episode.mask_train.sum(1) - k - 2) // (k + 1)

    def describe(self) -> str:
        """One line."""
        c = self.config
        items = c.items or f"{c.min_items} to {c.max_items}"
        return f"associative-recall: {items} items of {c.item_length} vectors of {c.width} bits, generated"
