"""Pictures that are asked about: damaged files of every format, and headers that promise what is not there."""

from __future__ import annotations

import functools
import io
import struct
import zlib
from pathlib import Path

from hypothesis import strategies as st
from PIL import Image, ImageDraw

from tests.trust import fuzz
from tests.trust.confined import Case, Outcome
from tests.trust.goods import Goods
from tests.trust.hostile import Draw, damaged

NEEDS = ("pictures",)
FORMATS = ["png", "jpeg", "webp", "gif", "bmp"]
MODES = ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16", "F", "YCbCr"]


def case(draw: Draw, place: Path, goods: Goods) -> Case:
    """One or two questions to the shipped model, three classes being known."""
    names = []
    for i in range(draw(st.integers(1, 2))):
        kind = draw(st.sampled_from(FORMATS))
        names.append(f"{i}.{draw(st.sampled_from([kind, 'png']))}")
        (place / names[-1]).write_bytes(picture(draw, kind))
    for c in range(3):
        (place / "known").mkdir(exist_ok=True)
        (place / "known" / f"class{c}").symlink_to(goods.pictures() / f"class{c}")
    argv = ["predict", "-c", "strokes_transformer", "--support", "known", "--query", *names, "--orders", "1", "--json"]
    return Case([*argv, "--png", "sheet.png"] if draw(st.integers(0, 4)) == 0 else argv, _right)


def _right(outcome: Outcome) -> None:
    for answer in outcome.json()["predictions"]:
        shares = answer["probabilities"].values()
        assert all(0 <= share <= 1 for share in shares), answer
        assert abs(sum(shares) - 1) < 1e-3, answer


def picture(draw: Draw, kind: str) -> bytes:
    """The bytes of a picture file of a kind, most of them damaged."""
    if kind == "png" and draw(st.integers(0, 4)) == 0:
        sizes = st.sampled_from([0, 1, 16, 7000, 65_535, 2**31 - 1, 2**32 - 1])
        return promised(
            draw(sizes), draw(sizes), draw(st.sampled_from([1, 8, 16])), draw(st.sampled_from([0, 2, 3, 6]))
        )
    whole = _whole(kind, draw(st.sampled_from(MODES)), draw(st.sampled_from([(16, 16), (1, 1), (1, 300), (40, 3)])))
    return damaged(draw, whole) if draw(st.integers(0, 4)) else whole


def promised(width: int, height: int, bits: int, colour: int) -> bytes:
    """A PNG of that size whose data are all zeros and far too few."""
    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    parts = [(b"IHDR", header), (b"IDAT", zlib.compress(bytes(1000))), (b"IEND", b"")]
    packed = [struct.pack(">I", len(d)) + n + d + struct.pack(">I", zlib.crc32(n + d)) for n, d in parts]
    return b"\x89PNG\r\n\x1a\n" + b"".join(packed)


@functools.cache
def _whole(kind: str, mode: str, size: tuple[int, int]) -> bytes:
    image = Image.new("L", size, 255)
    ImageDraw.Draw(image).line((0, 0, size[0] - 1, size[1] - 1), fill=0)
    buffer = io.BytesIO()
    try:
        image.convert("I").convert(mode).save(buffer, kind) if mode == "I;16" else image.convert(mode).save(
            buffer, kind
        )
    except (OSError, ValueError):  # a format without this mode
        buffer = io.BytesIO()
        image.save(buffer, kind)
    return buffer.getvalue()


def main(times: int, seed: int) -> str:
    """See `tests.trust`."""
    return fuzz.fuzz({"fuzz_pictures": times}, seed)
