"""Tasks over any folder of images with one directory per class."""

from __future__ import annotations

import hashlib
import os
import sys
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import PIL
import torch
from PIL import Image
from pydantic import Field, field_validator, model_validator
from tqdm import tqdm

from metacli.config.base import PathText
from metacli.errors import MetacliError, UsageError
from metacli.system import cache, operating_system, terminal
from metacli.tasks.base import SPLITS, Split
from metacli.tasks.images import checks
from metacli.tasks.images.base import Images
from metacli.tasks.images.config import ImageConfig, ImageSet
from metacli.tasks.images.pixel_digests import picture_digest, to_digest_array
from metacli.tasks.images.preprocess import prepare
from metacli.tasks.images.preprocess.decode import REPLACE, make_opaque, map_bands, read_file, read_image

VERSION = 3  # of the cache; increase it when any pixel or digest changes
MAX_IMAGES = 2_000_000  # in a folder
SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp")


class Folder(Images):
    """Tasks over user images.

    Every directory below `root`, at any depth, that directly holds images is a class, named by its path from `root`.
    Classes below a directory train, val or test in `root` belong to that split. A split without such a directory is
    a random fraction of the other classes, chosen by a hash of each name and `split_seed`. So a new class does not move
    other classes between splits.
    """

    has_fixed_class_names: ClassVar[bool] = False  # a user's folders can be renamed, moved and copied

    class Config(ImageConfig):
        """Keys of `folder`, beside those of every image task."""

        name: Literal["folder"] = Field("folder", description="Registered name of the task distribution.")
        root: PathText = Field(
            min_length=1,
            description=(
                "Folder of the images, relative to the working directory. It is stored as an absolute path, so that a "
                "run finds it from anywhere."
            ),
        )
        channels: Literal[1, 3] = Field(1, description="1 for grey, 3 for colour.")
        invert: bool = Field(
            False,
            description="Invert the brightness, so that dark ink on light paper becomes light ink on dark paper.",
        )
        val_fraction: float = Field(
            0.15,
            gt=0,
            lt=1,
            description=(
                "Approximate share of the classes for the validation split. Unused if there is a directory `val`."
            ),
        )
        test_fraction: float = Field(
            0.15,
            gt=0,
            lt=1,
            description="Approximate share of the classes for the test split. Unused if there is a directory `test`.",
        )
        split_seed: int = Field(
            0, ge=0, description="Seed of the random division of the classes, independent of the run's seed."
        )

        @field_validator("root")
        @classmethod
        def _make_absolute(cls, root: str) -> str:
            return os.path.abspath(operating_system.expand_home(root))

        @model_validator(mode="after")
        def _check_prepare(self) -> Folder.Config:
            if self.prepare and (self.channels != 1 or self.invert):
                raise ValueError(
                    "prepare already makes grey images with light ink on dark paper: remove channels and invert"
                )
            return self

    @classmethod
    def preprocess(cls, config: Any, pictures: list[Image.Image]) -> np.ndarray:
        """See `Images.preprocess`: like the images of the folder, `invert` included."""
        if config.prepare:
            return super().preprocess(config, pictures)
        real = np.stack([to_pixels(picture, config.channels, config.size) for picture in pictures])
        return 255 - real if config.invert else real

    @classmethod
    def channels_of(cls, config: Any) -> int:
        """See `Images.channels_of`."""
        return config.channels

    def load(self) -> ImageSet:
        """See `Images.load`: every image is stretched to a square, decoded once, then read from the cache.

        The key of the cache is a digest of the content of every file. So a changed image is decoded again, and a
        folder that was moved is not.

        Raises:
            MetacliError: the folder is missing, contains no images, or one of them cannot be read.
        """
        classes = list_images_by_class(operating_system.expand_home(self.config.root))
        c = self.config
        counts = np.array([len(paths) for paths in classes.values()])
        checks.check_memory(int(counts.sum()), self.spec.x_shape)
        files = [(path, file_digest(path)) for paths in classes.values() for path in paths]
        settings = f"{VERSION} {PIL.__version__} {c.channels} {c.size}{f' {prepare.VERSION}' if c.prepare else ''}\n"
        key = hashlib.sha256(settings.encode())
        for name, (path, content) in zip((n for n, paths in classes.items() for _ in paths), files, strict=True):
            key.update(f"{name}/{path.name}\n{content}\n".encode(errors="surrogateescape"))
        packed = cache.load_or_make(f"folder-{key.hexdigest()}", lambda: decode_images(files, c))
        images = packed["images"]
        if c.invert:
            np.subtract(255, images, out=images)
        names = [f"{name}/{path.name}" for name, paths in classes.items() for path in paths]
        return ImageSet(torch.from_numpy(images), list(classes), counts, packed["digests"], names)

    def class_splits(self, n: int) -> dict[Split, np.ndarray]:
        """See `Images.class_splits`: by a hash of each name, so that a class stays in its split when others change.

        If no hash falls into a fraction, the split takes the class with the nearest hash, as long as one training
        class remains.
        """
        c, names = self.config, self.image_set.names
        top_directory = np.array([name.split("/")[0] for name in names])
        splits: dict[Split, np.ndarray] = {split: np.flatnonzero(top_directory == split) for split in SPLITS}
        unassigned = np.flatnonzero(~np.isin(top_directory, SPLITS))
        remaining = np.concatenate([splits["train"], unassigned])
        position = np.array([hash_to_unit_interval(f"{c.split_seed}/{names[i]}") for i in remaining])
        order = position.argsort(kind="stable")
        remaining, position = remaining[order], position[order]
        if not len(splits["test"]):  # test takes the lowest hashes, val the highest, so that they are independent
            test_count = min(max(1, int(np.searchsorted(position, c.test_fraction))), max(len(remaining) - 1, 0))
            splits["test"] = np.sort(remaining[:test_count])
            remaining, position = remaining[test_count:], position[test_count:]
        if not len(splits["val"]):
            train_count = max(min(int(np.searchsorted(position, 1 - c.val_fraction)), len(remaining) - 1), 1)
            splits["val"], remaining = np.sort(remaining[train_count:]), remaining[:train_count]
        return {**splits, "train": np.sort(remaining)}

    def source(self) -> str:
        """See `Images.source`."""
        return f"folder {self.config.root}, split {self.config.split_seed}"


