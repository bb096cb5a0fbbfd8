"""Tasks over any folder of images with one directory per class."""

from __future__ import annotations

import os
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from PIL import Image
from pydantic import Field, field_validator, model_validator

from metacli.config.base import PathText
from metacli.errors import list_some
from metacli.system import operating_system, terminal
from metacli.tasks.base import Split
from metacli.tasks.images import checks, class_folders, class_splits, folder_cache
from metacli.tasks.images.base import Images
from metacli.tasks.images.class_splits import Cuts
from metacli.tasks.images.config import ImageConfig, ImageSet
from metacli.tasks.images.folder_cache import to_pixels

_SPLIT_HINT = "A split is a directory train, val or test directly in task.root, with one directory per class"


class Folder(Images):
    """Tasks over user images.

    Every directory below `root`, at any depth, that directly holds images is a class, named by its path from `root`,
    see `class_folders`. Classes below a directory train, val or test in `root` belong to that split. A split without
    such a directory is a fraction of the other classes, ranked by a hash of each name and `split_seed`. The run records
    where the ranking is cut, so that a new class does not move other classes between splits.
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
        val_cut: float | None = Field(
            None,
            ge=0,
            le=1,
            description=(
                "Classes whose hash, from 0 to 1, is at least this belong to the validation split. `null` chooses it "
                "by `val_fraction`, with at least `ways` classes if there are enough. A run records its value."
            ),
        )
        test_cut: float | None = Field(
            None,
            ge=0,
            le=1,
            description=(
                "Classes whose hash is below this belong to the test split. `null` chooses it by `test_fraction`, with "
                "at least `ways` classes if there are enough. A run records its value."
            ),
        )
        allow_same_names: bool = Field(
            False, description="Allow directories of the same name in several splits, if they are different classes."
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
    def preprocess(cls, config: Any, pictures: list[Image.Image], invert: bool | None = None) -> np.ndarray:
        """See `Images.preprocess`: like the images of the folder. Without `invert`, `task.invert` applies."""
        if config.prepare:
            return super().preprocess(config, pictures, invert)
        real = np.stack([to_pixels(picture, config.channels, config.size) for picture in pictures])
        return 255 - real if (config.invert if invert is None else invert) else real

    @classmethod
    def channels_of(cls, config: Any) -> int:
        """See `Images.channels_of`."""
        return config.channels

    @property
    def class_root(self) -> Path:
        """See `Tasks.class_root`."""
        return operating_system.expand_home(self.config.root)

    def load(self) -> ImageSet:
        """See `Images.load`: every image is stretched to a square; see also `folder_cache.load_pixels`.

        Raises:
            UsageError: the folder is missing, contains no images, or its classes are ambiguous.
            MetacliError: images cannot be read.
        """
        c = self.config
        classes = self._list_classes()
        counts = np.array([len(paths) for paths in classes.values()])
        checks.check_memory(int(counts.sum()), self.spec.x_shape)
        images, digests = folder_cache.load_pixels(classes, c)
        if c.invert:
            np.subtract(255, images, out=images)
        if not c.prepare and (note := checks.describe_wrong_polarity(images, c.invert)):
            terminal.print_to_stderr(f"note: {c.root}: {note}")
        names = [f"{name}/{path.name}" for name, paths in classes.items() for path in paths]
        return ImageSet(torch.from_numpy(images), list(classes), counts, digests, names)

    def _list_classes(self) -> dict[str, list[Path]]:
        """Returns the files of each class, and prints what is ignored and which directories resemble splits."""
        root = self.class_root
        classes, notes = class_folders.list_classes(root, "task.root")
        for split in class_splits.find_mixed(list(classes)):
            notes.append(f"ignored pictures that are directly in the split {split}: {len(classes.pop(split)):,}")
        class_splits.check_names(str(root), list(classes), self.config.allow_same_names)
        lines = [f"note: {note}" for note in notes]
        if resembling := class_splits.find_resembling(list(classes)):
            lines.append(f"warning: not taken as a split: {list_some(resembling)}. {_SPLIT_HINT}")
        if lines:
            terminal.print_to_stderr(*lines)
        return classes

    @cached_property
    def _positions(self) -> np.ndarray:
        """See `class_splits.hash_positions`."""
        return class_splits.hash_positions(self.image_set.names, self.config.split_seed)

    @cached_property
    def cuts(self) -> Cuts:
        """The cuts of the config, or those chosen for the classes that there are now."""
        c = self.config
        own = [class_splits.split_of(name) for name in self.image_set.names]
        shares = [
            None if cut is not None or split in own else share
            for split, cut, share in (("test", c.test_cut, c.test_fraction), ("val", c.val_cut, c.val_fraction))
        ]
        divided = np.array([split in (None, "train") for split in own])
        chosen = class_splits.choose_cuts(self._positions[divided], (shares[0], shares[1]), c.ways)
        test = chosen.test if c.test_cut is None else c.test_cut
        return Cuts(test, chosen.val if c.val_cut is None else c.val_cut)

    def resolve_config(self) -> Folder.Config:
        """See `Tasks.resolve_config`: with the cuts, so that no class moves when others are added."""
        return self.config.model_copy(update={"test_cut": self.cuts.test, "val_cut": self.cuts.val})

    def class_splits(self, n: int) -> dict[Split, np.ndarray]:
        """See `Images.class_splits`: by directories, or by the hash of each name and the cuts."""
        return class_splits.divide_classes(self.image_set.names, self._positions, self.cuts)

    @property
    def split_hint(self) -> str:
        """See `Images.split_hint`."""
        if self.config.val_cut is None and self.config.test_cut is None:
            return super().split_hint
        return "divide the classes anew, as for another folder: task.val_cut=null task.test_cut=null"

    def source(self) -> str:
        """See `Images.source`."""
        return f"folder {self.config.root}, split {self.config.split_seed}"
