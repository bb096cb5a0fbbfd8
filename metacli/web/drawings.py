"""Drawings: the request models of the page, and their conversion to images and zip files."""

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
from metacli.tasks.images.image_tree import is_ignored_name

PAD_SIDE = 1000  # width and height of a pad in its own units, whatever its size on the screen
IMAGE_SIDE = 256  # height and width of an image
PEN_WIDTH = 8  # width of the round pen, in pixels of the image
OVERSAMPLING = 3  # factor of the resolution at which images are drawn, then averaged for smooth edges

MAX_CLASSES, MAX_DRAWINGS, MAX_QUERIES = 5, 5, 8  # classes, drawings of a class, queries of a request
MAX_STROKES = 80  # strokes of a drawing
MAX_STROKE_POINTS, MAX_DRAWING_POINTS = 1500, 3000
MAX_NAME_LENGTH = 32  # characters of a class name
MAX_REQUEST_BYTES = 1_000_000

README = """Drawn with `metacli draw`: one directory per class below test/, dark ink on white.

A trained model can classify these classes without training on them. To use them as the support set for other images:

    metacli predict --support {folder}/test --query PICTURES

To evaluate the model on them, with at least shots + queries drawings of each class:

    metacli eval -c glyphs_transformer task.name=folder task.root={folder} \\
        task.ways={ways} task.fewest_ways=0 task.within=0 task.shots=1 task.queries=1
"""


def _check_points(drawing: tuple[Stroke, ...]) -> tuple[Stroke, ...]:
    if sum(map(len, drawing)) > MAX_DRAWING_POINTS:
        raise ValueError(f"a drawing has at most {MAX_DRAWING_POINTS} points")
    return drawing


def _normalize_name(name: str) -> str:
    name = unicodedata.normalize("NFC", name).strip()
    if not name or not name.isprintable():
        raise ValueError("a class name needs visible characters")
    return name


Coordinate = Annotated[int, Field(strict=True, ge=0, le=PAD_SIDE)]
Point = tuple[Coordinate, Coordinate]  # to the right and down
Stroke = Annotated[tuple[Point, ...], Field(min_length=1, max_length=MAX_STROKE_POINTS)]
Drawing = Annotated[tuple[Stroke, ...], Field(min_length=1, max_length=MAX_STROKES), AfterValidator(_check_points)]
Name = Annotated[str, Field(max_length=MAX_NAME_LENGTH), AfterValidator(_normalize_name)]


class _RequestModel(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class DrawnClass(_RequestModel):
    """A class and its drawings."""

    name: Name
    drawings: Annotated[tuple[Drawing, ...], Field(min_length=1, max_length=MAX_DRAWINGS)]


class DrawnSupport(_RequestModel):
    """D_train: classes with unique names."""

    classes: Annotated[tuple[DrawnClass, ...], Field(min_length=1, max_length=MAX_CLASSES)]

    @field_validator("classes")
    @classmethod
    def _check_unique_names(cls, classes: tuple[DrawnClass, ...]) -> tuple[DrawnClass, ...]:
        if len({c.name for c in classes}) < len(classes):
            raise ValueError("two classes have the same name")
        return classes


class DrawnTask(DrawnSupport):
    """D_train and D_test."""

    queries: Annotated[tuple[Drawing, ...], Field(min_length=1, max_length=MAX_QUERIES)]

    @field_validator("classes")
    @classmethod
    def _check_class_count(cls, classes: tuple[DrawnClass, ...]) -> tuple[DrawnClass, ...]:
        if len(classes) < 2:
            raise ValueError("draw at least two classes")
        return classes


@lru_cache(maxsize=256)
def render_drawing(drawing: Drawing) -> Image.Image:
    """Renders a drawing in dark ink on white, IMAGE_SIDE x IMAGE_SIDE. The image is cached, so do not change it."""
    scale, pen_width = IMAGE_SIDE * OVERSAMPLING / PAD_SIDE, PEN_WIDTH * OVERSAMPLING
    page = Image.new("L", (IMAGE_SIDE * OVERSAMPLING, IMAGE_SIDE * OVERSAMPLING), 255)
    draw = ImageDraw.Draw(page)
    for stroke in drawing:
        points = [(x * scale, y * scale) for x, y in stroke]
        draw.line(points, 0, pen_width)
        for x, y in points:  # Pillow leaves gaps where lines meet, and square ends
            draw.ellipse((x - pen_width / 2, y - pen_width / 2, x + pen_width / 2, y + pen_width / 2), 0)
    return page.resize((IMAGE_SIDE, IMAGE_SIDE), Image.Resampling.BOX)


def pack_folder(support: DrawnSupport, name: str = "metacli-drawings") -> bytes:
    """Returns a zip file with name/test/<class>/<number>.png, which the task `folder` can read when unpacked."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr(_zip_entry(f"{name}/README.txt"), README.format(folder=name, ways=len(support.classes)))
        used_names: set[str] = set()
        for c in support.classes:
            directory = _unique_directory(c.name, used_names)
            for number, drawing in enumerate(c.drawings, 1):
                png = io.BytesIO()
                render_drawing(drawing).save(png, "PNG", optimize=True)
                archive.writestr(_zip_entry(f"{name}/test/{directory}/{number:02}.png"), png.getvalue())
    return out.getvalue()


def _zip_entry(path: str) -> zipfile.ZipInfo:
    """Returns a zip entry with a fixed date, so that equal drawings give equal bytes."""
    return zipfile.ZipInfo(path, (2000, 1, 1, 0, 0, 0))


def _unique_directory(name: str, used_names: set[str]) -> str:
    """Returns a directory name for a class that is valid on any system and unique, also where case is ignored."""
    allowed = re.sub(r"[^\w -]", "_", name).strip() or "class"
    allowed = f"{allowed}_" if operating_system.is_device_name(allowed) or is_ignored_name(allowed) else allowed
    candidates = (allowed if i == 1 else f"{allowed}_{i}" for i in range(1, MAX_CLASSES + 1))
    unique = next(name for name in candidates if name.casefold() not in used_names)
    used_names.add(unique.casefold())
    return unique
