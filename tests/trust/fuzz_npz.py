"""The arrays that are kept in the cache: damaged, they are made again, and the tasks stay the same."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from tests.trust import fuzz
from tests.trust.confined import Case
from tests.trust.goods import Goods, copied
from tests.trust.hostile import Draw, damaged

NEEDS = ("pictures",)


def case(draw: Draw, place: Path, goods: Goods) -> Case:
    """A folder whose arrays in the cache are damaged."""
    copied(goods.pictures(), place / "pictures")
    (place / "mine.yaml").write_text(goods.folder_recipe())
    argv = ["sample-tasks", "mine.yaml", "-n", "2", "--json"]
    cache, kept = Path(os.environ["METACLI_CACHE"]), goods.path / "kept"
    if not kept.exists():
        goods.numbers("samples", argv)
        shutil.copytree(cache, kept)
    good = goods.numbers("samples", argv)
    shutil.rmtree(cache)
    cache.mkdir()
    for whole, path in ((file.read_bytes(), cache / file.name) for file in kept.glob("*.npz")):
        how = draw(st.sampled_from(["damage", "damage", "damage", "folder", "pipe", "link"]))
        if how == "damage":
            path.write_bytes(damaged(draw, whole))
        elif how == "folder":
            path.mkdir()
        elif how == "pipe":
            os.mkfifo(path)
        else:
            path.symlink_to(draw(st.sampled_from(["nowhere", path.name, "/dev/zero"])))
    return Case(argv, lambda outcome: _same(outcome.json(), good))


def _same(found: Any, good: Any) -> None:
    assert found == good, "the tasks are others than before the cache was damaged"


def main(times: int, seed: int) -> str:
    """See `tests.trust`."""
    return fuzz.fuzz({"fuzz_npz": times}, seed)