def list_images_by_class(root: Path) -> dict[str, list[Path]]:
    """Returns the image files of each class, both sorted by name. Links to folders are not followed.

    Raises:
        UsageError: `root` is not a folder.
        MetacliError: there are no images, or more than MAX_IMAGES.
    """
    if not os.path.isdir(root):
        raise UsageError(
            f"task.root: {root} is not a folder",
            "set task.root to a folder with one directory per class; after moving it: task.root=NEW_PATH",
        )
    paths: list[Path] = []

    def report(error: OSError) -> None:
        terminal.print_to_stderr(f"note: skipped {error.filename}: {error.strerror}")

    for folder, _, names in os.walk(root, onerror=report):
        directory = Path(folder)
        if directory != root:
            paths += [directory / n for n in names if Path(n).suffix.lower() in SUFFIXES and n[0] != "."]
        if len(paths) > MAX_IMAGES:
            raise MetacliError(f"root: {root} contains more than {MAX_IMAGES:,} images", "choose a smaller folder")
    classes: dict[str, list[Path]] = {}
    for path in sorted(paths, key=lambda p: p.parts):  # paths themselves are ordered without regard to case on Windows
        classes.setdefault(path.parent.relative_to(root).as_posix(), []).append(path)
    if not classes:
        raise MetacliError(
            f"root: {root} contains no directory with images ({', '.join(SUFFIXES)})",
            "put the images of each class into a separate directory below the root",
        )
    return classes


def hash_to_unit_interval(text: str) -> float:
    """Returns a number in [0, 1), the same on every machine."""
    return int.from_bytes(hashlib.sha256(text.encode(errors="surrogateescape")).digest()[:6], "big") / 2**48


def file_digest(path: Path) -> str:
    """Returns the SHA-256 of a file as hexadecimal digits.

    Raises:
        MetacliError: the file cannot be read.
    """
    return hashlib.sha256(read_file(path, str(path))).hexdigest()


def decode_images(files: list[tuple[Path, str]], config: Folder.Config) -> dict[str, np.ndarray]:
    """Decodes image files.

    Args:
        files: the path of each file and the digest of its content.
        config: the channels, size and preparation of the images.

    Returns:
        `images` (files, channels, size, size) uint8, not inverted; `digests` (files,) bytes, see `pixel_digests`.

    Raises:
        MetacliError: a file is not an image, or has changed since its digest was computed.
    """
    size = config.size
    images = np.empty((len(files), config.channels, size, size), np.uint8)
    digests = []
    bar = tqdm(files, desc="decode images", file=sys.stderr, disable=None)
    for image, (path, expected_digest) in zip(images, bar, strict=True):
        data = read_file(path, str(path))
        if hashlib.sha256(data).hexdigest() != expected_digest:
            raise MetacliError(
                f"the image {path} changed while it was read", "try again when no program is writing to the file"
            )
        picture = read_image(data, str(path), REPLACE)
        image[:] = prepare_image(picture, size, path) if config.prepare else to_pixels(picture, config.channels, size)
        digests.append(picture_digest(picture))
    return {"images": images, "digests": to_digest_array(digests)}


def prepare_image(picture: Image.Image, size: int, path: Path) -> np.ndarray:
    """Returns (1, size, size) uint8, see `prepare.normalize_characters`; raises a MetacliError without ink."""
    try:
        return prepare.normalize_characters([picture], size)[0]
    except MetacliError as error:
        raise MetacliError(f"{path}: {error.message}", REPLACE) from None


def to_pixels(image: Image.Image, channels: int, size: int) -> np.ndarray:
    """Converts an image of any mode to (channels, size, size) uint8, with white in place of transparency.

    Args:
        image: upright.
        channels: 1 for grey, 3 for colour.
        size: height and width.
    """
    image = map_bands(make_opaque(image), lambda band: band.convert("L" if channels == 1 else "RGB"))
    image = image.resize((size, size), Image.Resampling.LANCZOS)
    return np.asarray(image).reshape(size, size, channels).transpose(2, 0, 1)
