"""N-way K-shot and stream episodes over images whose pixels say which class and drawing they are."""

from __future__ import annotations

import math
from dataclasses import fields
from typing import ClassVar, Literal

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from metacli.errors import UsageError
from metacli.tasks.answers import EmbeddedLabels
from metacli.tasks.base import SPLITS
from metacli.tasks.images.augment import rotation_matrices, transform
from metacli.tasks.images.base import Images
from metacli.tasks.images.config import ImageConfig, ImageSet
from metacli.tasks.images.pixel_digests import picture_digest
from metacli.tasks.rng import CounterRNG

POOLS = {"train": range(10), "val": range(10, 17), "test": range(17, 24)}
DRAWINGS = 12


class Marked(Images):
    """Pixel (0, 0) is the class plus 1, pixel (0, 1) the drawing plus 1."""

    counts: ClassVar[np.ndarray] = np.full(24, DRAWINGS)
    loads = 0

    class Config(ImageConfig):
        name: Literal["marked"] = "marked"
        size: int = 4

    def load(self):
        self.loads += 1
        images = torch.zeros(24, DRAWINGS, 1, self.config.size, self.config.size, dtype=torch.uint8)
        images[..., 0, 0] = torch.arange(1, 25)[:, None, None]
        images[..., 0, 1] = torch.arange(1, DRAWINGS + 1)[:, None]
        there = torch.arange(DRAWINGS) < torch.from_numpy(self.counts)[:, None]
        return ImageSet(images[there], [f"c{i}" for i in range(24)], self.counts)

    def class_splits(self, n):
        return {split: np.array(pool, dtype=np.int64) for split, pool in POOLS.items()}


class Ragged(Marked):
    counts: ClassVar[np.ndarray] = 3 + np.arange(24) % 10


def tasks(cls=Marked, seed=0, **keys):
    return cls(cls.Config(**keys), seed)


def marks(x):
    """Class and drawing of every image, (B, T, 1, 4, 4) to two (B, T) arrays."""
    codes = (x * 255).round().long()
    return codes[..., 0, 0, 0] - 1, codes[..., 0, 0, 1] - 1


def tensors(episode):
    return {f.name: getattr(episode, f.name) for f in fields(episode) if getattr(episode, f.name) is not None}


CONFIGS = st.fixed_dictionaries(
    {
        "protocol": st.sampled_from(["k-shot", "stream"]),
        "labels": st.sampled_from(["one-hot", "embedded", "strings"]),
        "ways": st.integers(2, 6),
        "shots": st.integers(1, 3),
        "queries": st.integers(1, 4),
        "length": st.integers(1, 20),
        "rotated_classes": st.booleans(),
        "mirrored_classes": st.booleans(),
        "rotation": st.sampled_from([0.0, 30.0]),
        "shift": st.sampled_from([0.0, 1.5]),
    }
)


@settings(max_examples=40, deadline=None)
@given(CONFIGS, st.sampled_from(SPLITS), st.integers(0, 10**6), st.integers(1, 9), st.integers(0, 8), st.integers(0, 3))
def test_an_episode_is_the_same_whatever_batch_it_comes_in(keys, split, first, count, member, seed):
    task = tasks(seed=seed, **keys)
    member %= count
    whole, alone = (tensors(task.batch(split, *args)) for args in ((first, count), (first + member, 1)))
    assert whole.keys() == alone.keys()
    for name, tensor in alone.items():
        assert torch.equal(whole[name][member : member + 1], tensor), name


@pytest.mark.parametrize("size", [20, 28])
def test_moved_images_are_the_same_whatever_batch_they_come_in(size):
    """More images than are moved at once, so that an image stands elsewhere in its part."""
    task = tasks(size=size, rotation=20.0, shift=3.0, protocol="stream", length=40)
    whole = task.batch("train", 0, 9).x_test
    assert torch.equal(whole[4:6], task.batch("train", 4, 2).x_test)


@pytest.mark.parametrize("other", [{"seed": 1}, {"split": "val"}, {"first": 64}])
def test_seed_split_and_number_each_change_the_episodes(other):
    def labels(seed=0, split="train", first=0):
        return tasks(seed=seed).batch(split, first, 64).y_test

    assert torch.equal(labels(), labels())
    assert not torch.equal(labels(), labels(**other))


