"""The contact sheet of `predict`: every image beside the model's view of it, and every query with its answer."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from metacli.classifier.prediction import LoadedImage, Prediction
from metacli.show.fonts import draw_text, text_width
from metacli.show.picture import save_png

_INK, _FAINT, _FRAME = "#1b1f24", "#66707a", "#d5dae0"
_TRAIN, _TEST, _BAR, _ATTENDED = "#0b6e4f", "#1f4e9c", "#9db8e8", "#0b6e4f"
_TILE, _GAP, _MARGIN = 64, 8, 28
_CLASSES_PER_ROW = 6  # at most
_COLUMN_GAP = 24
_BARS_PER_QUERY = 3
_WIDTH = 960


def save_sheet(path: Path, prediction: Prediction) -> None:
    """Draws the contact sheet of a prediction into a PNG file.

    Raises:
        MetacliError: the file cannot be written.
    """
    most_shots = max(Counter(name for name, _ in prediction.support).values())
    columns = max(
        1,
        min(_CLASSES_PER_ROW, (_WIDTH - 2 * _MARGIN + _COLUMN_GAP) // (most_shots * (2 * _TILE + _GAP) + _COLUMN_GAP)),
    )
    support = _arrange_grid([_draw_class(prediction, name, columns) for name in prediction.classes], columns)
    queries = _arrange_grid([_draw_query(prediction, q) for q in range(len(prediction.queries))], 2)
    strips = [
        _draw_title(
            f"{len(prediction.classes)} new classes, read as examples: a picture, and as the model sees it", _TRAIN
        ),
        support,
        _draw_title(f"questions, answered by {prediction.checkpoint}; mean over {prediction.orders} orders", _TEST),
        queries,
    ]
    page = Image.new("RGB", (_WIDTH, sum(p.height + _GAP for p in strips) + 2 * _MARGIN), "white")
    top = _MARGIN
    for strip in strips:
        page.paste(strip, (_MARGIN, top))
        top += strip.height + _GAP
    save_png(path, page)


def _draw_title(text: str, colour: str) -> Image.Image:
    strip = Image.new("RGB", (_WIDTH - 2 * _MARGIN, 30), "white")
    draw_text(ImageDraw.Draw(strip), (0, 4), text, colour, 17)
    return strip


def _draw_class(prediction: Prediction, name: str, columns: int) -> Image.Image:
    """Draws the name of a class above as many of its support examples as fit."""
    shown = [example for example_class, example in prediction.support if example_class == name]
    width = (_WIDTH - 2 * _MARGIN - (columns - 1) * _COLUMN_GAP) // columns
    fitting_count = min(len(shown), max(1, width // (2 * _TILE + _GAP)))
    row = Image.new("RGB", (width, _TILE + 22), "white")
    rest_note = f"   ({len(shown) - fitting_count} more)" if len(shown) > fitting_count else ""
    draw_text(ImageDraw.Draw(row), (0, 0), _truncate(name, 14, width - text_width(rest_note, 14)) + rest_note, _INK, 14)
    for i, example in enumerate(shown[:fitting_count]):
        row.paste(_draw_pair(example), (i * (2 * _TILE + _GAP), 20))
    return row


def _draw_query(prediction: Prediction, q: int) -> Image.Image:
    """Draws a query, its most probable classes, and the most attended support example."""
    width = (_WIDTH - 2 * _MARGIN - _COLUMN_GAP) // 2
    cell = Image.new("RGB", (width, _TILE + 26), "white")
    draw = ImageDraw.Draw(cell)
    cell.paste(_draw_pair(prediction.queries[q]), (0, 0))
    draw_text(draw, (0, _TILE + 4), _truncate(prediction.queries[q].path.name, 12, 2 * _TILE), _FAINT, 12)
    row = prediction.probabilities[q]
    left, longest_bar = 2 * _TILE + 12, width - 3 * _TILE - 24
    for i, c in enumerate(row.argsort()[::-1][:_BARS_PER_QUERY]):
        top = i * 24
        draw.rectangle((left, top + 1, left + max(1, round(longest_bar * row[c])), top + 20), fill=_BAR)
        text = f"{_truncate(prediction.classes[c], 14, longest_bar - 56)}  {row[c]:.0%}"
        draw_text(draw, (left + 5, top + 2), text, _INK if i == 0 else _FAINT, 14)
    attended = prediction.most_attended(q)
    if attended:
        cell.paste(_draw_tile(attended[1].pixels.numpy()), (width - _TILE, 0))
        draw_text(draw, (width - _TILE, _TILE + 4), _truncate("looked at", 12, _TILE), _ATTENDED, 12)
    return cell


def _draw_pair(loaded: LoadedImage) -> Image.Image:
    """Draws the original image beside the model's view of it."""
    pair = Image.new("RGB", (2 * _TILE, _TILE), "white")
    picture = loaded.image.convert("RGBA" if loaded.image.has_transparency_data else "RGB")
    picture.thumbnail((_TILE - 2, _TILE - 2), Image.Resampling.BOX)
    mask = picture if picture.mode == "RGBA" else None
    pair.paste(picture, ((_TILE - picture.width) // 2, (_TILE - picture.height) // 2), mask)
    pair.paste(_draw_tile(loaded.pixels.numpy()), (_TILE, 0))
    ImageDraw.Draw(pair).rectangle((0, 0, _TILE - 1, _TILE - 1), outline=_FRAME)
    return pair


def _draw_tile(pixels: np.ndarray) -> Image.Image:
    """Draws pixels (C, H, W) in [0, 1], light ink on dark, as dark ink on light."""
    grey_levels = np.rint(255 * (1 - pixels)).astype(np.uint8).transpose(1, 2, 0)
    tile = Image.fromarray(grey_levels if grey_levels.shape[2] == 3 else grey_levels[:, :, 0]).convert("RGB")
    tile = tile.resize((_TILE, _TILE), Image.Resampling.NEAREST)
    ImageDraw.Draw(tile).rectangle((0, 0, _TILE - 1, _TILE - 1), outline=_FRAME)
    return tile


def _truncate(text: str, size: int, width: float) -> str:
    """Shortens a text to a width in pixels."""
    if text_width(text, size) <= width:
        return text
    while text and text_width(text + "…", size) > width:
        text = text[:-1]
    return text + "…"


def _arrange_grid(cells: list[Image.Image], columns: int) -> Image.Image:
    """Arranges cells of equal size in rows of `columns`."""
    if not cells:
        return Image.new("RGB", (1, 1), "white")
    width, height = cells[0].size
    rows = -(-len(cells) // columns)
    page = Image.new("RGB", (columns * width + (columns - 1) * _COLUMN_GAP, rows * (height + _GAP)), "white")
    for i, cell in enumerate(cells):
        page.paste(cell, (i % columns * (width + _COLUMN_GAP), i // columns * (height + _GAP)))
    return page
