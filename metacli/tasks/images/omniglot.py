"""Omniglot: 1,623 characters of 50 alphabets, each drawn once by 20 people (Lake et al. 2015)."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import torch
from pydantic import Field

from metacli.errors import MetacliError
from metacli.system import operating_system
from metacli.tasks.base import SPLITS, Split
from metacli.tasks.images import checks, omniglot_archive
from metacli.tasks.images.base import Images
from metacli.tasks.images.config import ImageConfig, ImageSet
from metacli.tasks.rng import CounterRNG

RANDOM_TEST_CLASSES = 423  # test classes of the random split


class Omniglot(Images):
    """Tasks over the characters of Omniglot, with one of the three published divisions of the classes.

    random: 1,200 training and 423 test classes (MANN, section 4.1; SNAIL), drawn by `split_seed`. The val classes come
    from the 1,200. The papers do not publish their division.
    vinyals: the fixed 1,028 / 172 / 423 classes of Matching Networks, from lists.
    lake: the 30 background alphabets for training and the 20 evaluation alphabets for test, 964 / 659 classes. val is
    whole alphabets of the background, so that val, like test, measures accuracy on new alphabets.
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
        """See `Images.load`; `metacli.tasks.images.omniglot_archive.omniglot` finds or downloads the data."""
        drawings = omniglot_archive.DRAWINGS * sum(part.characters for part in omniglot_archive.ARCHIVES)
        checks.check_memory(drawings, self.spec.x_shape)
        arrays = omniglot_archive.omniglot(self.config.size, self.config.prepare)
        classes, each, *_ = arrays["images"].shape
        images = torch.from_numpy(arrays["images"]).view(-1, 1, self.config.size, self.config.size)
        return ImageSet(images, arrays["names"].tolist(), np.full(classes, each), arrays["digests"].ravel())

    def class_splits(self, n: int) -> dict[Split, np.ndarray]:
        """See `Images.class_splits`."""
        c = self.config
        if c.split == "vinyals":
            return read_class_lists(self.image_set.names, find_split_folder(c.split_dir))
        rng = CounterRNG(c.split_seed, "classes", np.zeros(1))
        if c.split == "random":
            order = rng.permutation(n)[0]
            test, train = order[:RANDOM_TEST_CLASSES], order[RANDOM_TEST_CLASSES:]
            return {"train": train[c.val_classes :], "val": train[: c.val_classes], "test": test}
        background = omniglot_archive.ARCHIVES[0].characters
        alphabet = np.array([name.split("/")[0] for name in self.image_set.names[:background]])
        alphabets, sizes = np.unique(alphabet, return_counts=True)
        order = rng.permutation(len(alphabets))[0]
        val_alphabets = order[: 1 + np.searchsorted(sizes[order].cumsum(), c.val_classes)]
        val = np.isin(alphabet, alphabets[val_alphabets])
        return {"train": np.flatnonzero(~val), "val": np.flatnonzero(val), "test": np.arange(background, n)}

    def source(self) -> str:
        """See `Images.source`."""
        c = self.config
        return f"omniglot, {c.split} split" + (f" {c.split_seed}" if c.split != "vinyals" else "")


def find_split_folder(split_dir: str) -> Path:
    """Returns the folder of the class lists of the Vinyals split.

    Raises:
        MetacliError: neither `split_dir` nor METACLI_DATA contains the lists.
    """
    data_folder = omniglot_archive.data_dir()
    if not split_dir and data_folder is None:
        raise MetacliError("split: vinyals needs class lists, but split_dir is empty", _LISTS_HINT)
    folder = operating_system.expand_home(split_dir) if split_dir else Path(data_folder or "") / "vinyals_split"
    missing = [f"{split}.txt" for split in SPLITS if not (folder / f"{split}.txt").is_file()]
    if missing:
        raise MetacliError(f"split: vinyals: {folder} does not contain {', '.join(missing)}", _LISTS_HINT)
    return folder


def read_class_lists(names: list[str], folder: Path) -> dict[Split, np.ndarray]:
    """Returns the classes of train.txt, val.txt and test.txt, each once even if several rotations of it are listed.

    Raises:
        MetacliError: a line names an unknown class, or a class is in two lists.
    """
    class_number = {name: i for i, name in enumerate(names)}
    split_of_class: dict[int, str] = {}
    splits: dict[Split, np.ndarray] = {}
    for split in SPLITS:
        path = folder / f"{split}.txt"
        for line_number, line_text in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
            name = "/".join(line_text.strip().split("/")[:2])
            if name not in class_number:
                raise MetacliError(
                    f"{path}, line {line_number}: {line_text.strip()!r} is not a class of Omniglot", _LISTS_HINT
                )
            if split_of_class.setdefault(class_number[name], split) != split:
                raise MetacliError(
                    f"{name} is listed in {split_of_class[class_number[name]]}.txt and in {split}.txt of {folder}",
                    _LISTS_HINT,
                )
        splits[split] = np.array([c for c, class_split in split_of_class.items() if class_split == split], np.int64)
    return splits


_LISTS_HINT = (
    "set split_dir to a folder with train.txt, val.txt and test.txt, lines ALPHABET/CHARACTER/rotDDD "
    "(data/omniglot/splits/vinyals in github.com/jakesnell/prototypical-networks), or put them into vinyals_split "
    "in the folder METACLI_DATA; or use split: random or lake"
)
