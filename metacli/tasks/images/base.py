"""N-way K-shot tasks and MANN's stream over any array of images that is indexed by class."""

from __future__ import annotations

from abc import abstractmethod
from functools import cached_property
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from metacli.episode import Episode, Spec
from metacli.errors import UsageError
from metacli.tasks.answers import Symbols
from metacli.tasks.base import SPLITS, Split, Tasks
from metacli.tasks.images import augment, checks, labels, sampling
from metacli.tasks.images.config import ImageSet
from metacli.tasks.images.poses import Pose, poses
from metacli.tasks.images.preprocess import prepare
from metacli.tasks.metrics import Metric
from metacli.tasks.rng import CounterRNG

INSTANCES = 10  # of a class in a stream, scored one by one


class Images(Tasks):
    """p(T) over classes of images: a subclass loads the images and divides the classes.

    A task has N classes without replacement, labelled 0, ..., N - 1 in random order, and different instances of each.
    Class ids: p * C + c for class c of C in the p-th of its poses, turned or mirrored.
    """

    view = "images"
    answer: Symbols

    @abstractmethod
    def load(self) -> ImageSet:
        """All images of all splits, read once, when the first batch is asked for."""

    @abstractmethod
    def class_splits(self, n: int) -> dict[Split, np.ndarray]:
        """The classes of each split: disjoint arrays of numbers below n, the number of classes loaded."""

    @classmethod
    def channels_of(cls, config: Any) -> int:
        """Channels of an image."""
        return 1

    @classmethod
    def preprocess(cls, config: Any, pictures: list[Image.Image]) -> np.ndarray:
        """A person's own pictures as these tasks show theirs: (M, C, size, size) uint8.

        Raises:
            MetacliError: one of them shows nothing.
        """
        size = config.size
        return prepare.characters(pictures, size) if config.prepare else prepare.fitted(pictures, size)

    @classmethod
    def answer_of(cls, config: Any) -> Symbols:
        """The label of a class."""
        return Symbols(config.ways) if config.labels == "one-hot" else Symbols(labels.LETTERS, labels.CHARACTERS)

    @classmethod
    def spec_of(cls, config: Any) -> Spec:
        """See `Tasks.spec_of`: mode `independent` for k-shot, `stream` for stream."""
        answer, k_shot = cls.answer_of(config), config.protocol == "k-shot"
        return Spec(
            mode="independent" if k_shot else "stream",
            x_shape=(cls.channels_of(config), config.size, config.size),
            y_size=answer.label_size,
            out_size=answer.size,
            length=config.ways * config.shots + 1 if k_shot else config.length,
        )

    @cached_property
    def image_set(self) -> ImageSet:
        """The images, loaded at first use."""
        return self.load()

    @cached_property
    def _poses(self) -> list[Pose]:
        """How the images of a class are shown, as one class each."""
        return poses(self.config)

    @cached_property
    def pools(self) -> dict[Split, np.ndarray]:
        """The class ids of each split, posed ones included; enough or not, as only some may be asked for."""
        n, pools = len(self.image_set.names), {}
        for split, classes in self.class_splits(n).items():
            many = len(self._poses) if self.augments(split) else 1
            pools[split] = np.concatenate([classes + pose * n for pose in range(many)])
        return pools

    @cached_property
    def _lacking(self) -> dict[Split, list[str]]:
        """What each split lacks for these tasks, in words."""
        return {split: checks.faults(split, pool, self.config, self.image_set) for split, pool in self.pools.items()}

    def check(self, split: Split) -> None:
        """Raise a UsageError where a split has too little for these tasks; it also tells of the other splits."""
        if not self._lacking[split]:
            return
        if not len(self.pools[split]):
            raise UsageError(self._lacking[split][0], "give it classes, or ask for another split")
        faults = [fault for s in SPLITS if len(self.pools[s]) for fault in self._lacking[s]]
        hint = "lower ways, shots, queries or length, or divide the classes otherwise (as by split_seed)"
        raise UsageError(["too little data for these tasks:", *faults], hint)

    def augments(self, split: Split) -> bool:
        """Whether augmentation applies to a split."""
        return split == "train" or self.config.augment == "all"

    @cached_property
    def _table(self) -> Tensor:
        """(poses * images, channels * height * width) uint8: all images, then all of them turned, and so on."""
        images = self.image_set.images
        return torch.cat([pose.of(images).flatten(1) for pose in self._poses]) if self._poses[1:] else images.flatten(1)

    @cached_property
    def _spans(self) -> tuple[np.ndarray, np.ndarray]:
        """(class ids,) int64 each: where the images of a class begin in the table, and how many there are."""
        every = self.image_set
        first = np.arange(len(self._poses))[:, None] * len(every.images)
        return (first + every.starts).ravel(), np.tile(every.counts, len(self._poses))

    def batch(self, split: Split, first: int, count: int) -> Episode:
        """Episodes first, ..., first + count - 1 of a split.

        k-shot: D_train holds K instances of each class, D_test `queries` others, each part in random order.
        stream: D_train is empty; each step's class is uniform among those with an instance left, and its instance one
        not yet shown. So no instance comes twice, and nearly always all N classes are open.
        """
        c = self.config
        pool, index = self.pools[split], np.arange(first, first + count)
        self.check(split)
        rng = CounterRNG(self.seed, split, index)
        classes = pool[self._chosen(rng, split, count)]  # (B, N)
        starts, sizes = self._spans
        counts = sizes[classes]  # (B, N)
        if c.protocol == "k-shot" and c.fewest_ways:
            parts = sampling.varied(rng, counts, c.fewest_ways, c.ways * c.shots, c.ways * c.queries)
        elif c.protocol == "k-shot":
            parts = (
                sampling.shuffled(rng, c.ways, 0, c.shots),
                sampling.shuffled(rng, c.ways, c.shots, c.shots + c.queries),
            )
        else:
            none = np.zeros((count, 0), np.int64)
            parts = ((none, none), sampling.streamed(rng, counts, c.length))
        characters = labels.strings(rng, c.ways) if c.labels == "strings" else None  # (B, N, C)
        instances = sampling.instances(rng, counts, self.image_set.most)  # (B, N, D)
        rows, first_row = np.arange(count)[:, None], starts[classes]

        at, y = [], []
        for label, nth in parts:  # (B, T) each: the class by its label, and which of its instances
            at.append(first_row[rows, label] + instances[rows, label, nth])
            y.append(torch.from_numpy(label[..., None] if characters is None else characters[rows, label]))  # (B, T, C)
        x = self._pixels(at, rng if self.augments(split) else None)
        seen = self.answer.encode(y[0])  # (B, S, Y)
        late = None
        if c.protocol == "stream":
            late = F.pad(self.answer.encode(y[1]), (0, 0, 1, 0))[:, :-1]  # (B, Q, Y)
        numbers = torch.from_numpy(index)
        return Episode(x[0], seen, x[1], y[1], numbers, y_previous=late, classes=torch.from_numpy(classes))

    def _chosen(self, rng: CounterRNG, split: Split, count: int) -> np.ndarray:
        """(B, N) places in the split's pool of the classes of each task, all of one group where it is such a task."""
        c, everything = self.config, len(self.pools[split])
        if not c.within:
            return rng.subset(everything, c.ways)
        if split not in self._groups:
            self._groups[split] = sampling.groups(self.image_set.names, self.pools[split], c.ways, split)
        place, spans = self._groups[split]
        start, size = spans[rng.integers(len(spans), 1)[:, 0]].T
        within = rng.uniform(1)[:, 0] < c.within
        start, size = np.where(within, start, 0), np.where(within, size, everything)
        return place[start[:, None] + rng.subset(size, c.ways)]

    @cached_property
    def _groups(self) -> dict[Split, tuple[np.ndarray, np.ndarray]]:
        """The groups of the pools that were asked for, see `order.groups`."""
        return {}

    def _pixels(self, at: list[np.ndarray], rng: CounterRNG | None) -> list[Tensor]:
        """(B, T) rows of the table, each to (B, T, *x_shape) float32 in [0, 1], moved where `rng` is given.

        All of them at once: for a single episode it is the number of operations that costs.
        """
        c, shape = self.config, self.spec.x_shape
        row, loops = np.concatenate([part.ravel() for part in at]), augment.quickest()
        if rng is not None and (c.rotation or c.shift or c.stretch > 1 or c.slant):
            draw = augment.amounts(rng, at)
            origin, shift = augment.rotation_matrices(np.radians(c.rotation) * draw[:, 0]), c.shift * draw[:, 1:]
            if c.stretch > 1 or c.slant:
                draw = augment.amounts(rng, at)
                origin = augment.shear_matrices(c.stretch ** draw[:, 1:], np.radians(c.slant) * draw[:, 0]) @ origin
            x = loops.moved(self._table, row, shape, origin, shift)
        else:
            x = loops.taken(self._table, row, shape)
        parts = x.split([part.size for part in at])
        return [x_part.view(*part.shape, *shape) for x_part, part in zip(parts, at, strict=True)]

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """Those of a label; of a stream also the accuracy at the k-th instance of a class."""
        if self.config.protocol == "k-shot":
            return super().metrics
        title = "accuracy at the k-th instance of a class"
        return (*super().metrics, Metric("accuracy_at_instance", "%", True, "by_appearance", "appearance", title))

    def score(self, logits: Tensor, episode: Episode) -> dict[str, Tensor]:
        """The scores of labels; for a stream also `accuracy_at_instance` (B, 10).

        That is the accuracy at the 1st, ..., 10th instance of a class, over the classes that reach it; NaN where none
        does.
        """
        scores, answer = super().score(logits, episode), episode.y_test
        if self.config.protocol == "stream":
            right = self.answer.is_correct(logits, answer)  # (B, Q)
            same = (answer[:, :, None] == answer[:, None]).all(-1)  # (B, T, T)
            before = same.tril(-1).sum(2)  # (B, T): earlier instances of the class of each step
            at = (before[..., None] == torch.arange(INSTANCES, device=before.device)).float()  # (B, T, 10)
            scores["accuracy_at_instance"] = (right[..., None] * at).sum(1) / at.sum(1)
        return scores

    def describe(self) -> str:
        """One line: the data, the classes and instances of each split, the seed."""
        n, counts = len(self.image_set.names), self.image_set.counts
        sizes = [f"{s} {len(p):,} classes, {counts[p % n].sum():,} images" for s, p in self.pools.items()]
        return f"{self.source()}: {'; '.join(sizes)}; seed {self.seed}"

    def source(self) -> str:
        """The data and how its classes are divided, in a few words."""
        return str(self.config.name)

    def class_digests(self, split: Split) -> dict[str, list[str]]:
        """See `Tasks.class_digests`; a turned class counts as the one that it was turned from."""
        every = self.image_set
        classes = np.unique(self.pools[split] % len(every.names)).tolist()
        return {every.names[c]: every.pixel_digests(c) for c in classes}

    def data_digest(self) -> bytes:
        """See `Tasks.data_digest`: 0.05 s for all of Omniglot."""
        return self.image_set.digest()

    def class_names(self, classes: Tensor) -> list[str]:
        """Names of classes by id, with /rot090, /rot180 or /rot270 for a turned one, /mirrored for a mirrored one."""
        names = self.image_set.names
        return [f"{names[c]}{self._poses[pose]}" for pose, c in (divmod(int(i), len(names)) for i in classes)]
