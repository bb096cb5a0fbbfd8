"""Omniglot: 1,623 characters of 50 alphabets, each drawn once by 20 people (Lake et al. 2015)."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import torch
from pydantic import Field

from metacli.errors import MetacliError
from metacli.tasks.base import SPLITS, Split
from metacli.tasks.images import checks, omniglot_archive
from metacli.tasks.images.base import Images
from metacli.tasks.images.config import ImageConfig, ImageSet
from metacli.tasks.rng import CounterRNG

RANDOM_TEST = 423  # test classes of the random split


class Omniglot(Images):
    """Tasks over the characters of Omniglot, by one of the three published divisions of the classes.

    random: 1,200 classes to train on and 423 to test (MANN, section 4.1; SNAIL), drawn by `split_seed`; the classes
    of val come from the 1,200. The papers do not publish theirs.
    vinyals: the fixed 1,028 / 172 / 423 of Matching Networks, from lists.
    lake: the 30 background alphabets to train on and the 20 evaluation alphabets to test, 964 / 659 classes;
    val is whole alphabets of the background, so that it asks the same of a model as test.
    """

    class Config(ImageConfig):
        """Keys of `omniglot`, beside those of every image task."""

        name: Literal["omniglot"] = Field("omniglot", description="Registered name of the task distribution.")
        split: Literal["random", "vinyals", "lake"] = Field(
            "random", description="How the classes are divided into splits."
        )
        split_seed: int = Field(
            0, ge=0, description="Seed of the random division, independent of the run's seed (random, lake)."
        )
        val_classes: int = Field(
            100,
            ge=1,
            le=1000,
            description=(
                "Number of classes of the validation split, taken from the training classes. `lake` takes whole "
                "alphabets in random order until they have this many classes (random, lake)."
            ),
        )
        split_dir: str = Field(
            "",
            description=(
                "Folder of train.txt, val.txt and test.txt with lines ALPHABET/CHARACTER/rotDDD. Empty for "
                "`vinyals_split` in the folder METACLI_DATA (vinyals)."
            ),
        )
        rotated_classes: bool = Field(
            True,
            description=(
                "Add three classes per class: its images rotated by 90, 180 and 270 degrees. Enabled by default, as in "
                "the papers."
            ),
        )

    def load(self) -> ImageSet:
        """See `Images.load`; see `metacli.tasks.images.omniglot_archive.omniglot` for where it comes from."""
        drawings = omniglot_archive.DRAWINGS * sum(part.characters for part in omniglot_archive.ARCHIVES)
        checks.check_memory(drawings, self.spec.x_shape, self.config)
        arrays = omniglot_archive.omniglot(self.config.size, self.config.prepare)
        classes, each, *_ = arrays["images"].shape
        images = torch.from_numpy(arrays["images"]).view(-1, 1, self.config.size, self.config.size)
        return ImageSet(images, arrays["names"].tolist(), np.full(classes, each), arrays["digests"].ravel())

    def class_splits(self, n: int) -> dict[Split, np.ndarray]:
        """See `Images.class_splits`."""
        c = self.config
        if c.split == "vinyals":
            return listed_classes(self.image_set.names, split_folder(c.split_dir))
        counter = CounterRNG(c.split_seed, "classes", np.zeros(1))
        if c.split == "random":
            order = counter.permutation(n)[0]
            test, train = order[:RANDOM_TEST], order[RANDOM_TEST:]
            return {"train": train[c.val_classes :], "val": train[: c.val_classes], "test": test}
        background = omniglot_archive.ARCHIVES[0].characters
        alphabet = np.array([name.split("/")[0] for name in self.image_set.names[:background]])
        alphabets, sizes = np.unique(alphabet, return_counts=True)
        order = counter.permutation(len(alphabets))[0]
        taken = order[: 1 + np.searchsorted(sizes[order].cumsum(), c.val_classes)]
        val = np.isin(alphabet, alphabets[taken])
        return {"train": np.flatnonzero(~val), "val": np.flatnonzero(val), "test": np.arange(background, n)}

    def source(self) -> str:
        """See `Images.source`."""
        c = self.config
        return f"omniglot, {c.split} split" + (f" {c.split_seed}" if c.split != "vinyals" else "")


def split_folder(split_dir: str) -> Path:
    """The folder of the class lists of the Vinyals split.

    Raises:
        MetacliError: neither `split_dir` nor METACLI_DATA leads to one.
    """
    beside = omniglot_archive.data_dir()
    if not split_dir and beside is None:
        raise MetacliError("split: vinyals needs its class lists, and split_dir is empty", _LISTS)
    folder = Path(split_dir) if split_dir else Path(beside or "") / "vinyals_split"
    missing = [f"{split}.txt" for split in SPLITS if not (folder / f"{split}.txt").is_file()]
    if missing:
        raise MetacliError(f"split: vinyals: {folder} lacks {', '.join(missing)}", _LISTS)
    return folder


def listed_classes(names: list[str], folder: Path) -> dict[Split, np.ndarray]:
    """The classes of train.txt, val.txt and test.txt, each class once however many of its turns are listed.

    Raises:
        MetacliError: a line names no class, or a class stands in two lists.
    """
    number = {name: i for i, name in enumerate(names)}
    home: dict[int, str] = {}
    splits: dict[Split, np.ndarray] = {}
    for split in SPLITS:
        path = folder / f"{split}.txt"
        for line, text in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
            name = "/".join(text.strip().split("/")[:2])
            if name not in number:
                raise MetacliError(f"{path}, line {line}: {text.strip()!r} is no class of Omniglot", _LISTS)
            if home.setdefault(number[name], split) != split:
                raise MetacliError(f"{name} stands in {home[number[name]]}.txt and in {split}.txt of {folder}", _LISTS)
        splits[split] = np.array([c for c, where in home.items() if where == split], np.int64)
    return splits


_LISTS = (
    "set split_dir to a folder with train.txt, val.txt and test.txt, lines ALPHABET/CHARACTER/rotDDD "
    "(data/omniglot/splits/vinyals in github.com/jakesnell/prototypical-networks), or put them into vinyals_split "
    "in the folder METACLI_DATA; or use split: random or lake"
)
