"""Folders of pictures as people make them, drawn by hypothesis, and what each of them holds.

A folder mixes names, links, formats, modes, splits and duplicates with what computers leave behind. A fault is one that
no program can mend, so that it must end in one clear error.
"""

from __future__ import annotations

import hashlib
import io
import os
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

from hypothesis import strategies as st
from PIL import Image

SIDE = 9
NAMES = ["a", "A", "b b", "caf\u00e9", "cafe\u0301s", "かな", "x.png", "deep/one", "deep/two", "de-ep", "10", "9"]
NAMES += ["ñ/a", "zeta", "[z]", "trainee", "late", "k\u0323\u0307"]
SPELLINGS = {
    "train": ["train", "Train", "TRAINING", "training"],
    "val": ["val", "valid", "Validation"],
    "test": ["test", "Test", "testing", "TEST"],
}
FORMATS = {
    "PNG": ["L", "RGB", "RGBA", "LA", "P", "I;16"],
    "JPEG": ["L", "RGB"],
    "BMP": ["L", "RGB", "P"],
    "DIB": ["L", "RGB"],
    "GIF": ["L", "P"],
    "PPM": ["L", "RGB"],
    "WEBP": ["RGB", "RGBA"],
    "TIFF": ["L", "RGB", "P"],
}
SUFFIXES = [".png", ".jpg", ".JPEG", "", ".txt", ".tif", ".heic", ".bak"]
HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(40)
JUNK = ["hidden class", "hidden file", "macosx", "eadir", "thumbs", "empty", "readme", "heic", "loop", "loose"]
FAULTS = {
    "damaged": r"cannot (be used|read the image)",
    "lab": r"LAB|cannot be used",
    "same name": "more than one split",
    "two spellings": "directories for the split",
    "same letters": "look the same",
    "same directory": "are the same directory",
    "heic class": "unsupported formats",
}


@dataclass
class Made:
    """A folder on the disk, and what is in it.

    Attributes:
        classes: by the split directory, '' without, the name of each class and the digests of its pictures.
        errors: one of these must match the error; empty if the folder is right.
        images: the number of visible images, damaged and unsupported ones too.
        notes: words of the notes that must be printed.
    """

    root: Path
    classes: dict[str, dict[str, list[str]]] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)
    images: int = 0
    notes: list[str] = field(default_factory=list)


def digest(grey: int) -> str:
    """The digest of a picture of one brightness, as docs and `pixel_digests` define it."""
    return hashlib.sha256(f"{SIDE} {SIDE} 1\n".encode() + bytes([grey]) * SIDE**2).hexdigest()[:16]


def encode(grey: int, kind: str, mode: str) -> bytes:
    """A picture of one brightness as a file of a format and mode, without loss."""
    image = Image.new("L", (SIDE, SIDE), grey)
    image = Image.new("I;16", (SIDE, SIDE), grey * 257) if mode == "I;16" else image.convert(mode)
    file = io.BytesIO()
    image.save(file, kind, **{"JPEG": {"quality": 100}, "WEBP": {"lossless": True}}.get(kind, {}))
    return file.getvalue()


def visible(name: str) -> str:
    """A name as every computer shows it."""
    return unicodedata.normalize("NFC", name)


@st.composite
def plans(draw: st.DrawFn) -> dict:
    """Plain values from which `make` makes a folder."""
    names = draw(st.lists(st.sampled_from(NAMES), min_size=9, max_size=14, unique_by=visible))
    is_divided = draw(st.booleans())
    spelling = {split: draw(st.sampled_from(some)) for split, some in SPELLINGS.items()}
    free = [draw(st.sampled_from(sorted(SPELLINGS))) for _ in names[6:]]
    owners = ["train", "train", "val", "val", "test", "test", *free]
    picture = st.sampled_from([(kind, mode) for kind, modes in FORMATS.items() for mode in modes])
    return {
        "classes": [
            {
                "name": f"{spelling[owner]}/{name}" if is_divided else name,
                "split": owner if is_divided else "",
                "pictures": [(*draw(picture), draw(st.sampled_from(SUFFIXES))) for _ in range(2)],
                "form": draw(st.sampled_from(["real", "real", "real", "link", "linked pictures"])),
            }
            for name, owner in zip(names, owners, strict=True)
        ],
        "junk": draw(st.sets(st.sampled_from(JUNK))),
        "faults": draw(st.one_of(st.just([]), st.just([]), st.lists(st.sampled_from(sorted(FAULTS)), max_size=2))),
        "damaged": draw(st.sampled_from([1, 2, 12])),
    }


