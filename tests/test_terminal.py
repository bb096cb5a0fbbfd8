"""What is drawn in the terminal can be read back: glyphs stand for values, lines fit, colour adds nothing."""

from __future__ import annotations

import io
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from metacli.show import glyphs, samples
from metacli.show.channels import channel_rows
from metacli.show.heatmap import print_heat_map
from metacli.tasks.answers import Bits, Symbols
from metacli.tasks.sample import Sample


def shown(draw, width: int = 80, **options) -> str:
    console = Console(file=io.StringIO(), width=width, **options)
    draw(console)
    return console.file.getvalue()


def make(mode: str, train: int = 5, test: int = 12, image: bool = True, classes: int = 5, seed: int = 0) -> Sample:
    """A task by hand: label i is drawn as a bar whose place is i."""
    rng = np.random.default_rng(seed)
    labels = [np.arange(n) % classes for n in (train, test)]
    if image:
        x = [np.zeros((len(y), 1, 20, 20), np.float32) for y in labels]
        for part, y in zip(x, labels, strict=True):
            for item, label in zip(part, y, strict=True):
                item[0, :, 4 * label % 20] = 1
    else:
        x = [rng.integers(0, 2, (n, 3)).astype(np.float32) for n in (train, test)]
    eye = np.eye(classes, dtype=np.float32)
    late = eye[np.roll(labels[1], 1)] * (np.arange(test) > 0)[:, None]
    return Sample(
        task="bars",
        split="test",
        index=7,
        mode=mode,
        view="images" if image else "channels",
        answer=Symbols(classes) if image else Bits(2),
        classes=[f"class {i}" for i in range(classes)] if image else [],
        x_train=x[0],
        y_train=eye[labels[0]] if image else np.zeros((train, 0), np.float32),
        x_test=x[1],
        y_test=labels[1][:, None] if image else rng.integers(0, 2, (test, 2)).astype(np.float32),
        y_previous=late if mode == "stream" else np.zeros((test, 0), np.float32),
        scored=np.arange(test) > 0 if not image else np.ones(test, bool),
        labels_train=[str(i) for i in labels[0]] if image else [],
        labels_test=[str(i) for i in labels[1]] if image else [],
        labels_previous=["", *(str(i) for i in labels[1][:-1])] if mode == "stream" else [],
    )


TASKS = [
    make("independent"),
    make("independent", train=40, test=100, classes=20),
    make("stream", train=0, test=50),
    make("sequence", image=False),
    make("sequence", train=0, test=200, image=False),
]


@pytest.mark.parametrize("width", [40, 80, 200])
@pytest.mark.parametrize("sample", TASKS, ids=lambda s: s.title)
def test_no_line_is_wider_than_the_terminal(sample: Sample, width: int) -> None:
    text = shown(lambda console: samples.print_samples(console, [sample, sample]), width)
    assert max(len(line) for line in text.splitlines()) <= width


@pytest.mark.parametrize("sample", TASKS, ids=lambda s: s.title)
def test_colour_adds_nothing_but_colour(sample: Sample) -> None:
    from rich.text import Text

    plain = shown(lambda console: samples.print_samples(console, [sample]), no_color=True)
    coloured = shown(
        lambda console: samples.print_samples(console, [sample]), force_terminal=True, color_system="truecolor"
    )
    assert "\x1b[" not in plain
    assert "\x1b[" in coloured
    assert Text.from_ansi(coloured).plain.rstrip() == plain.rstrip()


def test_every_class_of_a_k_shot_task_is_named_and_drawn() -> None:
    text = shown(lambda console: samples.print_samples(console, [make("independent")]))
    assert "5-way 1-shot" in text
    assert all(f"{i}=class {i}" in text for i in range(5))
    head, train, test, *_ = [line.split() for line in text.splitlines() if line.strip().startswith("0")]
    assert head[0] == "0=class"
    assert train == ["0", "1", "2", "3", "4"]
    assert test == ["0?", "1?", "2?", "3?", "4?"]


