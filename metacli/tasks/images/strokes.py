"""strokes: tasks over synthetic characters, without a download."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from PIL import Image
from pydantic import Field
from tqdm import tqdm

from metacli.system import cache, terminal
from metacli.tasks.base import SPLITS, Split
from metacli.tasks.images import checks
from metacli.tasks.images.base import Images
from metacli.tasks.images.config import ImageConfig, ImageSet
from metacli.tasks.images.pixel_digests import LENGTH, image_digests
from metacli.tasks.images.preprocess import prepare
from metacli.tasks.images.synthetic.pen import draw_strokes, rasterize, resize_pages
from metacli.tasks.images.synthetic.script import ALPHABET_SIZE, generate_characters
from metacli.tasks.rng import CounterRNG

VERSION = 3  # of the cache; increase it when any pixel or digest changes
CLASSES_PER_SPLIT = 25_000  # character numbers of a family that are reserved for each split
CHUNK_CHARACTERS = 100  # few enough that their pages fit into the processor's cache
NAME_STRIDE = 181_081  # between the numbers of successive alphabet names
SYLLABLES = [consonant + vowel for consonant in "bdfghjklmnprstvz" for vowel in "aeiou"]


class Strokes(Images):
    """Tasks over characters of invented alphabets: a few pen strokes each, drawn with varying handwriting.

    They resemble Omniglot and have the same format: 105 x 105 pixels, one bit, resized. See `script` for the characters
    and `pen` for the drawing. Each split has separate alphabets. A class does not depend on the number of
    classes, so recipes with different numbers share their first classes.
    """

    class Config(ImageConfig):
        """Keys of `strokes`, beside those of every image task."""

        name: Literal["strokes"] = Field("strokes", description="Registered name of the task distribution.")
        classes: int = Field(
            1000, ge=2, le=20_000, description="Number of training classes. 25 classes make an alphabet."
        )
        val_classes: int = Field(
            100, ge=2, le=20_000, description="Number of classes of the validation split, from separate alphabets."
        )
        test_classes: int = Field(
            200, ge=2, le=20_000, description="Number of classes of the test split, from separate alphabets."
        )
        instances: int = Field(20, ge=2, le=200, description="Images per class.")
        data_seed: int = Field(0, ge=0, lt=2**32, description="Seed of the characters, independent of the run's seed.")

    def load(self) -> ImageSet:
        """See `Images.load`: the images are drawn once, then read from the cache."""
        c = self.config
        sizes = enumerate(self._split_sizes.values())
        numbers = np.concatenate([i * CLASSES_PER_SPLIT + np.arange(n) for i, n in sizes])
        checks.check_memory(len(numbers) * c.instances, self.spec.x_shape)
        kind = f"prepared{prepare.VERSION}" if c.prepare else "strokes"
        name = "-".join(map(str, (kind, VERSION, c.data_seed, *self._split_sizes.values(), c.instances, c.size)))
        arrays = cache.load_or_make(name, lambda: draw(c.data_seed, numbers, c.instances, c.size, c.prepare))
        images = torch.from_numpy(arrays["images"]).flatten(0, 1)[:, None]
        counts = np.full(len(numbers), c.instances)
        return ImageSet(images, names(c.data_seed, numbers), counts, arrays["digests"].ravel())

    def class_splits(self, n: int) -> dict[Split, np.ndarray]:
        """See `Images.class_splits`: no alphabet is in two splits."""
        starts = np.cumsum([0, *self._split_sizes.values()])
        return {split: np.arange(starts[i], starts[i + 1]) for i, split in enumerate(SPLITS)}

    def data_identity(self) -> str:
        """See `Tasks.data_identity`: each family is a data set."""
        return f"strokes {self.config.data_seed}"

    def source(self) -> str:
        """See `Images.source`."""
        return f"strokes, family {self.config.data_seed}"

    @property
    def _split_sizes(self) -> dict[Split, int]:
        c = self.config
        return {"train": c.classes, "val": c.val_classes, "test": c.test_classes}


def draw(seed: int, numbers: np.ndarray, drawings: int, size: int, prepared: bool = False) -> dict[str, np.ndarray]:
    """Returns drawings of some characters of a family.

    Args:
        seed: seed of the family.
        numbers: (C,) int64, the numbers of the characters in the family.
        drawings: number of drawings of each character; drawing d does not depend on it.
        size: height and width in pixels.
        prepared: see `metacli.tasks.images.preprocess.prepare`.

    Returns:
        `images` (C, drawings, size, size) uint8, ink 255 on paper 0; `digests` (C, drawings) bytes, see
        `pixel_digests`, of the drawings before they are resized, black ink on white as in Omniglot's files.
    """
    images = np.empty((len(numbers), drawings, size, size), np.uint8)
    digests = np.empty((len(numbers), drawings), f"S{LENGTH}")
    starts = range(0, len(numbers), CHUNK_CHARACTERS)
    for start in tqdm(starts, desc="draw strokes", file=terminal.stderr(), disable=None):
        chunk = numbers[start : start + CHUNK_CHARACTERS]
        lines, owner = draw_strokes(seed, chunk, generate_characters(seed, chunk), drawings)
        page_number = owner[:, None] * drawings + np.arange(drawings)
        pages = rasterize(lines.reshape(-1, lines.shape[2]), page_number.ravel(), len(chunk) * drawings)
        if prepared:
            resized = prepare.normalize_characters([Image.fromarray(page) for page in pages], size)
        else:
            resized = resize_pages(pages, size)
        images[start : start + CHUNK_CHARACTERS] = resized.reshape(-1, drawings, size, size)
        digests[start : start + CHUNK_CHARACTERS] = image_digests(255 - pages[:, None]).reshape(-1, drawings)
    return {"images": images, "digests": digests}


def names(seed: int, numbers: np.ndarray) -> list[str]:
    """Returns unique names of characters, ALPHABET/characterNN, by their number in a family.

    Alphabet names are numbered with a stride that is coprime to the number of names, so that no name is repeated.
    """
    name_count = len(SYLLABLES) ** 3
    first = int(CounterRNG(seed, "strokes name", np.zeros(1)).integers(name_count)[0])
    alphabet, letter = numbers // ALPHABET_SIZE, numbers % ALPHABET_SIZE
    digits = (first + alphabet * NAME_STRIDE)[:, None] % name_count // len(SYLLABLES) ** np.arange(3) % len(SYLLABLES)
    alphabet_names = ["".join(SYLLABLES[digit] for digit in row).capitalize() for row in digits]
    return [f"{name}/character{number:02d}" for name, number in zip(alphabet_names, letter + 1, strict=True)]
