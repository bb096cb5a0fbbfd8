"""Pictures and archives from anywhere: only files are read, of bounded size, and to refuse one costs little."""

from __future__ import annotations

import io
import multiprocessing
import os
import socket
import struct
import zipfile
import zlib
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from metacli.errors import MetacliError
from metacli.system import memory, peak_memory, regular_files
from metacli.tasks.images import augment, folder_cache, image_tree, omniglot_archive
from metacli.tasks.images.class_folders import list_classes
from metacli.tasks.images.folder import Folder, to_pixels
from metacli.tasks.images.preprocess import decode
from metacli.tasks.images.preprocess.decode import read_image

CPU = torch.device("cpu")
PIXEL = Image.new("L", (1, 1), 7)


@pytest.fixture(autouse=True)
def kept(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("METACLI_CACHE", str(tmp_path_factory.mktemp("cache")))


def grow(root: Path, classes: int = 12, each: int = 6) -> Path:
    for c in range(classes):
        (root / f"c{c:03d}").mkdir(parents=True)
        for i in range(each):
            Image.new("L", (9, 9), c).save(root / f"c{c:03d}" / f"{i}.png")
    return root


def tasks(root: Path, **keys) -> Folder:
    return Folder(Folder.Config(**{"root": str(root), "ways": 2, "size": 8, "queries": 2, **keys}), 0)


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, *more: bytes, rows: bytes = b"") -> bytes:
    """A grey PNG of any size, in a few bytes; `more` chunks before its rows."""
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    body = chunk(b"IDAT", zlib.compress(rows or b"\0" * 100))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + b"".join(more) + body + chunk(b"IEND", b"")


def pipe(path: Path) -> None:
    os.mkfifo(path)


def unix_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as s:
        os.chdir(path.parent)  # the path of a socket is short
        s.bind(path.name)


def device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def dangling(path: Path) -> None:
    path.symlink_to(path.with_name("nowhere.png"))


def looping(path: Path) -> None:
    path.symlink_to(path.name)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names here")
@pytest.mark.parametrize("make", [pipe, unix_socket, device, dangling, looping])
def test_what_is_no_file_is_refused_and_never_waited_for(tmp_path, monkeypatch, make):
    monkeypatch.chdir(tmp_path)
    path = grow(tmp_path / "root") / "c003" / "9.png"
    make(path)
    with pytest.raises(MetacliError, match=r"cannot read the image .*9.png: ") as caught:
        tasks(tmp_path / "root").image_set  # noqa: B018
    assert caught.value.hint


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names here")
def test_the_command_line_refuses_a_pipe(tmp_path, cli):
    os.mkfifo(grow(tmp_path / "root") / "c003" / "9.png")
    done = cli("sample-tasks", "strokes_ntm", "task.name=folder", "task.root=root", timeout=60)
    assert done.returncode == 1
    assert "it is a pipe, not a file" in done.stderr


def test_a_folder_that_is_called_as_a_picture_is_a_class(tmp_path):
    grow(tmp_path, 3)
    (tmp_path / "c001").rename(tmp_path / "c001.png")
    assert list(list_classes(tmp_path, "x").classes) == ["c000", "c001.png", "c002"]


def test_a_file_that_becomes_a_pipe_after_it_was_looked_at_is_not_waited_for(tmp_path, monkeypatch):
    if not hasattr(os, "mkfifo"):
        pytest.skip("no pipes with names here")
    file = tmp_path / "file"
    file.write_bytes(b"x")
    os.mkfifo(tmp_path / "pipe")
    looked = os.stat(file)
    monkeypatch.setattr(os, "stat", lambda path, **_: looked)
    with pytest.raises(OSError, match="a pipe"):
        regular_files.read_regular_file(tmp_path / "pipe")


def test_the_number_of_pictures_is_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr(image_tree, "MAX_ENTRIES", 10)
    with pytest.raises(MetacliError, match="more than 10 files"):
        list_classes(grow(tmp_path), "x")


