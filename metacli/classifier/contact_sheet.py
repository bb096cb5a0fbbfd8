"""The contact sheet of `predict`: every image as it is and as the model reads it, each query with its answer."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
from PIL import Image

from metacli.classifier.prediction import LoadedImage, Prediction
from metacli.show.block import Block, column, grid
from metacli.show.figures import FAINT, FRAME, INK, TEST, TRAIN, default_style
from metacli.show.fonts import cut_to_width, make_drawable, text_width
from metacli.tasks.metrics import format_number

_BAR = "#9db8e8"
_TITLE, _TEXT, _SMALL = 15.5, 12.5, 11  # font sizes
_TILE, _GAP, _MARGIN = 64, 8, 28
_PAIR = 2 * _TILE  # width of an image beside the model's input
_COLUMN_GAP = 24
_CLASSES_ACROSS = 6  # at most
_BARS = 3  # classes per query that have a bar
_WIDTH = 960 - 2 * _MARGIN


def save_sheet(path: Path, prediction: Prediction) -> None:
    """Saves the contact sheet as a PNG.

    Raises:
        MetacliError: matplotlib is not installed, or the file cannot be written.
    """
    most = max(Counter(name for name, _ in prediction.support).values())
    across = max(1, min(_CLASSES_ACROSS, (_WIDTH + _COLUMN_GAP) // (most * (_PAIR + _GAP) + _COLUMN_GAP)))
    names = [*prediction.classes, *(query.path.name for query in prediction.queries), prediction.checkpoint]
    with default_style(names):
        examples = [_class_block(prediction, name, across) for name in prediction.classes]
        queries = [_query_block(prediction, q) for q in range(len(prediction.queries))]
        model = f"{make_drawable(prediction.checkpoint)}, mean over {prediction.orders} orders"
        parts = [
            _title(f"support set of {len(examples)} classes: each image, and how the model reads it", TRAIN),
            grid(examples, across, (_COLUMN_GAP, _GAP)),
            Block(0, 0),
            _title(f"queries, answered by {model}", TEST),
            grid(queries, 2, (_COLUMN_GAP, _GAP)),
        ]
        column(parts, _GAP).save(path, _MARGIN)


def _title(text: str, color: str) -> Block:
    block = Block(_WIDTH, 30)
    block.text(0, 4, cut_to_width(text, _TITLE, _WIDTH), color, _TITLE)
    return block


def _class_block(prediction: Prediction, name: str, across: int) -> Block:
    """Draws the name of a class above as many of its support examples as fit."""
    examples = [example for label, example in prediction.support if label == name]
    block = Block((_WIDTH - (across - 1) * _COLUMN_GAP) // across, _TILE + 22)
    room = min(len(examples), max(1, block.width // (_PAIR + _GAP)))
    more = f"   ({len(examples) - room} more)" if len(examples) > room else ""
    short = cut_to_width(make_drawable(name), _TEXT, block.width - text_width(more, _TEXT))
    block.text(0, 0, f"{short}{more}", INK, _TEXT)
    for i, example in enumerate(examples[:room]):
        _place_pair(block, i * (_PAIR + _GAP), 20, example)
    return block


def _query_block(prediction: Prediction, q: int) -> Block:
    """Draws a query, its most probable classes, and the most attended support example."""
    query, probabilities = prediction.queries[q], prediction.probabilities[q]
    block = Block((_WIDTH - _COLUMN_GAP) // 2, _TILE + 28)
    _place_pair(block, 0, 0, query)
    block.text(0, _TILE + 4, cut_to_width(make_drawable(query.path.name), _SMALL, _PAIR), FAINT, _SMALL)
    left, reach = _PAIR + 12, block.width - _PAIR - _TILE - 24
    for i, c in enumerate(probabilities.argsort()[::-1][:_BARS]):
        top, color = i * 24, INK if i == 0 else FAINT
        block.rectangle(left, top + 1, max(1, round(reach * probabilities[c])), 20, fill=_BAR)
        name = cut_to_width(make_drawable(prediction.classes[c]), _TEXT, reach - 62)
        block.text(left + 5, top + 2, name, color, _TEXT)
        block.text(
            left + 5 + text_width(f"{name}  ", _TEXT), top + 2, format_number(probabilities[c], unit="%"), color, _TEXT
        )
    if prediction.unsure[q]:
        block.text(left, _TILE + 10, "unsure", TEST, _SMALL)
    if attended := prediction.most_attended(q):
        _place_input(block, block.width - _TILE, 0, attended[1])
        block.text(block.width - _TILE, _TILE + 4, "attended", TRAIN, _SMALL)
    return block


def _place_pair(block: Block, left: int, top: int, loaded: LoadedImage) -> None:
    """Draws an image as it is, beside the model's input."""
    picture = loaded.image.convert("RGBA" if loaded.image.has_transparency_data else "RGB")
    picture.thumbnail((_TILE - 2, _TILE - 2), Image.Resampling.BOX)
    middle = (left + (_TILE - picture.width) // 2, top + (_TILE - picture.height) // 2)
    block.image(*middle, np.asarray(picture), picture.width, picture.height)
    block.rectangle(left, top, _TILE, _TILE, edge=FRAME)
    _place_input(block, left + _TILE, top, loaded)


def _place_input(block: Block, left: int, top: int, loaded: LoadedImage) -> None:
    """Draws the model's input (C, H, W) in [0, 1]. Its light ink on dark paper becomes dark ink on light paper."""
    pixels = np.rint(255 * (1 - loaded.pixels.numpy())).astype(np.uint8).transpose(1, 2, 0)
    block.image(left, top, np.broadcast_to(pixels, (*pixels.shape[:2], 3)), _TILE, _TILE)
    block.rectangle(left, top, _TILE, _TILE, edge=FRAME)