@settings(max_examples=30, deadline=None)
@given(
    st.integers(2, 7), st.integers(1, 4), st.integers(1, 8), st.sampled_from(SPLITS), st.sampled_from([Marked, Ragged])
)
def test_k_shot_episodes_hold_what_they_say(ways, shots, queries, split, cls):
    if cls is Ragged:
        shots, queries = 1, min(queries, 2)
    task = tasks(cls, ways=ways, shots=shots, queries=queries)
    e = task.batch(split, 5, 6)
    assert e.x_train.shape == (6, ways * shots, *task.spec.x_shape)
    assert e.x_test.shape == (6, ways * queries, *task.spec.x_shape)
    assert e.x_train.dtype == e.y_train.dtype == torch.float32
    assert e.y_test.dtype == e.classes.dtype == e.index.dtype == torch.int64
    assert e.y_test.shape == (6, ways * queries, 1)
    assert task.spec.length == ways * shots + 1
    assert e.y_previous is None
    assert e.index.tolist() == list(range(5, 11))
    (train_class, train_drawing), (test_class, test_drawing) = marks(e.x_train), marks(e.x_test)
    for b in range(6):
        classes = e.classes[b].tolist()
        assert len(set(classes)) == ways
        assert set(classes) <= set(POOLS[split])
        assert [classes[y] for y in e.y_train[b].argmax(1)] == train_class[b].tolist()
        assert [classes[y] for y in e.y_test[b, :, 0]] == test_class[b].tolist()
        seen = list(zip(train_class[b].tolist(), train_drawing[b].tolist(), strict=True))
        asked = list(zip(test_class[b].tolist(), test_drawing[b].tolist(), strict=True))
        assert len({*seen, *asked}) == ways * (shots + queries), "a drawing comes twice"
        for c in classes:
            assert train_class[b].tolist().count(c) == shots
            assert test_class[b].tolist().count(c) == queries
    assert torch.equal(e.y_train.sum(2), torch.ones(6, ways * shots))


def uniform(values, choices):
    """Whether integers below `choices` are equally frequent, within 5 standard deviations."""
    counts = np.bincount(np.asarray(values).ravel(), minlength=choices)
    total, p = counts.sum(), 1 / choices
    return len(counts) == choices and np.all(np.abs(counts - total * p) < 5 * math.sqrt(total * p * (1 - p)))


def test_labels_orders_and_drawings_are_uniform():
    e = tasks(ways=4, shots=2, queries=3).batch("train", 0, 4000)
    order = e.classes.argsort(1).argsort(1)  # rank of each label's class among the four
    for label in range(4):
        assert uniform(order[:, label], 4), "the label tells the order of the class ids"
    for y in (e.y_train.argmax(2), e.y_test[..., 0]):
        for position in range(y.shape[1]):
            assert uniform(y[:, position], 4), "the position in D_train or D_test tells the label"
    assert uniform(e.classes, 10)
    for x in (e.x_train, e.x_test):
        assert uniform(marks(x)[1], DRAWINGS)


@settings(max_examples=30, deadline=None)
@given(st.integers(2, 7), st.integers(1, 24), st.sampled_from([Marked, Ragged]))
def test_stream_episodes_hold_what_they_say(ways, length, cls):
    length = min(length, 3 * ways)  # the smallest classes of Ragged have 3
    task = tasks(cls, protocol="stream", ways=ways, length=length)
    e = task.batch("val", 3, 5)
    assert (task.spec.mode, task.spec.length) == ("stream", length)
    assert e.x_train.shape == (5, 0, *task.spec.x_shape)
    assert e.y_train.shape == (5, 0, ways)
    assert e.x_test.shape == (5, length, *task.spec.x_shape)
    classes, drawings = marks(e.x_test)
    assert torch.equal(e.classes.gather(1, e.y_test[..., 0]), classes)
    assert torch.equal(e.y_previous[:, 0], torch.zeros(5, ways))
    assert torch.equal(e.y_previous[:, 1:].argmax(2), e.y_test[:, :-1, 0])
    assert torch.equal(e.y_previous.sum(2)[:, 1:], torch.ones(5, length - 1))
    for b in range(5):
        shown = set(zip(classes[b].tolist(), drawings[b].tolist(), strict=True))
        assert len(shown) == length, "a drawing comes twice"


