"""The drawn characters: the same for ever, like Omniglot in what can be counted, alike within a class."""

from __future__ import annotations

import io
import os
import zipfile
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from pydantic import ValidationError

from metacli.tasks.images import strokes
from metacli.tasks.images.pixel_digests import picture_digest
from metacli.tasks.images.strokes import CLASSES_PER_SPLIT, Strokes, draw, names
from metacli.tasks.images.synthetic.pen import MARGIN, PIXELS, cosine_waves, draw_strokes, rasterize
from metacli.tasks.images.synthetic.script import ALPHABET_SIZE, generate_characters

SMALL = {"classes": 30, "val_classes": 5, "test_classes": 6, "instances": 6, "size": 28, "ways": 3, "queries": 2}


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("METACLI_CACHE", str(tmp_path))
    return tmp_path


@pytest.fixture(scope="module")
def pages() -> np.ndarray:
    """(200, 4, PIXELS, PIXELS): eight alphabets."""
    return draw(0, np.arange(8 * ALPHABET_SIZE), 4, PIXELS)["images"]


def tasks(**config) -> Strokes:
    return Strokes(Strokes.Config(**{**SMALL, **config}), 0)


# ---- a character is a pure function of the family and its number


def test_a_drawing_is_the_same_whatever_else_is_drawn(monkeypatch):
    numbers = np.array([0, 1, ALPHABET_SIZE, ALPHABET_SIZE + 3, 2 * CLASSES_PER_SPLIT + 7])
    many = draw(5, numbers, 4, PIXELS)["images"]
    assert np.array_equal(draw(5, numbers, 4, PIXELS)["images"], many)
    assert np.array_equal(draw(5, numbers[2:4], 2, PIXELS)["images"], many[2:4, :2])
    monkeypatch.setattr(strokes, "CHUNK_CHARACTERS", 2)
    assert np.array_equal(draw(5, numbers, 4, PIXELS)["images"], many)


def drawings(t, classes):
    return torch.stack([t.image_set.of(c) for c in classes])


def test_more_training_classes_leave_all_others_as_they_are():
    few, more = tasks(), tasks(classes=40, instances=8)
    for split in ("train", "val", "test"):
        a, b = (t.class_splits(0)[split][:5] for t in (few, more))
        assert np.array_equal(drawings(few, a), drawings(more, b)[:, :6])
        assert [few.image_set.names[i] for i in a] == [more.image_set.names[i] for i in b]


def test_families_differ():
    numbers = np.arange(10)
    assert (draw(1, numbers, 1, 28)["images"] != draw(2, numbers, 1, 28)["images"]).any((1, 2, 3)).all()
    assert not set(names(1, numbers)) & set(names(2, numbers))


# ---- splits, names, config, cache


def test_splits_are_whole_alphabets_and_cover_all_classes():
    t = tasks()
    splits = t.class_splits(0)
    assert [len(splits[s]) for s in ("train", "val", "test")] == [30, 5, 6]
    assert np.array_equal(np.sort(np.concatenate(list(splits.values()))), np.arange(41))
    alphabets = [{t.image_set.names[i].split("/")[0] for i in part} for part in splits.values()]
    assert [len(a) for a in alphabets] == [2, 1, 1]
    assert len(set.union(*alphabets)) == 4


def test_room_is_whole_alphabets_and_enough_for_the_largest_config():
    assert CLASSES_PER_SPLIT % ALPHABET_SIZE == 0
    with pytest.raises(ValidationError):
        Strokes.Config(classes=CLASSES_PER_SPLIT + 1)


def test_every_class_has_its_own_readable_name():
    alphabets = [name.split("/")[0] for name in names(3, np.arange(0, 3 * CLASSES_PER_SPLIT, ALPHABET_SIZE))]
    assert len(set(alphabets)) == 3 * CLASSES_PER_SPLIT / ALPHABET_SIZE
    spelt = names(3, np.arange(ALPHABET_SIZE))
    assert {name.split("/")[1] for name in spelt} == {f"character{n:02d}" for n in range(1, ALPHABET_SIZE + 1)}
    assert all(name[0].isupper() and name.split("/")[0].isalpha() for name in spelt)


def test_an_episode_shows_the_drawings():
    t = tasks()
    episode = t.batch("test", 0, 4)
    assert episode.x_train.shape == (4, 3, 1, 28, 28)
    test = set(t.class_splits(0)["test"].tolist())
    known = {tuple(image.flatten().tolist()) for c in test for image in t.image_set.of(c).float() / 255}
    assert all(tuple(image.flatten().tolist()) in known for image in episode.x_test.flatten(0, 1))
    assert set(episode.classes.flatten().tolist()) <= test