def test_a_stream_shows_the_late_label_beside_the_answer() -> None:
    sample = make("stream", train=0, test=8)
    text = shown(lambda console: samples.print_samples(console, [sample]))
    captions = [c for line in text.splitlines() if line.rstrip().endswith("?") for c in line.split("?") if c.strip()]
    pairs = [tuple(part.strip() for part in c.split("→")) for c in captions]
    assert pairs[0] == ("-", "0")
    assert len(pairs) == 8
    assert all(now[0] == before[1] for before, now in pairwise(pairs))


def test_bits_can_be_read_back() -> None:
    sample = make("sequence", train=6, test=5, image=False)
    text = shown(lambda console: samples.print_samples(console, [sample]))
    rows = {line[:5].strip(): line[6:] for line in text.splitlines() if line[:5].strip()[:-1].strip() in ("in", "out")}
    x = np.concatenate([sample.x_train, sample.x_test]).T
    for channel, values in enumerate(x):
        assert [rows[f"in {channel + 1}"][2 * t] == "█" for t in range(11)] == [bool(v) for v in values]
    for channel, values in enumerate(sample.y_test.T):
        row = rows[f"out {channel + 1}"].ljust(22)
        assert row[: 2 * 6 + 2].strip() == ""  # D_train has no answers, nor has the unscored first step
        assert [row[2 * t] == "█" for t in range(7, 11)] == [bool(v) for v in values[1:]]


def test_real_numbers_are_scaled_and_said_to_be() -> None:
    sample = make("sequence", train=6, test=5, image=False)
    sample.x_train[0, 1] = -2
    rows = channel_rows(sample)
    assert rows.values[1, 0] == 0
    assert rows.values[1, 6:][sample.x_test[:, 1] == 0] == pytest.approx(0.5)
    assert rows.notes == ["in 2: real numbers, from -2.00 (blank) to 2.00 (full)"]


@given(st.lists(st.floats(0, 1), min_size=1, max_size=60))
def test_a_shade_never_gets_lighter_as_the_value_rises(values: list[float]) -> None:
    ordered = np.array(sorted(values))[None]
    levels = [glyphs.SHADES.index(g) for g in glyphs.shades(ordered)[0]]
    assert levels == sorted(levels)
    assert glyphs.shades(np.array([[0.0, 1.0]])) == [" █"]


@pytest.mark.parametrize("value", [-0.2, 1.5, np.nan])
def test_values_outside_0_to_1_are_refused(value: float) -> None:
    with pytest.raises(ValueError, match="from 0 to 1"):
        glyphs.shades(np.array([[value]]))


def test_a_long_heat_map_continues_below_with_its_steps() -> None:
    values = np.eye(3, 170)
    marks = "".join("ab"[t % 2] for t in range(170))
    text = shown(lambda console: print_heat_map(console, values, ["x", "yy", "z"], [("mark", marks)]), 80)
    blocks = text.splitlines()
    assert len(blocks) == 3 * 5
    assert "".join(b[5:] for b in blocks[3::5]) == marks
    assert [b.split()[1] for b in blocks[4::5]] == ["1", "71", "141"]
    assert blocks[1] == "  yy  █"


@pytest.mark.parametrize("columns", [8, 14, 20])
def test_a_thumbnail_keeps_the_place_of_a_stroke(columns: int) -> None:
    image = np.zeros((1, 40, 40))
    image[0, :, 35:] = 1
    lines = glyphs.thumbnail(image, columns)
    assert {len(line) for line in lines} == {columns}
    assert len(lines) == round(columns / 2)
    assert all(line[-1] != " " and line[: columns // 2].strip() == "" for line in lines)


def test_a_thumbnail_of_a_photograph_uses_shades() -> None:
    ramp = np.broadcast_to(np.linspace(0, 1, 32), (3, 32, 32))
    lines = glyphs.thumbnail(ramp, 10)
    assert set("".join(lines)) == set(glyphs.SHADES)
    assert all(list(line) == sorted(line, key=glyphs.SHADES.index) for line in lines)