def test_a_large_file_is_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr(decode, "MAX_BYTES", 100)
    (tmp_path / "x.png").write_bytes(bytes(101))
    with pytest.raises(MetacliError, match="more than 100 bytes"):
        read_image(tmp_path / "x.png", "x.png")


@pytest.mark.parametrize("side", [7_072, 13_000, 20_000, 2**31 - 1])
def test_a_picture_of_too_many_pixels_is_refused_before_it_is_decoded(side):
    data = png(side, side)

    def refused() -> None:
        with pytest.raises(MetacliError, match=r"50,000,000 pixels"):
            read_image(data, "x.png")

    refused()
    assert (peak_memory.measure_increase(refused, CPU) or 0) < 20e6


def largest() -> tuple[int | None, bool]:
    """What reading a large transparent picture takes at its peak, in bytes, and whether it was read right."""
    file = io.BytesIO()
    Image.new("LA", (3_500, 3_500), (40, 128)).save(file, "PNG", compress_level=1)
    found = []
    rise = peak_memory.measure_increase(lambda: found.append(to_pixels(read_image(file.getvalue(), "x"), 1, 28)), CPU)
    return rise, bool((found[0] == 147).all())


def test_the_largest_picture_costs_bounded_memory():
    """Before: 577 MB for 13,000 x 13,000, and about 12 bytes a pixel where it is transparent.

    In a process of its own, as what ran before leaves its traces in how memory is kept.
    """
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as apart:
        rise, right = apart.submit(largest).result()
    assert right
    assert (rise or 0) < 11 * 3_500**2


def test_bands_change_no_pixel(monkeypatch):
    draw = np.random.default_rng(0)
    pictures = [Image.fromarray(draw.integers(0, 256, (37, 23, n), np.uint8).squeeze()) for n in (1, 3, 4)]
    pictures.append(Image.fromarray(draw.integers(0, 65536, (37, 23), np.uint16)))
    pictures.append(pictures[1].convert("P", palette=Image.Palette.ADAPTIVE))
    pictures.append(pictures[-1].copy())
    pictures[-1].info["transparency"] = 3
    pictures.append(pictures[1].convert("CMYK"))
    whole = [to_pixels(picture, channels, 8) for picture in pictures for channels in (1, 3)]
    monkeypatch.setattr(decode, "BAND_PIXELS", 100)
    assert np.array_equal([p.sum() for p in whole], [to_pixels(p, c, 8).sum() for p in pictures for c in (1, 3)])


BOMB = zlib.compress(bytes(200_000_000), 9)


@pytest.mark.parametrize(
    "more", [chunk(b"zTXt", b"x\0\0" + BOMB), chunk(b"iCCP", b"x\0\0" + BOMB), chunk(b"iTXt", b"x\0\1\0\0\0" + BOMB)]
)
def test_text_that_unpacks_to_hundreds_of_megabytes_is_not_unpacked(more):
    data = png(1, 1, more, rows=b"\0\7")

    def read() -> None:
        try:
            assert read_image(data, "x").size == (1, 1)
        except MetacliError as error:
            assert "cannot read the image x" in error.message  # noqa: PT017

    assert (peak_memory.measure_increase(read, CPU) or 0) < 50e6


