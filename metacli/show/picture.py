"""Tasks as one clean picture: D_train | D_test of each, with labels, on white."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from metacli.show.channels import channel_rows
from metacli.show.fonts import draw_text, joined, text_width
from metacli.show.samples import by_label, curve_points
from metacli.system import files
from metacli.tasks.sample import Sample

_INK, _FAINT, _FRAME = "#1b1f24", "#66707a", "#d5dae0"
_TRAIN, _TEST = "#0b6e4f", "#1f4e9c"
_MARGIN, _GAP, _PANEL_GAP = 28, 10, 44
_PAGE = 1100  # pixels that tasks may fill side by side
_TILE = 56  # pixels of a drawn image
_CELL = 4, 56  # the least and most pixels of a step of numbers, which is wide where there are few
_ACROSS = {"independent": 10, "stream": 16, "sequence": 0}  # images in a row, at most
_ROWS = 4  # of D_test; D_train is drawn whole, up to the limit below
_MOST = 200  # images of a panel


def save_samples(path: str | Path, samples: list[Sample]) -> None:
    """Draw all samples into a PNG, under each other, or side by side where they are narrow.

    Images: D_train beside D_test, one column a label where they fit; a stream in its order, with the label that
    arrives on the left of each arrow. Bits: inputs above answers, time across.

    Raises:
        MetacliError: the file cannot be written.
    """
    rows = _rows([_block(s) for s in samples])
    width = max(_across(row) for row in rows) + 2 * _MARGIN
    page = Image.new("RGB", (width, sum(max(b.height for b in row) + _MARGIN for row in rows) + _MARGIN), "white")
    top = _MARGIN
    for row in rows:
        left = _MARGIN
        for block in row:
            page.paste(block, (left, top))
            left += block.width + _PANEL_GAP
        top += max(b.height for b in row) + _MARGIN
    save_png(path, page)


def save_png(path: str | Path, page: Image.Image) -> None:
    """A picture as a PNG.

    Raises:
        MetacliError: the file cannot be written.
    """
    content = io.BytesIO()  # Pillow reports a full disk in words of its own
    page.save(content, format="PNG", optimize=True)
    files.write(path, content.getbuffer())


def _rows(blocks: list[Image.Image]) -> list[list[Image.Image]]:
    """Narrow ones side by side, so that the picture is no emptier than it must be."""
    room, rows = max(_PAGE, *(b.width for b in blocks)), [blocks[:1]]
    for block in blocks[1:]:
        if _across([*rows[-1], block]) <= room:
            rows[-1].append(block)
        else:
            rows.append([block])
    return rows


def _across(blocks: list[Image.Image]) -> int:
    """The width of blocks side by side."""
    return sum(b.width for b in blocks) + _PANEL_GAP * (len(blocks) - 1)


def _block(s: Sample) -> Image.Image:
    """One task: title, class names, panels."""
    views = {"images": _image_panels, "channels": _channel_panels, "curve": _curve_panels}
    panels, notes = views[s.view](s)
    width = max(_across(panels), int(text_width(s.title, 19)) + 1)
    names = joined([*(f"{label} = {name}" for label, name in s.legend), *notes], 13, width)
    head = 32 + 18 * len(names) + (6 if names else 0)
    width = max([width, *(int(text_width(line, 13)) + 1 for line in names)])
    block = Image.new("RGB", (width, head + max(p.height for p in panels)), "white")
    draw = ImageDraw.Draw(block)
    draw_text(draw, (0, 0), s.title, _INK, 19)
    for i, line in enumerate(names):
        draw_text(draw, (0, 29 + 18 * i), line, _FAINT, 13)
    left = 0
    for panel in panels:
        block.paste(panel, (left, head))
        left += panel.width + _PANEL_GAP
        if panel is not panels[-1]:
            draw.line([(left - _PANEL_GAP // 2, head), (left - _PANEL_GAP // 2, block.height)], _FRAME)
    return block


def _image_panels(s: Sample) -> tuple[list[Image.Image], list[str]]:
    """The panels of a task over images, and no notes."""
    most = _ACROSS[s.mode]
    if s.mode == "stream":
        captions = [f"{late or '-'} > {answer}?" for late, answer in zip(s.labels_previous, s.labels_test, strict=True)]
        title = "D_test, in order; before the > the label that arrives with a drawing, the one of the drawing before"
        across = min(most, len(s.x_test), 10 if len(captions[-1]) > 8 else most)
        return [_grid(title, s.x_test, captions, range(min(_MOST, len(s.x_test))), across, _TEST)], []
    across = min(most, max(1, len(s.classes)))
    train = by_label(s.labels_train)[:_MOST]
    test = by_label(s.labels_test)[: max(_ROWS * across, len(s.classes))]
    return [
        _grid("D_train, read with their labels", s.x_train, s.labels_train, train, across, _TRAIN),
        _grid("D_test, asked", s.x_test, [f"{w}?" for w in s.labels_test], test, across, _TEST),
    ], []


def _grid(
    title: str, x: np.ndarray, captions: list[str], order: Sequence[int], across: int, colour: str
) -> Image.Image:
    """Captioned images in rows under a heading that says how many are shown."""
    heading = f"{title}: {len(x)} items" + (f", {len(order)} shown" if len(order) < len(x) else "")
    tiles = [_tile(x[i]) for i in order]
    widest = max([t.width for t in tiles] + [int(text_width(captions[i], 14)) + 2 for i in order])
    step = (widest + _GAP, max(t.height for t in tiles) + 20 + _GAP)
    rows = -(-len(tiles) // across)
    width = max(step[0] * min(across, len(tiles)) - _GAP, int(text_width(heading, 14)) + 1)
    panel = Image.new("RGB", (width, 26 + rows * step[1] - _GAP), "white")
    draw = ImageDraw.Draw(panel)
    draw_text(draw, (0, 0), heading, colour, 14)
    for place, (i, tile) in enumerate(zip(order, tiles, strict=True)):
        left, top = place % across * step[0], 26 + place // across * step[1]
        draw_text(draw, (left, top), captions[i], colour, 14)
        panel.paste(tile, (left, top + 20))
    return panel


def _tile(image: np.ndarray) -> Image.Image:
    """One image (C, H, W) in [0, 1], framed; single-channel ones as dark ink on white."""
    pixels = (image.clip(0, 1) * 255).astype(np.uint8)
    picture = Image.fromarray(pixels.transpose(1, 2, 0)) if len(pixels) == 3 else Image.fromarray(255 - pixels[0])
    factor = max(1, round(_TILE / picture.width))
    size = (picture.width * factor, picture.height * factor)
    if picture.width > 1.5 * _TILE:
        size = (_TILE, max(1, round(_TILE * picture.height / picture.width)))
    how = Image.Resampling.NEAREST if size[0] >= picture.width else Image.Resampling.LANCZOS
    tile = Image.new("RGB", (size[0] + 2, size[1] + 2), _FRAME)
    tile.paste(picture.resize(size, how), (1, 1))
    return tile


def _channel_panels(s: Sample) -> tuple[list[Image.Image], list[str]]:
    """Inputs above answers, time across, D_train on the left of the line; and notes on what is scaled."""
    rows = channel_rows(s)
    values, names, start = rows.values, rows.names, rows.start
    inputs = s.x_test.shape[1]
    cell = max(_CELL[0], min(_CELL[1], max(16, 560 // values.shape[1]), 1400 // values.shape[1]))
    tall = max(min(cell, 20), 13)
    left, top = 56, 48
    answers = top + inputs * tall + _GAP  # where the answers' rows start
    width = left + cell * values.shape[1] + 8
    edge = left + start * cell
    words = [*(s.labels_train or [""] * start), *s.labels_test] if s.answer.is_class_label else []
    room = 24 + (20 if words else 0)
    panel = Image.new("RGB", (max(width, edge + 160), answers + (len(names) - inputs) * tall + room), "white")
    draw = ImageDraw.Draw(panel)
    for t, word in enumerate(words):
        draw_text(draw, (left + t * cell + 2, panel.height - 40), word, _TRAIN if t < start else _TEST, 12)
    if start:
        draw_text(draw, (left, 4), f"D_train: {start} steps", _TRAIN, 14)
    draw_text(draw, (edge + 4 if start else left, 24), f"D_test: {len(s.x_test)} steps", _TEST, 14)
    for row, (name, line) in enumerate(zip(names, values, strict=True)):
        y = top + row * tall if row < inputs else answers + (row - inputs) * tall
        draw_text(draw, (0, y + tall // 2 - 7), name, _FAINT, 11)
        for t, value in enumerate(line):
            if np.isnan(value):
                continue
            hue = _INK if row < inputs else _TEST
            draw.rectangle([left + t * cell, y, left + (t + 1) * cell, y + tall], _blend(hue, value), _FRAME)
    if start:
        draw.line([(edge, top - 4), (edge, panel.height - 20)], _TRAIN, 2)
    for t in range(0, values.shape[1], 10):
        draw_text(draw, (left + t * cell, panel.height - 17), str(t), _FAINT, 11)
    return [panel], rows.notes


def _curve_panels(s: Sample) -> tuple[list[Image.Image], list[str]]:
    """The function, the points of D_train filled, those of D_test as rings."""
    assert s.curve is not None
    width, height, left, top = 620, 300, 56, 30
    asked, given = curve_points(s)
    x, y = (np.concatenate([s.curve[:, i], *(p[3 + i] for p in (asked, given))]) for i in (0, 1))
    panel = Image.new("RGB", (left + width + 20, top + height + 30), "white")
    draw = ImageDraw.Draw(panel)

    def place(points: np.ndarray) -> list[tuple[float, float]]:
        across = left + (points[:, 0] - x.min()) / max(np.ptp(x), 1e-9) * width
        down = top + (y.max() - points[:, 1]) / max(np.ptp(y), 1e-9) * height
        return list(zip(across.tolist(), down.tolist(), strict=True))

    draw_text(draw, (left, 2), f"{given.name}: {len(given.x)} points", _TRAIN, 14)
    draw_text(draw, (left + 300, 2), f"{asked.name}: {len(asked.x)} points", _TEST, 14)
    draw.rectangle([left, top, left + width, top + height], outline=_FRAME)
    draw.line(place(s.curve), _FAINT, 2)
    for points, colour, fill in ((asked, _TEST, "white"), (given, _TRAIN, _TRAIN)):
        for a, d in place(np.stack([points.x, points.y], 1)):
            draw.ellipse([a - 5, d - 5, a + 5, d + 5], fill, colour, 2)
    for value, d in ((y.max(), top), (y.min(), top + height)):
        draw_text(draw, (4, d - 7), f"{value:.2f}", _FAINT, 12)
    for value, a in ((x.min(), left), (x.max(), left + width - 30)):
        draw_text(draw, (a, top + height + 8), f"{value:.2f}", _FAINT, 12)
    return [panel], []


def _blend(colour: str, share: float) -> tuple[int, int, int]:
    """White at 0, `colour` at 1."""
    ink = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
    return tuple(round(255 + (c - 255) * float(share)) for c in ink)  # type: ignore[return-value]
