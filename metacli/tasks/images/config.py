"""What all tasks over images have in common: their keys, and images by class."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from pydantic import Field
from torch import Tensor

from metacli.config.base import BaseConfig


@dataclass(frozen=True)
class ImageSet:
    """Images by class.

    Attributes:
        images: (classes, instances, channels, height, width) uint8, intensity 0 to 255: ink 255, paper 0.
        names: the name of each class.
        counts: (classes,) int64, the instances that each class really has; what follows them is padding.
    """

    images: Tensor
    names: list[str]
    counts: np.ndarray


class ImageConfig(BaseConfig):
    """The keys of all tasks over images.

    Attributes:
        protocol: `k-shot` (D_train and D_test apart, every question alone) or `stream` (MANN: an image at every
            step, its label one step later, every step scored).
        ways: N, classes of a task.
        shots: K, labelled instances of each class in D_train (k-shot).
        queries: instances of each class in D_test (k-shot).
        length: T, steps of an episode (stream).
        labels: `one-hot` over the ways, or `strings`: five characters from five letters, a new random string for
            each class of each task (MANN's labels for 15 classes).
        size: height and width of an image in pixels.
        rotated_classes: every class turned by 90, 180 and 270 degrees is three more classes.
        rotation: each image is turned by up to this many degrees either way.
        shift: each image is moved by up to this many pixels of `size` either way, across and down.
        augment: the splits that quarter turns, rotation and shift apply to.
    """

    protocol: Literal["k-shot", "stream"] = "k-shot"
    ways: int = Field(5, ge=2, le=1000)
    shots: int = Field(1, ge=1, le=1000)
    queries: int = Field(5, ge=1, le=1000)
    length: int = Field(50, ge=1, le=10_000)
    labels: Literal["one-hot", "strings"] = "one-hot"
    size: int = Field(28, ge=4, le=512)
    rotated_classes: bool = False
    rotation: float = Field(0.0, ge=0, le=180)
    shift: float = Field(0.0, ge=0, le=512)
    augment: Literal["train", "all"] = "train"