def test_a_picture_cut_short_is_refused_at_every_length():
    for kind, colour in (("PNG", "RGB"), ("JPEG", "RGB"), ("GIF", "P"), ("WEBP", "RGB"), ("BMP", "RGB")):
        file = io.BytesIO()
        noise = np.random.default_rng(0).integers(0, 256, (40, 40, 3), np.uint8)
        Image.fromarray(noise).convert(colour).save(file, kind)
        whole = file.getvalue()
        for end in range(0, len(whole) - 20, max(1, len(whole) // 40)):
            with pytest.raises(MetacliError, match=r"cannot read the image|more than"):
                read_image(whole[:end], "x")


def test_of_an_animation_the_first_picture_is_read():
    file = io.BytesIO()
    frames = [Image.new("L", (5, 5), grey) for grey in (10, 200)]
    frames[0].save(file, "GIF", save_all=True, append_images=frames[1:])
    assert (to_pixels(read_image(file.getvalue(), "x"), 1, 8) == 10).all()


def test_no_file_starts_a_program():
    postscript = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n"
    with pytest.raises(MetacliError, match="not an image in a supported format"):
        read_image(postscript, "x.png")


def test_a_folder_of_unequal_classes_takes_what_its_pictures_take(tmp_path):
    """One class of 300 and 39 of 3 at 64 pixels in colour: 5 MB, where padding would make it 147 MB."""
    data = np.random.default_rng(0).integers(0, 256, (4, 4, 3), np.uint8)
    for c in range(40):
        (tmp_path / f"c{c}").mkdir()
        for i in range(300 if c == 0 else 3):
            Image.fromarray(data).save(tmp_path / f"c{c}" / f"{i}.bmp")
    task = tasks(tmp_path, size=64, channels=3, queries=1)
    augment.select_backend().gather(torch.zeros(1, 4, dtype=torch.uint8), np.zeros(1, np.int64), (1, 2, 2))  # compiled
    taken = peak_memory.measure_increase(lambda: (task.batch("train", 0, 4), task.data_digest()), CPU)
    assert task.image_set.images.shape == (417, 3, 64, 64)
    assert (taken or 0) < 60e6


def test_pictures_that_no_memory_can_hold_are_refused_before_any_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "available_bytes", lambda: 4000)
    monkeypatch.setattr(folder_cache, "file_digest", lambda path: pytest.fail("it was read"))
    with pytest.raises(MetacliError, match=r"72 images of 1 x 16 x 16 bytes needs 18.0 KiB") as caught:
        tasks(grow(tmp_path), size=16).image_set  # noqa: B018
    assert "task.size" in caught.value.hint


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2])
def test_a_zip_bomb_is_not_unpacked(tmp_path, monkeypatch, method):
    """Once: 8 MB that unpacked until no memory was left."""
    part = omniglot_archive.ARCHIVES[0]
    with zipfile.ZipFile(tmp_path / f"{part.name}.zip", "w", method) as file:
        file.writestr(f"{part.name}/A/character01/0001_01.png", bytes(3 * 10**7))

    def refused() -> None:
        with pytest.raises(MetacliError, match="would unpack to 30,000,000 bytes") as caught:
            omniglot_archive._read_drawings(part, tmp_path)
        assert part.name in caught.value.message

    refused()
    assert (peak_memory.measure_increase(refused, CPU) or 0) < 20e6


def test_other_files_of_a_zip_are_not_unpacked(tmp_path):
    part = omniglot_archive.ARCHIVES[0]
    with zipfile.ZipFile(tmp_path / f"{part.name}.zip", "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("elsewhere/A/character01/0001_01.png", bytes(10**8))

    def refused() -> None:
        with pytest.raises(MetacliError, match="found 0 and 0"):
            omniglot_archive._read_drawings(part, tmp_path)

    assert (peak_memory.measure_increase(refused, CPU) or 0) < 20e6


def test_many_drawings_that_unpack_to_much_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(omniglot_archive, "MAX_ARCHIVE_BYTES", 50_000)
    part = omniglot_archive.ARCHIVES[0]
    with zipfile.ZipFile(tmp_path / f"{part.name}.zip", "w", zipfile.ZIP_DEFLATED) as file:
        for i in range(20):
            file.writestr(f"{part.name}/A/character{i}/0001_01.png", bytes(5_000))
    with pytest.raises(MetacliError, match="all of them 50,000"):
        omniglot_archive._read_drawings(part, tmp_path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names here")
@pytest.mark.parametrize("place", ["images_background.zip", "images_background/A/character01/0001_01.png"])
def test_a_pipe_in_the_place_of_an_archive_is_refused(tmp_path, place):
    (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
    os.mkfifo(tmp_path / place)
    with pytest.raises(MetacliError, match="it is a pipe"):
        omniglot_archive._read_drawings(omniglot_archive.ARCHIVES[0], tmp_path)