def test_the_second_time_the_cache_answers(cache, monkeypatch):
    first = tasks().image_set
    assert [path.suffix for path in cache.iterdir()] == [".npz"]
    with monkeypatch.context() as m:
        m.setattr(strokes, "draw", None)
        again = tasks().image_set
    assert (first.images == again.images).all()
    assert first.names == again.names


def test_a_drawing_has_the_digest_of_a_picture_of_it_whatever_the_size(cache):
    numbers = np.array([0, CLASSES_PER_SPLIT + 3])
    pages = draw(0, numbers, 3, PIXELS)
    assert np.array_equal(draw(0, numbers, 3, 20)["digests"], pages["digests"])
    pictures = [Image.fromarray(255 - page) for page in pages["images"].reshape(-1, PIXELS, PIXELS)]
    assert pages["digests"].astype(str).ravel().tolist() == [picture_digest(picture) for picture in pictures]
    small, large = tasks(), tasks(size=30, prepare=True)
    assert small.class_digests("val") == large.class_digests("val")
    assert [len(digests) for digests in small.class_digests("val").values()] == [6] * 5


@pytest.mark.parametrize("key", ["classes", "val_classes", "test_classes", "instances", "size", "data_seed"])
def test_every_key_that_changes_the_drawings_has_a_cache_file_of_its_own(cache, key):
    config = {**SMALL, "data_seed": 4, "classes": 4, "val_classes": 4, "test_classes": 4}
    Strokes(Strokes.Config(**config), 0).load()
    Strokes(Strokes.Config(**{**config, key: config[key] + 1}), 0).load()
    assert len(list(cache.iterdir())) == 2


# ---- the drawing


def test_the_pen_covers_five_pixels_but_for_the_corners():
    lines = np.array([[20 + 30j, 20 + 30j], [60 + 50j, 80 + 50j]])
    dot, line = rasterize(lines, np.array([0, 1]), 2)
    assert dot.sum() == 21 * 255
    assert (dot[28:33, 18:23] == 0).sum() == 4
    assert np.array_equal(np.flatnonzero(line.any(1)), np.arange(48, 53))
    assert np.array_equal(np.flatnonzero(line.any(0)), np.arange(58, 83))
    assert line[48:53, 60:81].all()


def test_the_pen_against_a_loop_over_points():
    r = np.random.default_rng(0)
    lines = (r.uniform(2, 102, (6, 4)) + 1j * r.uniform(2, 102, (6, 4))).round()
    page = np.array([0, 0, 1, 2, 2, 2])
    there = rasterize(lines, page, 3) > 0
    y, x = np.mgrid[:PIXELS, :PIXELS]
    for p in range(3):
        distance = np.full((PIXELS, PIXELS), np.inf)
        for line in lines[page == p]:
            for a, b in pairwise(line):
                along = ((x + 1j * y - a) * np.conj(b - a)).real / np.abs(b - a) ** 2
                distance = np.minimum(distance, np.abs(x + 1j * y - a - along.clip(0, 1) * (b - a)))
        assert there[p][distance < 1.4].all()
        assert not there[p][distance > 3.2].any()


def test_ink_at_the_edge_stays_on_its_side_and_its_page():
    edge = PIXELS - 1 - MARGIN
    lines = np.array([[edge + 50j, edge + 60j], [500 + 900j, 500 + 900j]])
    pages = rasterize(lines, np.array([0, 2]), 3)
    assert not pages[0][:, : edge - MARGIN].any()
    assert not pages[1].any()
    assert pages[2].sum() == 21 * 255


def test_legs_of_a_stroke_hang_together_and_stay_on_the_page():
    numbers = np.arange(ALPHABET_SIZE)
    meant = generate_characters(0, numbers)
    lines, owner = draw_strokes(0, numbers, meant, 3)
    first = np.cumsum(meant.legs) - meant.legs
    inner = np.setdiff1d(np.arange(len(lines)), first)
    assert len(inner) > 0
    assert np.allclose(lines[inner, :, 0], lines[inner - 1, :, -1])
    assert set(owner) == set(range(ALPHABET_SIZE))
    inside = (lines.real > 0) & (lines.real < PIXELS) & (lines.imag > 0) & (lines.imag < PIXELS)
    assert inside.mean() > 0.99


def test_waves_by_hand():
    at = 10 - 20j
    u, v = 10 / PIXELS + 0.5, -20 / PIXELS + 0.5
    expected = [np.cos(np.pi * i * u) * np.cos(np.pi * j * v) for i in range(4) for j in range(4)]
    assert np.allclose(cosine_waves(np.array(at)), expected)


# ---- what they look like


