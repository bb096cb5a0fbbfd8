"""Names of classes, of any characters that a file system takes, in every table, picture and page."""

from __future__ import annotations

import os
from pathlib import Path

from hypothesis import strategies as st

from tests.trust import fuzz
from tests.trust.confined import Case
from tests.trust.fuzz_folders import verb
from tests.trust.goods import CLASSES, Goods, copied
from tests.trust.hostile import Draw, file_name, texts

NEEDS = ("pictures", "of_folder")
names = st.one_of(texts.map(file_name), st.binary(min_size=1, max_size=12).map(os.fsdecode).map(file_name))


def case(draw: Draw, place: Path, goods: Goods) -> Case:
    """A good folder, some of its classes called otherwise, and a verb that reads it."""
    root = copied(goods.pictures(), place / "pictures")
    for c in range(draw(st.integers(1, CLASSES))):
        target = root / draw(names)
        if not target.exists():
            (root / f"class{c}").rename(target)
    return verb(draw, place, goods)


def main(times: int, seed: int) -> str:
    """See `tests.trust`."""
    return fuzz.fuzz({"fuzz_names": times}, seed)