def test_a_stream_can_use_up_every_drawing():
    e = tasks(protocol="stream", ways=3, length=3 * DRAWINGS).batch("train", 0, 20)
    for b in range(20):
        assert e.y_test[b, :, 0].bincount().tolist() == [DRAWINGS] * 3


def test_steps_of_a_stream_are_independent_and_uniform():
    y = tasks(protocol="stream", ways=4, length=8).batch("train", 0, 3000).y_test[..., 0]  # no class can run out
    for t in range(8):
        assert uniform(y[:, t], 4)
    for t in range(7):
        assert uniform(4 * y[:, t] + y[:, t + 1], 16), "a step tells the next"


def test_a_class_that_runs_out_leaves_its_steps_to_the_others():
    class Pair(Ragged):
        def class_splits(self, n):
            return {split: np.array([0, 9]) for split in SPLITS}  # 3 and 12 drawings

    e = tasks(Pair, protocol="stream", ways=2, length=12).batch("train", 0, 3000)
    small = e.classes.gather(1, e.y_test[..., 0]) == 0
    assert small.sum(1).max() == 3
    assert uniform(small[small[:, :2].all(1)][:, 2].long(), 2), "two of three gone: still as likely as the other"
    few = sum(math.comb(12, k) for k in range(3)) / 2**12  # fewer than 3 heads in 12 throws
    assert abs((small.sum(1) < 3).float().mean() - few) < 5 * math.sqrt(few / 3000)


@pytest.mark.parametrize("protocol", ["k-shot", "stream"])
def test_string_labels(protocol):
    task = tasks(protocol=protocol, labels="strings", ways=6, queries=3, length=30)
    e = task.batch("train", 0, 400)
    assert task.spec.y_size == task.spec.out_size == 25
    assert e.y_test.shape[2] == 5
    y = e.y_train if protocol == "k-shot" else e.y_previous[:, 1:]
    letters = y.unflatten(2, (5, 5))
    assert torch.equal(letters.sum(-1), torch.ones(letters.shape[:3]))
    spelt = {}
    for x, strings in [(e.x_test, e.y_test), (e.x_train, letters.argmax(-1) if protocol == "k-shot" else None)]:
        if strings is not None:
            for b, row in enumerate(marks(x)[0].tolist()):
                for c, string in zip(row, strings[b].tolist(), strict=True):
                    assert spelt.setdefault((b, c), tuple(string)) == tuple(string), "two strings for one class"
    for b in range(400):
        own = [s for (row, _), s in spelt.items() if row == b]
        assert len(set(own)) == len(own), "one string for two classes"
    for place in range(5):
        assert uniform([s[place] for s in spelt.values()], 5)


@pytest.mark.parametrize("ways", [3, 7, 100])
def test_embedded_labels_are_orthogonal_vectors_up_to_their_width(ways):
    answer = EmbeddedLabels(ways)
    vectors = answer.draw_labels(CounterRNG(0, "test", np.arange(50)), ways)
    assert vectors.shape == (50, ways, answer.label_size)
    assert torch.equal(vectors.norm(dim=2), torch.ones(50, ways))
    assert torch.equal(vectors.sum(2), torch.ones(50, ways)), "as of one-hot labels"
    products = vectors @ vectors.mT - torch.eye(ways)
    width = answer.label_size
    assert not products[:, :width, :width].any()
    assert products.max() < 0.9, "no two classes have nearly the same label"
    assert len(vectors[:, 0].unique(dim=0)) == 50, "other labels in every task"
    assert float(vectors.std()) == pytest.approx(width**-0.5, rel=0.01)


