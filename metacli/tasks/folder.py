"""Any folder of images, one directory per class."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from PIL import Image
from pydantic import Field

from metacli.data import read_image
from metacli.errors import MetacliError
from metacli.tasks.base import SPLITS, Counter, Split
from metacli.tasks.images import ImageConfig, Images, ImageSet

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp")


class Folder(Images):
    """Tasks over a person's own images.

    Every directory below `root`, at any depth, that directly holds images is a class, named by its path from `root`.
    A directory train, val or test directly in `root` makes what is below it that split. Where there is none, the
    split is a fraction of the other classes, drawn by `split_seed`; classes are held out whole.
    """

    class Config(ImageConfig):
        """The keys of `folder`, beside those of all image tasks.

        Attributes:
            root: the folder, from the working directory.
            channels: 1 for grey, 3 for colour.
            invert: turn dark on light into light on dark, as the other tasks have it.
            val_fraction: share of the classes for val; unused where there is a directory val.
            test_fraction: share of the classes for test; unused where there is a directory test.
            split_seed: which random division of the classes, whatever the seed of the run.
        """

        name: Literal["folder"] = "folder"
        root: str = Field(min_length=1)
        channels: Literal[1, 3] = 1
        invert: bool = False
        val_fraction: float = Field(0.15, gt=0, lt=1)
        test_fraction: float = Field(0.15, gt=0, lt=1)
        split_seed: int = Field(0, ge=0)

    @classmethod
    def channels_of(cls, config: Any) -> int:
        """See `Images.channels_of`."""
        return config.channels

    def load(self) -> ImageSet:
        """See `Images.load`: every image stretched to a square.

        Raises:
            MetacliError: the folder is missing, holds no images, or one of them cannot be read.
        """
        root = Path(self.config.root).expanduser()
        if not os.path.isdir(root):
            raise MetacliError(f"root: {root} is not a folder", "name a folder with one directory per class")
        classes: dict[str, list[Path]] = {}
        for path in sorted(root.rglob("*")):
            if path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and path.parent != root:
                classes.setdefault(path.parent.relative_to(root).as_posix(), []).append(path)
        if not classes:
            raise MetacliError(
                f"root: {root} holds no directory with images ({', '.join(SUFFIXES)})",
                "put the images of each class into a directory of its own below the root",
            )
        counts = np.array([len(paths) for paths in classes.values()])
        c = self.config
        images = np.zeros((len(classes), counts.max(), c.channels, c.size, c.size), np.uint8)
        for row, paths in zip(images, classes.values(), strict=True):
            for i, path in enumerate(paths):
                row[i] = pixels(path, c.channels, c.size)
                if c.invert:
                    row[i] = 255 - row[i]
        return ImageSet(torch.from_numpy(images), list(classes), counts)

    def class_splits(self, n: int) -> dict[Split, np.ndarray]:
        """See `Images.class_splits`; a fraction is rounded, and is one class at least."""
        top = np.array([name.split("/")[0] for name in self.image_set.names])
        splits: dict[Split, np.ndarray] = {split: np.flatnonzero(top == split) for split in SPLITS}
        free = np.flatnonzero(~np.isin(top, SPLITS))
        rest = np.concatenate([splits["train"], free])
        rest = rest[Counter(self.config.split_seed, "classes", np.zeros(1)).permutation(len(rest))[0]]
        whole = len(rest)
        fractions: dict[Split, float] = {"val": self.config.val_fraction, "test": self.config.test_fraction}
        for split, fraction in fractions.items():
            if not len(splits[split]):
                cut = max(1, round(fraction * whole))
                splits[split], rest = rest[:cut], rest[cut:]
        return {**splits, "train": rest}

    def origin(self) -> str:
        """See `Images.origin`."""
        return str(Path(self.config.root).expanduser().resolve())

    def source(self) -> str:
        """See `Images.source`."""
        return f"folder {self.config.root}, split {self.config.split_seed}"


def pixels(path: Path, channels: int, size: int) -> np.ndarray:
    """(channels, size, size) uint8 of an image file of any mode, on white where it is transparent."""
    image = read_image(path, str(path))
    if image.mode.startswith("I"):  # 16 bits, which Pillow would clip
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    image = image.convert("L" if channels == 1 else "RGB").resize((size, size), Image.Resampling.LANCZOS)
    return np.asarray(image).reshape(size, size, channels).transpose(2, 0, 1)
