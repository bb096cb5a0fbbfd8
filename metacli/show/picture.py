"""Tasks as one picture: D_train | D_test of each, with labels, on white."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from metacli.show.block import Block, column, grid, row, row_width
from metacli.show.channels import channel_rows, tick_steps
from metacli.show.figures import FAINT, FRAME, INK, TEST, TRAIN, default_style
from metacli.show.fonts import join_into_lines, make_drawable, text_width
from metacli.show.samples import curve_points, order_by_label
from metacli.tasks.sample import Sample

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MARGIN, _GAP, _PANEL_GAP = 28, 10, 44
_TITLE, _TEXT, _SMALL = 17, 12.5, 12  # font sizes
_CAPTION = 20  # height of a caption above an image
_PAGE_WIDTH = 1100  # that tasks may fill side by side
_IMAGE_WIDTH = 56
_CELL_WIDTHS = 4, 56  # of a step of numbers; fewer steps are wider
_IMAGES_ACROSS = {"independent": 10, "stream": 16, "sequence": 0}  # at most
_TEST_ROWS = 4  # of images, at most; D_train has no limit but the next one
_MOST_IMAGES = 200  # of a panel


def save_samples(path: str | Path, samples: list[Sample]) -> None:
    """Draws all samples into a PNG, under each other, or side by side where they are narrow.

    Images: D_train beside D_test, a column for each label if they fit; a stream in its order, with the label that
    arrives left of each arrow. Bits: inputs above answers, time across.

    Raises:
        MetacliError: no matplotlib, or the file cannot be written.
    """
    texts = {t for s in samples for t in (s.title, *s.classes, *s.labels_train, *s.labels_test, *s.labels_previous)}
    with default_style(sorted(texts)):
        rows = _rows([_task_block(s) for s in samples])
        column([row(blocks, _PANEL_GAP) for blocks in rows], _MARGIN).save(path, _MARGIN)


def _rows(blocks: list[Block]) -> list[list[Block]]:
    """Places narrow blocks side by side, to save empty space."""
    room, rows = max(_PAGE_WIDTH, *(b.width for b in blocks)), [blocks[:1]]
    for block in blocks[1:]:
        if row_width([*rows[-1], block], _PANEL_GAP) <= room:
            rows[-1].append(block)
        else:
            rows.append([block])
    return rows


def _task_block(s: Sample) -> Block:
    """One task: title, class names, panels."""
    views = {"images": _image_panels, "channels": _channel_panels, "curve": _curve_panels}
    panels, notes = views[s.view](s)
    title = make_drawable(s.title)
    width = max(row_width(panels, _PANEL_GAP), text_width(title, _TITLE))
    lines = join_into_lines([*(f"{label} = {make_drawable(name)}" for label, name in s.legend), *notes], _SMALL, width)
    top = 32 + 18 * len(lines) + (6 if lines else 0)
    width = max([width, *(text_width(line, _SMALL) for line in lines)])
    block = Block(np.ceil(width), top + max(p.height for p in panels))
    block.text(0, 0, title, INK, _TITLE)
    for i, line in enumerate(lines):
        block.text(0, 30 + 18 * i, line, FAINT, _SMALL)
    left = 0
    for panel in panels:
        if left:
            block.vertical_line(left - _PANEL_GAP // 2, top, block.height, FRAME)
        block.place_block(panel, left, top)
        left += panel.width + _PANEL_GAP
    return block


def _image_panels(s: Sample) -> tuple[list[Block], list[str]]:
    """The panels of a task over images, and no notes."""
    most = _IMAGES_ACROSS[s.mode]
    if s.mode == "stream":
        captions = [f"{late or '-'} > {answer}?" for late, answer in zip(s.labels_previous, s.labels_test, strict=True)]
        title = "D_test, queries in order; left of the >, the label that arrives with a query: of the previous query"
        across = min(most, len(s.x_test), 10 if len(captions[-1]) > 8 else most)
        return [_image_panel(title, s.x_test, captions, range(min(_MOST_IMAGES, len(s.x_test))), across, TEST)], []
    across = min(most, max(1, len(s.classes)))
    train = order_by_label(s.labels_train)[:_MOST_IMAGES]
    test = order_by_label(s.labels_test)[: max(_TEST_ROWS * across, len(s.classes))]
    return [
        _image_panel("D_train, support examples with labels", s.x_train, s.labels_train, train, across, TRAIN),
        _image_panel("D_test, queries", s.x_test, [f"{label}?" for label in s.labels_test], test, across, TEST),
    ], []


def _image_panel(
    title: str, x: np.ndarray, captions: list[str], order: Sequence[int], across: int, color: str
) -> Block:
    """Captioned images in rows, under a heading with their number."""
    heading = f"{title}: {len(x)}" + (f", the first {len(order)} here" if len(order) < len(x) else "")
    captions = [make_drawable(caption) for caption in captions]
    width, height = _image_size(*x.shape[2:])
    cell_width = np.ceil(max([width, *(text_width(captions[i], _TEXT) for i in order)]))
    cells = []
    for i in order:
        cell = Block(cell_width, _CAPTION + height)
        cell.text(0, 0, captions[i], color, _TEXT)
        cell.image(1, _CAPTION + 1, _pixels(x[i]), width - 2, height - 2)
        cell.rectangle(0, _CAPTION, width, height, edge=FRAME)
        cells.append(cell)
    images = grid(cells, across, (_GAP, _GAP))
    panel = Block(max(images.width, np.ceil(text_width(heading, _TEXT))), 26 + images.height)
    panel.text(0, 0, heading, color, _TEXT)
    panel.place_block(images, 0, 26)
    return panel


def _image_size(height: int, width: int) -> tuple[int, int]:
    """Width and height of a framed image of this many rows and columns: small ones are enlarged by a whole factor."""
    if width > 1.5 * _IMAGE_WIDTH:
        return _IMAGE_WIDTH + 2, max(1, round(_IMAGE_WIDTH * height / width)) + 2
    factor = max(1, round(_IMAGE_WIDTH / width))
    return width * factor + 2, height * factor + 2


def _pixels(image: np.ndarray) -> np.ndarray:
    """An image (C, H, W) in [0, 1] as (H, W, 3) bytes; a single channel as dark ink on white."""
    pixels = (image.clip(0, 1) * 255).astype(np.uint8).transpose(1, 2, 0)
    return pixels if pixels.shape[2] == 3 else np.repeat(255 - pixels[:, :, :1], 3, 2)


def _channel_panels(s: Sample) -> tuple[list[Block], list[str]]:
    """Inputs above answers, time across, D_train on the left of the line; and notes on what is scaled."""
    rows = channel_rows(s)
    steps, inputs = rows.values.shape[1], len(rows.inputs)
    width = max(_CELL_WIDTHS[0], min(_CELL_WIDTHS[1], max(16, 560 // steps), 1400 // steps))
    height = max(min(width, 20), 13)
    left, top = 56, 48
    answers = top + inputs * height + _GAP  # where the rows of answers start
    edge = left + rows.start * width
    labels = [*(s.labels_train or [""] * rows.start), *s.labels_test] if s.answer.is_class_label else []
    bottom = answers + len(rows.answers) * height
    panel = Block(max(left + steps * width + 8, edge + 160), bottom + (44 if labels else 24))
    if rows.start:
        panel.text(left, 4, f"D_train: {rows.start} steps", TRAIN, _TEXT)
    panel.text(edge + 4 if rows.start else left, 24, f"D_test: {len(s.x_test)} steps", TEST, _TEXT)
    panel.cells(left, top, rows.inputs, (width, height), INK)
    panel.cells(left, answers, rows.answers, (width, height), TEST)
    for i, name in enumerate(rows.names):
        y = top + i * height if i < inputs else answers + (i - inputs) * height
        panel.text(0, y + height // 2 - 7, name, FAINT, 11)
    for t, label in enumerate(labels):
        panel.text(left + t * width + 4, bottom + 4, make_drawable(label), TRAIN if t < rows.start else TEST, _SMALL)
    if rows.start:
        panel.vertical_line(edge, top - 4, bottom + (24 if labels else 4), TRAIN, 2)
    for t in tick_steps(steps):
        panel.text(left + t * width, panel.height - 17, str(t + 1), FAINT, 11)
    return [panel], rows.notes


def _curve_panels(s: Sample) -> tuple[list[Block], list[str]]:
    """The function, the points of D_train filled, those of D_test as rings."""
    left, top, size = 56, 30, (620, 300)
    test, train = curve_points(s)

    def draw(axes: Axes) -> None:
        assert s.curve is not None
        axes.plot(s.curve[:, 0], s.curve[:, 1], color=FAINT, linewidth=1.5)
        for points, color, fill in ((test, TEST, "white"), (train, TRAIN, TRAIN)):
            axes.scatter(points.x, points.y, 80, fill, edgecolors=color, linewidths=2, zorder=3)
        axes.margins(x=0.02, y=0.05)
        axes.tick_params(colors=FAINT, labelsize=_SMALL, color=FRAME)
        for spine in axes.spines.values():
            spine.set_color(FRAME)

    panel = Block(left + size[0] + 20, top + size[1] + 30)
    panel.text(left, 2, f"{train.name}: {len(train.x)} points", TRAIN, _TEXT)
    panel.text(left + 300, 2, f"{test.name}: {len(test.x)} points", TEST, _TEXT)
    panel.plot(left, top, size, draw)
    return [panel], []