@pytest.mark.parametrize("protocol", ["k-shot", "stream"])
def test_embedded_labels_change_no_picture_and_name_the_same_classes(protocol):
    one_hot, embedded = (
        tasks(protocol=protocol, labels=labels, ways=5, queries=2, length=20) for labels in ("one-hot", "embedded")
    )
    assert embedded.with_labels(random=True) is embedded
    for task in (embedded, one_hot.with_labels(random=True)):
        e, plain = task.batch("test", 3, 4), one_hot.batch("test", 3, 4)
        for name in ("x_train", "x_test", "y_test", "classes"):
            assert torch.equal(getattr(e, name), getattr(plain, name)), name
        assert torch.equal(task.logits(e.y_train, e), plain.y_train), "the logits of a label are its one-hot form"
        if protocol == "stream":
            assert torch.equal(task.logits(e.y_previous, e), plain.y_previous)
    back = embedded.with_labels(random=False).batch("test", 3, 4)
    assert torch.equal(back.y_train, plain.y_train)
    assert back.label_vectors is None
    assert tasks(labels="strings").with_labels(random=True).spec.y_size == 25


@pytest.mark.parametrize("labels", ["one-hot", "embedded", "strings"])
@pytest.mark.parametrize("protocol", ["k-shot", "stream"])
def test_loss_and_scores_against_loops(protocol, labels):
    task = tasks(protocol=protocol, labels=labels, ways=3, shots=1, queries=4, length=20)
    e = task.batch("train", 0, 7)
    torch.manual_seed(0)
    q, characters = e.y_test.shape[1:]
    choices = task.answer.choices
    logits = torch.randn(7, q, choices * characters, dtype=torch.float64)
    truth = torch.nn.functional.one_hot(e.y_test, choices).flatten(2)
    logits += 6 * truth * (torch.rand(7, q, 1) < 0.6)  # some answers right
    output = logits if e.label_vectors is None else logits @ e.label_vectors.double()  # as the labels are orthogonal
    score = task.score(output, e)
    losses, rights, curves = [], [], []
    for b in range(7):
        nats, right, seen = [], [], {}
        curve = [[] for _ in range(10)]
        for t in range(q):
            answer, good = e.y_test[b, t].tolist(), True
            for k, letter in enumerate(answer):
                part = logits[b, t, k * choices : (k + 1) * choices].numpy()
                nats.append(-math.log(math.exp(part[letter]) / np.exp(part).sum()))
                good &= bool(part.argmax() == letter)
            right.append(good)
            nth = seen[tuple(answer)] = seen.get(tuple(answer), -1) + 1
            if nth < 10:
                curve[nth].append(good)
        losses.append(np.mean(nats))
        rights.append(np.mean(right))
        curves.append([np.mean(c) if c else math.nan for c in curve])
    np.testing.assert_allclose(score["loss"], losses, rtol=1e-6)
    np.testing.assert_allclose(score["accuracy"], rights, rtol=1e-6)
    np.testing.assert_allclose(task.loss(output, e), np.mean(losses), rtol=1e-6)
    np.testing.assert_allclose(task.headline_score(output, e), rights, rtol=1e-6)
    assert 0 < np.mean(rights) < 1
    if protocol == "stream":
        np.testing.assert_allclose(score["accuracy_at_instance"], curves, rtol=1e-6)
        assert np.isnan(curves).any()
    else:
        assert score.keys() == {"loss", "accuracy"}


@pytest.mark.parametrize(("labels", "accuracy"), [("one-hot", 1 / 3), ("embedded", 1 / 3), ("strings", 5**-5)])
def test_chance_is_what_even_logits_score(labels, accuracy):
    task = tasks(labels=labels, ways=3)
    e = task.batch("val", 0, 2)
    even = torch.zeros(2, e.x_test.shape[1], task.spec.out_size)
    assert float(task.loss(even, e)) == pytest.approx(task.baseline["loss"])
    assert task.baseline["accuracy"] == pytest.approx(accuracy)


def test_quarter_turns_are_new_classes_of_train_alone():
    plain, turned = tasks(), tasks(rotated_classes=True)
    assert sorted(turned.pools["train"]) == [turn * 24 + c for turn in range(4) for c in POOLS["train"]]
    for split in ("val", "test"):
        assert torch.equal(plain.batch(split, 0, 9).x_test, turned.batch(split, 0, 9).x_test)
    assert len(tasks(rotated_classes=True, augment="all").pools["test"]) == 4 * 7
    e = turned.batch("train", 0, 50)
    for b in range(50):
        for image, label in zip(e.x_test[b, :, 0], e.y_test[b, :, 0], strict=True):
            turn, c = divmod(int(e.classes[b, label]), 24)
            upright = np.rot90(image.numpy(), -turn) * 255
            assert round(float(upright[0, 0])) == c + 1
            assert upright[1:].sum() == 0
    assert turned.class_names(torch.tensor([0, 26, 49, 75])) == ["c0", "c2/rot090", "c1/rot180", "c3/rot270"]


