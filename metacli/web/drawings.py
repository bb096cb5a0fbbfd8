"""What a person drew: what the page may send of it, and how it becomes pictures."""

from __future__ import annotations

import io
import re
import unicodedata
import zipfile
from functools import lru_cache
from typing import Annotated

from PIL import Image, ImageDraw
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator

from metacli.system import operating_system

SIDE = 1000  # a pad is this wide and high, whatever its size on the screen
PIXELS = 256  # height and width of a picture
PEN = 8  # width of the round pen, in pixels of the picture
FINER = 3  # times as many pixels are inked, then averaged: smooth edges

CLASSES, DRAWINGS, QUERIES = 5, 5, 8  # at most: classes, drawings of a class, queries of a request
STROKES, POINTS, ALL_POINTS = 80, 1500, 3000  # at most: strokes of a drawing, points of a stroke, of a drawing
NAME = 32  # characters of a class name, at most
BYTES = 1_000_000  # of a request, at most

README = """Drawn with `metacli draw`: one directory per class below test/, dark ink on white.

A trained model answers on these classes without training on them. To teach it all of them and ask about other pictures:

    metacli predict --support {folder}/test --query PICTURES

To measure it on them, where each class has as many drawings as shots + queries:

    metacli eval -c glyphs_transformer task.name=folder task.root={folder} \\
        task.ways={ways} task.fewest_ways=0 task.within=0 task.shots=1 task.queries=1
"""


def _not_too_long(drawing: tuple[Stroke, ...]) -> tuple[Stroke, ...]:
    if sum(map(len, drawing)) > ALL_POINTS:
        raise ValueError(f"a drawing has at most {ALL_POINTS} points")
    return drawing


def _printable(name: str) -> str:
    name = unicodedata.normalize("NFC", name).strip()
    if not name or not name.isprintable():
        raise ValueError("a class name has characters that can be seen")
    return name


Coordinate = Annotated[int, Field(strict=True, ge=0, le=SIDE)]
Point = tuple[Coordinate, Coordinate]  # to the right and down
Stroke = Annotated[tuple[Point, ...], Field(min_length=1, max_length=POINTS)]
Drawing = Annotated[tuple[Stroke, ...], Field(min_length=1, max_length=STROKES), AfterValidator(_not_too_long)]
Name = Annotated[str, Field(max_length=NAME), AfterValidator(_printable)]


class _Sent(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class DrawnClass(_Sent):
    """A class and its drawings."""

    name: Name
    drawings: Annotated[tuple[Drawing, ...], Field(min_length=1, max_length=DRAWINGS)]


class Drawn(_Sent):
    """D_train: classes of different names."""

    classes: Annotated[tuple[DrawnClass, ...], Field(min_length=1, max_length=CLASSES)]

    @field_validator("classes")
    @classmethod
    def _named_apart(cls, classes: tuple[DrawnClass, ...]) -> tuple[DrawnClass, ...]:
        if len({c.name for c in classes}) < len(classes):
            raise ValueError("two classes have the same name")
        return classes


class Question(Drawn):
    """D_train and D_test."""

    queries: Annotated[tuple[Drawing, ...], Field(min_length=1, max_length=QUERIES)]

    @field_validator("classes")
    @classmethod
    def _two_or_more(cls, classes: tuple[DrawnClass, ...]) -> tuple[DrawnClass, ...]:
        if len(classes) < 2:
            raise ValueError("a question needs at least two classes")
        return classes


@lru_cache(maxsize=256)
def picture(drawing: Drawing) -> Image.Image:
    """A drawing in dark ink on white, PIXELS x PIXELS, gone over by a round pen of width PEN. Not to be changed."""
    scale, pen = PIXELS * FINER / SIDE, PEN * FINER
    page = Image.new("L", (PIXELS * FINER, PIXELS * FINER), 255)
    ink = ImageDraw.Draw(page)
    for stroke in drawing:
        points = [(x * scale, y * scale) for x, y in stroke]
        ink.line(points, 0, pen)
        for x, y in points:  # Pillow leaves gaps where lines meet, and square ends
            ink.ellipse((x - pen / 2, y - pen / 2, x + pen / 2, y + pen / 2), 0)
    return page.resize((PIXELS, PIXELS), Image.Resampling.BOX)


def folder(drawn: Drawn, name: str = "metacli-drawings") -> bytes:
    """A zip file that, unpacked, the task `folder` can read, all classes held out: name/test/<class>/<number>.png."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr(_entry(f"{name}/README.txt"), README.format(folder=name, ways=len(drawn.classes)))
        taken: set[str] = set()
        for c in drawn.classes:
            directory = _directory(c.name, taken)
            for number, drawing in enumerate(c.drawings, 1):
                png = io.BytesIO()
                picture(drawing).save(png, "PNG", optimize=True)
                archive.writestr(_entry(f"{name}/test/{directory}/{number:02}.png"), png.getvalue())
    return out.getvalue()


def _entry(path: str) -> zipfile.ZipInfo:
    """Of a fixed date, so that the same drawings make the same bytes."""
    return zipfile.ZipInfo(path, (2000, 1, 1, 0, 0, 0))


def _directory(name: str, taken: set[str]) -> str:
    """A class name as a directory that any system can hold, unlike those taken before, even where case is ignored."""
    safe = re.sub(r"[^\w -]", "_", name).strip() or "class"
    safe = f"{safe}_" if operating_system.is_device(safe) else safe
    unlike = next(s for i in range(1, CLASSES + 1) if (s := safe if i == 1 else f"{safe}_{i}").casefold() not in taken)
    taken.add(unlike.casefold())
    return unlike
