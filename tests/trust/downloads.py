"""The download of Omniglot from a server that breaks off, stalls, redirects and lies: whole, or refused."""

from __future__ import annotations

import hashlib
import io
import os
import random
import tempfile
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from pathlib import Path
from unittest import mock

from PIL import Image

from metacli.errors import MetacliError
from metacli.system import cache, download
from metacli.tasks.images import omniglot_archive
from tests.trust.server import Place, serving

NAMES = ("images_background", "images_evaluation")
GOOD = {
    ("well",),
    ("to SELF", "well"),
}
BAD = {
    ("nothing",),
    ("cut",),
    ("stall",),
    ("trickle",),
    ("page",),
    ("status 404",),
    ("status 500",),
    ("long",),
    ("short",),
    ("endless",),
    ("to SELF",),
    ("to file:///etc/passwd",),
    ("to ftp://127.0.0.1/x",),
    ("wrong",),
    ("to http://127.0.0.1:1/x",),
}


def archives() -> dict[str, bytes]:
    """Two small zips, each of one alphabet and one character drawn twice; filled up, so that they come in pieces."""
    found = {}
    for grey, name in enumerate(NAMES):
        png, file = io.BytesIO(), io.BytesIO()
        Image.new("L", (omniglot_archive.PIXELS, omniglot_archive.PIXELS), grey).save(png, "PNG")
        with zipfile.ZipFile(file, "w") as packed:
            for drawing in (1, 2):
                packed.writestr(f"{name}/A/character01/0001_{drawing:02d}.png", png.getvalue())
            packed.writestr("filling", random.Random(grey).randbytes(150_000))
        found[f"{name}.zip"] = file.getvalue()
    return found


@contextmanager
def arranged(folder: Path) -> Iterator[Place]:
    """An empty cache in `folder`, the mirror that fills it, and bounds as small as the archives."""
    files = archives()
    parts = tuple(omniglot_archive.Archive(n, hashlib.md5(files[f"{n}.zip"]).hexdigest(), 1, 1) for n in NAMES)
    with (
        serving(Place(files)) as place,
        mock.patch.multiple(omniglot_archive, ARCHIVES=parts, DRAWINGS=2, MAX_ARCHIVE_BYTES=10**6),
    ):
        settings = {"METACLI_CACHE": str(folder), "METACLI_MIRROR": place.url, "METACLI_DATA": "", "no_proxy": "*"}
        slow = {"TIMEOUT": 0.4, "WINDOW": 0.4}
        with mock.patch.dict(os.environ, settings), mock.patch.multiple(download, **slow):
            yield place


def attempt(how: tuple[str, ...]) -> str:
    """A first try at a server that does so, then one that goes well: what the first came to; checks the cache."""
    with tempfile.TemporaryDirectory() as folder, arranged(Path(folder)) as place, redirect_stderr(io.StringIO()):
        place.how, began = [*how], time.monotonic()
        try:
            first = omniglot_archive.omniglot(28)["images"].tobytes()
            told = ""
        except MetacliError as error:
            first, told, hint = b"", error.message, error.hint
        assert not told or (told.startswith(("cannot download ", place.url)) and "METACLI_DATA" in hint), told
        assert time.monotonic() - began < 20, how
        for path in cache.directory().iterdir():
            assert path.suffix == ".npz" or path.read_bytes() == place.files[path.name], f"{how}: {path.name} poisoned"
        place.how = ["well"]
        second = omniglot_archive.omniglot(28)["images"].tobytes()
        assert told or first == second
        return told


def main(times: int, seed: int) -> str:
    """Downloads from servers that misbehave at random, `times` of them; a line on what came of it."""
    draw, refused = random.Random(seed), 0
    for i in range(times):
        how = draw.choice(sorted(GOOD | BAD))
        told = attempt(how)
        assert bool(told) == (how in BAD), f"try {i}: {how} came to {told!r}"
        refused += bool(told)
    kinds = len(GOOD | BAD)
    return (
        f"downloads: {times} of {kinds} kinds, {times - refused} whole, {refused} refused and whole at the second try, "
        "the cache never wrong"
    )