def test_mirrored_classes_are_new_classes_beside_the_turned_ones():
    keys = {"rotated_classes": True, "mirrored_classes": True}
    task = tasks(**keys)
    assert sorted(task.pools["train"]) == [pose * 24 + c for pose in range(8) for c in POOLS["train"]]
    assert len(tasks(**keys, augment="all").pools["test"]) == 8 * 7
    e = task.batch("train", 0, 50)
    seen = set()
    for b in range(50):
        for image, label in zip(e.x_test[b, :, 0], e.y_test[b, :, 0], strict=True):
            pose, c = divmod(int(e.classes[b, label]), 24)
            mirrored, turn = divmod(pose, 4)
            upright = np.rot90(image.numpy(), -turn) * 255
            corner = upright[0, ::-1] if mirrored else upright[0]
            assert round(float(corner[0])) == c + 1
            assert upright[1:].sum() == 0
            seen.add(pose)
    assert seen == set(range(8))
    assert task.class_names(torch.tensor([96, 122])) == ["c0/mirrored", "c2/mirrored/rot090"]
    alone = tasks(mirrored_classes=True)
    assert sorted(alone.pools["train"]) == [pose * 24 + c for pose in range(2) for c in POOLS["train"]]
    assert alone.class_names(torch.tensor([23, 24])) == ["c23", "c0/mirrored"]


def test_rotation_and_shift_are_for_train_unless_asked_for_in_all():
    plain, moved, all_moved = (tasks(**k) for k in ({}, {"shift": 1.0}, {"shift": 1.0, "augment": "all"}))
    for split in SPLITS:
        x = plain.batch(split, 0, 4).x_train
        assert torch.equal(x, moved.batch(split, 0, 4).x_train) == (split != "train")
        assert not torch.equal(x, all_moved.batch(split, 0, 4).x_train)
    x = tasks(rotation=45.0, shift=2.0).batch("train", 0, 40)
    for part in (x.x_train, x.x_test):
        assert part.min() >= 0
        assert part.max() <= 1


def test_move_turns_and_shifts():
    torch.manual_seed(0)
    x = torch.rand(3, 2, 7, 7)
    none, still, two_right, one_down = np.zeros(3), *(np.tile(by, (3, 1)) for by in ([0, 0], [2, 0], [0, 1]))
    torch.testing.assert_close(transform(x, rotation_matrices(none), still), x)
    torch.testing.assert_close(
        transform(x, rotation_matrices(none + np.pi / 2), still), torch.rot90(x, 1, (-2, -1)), atol=1e-5, rtol=0
    )
    right, down = transform(x, rotation_matrices(none), two_right), transform(x, rotation_matrices(none), one_down)
    torch.testing.assert_close(right[..., 2:], x[..., :-2], atol=1e-5, rtol=0)
    torch.testing.assert_close(down[..., 1:, :], x[..., :-1, :], atol=1e-5, rtol=0)
    assert right[..., :2].abs().max() < 1e-5


@settings(max_examples=20, deadline=None)
@given(st.floats(-3.2, 3.2), st.floats(-4, 4), st.floats(-4, 4))
def test_move_against_a_loop(angle, right, down):
    size = 5
    x = np.random.default_rng(0).random((size, size))
    expected = np.zeros((size, size))
    middle = (size - 1) / 2
    for i in range(size):
        for j in range(size):
            u, v = j - middle - right, middle + down - i  # undo the shift; v points up
            col = middle + math.cos(angle) * u + math.sin(angle) * v  # turn clockwise, back to where it came from
            row = middle - (-math.sin(angle) * u + math.cos(angle) * v)
            for r in range(size):
                for c in range(size):
                    expected[i, j] += x[r, c] * max(0, 1 - abs(r - row)) * max(0, 1 - abs(c - col))
    got = transform(
        torch.tensor(x, dtype=torch.float32)[None, None],
        rotation_matrices(np.array([angle])),
        np.array([[right, down]]),
    )
    np.testing.assert_allclose(got[0, 0], expected, atol=1e-4)


