"""What all tasks over images have in common: their keys, and images by class."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from pydantic import Field, model_validator
from torch import Tensor

from metacli.config.base import BaseConfig

PADDED = 2**32  # bytes, see `ImageSet.digest`


@dataclass(frozen=True)
class ImageSet:
    """Images by class, as many of each as there are.

    Attributes:
        images: (images, channels, height, width) uint8, class after class, intensity 0 to 255: ink 255, paper 0.
        names: the name of each class.
        counts: (classes,) int64, the images of each class.

    Raises:
        ValueError: the three do not fit each other.
    """

    images: Tensor
    names: list[str]
    counts: np.ndarray

    def __post_init__(self) -> None:
        if self.images.ndim != 4 or len(self.images) != self.counts.sum() or len(self.names) != len(self.counts):
            said = f"{tuple(self.images.shape)} of {len(self.names)} names, {self.counts.sum()} in all by class"
            raise ValueError(f"images (images, channels, height, width), class after class, not {said}")

    @cached_property
    def starts(self) -> np.ndarray:
        """(classes,) int64: where the images of each class begin."""
        return self.counts.cumsum() - self.counts

    @cached_property
    def most(self) -> int:
        """The images of the largest class."""
        return int(self.counts.max())

    def of(self, c: int) -> Tensor:
        """The images of class number c, (counts[c], channels, height, width)."""
        return self.images[self.starts[c] :][: self.counts[c]]

    def digest(self) -> bytes:
        """Changes with any bit of the images and with how they are divided into classes.

        Classes count as if blank images made all of them as large as the largest, as they were once stored, but where
        that would be more than was ever stored so.
        """
        one = self.images[0].numel()
        padded = self.most * len(self.names) * one <= PADDED
        found, blank = hashlib.sha256(), bytes(one)
        for c, count in enumerate(self.counts.tolist()):
            found.update(self.of(c).numpy().data)
            for _ in range(self.most - count if padded else 0):
                found.update(blank)
        found.update(self.counts.tobytes())
        return found.digest()


class ImageConfig(BaseConfig):
    """The keys of all tasks over images.

    Attributes:
        protocol: `k-shot` (D_train and D_test apart, every question alone) or `stream` (MANN: an image at every
            step, its label one step later, every step scored).
        ways: N, classes of a task.
        fewest_ways: where above 0, half of the tasks have any number of classes from this one to `ways`, D_train and
            D_test still as large as with all, so that classes have unequal numbers of instances (k-shot).
        within: share of the tasks whose classes come from one group: an alphabet, a directory of a `folder`. Groups of
            fewer than `ways` classes are left out of these.
        shots: K, labelled instances of each class in D_train (k-shot).
        queries: instances of each class in D_test (k-shot).
        length: T, steps of an episode (stream).
        labels: `one-hot` over the ways, or `strings`: five characters from five letters, a new random string for
            each class of each task (MANN's labels for 15 classes).
        size: height and width of an image in pixels.
        prepare: characters are cut out, made as large as the frame and redrawn by a pen of one width (see
            `metacli.tasks.images.preprocess.prepare`), so that a model can be asked about anybody's drawings.
        rotated_classes: every class turned by 90, 180 and 270 degrees is three more classes.
        mirrored_classes: every class seen in a mirror is one more class, and so is every turned one.
        rotation: each image is turned by up to this many degrees either way.
        shift: each image is moved by up to this many pixels of `size` either way, across and down.
        stretch: each image is made up to this factor wider or narrower, and likewise higher or lower; 1 for neither.
        slant: each image leans by up to this many degrees either way.
        augment: the splits that turned and mirrored classes, rotation, shift, stretch and slant apply to.
    """

    protocol: Literal["k-shot", "stream"] = "k-shot"
    ways: int = Field(5, ge=2, le=1000)
    fewest_ways: int = Field(0, ge=0, le=1000)
    within: float = Field(0.0, ge=0, le=1)
    shots: int = Field(1, ge=1, le=1000)
    queries: int = Field(5, ge=1, le=1000)
    length: int = Field(50, ge=1, le=10_000)
    labels: Literal["one-hot", "strings"] = "one-hot"
    size: int = Field(28, ge=4, le=512)
    prepare: bool = False
    rotated_classes: bool = False
    mirrored_classes: bool = False
    rotation: float = Field(0.0, ge=0, le=180)
    shift: float = Field(0.0, ge=0, le=512)
    stretch: float = Field(1.0, ge=1, le=4)
    slant: float = Field(0.0, ge=0, le=60)
    augment: Literal["train", "all"] = "train"

    @model_validator(mode="after")
    def _fewest(self) -> ImageConfig:
        if self.fewest_ways > self.ways:
            raise ValueError(f"fewest_ways {self.fewest_ways} is more than ways {self.ways}")
        return self
