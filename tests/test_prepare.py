"""Pictures brought to one form: the same character, however it was made, looks the same."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw, ImageFilter, ImageOps

from metacli.errors import MetacliError
from metacli.tasks.images.preprocess.ink import otsu_threshold
from metacli.tasks.images.preprocess.prepare import normalize_characters, resize_images, touches_edge
from metacli.tasks.images.preprocess.thinning import thin_strokes

LINES = [[(0.1, 0.1), (0.9, 0.2), (0.3, 0.9)], [(0.5, 0.1), (0.6, 0.8)]]


def drawing(size: int = 200, pen: int = 8, left: float = 0.2, top: float = 0.2, reach: float = 0.6) -> Image.Image:
    """A character of two lines, dark on white."""
    picture = Image.new("L", (size, size), 255)
    draw = ImageDraw.Draw(picture)
    for line in LINES:
        points = [(size * (left + reach * x), size * (top + reach * y)) for x, y in line]
        draw.line(points, 0, pen, joint="curve")
        for x, y in points:
            draw.ellipse((x - pen / 2, y - pen / 2, x + pen / 2, y + pen / 2), 0)
    return picture


def likeness(one: Image.Image, other: Image.Image) -> float:
    """The correlation of the two as a model sees them, blurred by a pixel."""
    a, b = (
        np.asarray(Image.fromarray(image[0]).filter(ImageFilter.GaussianBlur(1)), float).ravel()
        for image in normalize_characters([one, other], 32)
    )
    return float(np.corrcoef(a, b)[0, 1])


@pytest.mark.parametrize("size", [60, 105, 500, 1500])
@pytest.mark.parametrize("pen", [0.02, 0.04, 0.08])
def test_thick_and_thin_large_and_small_look_alike(size, pen):
    assert likeness(drawing(), drawing(size, max(2, round(pen * size)))) > 0.9


@pytest.mark.parametrize("place", [(0.05, 0.05, 0.3), (0.6, 0.1, 0.3), (0.02, 0.02, 0.9), (0.3, 0.6, 0.25)])
def test_where_on_the_paper_and_how_large_does_not_count(place):
    assert likeness(drawing(), drawing(300, 6, *place)) > 0.9


def test_a_small_dot_stays_small():
    dot = Image.new("L", (100, 100), 255)
    ImageDraw.Draw(dot).ellipse((48, 48, 52, 52), 0)
    seen = normalize_characters([dot, drawing()], 32)
    assert 0 < (seen[0] > 127).sum() < 30 < (seen[1] > 127).sum()


def test_ink_is_found_on_any_paper():
    plain = drawing()
    inverted = ImageOps.invert(plain)
    grey = plain.point(lambda v: 120 + v // 4)
    coloured = Image.merge("RGB", (plain, plain.point(lambda v: 200), plain.point(lambda v: 230)))
    clear = Image.new("RGBA", plain.size, (0, 0, 0, 0))
    clear.putalpha(inverted)
    white_on_clear = Image.new("RGBA", plain.size, (255, 255, 255, 0))
    white_on_clear.putalpha(inverted)
    sixteen = Image.fromarray(np.asarray(plain, np.uint16) * 257)
    palette = plain.convert("P")
    one_bit = plain.convert("1")
    for other in (inverted, grey, coloured, clear, white_on_clear, sixteen, palette, one_bit):
        assert likeness(plain, other) > 0.97, other.mode


def test_ink_on_a_card_with_clear_corners_is_the_ink_and_not_the_card():
    corners = Image.new("L", (200, 200), 0)
    ImageDraw.Draw(corners).rounded_rectangle((0, 0, 199, 199), 40, 255)
    card = drawing().convert("RGB")
    card.putalpha(corners)
    assert likeness(drawing(), card) > 0.97


def test_light_from_one_side_and_noise_are_not_ink():
    size = 300
    y, x = np.mgrid[:size, :size] / size
    light = 230 - 90 * x - 60 * y**2
    noise = np.random.default_rng(0).normal(0, 4, (size, size))
    ink = np.asarray(drawing(size, 10).filter(ImageFilter.GaussianBlur(1)), float) / 255
    photo = Image.fromarray((light * (0.35 + 0.65 * ink) + noise).clip(0, 255).astype(np.uint8))
    assert likeness(drawing(size, 10), photo) > 0.85
    assert likeness(drawing(size, 10), ImageOps.invert(photo)) > 0.85


@pytest.mark.parametrize("value", [0, 128, 255])
def test_a_picture_of_nothing_is_an_error(value):
    with pytest.raises(MetacliError, match="no ink"):
        normalize_characters([Image.new("L", (40, 40), value)], 28)
    with pytest.raises(MetacliError, match="1 x 50"):
        normalize_characters([Image.new("L", (1, 50), value)], 28)


def test_fitted_keeps_the_whole_picture_and_turns_it_light_on_dark():
    light = resize_images([drawing(), ImageOps.invert(drawing())], 28)
    assert light.shape == (2, 1, 28, 28)
    assert light[0, 0, 0, 0] < 5
    assert np.abs(light[0].astype(int) - light[1]).max() <= 1


def test_each_picture_is_prepared_by_itself():
    some = [drawing(90 + 13 * i, 3 + i) for i in range(5)]
    together = normalize_characters(some, 28)
    pairs = zip(some, together, strict=True)
    assert all((normalize_characters([picture], 28)[0] == image).all() for picture, image in pairs)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(0, 255), min_size=2, max_size=40), st.floats(0, 255))
def test_otsu_against_all_levels(values, last):
    array = np.array([*values, last, 255.0])
    level = otsu_threshold(array)

    def spread(at: float) -> float:
        parts = [array[array < at], array[array >= at]]
        return sum(len(p) * p.var() for p in parts if len(p))

    edges = np.linspace(0, 255, 129)[1:]
    best = min(spread(edge) for edge in edges)
    assert spread(level) <= best + 0.02 * array.var() * len(array) + 64


def pieces(ink: np.ndarray) -> int:
    """How many parts hang together, diagonal neighbours too, by filling one after the other."""
    left, count = {tuple(p) for p in np.argwhere(ink)}, 0
    while left:
        count += 1
        edge = [left.pop()]
        while edge:
            y, x = edge.pop()
            near = {(y + i, x + j) for i in (-1, 0, 1) for j in (-1, 0, 1)} & left
            left -= near
            edge += near
    return count


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000))
def test_thinning_keeps_what_hangs_together_and_adds_nothing(seed):
    random = np.random.default_rng(seed)
    picture = Image.new("L", (40, 40))
    draw = ImageDraw.Draw(picture)
    for _ in range(3):
        draw.line([tuple(p) for p in random.integers(4, 36, (3, 2)).tolist()], 255, int(random.integers(1, 7)))
    ink = np.asarray(picture) > 0
    ink = np.pad(ink[2:-2, 2:-2], 2)
    line = thin_strokes(ink[None])[0]
    assert not (line & ~ink).any()
    assert pieces(line) == pieces(ink)
    blocks = line[:-1, :-1] & line[1:, :-1] & line[:-1, 1:] & line[1:, 1:]
    assert blocks.sum() <= 0.1 * line.sum() + 1  # one pixel wide


def test_thinning_all_at_once_equals_one_by_one():
    random = np.random.default_rng(1)
    ink = np.pad(random.random((6, 20, 20)) < 0.6, ((0, 0), (1, 1), (1, 1)))
    together = thin_strokes(ink)
    assert all((thin_strokes(one[None])[0] == line).all() for one, line in zip(ink, together, strict=True))


@pytest.mark.parametrize("pen", [12, 24, 40])
@pytest.mark.parametrize("side", [None, 24])
def test_a_tight_crop_looks_like_the_whole_picture(pen, side):
    ink = 255 - np.asarray(drawing(pen=pen))
    rows, columns = np.flatnonzero(ink.any(1)), np.flatnonzero(ink.any(0))
    cropped = Image.fromarray(ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1])
    if side:
        cropped.thumbnail((side, side), Image.Resampling.BOX)
    bordered = ImageOps.expand(cropped, 20)
    for picture in (cropped, ImageOps.invert(cropped)):
        assert touches_edge(picture)
        assert likeness(bordered, picture) > 0.97
    assert not touches_edge(bordered)
    light = resize_images([cropped, ImageOps.invert(cropped)], 28)
    assert np.abs(light[0].astype(int) - light[1]).max() <= 1
    assert light[0, 0, 0, 0] < 128


def test_a_given_polarity_is_kept():
    plain = drawing()
    for picture, invert in ((plain, True), (ImageOps.invert(plain), False)):
        detected, given, wrong = (normalize_characters([picture], 28, way) for way in (None, invert, not invert))
        assert (detected == given).all()
        assert (detected != wrong).any()
    first, second = (resize_images([plain], 28, invert) for invert in (True, False))
    assert np.abs(first.astype(int) + second - 255).max() <= 2