def test_amounts_of_augmentation_fill_their_range():
    """A mark at the centre moves as far as it may and no further, either way."""
    task = tasks(size=17, shift=4.0, ways=2)
    image_set = task.image_set
    image_set.images.zero_()
    image_set.images[..., 8, 8] = 255
    x = task.batch("train", 0, 400).x_test.flatten(0, 1)[:, 0]
    place = torch.arange(17.0) - 8
    across, down = (x.sum(1) * place).sum(1), (x.sum(2) * place).sum(1)
    for offset in (across, down):
        assert offset.abs().max() <= 4 + 1e-3
        assert offset.min() < -3.5
        assert offset.max() > 3.5
        assert abs(offset.mean()) < 5 * 8 / math.sqrt(12 * len(offset))


@pytest.mark.parametrize(
    ("keys", "parts"),
    [
        ({"ways": 8}, ["val: 8 ways, but the split has 7 classes", "test: 8 ways"]),
        ({"ways": 11}, ["train: 11 ways, but the split has 10 classes", "val", "test"]),
        (
            {"shots": 5, "queries": 8},
            ["train: 5 shots + 8 queries, but 10 classes have fewer images: c0 (12)", "test"],
        ),
        ({"protocol": "stream", "ways": 2, "length": 25}, ["length 25, but 2 classes may have only 24 images"]),
    ],
)
def test_too_little_data_is_told_for_every_split_at_once(keys, parts):
    with pytest.raises(UsageError) as caught:
        tasks(**keys).batch("val", 0, 1)
    for part in parts:
        assert part in caught.value.message
    assert caught.value.hint


def test_only_the_split_that_is_asked_for_must_be_large_enough():
    task = tasks(ways=8)
    assert "val 7 classes" in task.describe()
    assert task.batch("train", 0, 2).x_test.shape[0] == 2
    for split in ("val", "test"):
        with pytest.raises(UsageError, match=f"{split}: 8 ways"):
            task.batch(split, 0, 1)


def test_the_smallest_class_of_a_ragged_split_decides():
    assert tasks(Ragged, shots=1, queries=2).batch("val", 0, 1)
    with pytest.raises(UsageError, match="val: 2 shots \\+ 2 queries, but class c10 has 3 images"):
        tasks(Ragged, shots=2, queries=2).batch("val", 0, 1)
    assert tasks(Ragged, protocol="stream", ways=2, length=7).batch("val", 0, 1)
    with pytest.raises(UsageError, match="val: length 8, but 2 classes may have only 7 images"):
        tasks(Ragged, protocol="stream", ways=2, length=8).batch("val", 0, 1)


def test_data_is_loaded_at_the_first_batch_and_once():
    task = tasks()
    assert task.spec.x_shape == (1, 4, 4)
    assert task.loads == 0
    task.batch("train", 0, 1)
    task.batch("test", 0, 1)
    assert "train 10 classes, 120 images" in task.describe()
    assert task.describe().endswith("seed 0")
    assert task.loads == 1


def test_images_of_no_file_have_digests_of_their_own():
    task = tasks()
    grey = [Image.fromarray(image.numpy()) for image in task.image_set.of(3)[:, 0]]
    assert task.class_digests("train")["c3"] == sorted(map(picture_digest, grey))
    colour = torch.arange(96, dtype=torch.uint8).view(2, 3, 4, 4)
    digests = ImageSet(colour, ["a"], np.array([2])).pixel_digests(0)
    assert digests == sorted(picture_digest(Image.fromarray(image)) for image in colour.permute(0, 2, 3, 1).numpy())
    assert len(ImageSet(colour.view(3, 2, 4, 4), ["a"], np.array([3])).pixel_digests(0)) == 3
    with pytest.raises(ValueError, match="but there are 2 images"):
        ImageSet(colour, ["a"], np.array([2]), np.array([b"x"]))
