"""Folders of pictures: with files that are none, links that lead nowhere or round, pipes, classes without any."""

from __future__ import annotations

import os
from pathlib import Path

from hypothesis import strategies as st

from tests.trust import fuzz
from tests.trust.confined import Case
from tests.trust.fuzz_pictures import FORMATS, picture
from tests.trust.goods import CLASSES, Goods, copied
from tests.trust.hostile import Draw, file_name, texts

NEEDS = ("pictures", "of_folder")
PLACES = [f"class{c}" for c in range(CLASSES)] + [
    ".",
    "train",
    "train/a",
    "test/b",
    "val",
    "class0/deeper",
    "a/b/c/d/e",
]
names = st.one_of(texts.map(file_name), st.binary(min_size=1, max_size=12).map(os.fsdecode).map(file_name))


def case(draw: Draw, place: Path, goods: Goods) -> Case:
    """A good folder, something put into it, and a verb that reads it."""
    root = copied(goods.pictures(), place / "pictures")
    for _ in range(draw(st.integers(1, 3))):
        _put(draw, root, place)
    return verb(draw, place, goods)


def _put(draw: Draw, root: Path, place: Path) -> None:
    folder = root / draw(st.one_of(st.sampled_from(PLACES), names))
    if not folder.is_dir():
        folder.mkdir(parents=True, exist_ok=True)
    kind = draw(st.sampled_from(FORMATS))
    name = draw(st.sampled_from(["0.png", "x.png", "x.PNG", ".x.png", "x.txt", "x.webp"]))
    name = file_name(draw(texts)) + ".png" if draw(st.integers(0, 4)) == 0 else name
    path = folder / name
    if path.is_dir():
        return
    path.unlink(missing_ok=True)
    how = draw(st.sampled_from(["picture", "picture", "picture", "empty", "pipe", "folder", "link", "gone", "same"]))
    if how == "picture":
        path.write_bytes(picture(draw, kind))
    elif how == "empty":
        path.touch()
    elif how == "pipe":
        os.mkfifo(path)
    elif how == "folder":
        path.mkdir()
    elif how == "link":
        path.symlink_to(
            draw(st.sampled_from(["nowhere", name, "..", "/dev/zero", "/proc/self/mem", "../class1/0.png"]))
        )
    elif how == "same":
        path.write_bytes((root / "class1" / "1.jpg").read_bytes() if (root / "class1" / "1.jpg").is_file() else b"")


def verb(draw: Draw, place: Path, goods: Goods) -> Case:
    """A command that reads the folder `pictures`, and how its output is written."""
    (place / "mine.yaml").write_text(goods.folder_recipe())
    encoding = draw(st.sampled_from(["utf-8", "utf-8", "ascii", "cp1252"]))
    trained = ["-c", str(goods.of_folder()), f"task.root={place / 'pictures'}", "--threads", "1"]
    argvs = [
        ["sample-tasks", "mine.yaml", "-n", "2"],
        ["sample-tasks", "mine.yaml", "-n", "2", "--json"],
        ["sample-tasks", "mine.yaml", "-n", "1", "--png", "x.png", "--npz", "x.npz"],
        ["train", "mine.yaml", "--run-dir", "run", "--threads", "1"],
        ["eval", *trained, "--tasks", "2"],
        ["eval", *trained, "--tasks", "2", "--json"],
        ["inspect-memory", *trained],
        ["predict", "-c", "glyphs_mann", "--support", "pictures", "--query", "pictures/class0", "--orders", "1"],
        [
            "predict",
            "-c",
            "glyphs_mann",
            "--support",
            "pictures",
            "--query",
            "pictures/class1",
            "--orders",
            "1",
            "--json",
        ],
    ]
    return Case(draw(st.sampled_from([*argvs[:6], *argvs])), encoding=encoding)


def main(times: int, seed: int) -> str:
    """See `tests.trust`."""
    return fuzz.fuzz({"fuzz_folders": times}, seed)
