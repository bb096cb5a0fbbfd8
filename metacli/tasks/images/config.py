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
from metacli.tasks.images.pixel_digests import image_digests

PADDED = 2**32  # bytes, see `ImageSet.digest`


@dataclass(frozen=True)
class ImageSet:
    """Images by class, as many of each as there are.

    Attributes:
        images: (images, channels, height, width) uint8, class after class, intensity 0 to 255: ink 255, paper 0.
        names: the name of each class.
        counts: (classes,) int64, the images of each class.
        source_digests: (images,) bytes, digests of the pictures that the images were made from, see `pixel_digests`;
            None where there are no such pictures.

    Raises:
        ValueError: they do not fit each other.
    """

    images: Tensor
    names: list[str]
    counts: np.ndarray
    source_digests: np.ndarray | None = None

    def __post_init__(self) -> None:
        if self.images.ndim != 4 or len(self.images) != self.counts.sum() or len(self.names) != len(self.counts):
            actual = f"{tuple(self.images.shape)} of {len(self.names)} names, {self.counts.sum()} in all by class"
            raise ValueError(f"images (images, channels, height, width), class after class, not {actual}")
        if self.source_digests is not None and self.source_digests.shape != (len(self.images),):
            raise ValueError(f"{self.source_digests.shape} digests of {len(self.images)} images")

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

    @cached_property
    def _pixel_digests(self) -> list[str]:
        """Returns the digest of each image's source picture, or of the image if it has none."""
        digests = image_digests(self.images.numpy()) if self.source_digests is None else self.source_digests
        return digests.astype(str).tolist()

    def pixel_digests(self, c: int) -> list[str]:
        """Returns the distinct digests of the pictures of class number c, sorted."""
        return sorted(set(self._pixel_digests[self.starts[c] : self.starts[c] + self.counts[c]]))

    def digest(self) -> bytes:
        """Returns a digest of the images and of their division into classes.

        Each class counts as if blank images padded it to the size of the largest class, as an earlier storage did.
        Above PADDED bytes in all, no padding is counted.
        """
        image_bytes = self.images[0].numel()
        padded = self.most * len(self.names) * image_bytes <= PADDED
        hasher, blank = hashlib.sha256(), bytes(image_bytes)
        for c, count in enumerate(self.counts.tolist()):
            hasher.update(self.of(c).numpy().data)
            for _ in range(self.most - count if padded else 0):
                hasher.update(blank)
        hasher.update(self.counts.tobytes())
        return hasher.digest()


class ImageConfig(BaseConfig):
    """Keys of every image task."""

    protocol: Literal["k-shot", "stream"] = Field(
        "k-shot",
        description=(
            "`k-shot`: separate support and query sets, each query answered independently. `stream`: as in MANN, an "
            "image at every step, its label one step later, and every step scored."
        ),
    )
    ways: int = Field(5, ge=2, le=1000, description="N, classes per task.")
    fewest_ways: int = Field(
        0,
        ge=0,
        le=1000,
        description=(
            "If above 0, half of the tasks have any number of classes from this one to `ways`. D_train and D_test keep "
            "the size that they have with all `ways`, so that classes have unequal numbers of images (k-shot)."
        ),
    )
    within: float = Field(
        0.0,
        ge=0,
        le=1,
        description=(
            "Share of the tasks whose classes come from one group: an alphabet, or a directory of a `folder`. These "
            "tasks skip groups of fewer than `ways` classes."
        ),
    )
    shots: int = Field(1, ge=1, le=1000, description="K, support examples per class (k-shot).")
    queries: int = Field(5, ge=1, le=1000, description="Queries per class (k-shot).")
    length: int = Field(50, ge=1, le=10_000, description="T, number of steps of a task (stream).")
    labels: Literal["one-hot", "strings"] = Field(
        "one-hot",
        description=(
            "`one-hot`: a vector over the ways. `strings`: five characters out of five letters, a new random string "
            "for each class of each task (MANN's labels for 15 classes)."
        ),
    )
    size: int = Field(28, ge=4, le=512, description="Height and width of an image in pixels.")
    prepare: bool = Field(
        False,
        description=(
            "Crop characters, scale them to the frame and redraw them with a pen of uniform width, so that a model "
            "accepts anybody's drawings (see `metacli.tasks.images.preprocess`)."
        ),
    )
    rotated_classes: bool = Field(
        False, description="Add three classes per class: its images rotated by 90, 180 and 270 degrees."
    )
    mirrored_classes: bool = Field(
        False, description="Add one class per class, rotated ones included: its mirror image."
    )
    rotation: float = Field(
        0.0, ge=0, le=180, description="Rotate each image by up to this many degrees in either direction."
    )
    shift: float = Field(
        0.0,
        ge=0,
        le=512,
        description="Shift each image horizontally and vertically by up to this many pixels of `size`.",
    )
    stretch: float = Field(
        1.0,
        ge=1,
        le=4,
        description="Scale width and height independently by up to this factor, up or down. 1 disables this.",
    )
    slant: float = Field(
        0.0, ge=0, le=60, description="Slant each image by up to this many degrees in either direction."
    )
    augment: Literal["train", "all"] = Field(
        "train", description="Splits to which rotated and mirrored classes, rotation, shift, stretch and slant apply."
    )

    @model_validator(mode="after")
    def _check_fewest_ways(self) -> ImageConfig:
        if self.fewest_ways > self.ways:
            raise ValueError(f"fewest_ways {self.fewest_ways} is more than ways {self.ways}")
        return self