def make(plan: dict, root: Path, store: Path) -> Made:
    """Make the folder of a plan at `root`; links lead to `store`."""
    made, greys = Made(root), count(1)
    for number, one in enumerate(plan["classes"]):
        place = root / one["name"]
        if one["form"] == "link":
            target = store / f"class {number}"
            place.parent.mkdir(parents=True, exist_ok=True)
            target.mkdir(parents=True)
            place.symlink_to(target, target_is_directory=True)
        place.mkdir(parents=True, exist_ok=True)
        digests = []
        for i, (kind, mode, suffix) in enumerate(one["pictures"]):
            grey = next(greys)
            file = place / f"{i}{suffix}"
            if one["form"] == "linked pictures":
                target = store / f"{number} {i}"
                target.parent.mkdir(parents=True, exist_ok=True)
                file.symlink_to(target)
                file = target
            file.write_bytes(encode(grey, kind, mode))
            digests.append(digest(grey))
        made.classes.setdefault(one["split"], {})[visible(one["name"])] = sorted(digests)
        made.images += len(digests)
    for junk in sorted(plan["junk"]):
        _add_junk(made, junk, root / plan["classes"][0]["name"], next(greys))
    for fault in sorted(set(plan["faults"])):
        _add_fault(made, fault, plan, greys)
    return made


def _add_junk(made: Made, junk: str, place: Path, grey: int) -> None:
    """Add what changes no class."""
    root, png = made.root, encode(grey, "PNG", "L")
    if junk in ("hidden class", "macosx", "eadir"):
        name = {"hidden class": ".cache-thumbs", "macosx": "__MACOSX", "eadir": "@eaDir"}[junk]
        for parent in (root, place):
            (parent / name / "a").mkdir(parents=True)
            (parent / name / "1.png").write_bytes(png)
            (parent / name / "a" / "1.png").write_bytes(png)
    elif junk in ("hidden file", "thumbs"):
        (place / {"hidden file": "._0.png", "thumbs": "Thumbs.db"}[junk]).write_bytes(png)
    elif junk == "empty":
        (root / "nothing" / "here").mkdir(parents=True)
        made.notes.append("nothing/here")
    elif junk == "readme":
        (place / "README").write_text("P1 is the first picture.\n")
        (root / "labels.csv").write_text("BM,0\n")
        made.notes.append("labels.csv")
    elif junk == "heic":
        (place / "photo.jpg").write_bytes(HEIC)
        made.images += 1
        made.notes.append("HEIC")
    elif junk == "loop":
        (place / "again").symlink_to(root.resolve(), target_is_directory=True)
        made.notes.append("link to a directory that holds it")
    elif junk == "loose":
        (root / "loose.png").write_bytes(png)
        made.images += 1
        made.notes.append("loose.png")


def _add_fault(made: Made, fault: str, plan: dict, greys: Iterator[int]) -> None:
    """Add what needs an error."""
    root, first, last = made.root, plan["classes"][0], plan["classes"][-1]
    is_divided, images = bool(first["split"]), 1
    if fault == "damaged":
        images = plan["damaged"]
        for i in range(images):
            (root / first["name"] / f"bad{i}.png").write_bytes(b"\x89PNG\r\n\x1a\n1234" if i % 2 else b"no picture")
    elif fault == "lab":
        Image.new("LAB", (SIDE, SIDE)).save(root / last["name"] / "lab.tif")
    elif fault == "heic class":
        (root / first["name"] / "phone").mkdir()
        (root / first["name"] / "phone" / "1.heic").write_bytes(HEIC)
    elif fault == "same directory":
        (root / "again").symlink_to((root / first["name"]).resolve(), target_is_directory=True)
        images = 0
    elif fault == "same letters" and os.name == "posix":
        for form in ("NFC", "NFD"):
            _add_class(root / unicodedata.normalize(form, "déjà"), next(greys))
        images = 2
    elif fault == "same name" and is_divided:
        held_out = plan["classes"][2]["name"].split("/")[0]  # the first class is for training, this one is not
        _add_class(root / held_out / first["name"].partition("/")[2], next(greys))
    elif fault == "two spellings" and is_divided:
        _add_class(root / "tRaIn" / "another", next(greys))
    else:
        return
    made.images += images
    made.errors.append(FAULTS[fault])


def _add_class(place: Path, grey: int) -> None:
    place.mkdir(parents=True)
    (place / "1.png").write_bytes(encode(grey, "PNG", "L"))