def features(images: np.ndarray) -> np.ndarray:
    """(classes, drawings, 225): the ink of each drawing moved to the middle, in squares of 7 pixels."""
    moved = []
    for image in images.reshape(-1, PIXELS, PIXELS):
        y, x = np.nonzero(image)
        moved.append(np.roll(image > 0, (52 - round(y.mean()), 52 - round(x.mean())), (0, 1)))
    return np.array(moved).reshape(*images.shape[:2], 15, 7, 15, 7).mean((3, 5)).reshape(*images.shape[:2], -1)


def nearest(f: np.ndarray, ways: int) -> float:
    """1-shot accuracy of the nearest neighbour by correlation, over 500 tasks."""
    f = f - f.mean((0, 1))
    f /= np.linalg.norm(f, axis=-1, keepdims=True)
    r, right = np.random.default_rng(0), []
    for _ in range(500):
        classes = r.permutation(len(f))[:ways]
        shown, asked = r.permutation(f.shape[1])[:2]
        right.append(((f[classes, asked] @ f[classes, shown].T).argmax(1) == np.arange(ways)).mean())
    return float(np.mean(right))


def box(images: np.ndarray, axis: int) -> np.ndarray:
    """(M,) width (axis 1) or height (axis 2) of what is inked."""
    there = images.any(axis)
    return there.shape[1] - there.argmax(1) - there[:, ::-1].argmax(1)


def looks(images: np.ndarray) -> dict[str, float]:
    """Numbers to compare families by."""
    flat = images.reshape(-1, PIXELS, PIXELS)
    ink = (flat > 0).mean((1, 2))
    return {
        "ink": ink.mean(),
        "least ink": np.quantile(ink, 0.05),
        "most ink": np.quantile(ink, 0.95),
        "width": box(flat, 1).mean(),
        "height": box(flat, 2).mean(),
        "nearest of 5": nearest(features(images), 5),
        "nearest of 20": nearest(features(images), 20),
    }


BOUNDS = {
    "ink": (0.07, 0.09),
    "least ink": (0.025, 0.045),
    "most ink": (0.12, 0.16),
    "width": (50, 63),
    "height": (54, 66),
    "nearest of 5": (0.78, 0.93),
    "nearest of 20": (0.58, 0.80),
}


def test_they_look_like_omniglot_in_numbers(pages):
    assert pages.dtype == np.uint8
    assert set(np.unique(pages)) == {0, 255}
    for name, value in looks(pages).items():
        assert BOUNDS[name][0] < value < BOUNDS[name][1], name


def test_omniglot_keeps_the_same_bounds():
    folder = Path(os.environ.get("METACLI_DATA") or Path(__file__).parents[2] / "shared" / "omniglot")
    if not (folder / "images_background.zip").is_file():
        pytest.skip("needs images_background.zip in METACLI_DATA or ../shared/omniglot")
    with zipfile.ZipFile(folder / "images_background.zip") as archive:
        classes: dict[str, list[str]] = {}
        for name in sorted(archive.namelist()):
            if name.endswith(".png"):
                classes.setdefault(str(Path(name).parent), []).append(name)
        some = [drawings[:4] for drawings in list(classes.values())[::6]]
        images = [[Image.open(io.BytesIO(archive.read(name))) for name in drawings] for drawings in some]
    for name, value in looks(255 - np.array([[image.convert("L") for image in row] for row in images])).items():
        assert BOUNDS[name][0] < value < BOUNDS[name][1], name


def test_drawings_of_a_class_differ_but_less_than_classes_do(pages):
    flat = pages.reshape(*pages.shape[:2], -1) > 0
    for one in flat:
        assert len({drawing.tobytes() for drawing in one}) == len(one)
    f = features(pages)
    within = np.abs(f[:, :1] - f[:, 1:]).mean((1, 2))
    between = np.abs(f[:, :1] - np.roll(f, ALPHABET_SIZE + 1, 0)).mean((1, 2))
    assert (within < between).mean() > 0.8
    assert 0.4 < within.mean() / between.mean() < 0.8


def test_characters_of_an_alphabet_share_a_style(pages):
    """What an alphabet has in common explains more of the strokes than chance groups of characters do."""
    meant = generate_characters(0, np.arange(40 * ALPHABET_SIZE))
    curved = np.bincount(meant.owner, np.abs(meant.bulge).sum(1) + meant.smooth.sum(1))

    def spread(order: np.ndarray) -> float:
        return float(curved[order].reshape(-1, ALPHABET_SIZE).mean(1).var())

    r = np.random.default_rng(0)
    chance = [spread(r.permutation(len(curved))) for _ in range(50)]
    assert spread(np.arange(len(curved))) > max(chance)
