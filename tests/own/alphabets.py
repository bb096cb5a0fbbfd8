"""N new characters of one alphabet, one drawing of each by one drawer, asked about by another's: Lake's task."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import NamedTuple

import numpy as np
from PIL import Image

from metacli.tasks.images import omniglot_archive


class Run(NamedTuple):
    """Examples and questions of one task.

    Attributes:
        support: one or more pictures of each class.
        labels: the class of each.
        queries: one picture of each class.
        answers: the class of each.
    """

    support: list[Image.Image]
    labels: list[str]
    queries: list[Image.Image]
    answers: list[str]


def runs(count: int, ways: int, shots: int = 1, seed: int = 0) -> Iterator[Run]:
    """Tasks over the 20 evaluation alphabets, 105 x 105 pixels, alphabet after alphabet; needs METACLI_DATA.

    As in Lake et al. 2015: classes of one alphabet, examples by one drawer (or `shots`), questions by another.
    """
    drawings = read()
    alphabets = sorted({name.split("/")[0] for name in drawings})
    large = [a for a in alphabets if sum(name.startswith(f"{a}/") for name in drawings) >= ways]
    random = np.random.default_rng(seed)
    for r in range(count):
        own = [name for name in sorted(drawings) if name.startswith(f"{large[r % len(large)]}/")]
        names = [own[i] for i in random.choice(len(own), ways, replace=False)]
        drawers = random.choice(omniglot_archive.DRAWINGS, shots + 1, replace=False)
        support = [(drawings[name][d], name) for d in drawers[1:] for name in names]
        yield Run(
            [opened(data) for data, _ in support],
            [name for _, name in support],
            [opened(drawings[name][drawers[0]]) for name in names],
            names,
        )


def read() -> dict[str, list[bytes]]:
    """The files of each character of the evaluation alphabets, by drawer."""
    folder = omniglot_archive.data_dir()
    assert folder is not None, "set METACLI_DATA to a folder with images_evaluation.zip"
    found: dict[str, list[tuple[str, bytes]]] = {}
    with zipfile.ZipFile(folder / "images_evaluation.zip") as file:
        for entry in file.namelist():
            path = PurePosixPath(entry)
            if path.suffix == ".png":
                found.setdefault("/".join(path.parts[1:3]), []).append((path.name, file.read(entry)))
    return {name: [data for _, data in sorted(files)] for name, files in found.items()}


def opened(data: bytes) -> Image.Image:
    """A picture."""
    image = Image.open(io.BytesIO(data))
    image.load()
    return image
