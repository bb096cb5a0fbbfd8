"""Images: N-way K-shot tasks and MANN's stream over any set of images indexed by class."""

from __future__ import annotations

from abc import abstractmethod
from copy import copy
from functools import cached_property
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from metacli.episode import Episode, Spec
from metacli.errors import UsageError
from metacli.tasks.answers import EmbeddedLabels, Symbols
from metacli.tasks.base import SPLITS, Split, Tasks
from metacli.tasks.images import checks, labels, sampling
from metacli.tasks.images.config import ImageSet
from metacli.tasks.images.pixels import load_pixels
from metacli.tasks.images.poses import Pose, list_poses
from metacli.tasks.images.preprocess import prepare
from metacli.tasks.metrics import Metric
from metacli.tasks.rng import CounterRNG

SCORED_INSTANCES = 10  # in a stream, the accuracy is reported for the 1st to 10th instance of a class


class Images(Tasks):
    """Tasks over classes of images. A subclass loads the images and divides the classes into splits.

    A task has N distinct classes, labelled 0, ..., N - 1 in random order, and distinct instances of each.
    A class id is p * C + c for class c of C in its p-th pose, rotated or mirrored.
    """

    view = "images"
    answer: Symbols

    @abstractmethod
    def load(self) -> ImageSet:
        """Loads all images of all splits; called once, before the first batch."""

    @abstractmethod
    def class_splits(self, n: int) -> dict[Split, np.ndarray]:
        """Returns the classes of each split: disjoint arrays of numbers below n, the number of loaded classes."""

    @classmethod
    def channels_of(cls, config: Any) -> int:
        """Returns the number of channels of an image."""
        return 1

    @classmethod
    def preprocess(cls, config: Any, pictures: list[Image.Image], invert: bool | None = None) -> np.ndarray:
        """Preprocesses user images to look like the images of these tasks, (M, C, size, size) uint8.

        Args:
            config: the config of the tasks.
            pictures: M images, upright.
            invert: True for dark ink on light paper, False for light ink on dark paper, None to detect it in each
                image.

        Raises:
            MetacliError: an image is empty.
        """
        convert = prepare.normalize_characters if config.prepare else prepare.resize_images
        return convert(pictures, config.size, invert)

    @classmethod
    def answer_of(cls, config: Any) -> Symbols:
        """Returns class labels, or strings."""
        if config.labels == "strings":
            return Symbols(labels.LETTERS, labels.CHARACTERS)
        return EmbeddedLabels(config.ways) if config.labels == "embedded" else Symbols(config.ways)

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
            random_labels=config.labels == "embedded",
        )

    @cached_property
    def image_set(self) -> ImageSet:
        """The images, loaded at first use."""
        return self.load()

    @cached_property
    def _poses(self) -> list[Pose]:
        """The poses of a class; each counts as one class."""
        return list_poses(self.config)

    @cached_property
    def pools(self) -> dict[Split, np.ndarray]:
        """The class ids of each split, with all poses. A split may have too few; see `check`."""
        class_count, pools = len(self.image_set.names), {}
        for split, classes in self.class_splits(class_count).items():
            pose_count = len(self._poses) if self.augments(split) else 1
            pools[split] = np.concatenate([classes + pose * class_count for pose in range(pose_count)])
        return pools

    @cached_property
    def _problems(self) -> dict[Split, list[str]]:
        """The problems of each split, as messages; see `checks.find_problems`."""
        config, images = self.config, self.image_set
        return {split: checks.find_problems(split, pool, config, images) for split, pool in self.pools.items()}

    def check(self, split: Split) -> None:
        """Raises a UsageError if a split has too few classes or images; the message covers the other splits too."""
        if not self._problems[split]:
            return
        if not len(self.pools[split]):
            raise UsageError(self._problems[split][0], f"add classes to it, choose another split, or {self.split_hint}")
        problems = [problem for s in SPLITS if len(self.pools[s]) for problem in self._problems[s]]
        hint = f"lower ways, shots, queries or length, or {self.split_hint}"
        raise UsageError(["too little data for these tasks:", *problems], hint)

    @property
    def split_hint(self) -> str:
        """How to change the division into splits, for the hint of an error."""
        return "change the division into splits (such as split_seed)"

    def augments(self, split: Split) -> bool:
        """Whether augmentation applies to a split."""
        return split == "train" or self.config.augment == "all"

    @cached_property
    def _class_rows(self) -> tuple[np.ndarray, np.ndarray]:
        """The first table row of each class id, and its number of images; (class ids,) int64 each.

        The table holds all images in the first pose, then in the second, ...; see `poses.select_rows`.
        """
        image_set = self.image_set
        first = np.arange(len(self._poses))[:, None] * len(image_set.images)
        return (first + image_set.starts).ravel(), np.tile(image_set.counts, len(self._poses))

    def batch(self, split: Split, first: int, count: int) -> Episode:
        """Returns episodes first, ..., first + count - 1 of a split.

        k-shot: D_train contains K images of each class, D_test `queries` other images of each, both in random order.
        With `fewest_shots`, K differs between tasks, and shorter support sets are padded.
        stream: D_train is empty. Each step draws a class uniformly from those with unused images, and takes an unused
        image of it. So no image appears twice, and a class rarely runs out of images.
        """
        c = self.config
        pool, index = self.pools[split], np.arange(first, first + count)
        self.check(split)
        rng = self.random_numbers(split, index)
        classes = pool[self._sample_classes(rng, split, count)]  # (B, N)
        starts, sizes = self._class_rows
        counts, mask = sizes[classes], None  # (B, N)
        if c.protocol == "k-shot" and c.fewest_ways:
            parts = sampling.sample_varied_ways(rng, counts, c.fewest_ways, c.ways * c.shots, c.ways * c.queries)
        elif c.protocol == "k-shot":
            support, mask = sampling.sample_varied_shots(rng, c.ways, self.sample_shots(split, index), c.shots)
            parts = support, sampling.shuffle_instances(rng, c.ways, c.shots, c.shots + c.queries)
        else:
            empty = np.zeros((count, 0), np.int64)
            parts = ((empty, empty), sampling.sample_stream(rng, counts, c.length))
        characters = labels.sample_strings(rng, c.ways) if c.labels == "strings" else None  # (B, N, C)
        instances = sampling.permute_instances(rng, counts, self.image_set.most)  # (B, N, D)
        rows, first_row = np.arange(count)[:, None], starts[classes]

        table_rows, y = [], []
        for label, instance in parts:  # (B, T) each: labels and instance numbers
            table_rows.append(first_row[rows, label] + instances[rows, label, instance])
            y.append(torch.from_numpy(label[..., None] if characters is None else characters[rows, label]))  # (B, T, C)
        x = load_pixels(self.image_set.images, self._poses, table_rows, c, rng if self.augments(split) else None)
        vectors = self._draw_label_vectors(split, index)
        y_train = self.answer.encode(y[0], vectors)  # (B, S, Y)
        y_previous = None
        if c.protocol == "stream":
            y_previous = F.pad(self.answer.encode(y[1], vectors), (0, 0, 1, 0))[:, :-1]  # (B, Q, Y)
        return Episode(
            x_train=x[0],
            y_train=y_train,
            x_test=x[1],
            y_test=y[1],
            index=torch.from_numpy(index),
            y_previous=y_previous,
            mask_train=None if mask is None or mask.all() else torch.from_numpy(mask),
            classes=torch.from_numpy(classes),
            label_vectors=vectors,
        )

    def _draw_label_vectors(self, split: Split, index: np.ndarray) -> Tensor | None:
        """Returns (B, N, Y), the random label of each class, or None. The pictures of a task do not depend on them."""
        if not self.spec.random_labels:
            return None
        return self.answer.draw_labels(CounterRNG(self.seed_of(split), f"{split} labels", index), self.config.ways)

    def with_labels(self, random: bool) -> Images:
        """See `Tasks.with_labels`."""
        if random == self.spec.random_labels or self.config.labels == "strings":
            return self
        twin = copy(self)  # shares the loaded images
        twin.config = self.config.model_copy(update={"labels": "embedded" if random else "one-hot"})
        twin.answer, twin.spec = self.answer_of(twin.config), self.spec_of(twin.config)
        return twin

    def _sample_classes(self, rng: CounterRNG, split: Split, count: int) -> np.ndarray:
        """Returns (B, N) indices into the split's pool; for a share `within` of tasks, of as few groups as possible."""
        c, pool_size = self.config, len(self.pools[split])
        if not c.within:
            return rng.subset(pool_size, c.ways)
        if split not in self._groups:
            self._groups[split] = sampling.group_classes(self.image_set.names, self.pools[split], c.ways)
        pool_index, spans = self._groups[split]
        if spans[:, 1].max() < c.ways:
            joined = pool_index[sampling.sample_joined_groups(rng, spans[:, 1], c.ways)]
            return np.where(rng.uniform(1) < c.within, joined, rng.subset(pool_size, c.ways))
        start, size = spans[rng.integers(len(spans), 1)[:, 0]].T
        within = rng.uniform(1)[:, 0] < c.within
        start, size = np.where(within, start, 0), np.where(within, size, pool_size)
        return pool_index[start[:, None] + rng.subset(size, c.ways)]

    @cached_property
    def _groups(self) -> dict[Split, tuple[np.ndarray, np.ndarray]]:
        """The groups of each split that was sampled, see `sampling.group_classes`."""
        return {}

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """The metrics of labels; for a stream also the accuracy at the k-th instance of a class."""
        if self.config.protocol == "k-shot":
            return super().metrics
        title = "accuracy at the k-th instance of a class"
        return (*super().metrics, Metric("accuracy_at_instance", "%", True, "appearance", title))

    def score(self, output: Tensor, episode: Episode) -> dict[str, Tensor]:
        """Returns the scores of labels; for a stream also `accuracy_at_instance` (B, 10).

        This is the accuracy at the 1st, ..., 10th instance of a class, over the classes that appear so often. It is
        NaN if there are none.
        """
        scores, answer = super().score(output, episode), episode.y_test
        if self.config.protocol == "stream":
            correct = self.answer.is_correct(self.logits(output, episode), answer)  # (B, Q)
            is_same_class = (answer[:, :, None] == answer[:, None]).all(-1)  # (B, T, T)
            earlier_count = is_same_class.tril(-1).sum(2)  # (B, T): earlier instances of the class of each step
            number = torch.arange(SCORED_INSTANCES, device=earlier_count.device)
            is_instance = (earlier_count[..., None] == number).float()  # (B, T, 10)
            scores["accuracy_at_instance"] = (correct[..., None] * is_instance).sum(1) / is_instance.sum(1)
        return scores

    def describe(self) -> str:
        """See `Tasks.describe`: the data, the classes, poses and images of each split, the seeds."""
        n, counts, sizes = len(self.image_set.names), self.image_set.counts, []
        for split, pool in self.pools.items():
            classes = np.unique(pool % n)
            poses = f" in {len(pool) // len(classes)} poses" if len(pool) > len(classes) else ""
            sizes.append(f"{split} {len(classes):,} classes{poses}, {counts[classes].sum():,} images")
        return f"{self.source()}: {'; '.join(sizes)}; {self.describe_seeds()}"

    def source(self) -> str:
        """Returns a short description of the data and of the division into splits."""
        return str(self.config.name)

    def class_digests(self, split: Split) -> dict[str, list[str]]:
        """See `Tasks.class_digests`; the poses of a class count as one class."""
        image_set = self.image_set
        classes = np.unique(self.pools[split] % len(image_set.names)).tolist()
        return {image_set.names[c]: image_set.pixel_digests(c) for c in classes}

    def image_name(self, class_name: str, digest: str) -> str:
        """See `Tasks.image_name`."""
        return self.image_set.image_name(class_name, digest)

    def data_digest(self) -> bytes:
        """See `Tasks.data_digest`: 0.05 s for all of Omniglot."""
        return self.image_set.digest()

    def class_names(self, classes: Tensor) -> list[str]:
        """Returns names of class ids, with /rot090, /rot180 or /rot270 for rotated and /mirrored for mirrored ones."""
        names = self.image_set.names
        return [f"{names[c]}{self._poses[pose]}" for pose, c in (divmod(int(i), len(names)) for i in classes)]
