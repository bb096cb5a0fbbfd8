"""The config of all image tasks, and the set of images by class."""

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
    """Images by class. Classes may have different numbers of images.

    Attributes:
        images: (images, channels, height, width) uint8, class after class, intensity 0 to 255: ink 255, paper 0.
        names: the name of each class.
        counts: (classes,) int64, the images of each class.
        source_digests: (images,) bytes, digests of the decoded files that the images were made from, see
            `pixel_digests`; None without such files.
        files: the name of each image's file for messages; None without such files.

    Raises:
        ValueError: the shapes do not agree.
    """

    images: Tensor
    names: list[str]
    counts: np.ndarray
    source_digests: np.ndarray | None = None
    files: list[str] | None = None

    def __post_init__(self) -> None:
        if self.images.ndim != 4 or len(self.images) != self.counts.sum() or len(self.names) != len(self.counts):
            actual = f"{tuple(self.images.shape)} with {len(self.names)} names and {self.counts.sum()} images by counts"
            raise ValueError(f"images must have shape (images, channels, height, width), sorted by class, not {actual}")
        if self.source_digests is not None and self.source_digests.shape != (len(self.images),):
            raise ValueError(
                f"source_digests has shape {self.source_digests.shape}, but there are {len(self.images)} images"
            )

    @cached_property
    def starts(self) -> np.ndarray:
        """(classes,) int64, the index of the first image of each class."""
        return self.counts.cumsum() - self.counts

    @cached_property
    def most(self) -> int:
        """The number of images of the largest class."""
        return int(self.counts.max())

    def of(self, c: int) -> Tensor:
        """Returns the images of class number c, (counts[c], channels, height, width)."""
        return self.images[self.starts[c] :][: self.counts[c]]

    @cached_property
    def _pixel_digests(self) -> list[str]:
        """Returns the digest of each image's source, or of the image itself without one."""
        digests = image_digests(self.images.numpy()) if self.source_digests is None else self.source_digests
        return digests.astype(str).tolist()

    def pixel_digests(self, c: int) -> list[str]:
        """Returns the distinct digests of the images of class number c, sorted."""
        return sorted(set(self._pixel_digests[self.starts[c] : self.starts[c] + self.counts[c]]))

    def image_name(self, name: str, exact_digest: str) -> str:
        """Returns a name for the first image of a class with a digest: its file, or the class and a number."""
        c = self.names.index(name)
        digests = self._pixel_digests[self.starts[c] : self.starts[c] + self.counts[c]]
        number = next(i for i, digest in enumerate(digests) if digest.startswith(exact_digest))
        return self.files[self.starts[c] + number] if self.files else f"image {number + 1} of {name}"

    def digest(self) -> bytes:
        """Returns a digest of the images and of their division into classes.

        Each class is hashed as if blank images padded it to the size of the largest class. An earlier version stored
        images so, and its digests must stay valid. Above PADDED bytes in total, padding is left out.
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
            "Smallest number of classes per task (k-shot). 0 gives every task `ways` classes. Above 0, half of the "
            "tasks have a random number of classes from this one to `ways`. The sizes of D_train and D_test do not "
            "change, so classes have unequal numbers of images."
        ),
    )
    within: float = Field(
        0.0,
        ge=0,
        le=1,
        description=(
            "Share of the tasks whose classes come from one group: an alphabet, or a directory of a `folder`. Groups "
            "with fewer than `ways` classes are skipped. If all groups have fewer, several groups are joined."
        ),
    )
    shots: int = Field(1, ge=1, le=1000, description="K, support examples per class (k-shot).")
    fewest_shots: int = Field(
        0,
        ge=0,
        le=1000,
        description=(
            "Smallest number of support examples per class (k-shot). 0 gives every task `shots`. Above 0, a task has a "
            "random number of them, from this one to `shots`, the same for all its classes. Each 64 tasks in a row "
            "have the same number, so that most training batches need no padding."
        ),
    )
    queries: int = Field(5, ge=1, le=1000, description="Queries per class (k-shot).")
    length: int = Field(50, ge=1, le=10_000, description="T, number of steps of a task (stream).")
    labels: Literal["one-hot", "embedded", "strings"] = Field(
        "one-hot",
        description=(
            "`one-hot`: a vector over the ways. `embedded`: a random vector for each class of each task, so that a "
            "trained model serves any number of ways. `strings`: five characters out of five letters, a new random "
            "string for each class of each task (MANN's labels for 15 classes)."
        ),
    )
    size: int = Field(28, ge=4, le=512, description="Height and width of an image in pixels.")
    prepare: bool = Field(
        False,
        description=(
            "Crop characters, scale them to the frame and redraw them with a pen of uniform width, so that drawings "
            "and photographs of users resemble the training images (see `metacli.tasks.images.preprocess`)."
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
    def _check_fewest(self) -> ImageConfig:
        if self.fewest_ways > self.ways:
            raise ValueError(f"fewest_ways {self.fewest_ways} is above ways {self.ways}: lower it or raise ways")
        if self.fewest_shots > self.shots:
            raise ValueError(f"fewest_shots {self.fewest_shots} is above shots {self.shots}: lower it or raise shots")
        if self.fewest_ways and self.fewest_shots:
            raise ValueError("fewest_ways already varies the images per class: set fewest_ways or fewest_shots to 0")
        return self
