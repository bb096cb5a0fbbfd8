"""The contact sheet of `predict`: every picture as it is and as the model saw it, each question with its answer."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from metacli.classifier.prediction import Prediction, Shown
from metacli.show.fonts import draw_text, text_width
from metacli.show.picture import save_png

_INK, _FAINT, _FRAME = "#1b1f24", "#66707a", "#d5dae0"
_TRAIN, _TEST, _BAR, _LOOK = "#0b6e4f", "#1f4e9c", "#9db8e8", "#0b6e4f"
_TILE, _GAP, _MARGIN = 64, 8, 28
_ACROSS = 6  # classes in a row, at most
_BETWEEN = 24
_BARS = 3  # classes of a question that have a bar
_WIDTH = 960


def save_sheet(path: Path, prediction: Prediction) -> None:
    """Draw it into a PNG.

    Raises:
        MetacliError: the file cannot be written.
    """
    most = max(Counter(name for name, _ in prediction.examples).values())
    across = max(1, min(_ACROSS, (_WIDTH - 2 * _MARGIN + _BETWEEN) // (most * (2 * _TILE + _GAP) + _BETWEEN)))
    examples = _stacked([_class_row(prediction, name, across) for name in prediction.classes], across)
    questions = _stacked([_question(prediction, q) for q in range(len(prediction.questions))], 2)
    parts = [
        _title(f"{len(prediction.classes)} new classes, read as examples: a picture, and as the model sees it", _TRAIN),
        examples,
        _title(f"questions, answered by {prediction.checkpoint}; mean over {prediction.orders} orders", _TEST),
        questions,
    ]
    page = Image.new("RGB", (_WIDTH, sum(p.height + _GAP for p in parts) + 2 * _MARGIN), "white")
    top = _MARGIN
    for part in parts:
        page.paste(part, (_MARGIN, top))
        top += part.height + _GAP
    save_png(path, page)


def _title(text: str, colour: str) -> Image.Image:
    strip = Image.new("RGB", (_WIDTH - 2 * _MARGIN, 30), "white")
    draw_text(ImageDraw.Draw(strip), (0, 4), text, colour, 17)
    return strip


def _class_row(prediction: Prediction, name: str, across: int) -> Image.Image:
    """The name of a class above its examples, as many as there is room for."""
    shown = [example for own, example in prediction.examples if own == name]
    width = (_WIDTH - 2 * _MARGIN - (across - 1) * _BETWEEN) // across
    room = min(len(shown), max(1, width // (2 * _TILE + _GAP)))
    row = Image.new("RGB", (width, _TILE + 22), "white")
    more = f"   ({len(shown) - room} more)" if len(shown) > room else ""
    draw_text(ImageDraw.Draw(row), (0, 0), _cut(name, 14, width - text_width(more, 14)) + more, _INK, 14)
    for i, example in enumerate(shown[:room]):
        row.paste(_pair(example), (i * (2 * _TILE + _GAP), 20))
    return row


def _question(prediction: Prediction, q: int) -> Image.Image:
    """A question, its most probable classes, and the example that was looked at most."""
    width = (_WIDTH - 2 * _MARGIN - _BETWEEN) // 2
    cell = Image.new("RGB", (width, _TILE + 26), "white")
    draw = ImageDraw.Draw(cell)
    cell.paste(_pair(prediction.questions[q]), (0, 0))
    draw_text(draw, (0, _TILE + 4), _cut(prediction.questions[q].path.name, 12, 2 * _TILE), _FAINT, 12)
    row = prediction.probabilities[q]
    left, reach = 2 * _TILE + 12, width - 3 * _TILE - 24
    for i, c in enumerate(row.argsort()[::-1][:_BARS]):
        top = i * 24
        draw.rectangle((left, top + 1, left + max(1, round(reach * row[c])), top + 20), fill=_BAR)
        text = f"{_cut(prediction.classes[c], 14, reach - 56)}  {row[c]:.0%}"
        draw_text(draw, (left + 5, top + 2), text, _INK if i == 0 else _FAINT, 14)
    looked = prediction.most_looked_at(q)
    if looked:
        cell.paste(_tile(looked[1].seen.numpy()), (width - _TILE, 0))
        draw_text(draw, (width - _TILE, _TILE + 4), _cut("looked at", 12, _TILE), _LOOK, 12)
    return cell


def _pair(shown: Shown) -> Image.Image:
    """A picture as it is beside what the model saw."""
    pair = Image.new("RGB", (2 * _TILE, _TILE), "white")
    picture = shown.image.convert("RGBA" if shown.image.has_transparency_data else "RGB")
    picture.thumbnail((_TILE - 2, _TILE - 2), Image.Resampling.BOX)
    mask = picture if picture.mode == "RGBA" else None
    pair.paste(picture, ((_TILE - picture.width) // 2, (_TILE - picture.height) // 2), mask)
    pair.paste(_tile(shown.seen.numpy()), (_TILE, 0))
    ImageDraw.Draw(pair).rectangle((0, 0, _TILE - 1, _TILE - 1), outline=_FRAME)
    return pair


def _tile(seen: np.ndarray) -> Image.Image:
    """(C, H, W) in [0, 1], light ink on dark, as dark ink on light."""
    bytes_ = np.rint(255 * (1 - seen)).astype(np.uint8).transpose(1, 2, 0)
    tile = Image.fromarray(bytes_ if bytes_.shape[2] == 3 else bytes_[:, :, 0]).convert("RGB")
    tile = tile.resize((_TILE, _TILE), Image.Resampling.NEAREST)
    ImageDraw.Draw(tile).rectangle((0, 0, _TILE - 1, _TILE - 1), outline=_FRAME)
    return tile


def _cut(text: str, size: int, width: float) -> str:
    """A text as far as it fits."""
    if text_width(text, size) <= width:
        return text
    while text and text_width(text + "…", size) > width:
        text = text[:-1]
    return text + "…"


def _stacked(cells: list[Image.Image], across: int) -> Image.Image:
    """Cells of equal size in rows."""
    if not cells:
        return Image.new("RGB", (1, 1), "white")
    width, height = cells[0].size
    rows = -(-len(cells) // across)
    page = Image.new("RGB", (across * width + (across - 1) * _BETWEEN, rows * (height + _GAP)), "white")
    for i, cell in enumerate(cells):
        page.paste(cell, (i % across * (width + _BETWEEN), i // across * (height + _GAP)))
    return page
