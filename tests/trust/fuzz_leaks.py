"""Training classes among the held-out ones, renamed and saved anew: refused, or at least a warning."""

from __future__ import annotations

import io
from pathlib import Path

from hypothesis import strategies as st
from PIL import Image

from tests.trust import fuzz
from tests.trust.confined import Case, Outcome
from tests.trust.goods import Goods, copied
from tests.trust.hostile import Draw, file_name, texts

NEEDS = ("of_splits",)
EXACT = ["bytes", "PNG", "BMP", "GIF", "WEBP", "comment"]  # ways to save the same pixels
names = st.one_of(  # none is hidden: hidden directories are no classes
    st.sampled_from(["a", "b", "new", "class0"]), texts.map(lambda text: "c" + file_name(text))
)


def case(draw: Draw, place: Path, goods: Goods) -> Case:
    """A folder in splits, into one of which classes of another are copied; `eval` of a run on the whole, or `train`."""
    root = copied(goods.splits(), place / "pictures")
    verb = draw(st.sampled_from(["eval", "eval", "train", "dry run"]))
    source, target = ("train", "test") if verb == "eval" else draw(st.permutations(["train", "val", "test"]))[:2]
    classes = sorted(path for path in (root / source).iterdir() if path.is_dir())
    for c in draw(st.lists(st.integers(0, len(classes) - 1), min_size=1, max_size=3, unique=True)):
        new = root / target / draw(names)
        if new.exists():
            new = root / target / f"copy of {c}"
        new.mkdir()
        for i, file in enumerate(sorted(classes[c].iterdir())):
            _save(draw(st.sampled_from(EXACT)), file, new / f"{9 - i}")
    if verb == "eval":
        if draw(st.booleans()):
            for file in (root / "train").rglob("*.png"):  # what was trained on is not here any more
                Image.new("L", (16, 16), 255 - sum(file.name.encode()) % 99).save(file)
        argv = ["eval", "-c", str(goods.of_splits()), f"task.root={root}", "--tasks", "2", "--threads", "1", "--json"]
    else:
        (place / "mine.yaml").write_text(goods.folder_recipe())
        argv = ["train", "mine.yaml", "--threads", "1", *(["--dry-run"] if verb == "dry run" else ["--run-dir", "run"])]
    return Case(argv, _refused)


def _save(way: str, file: Path, target: Path) -> None:
    """Save the pixels of a grey picture again."""
    if way == "bytes":
        target.with_suffix(".png").write_bytes(file.read_bytes())
        return
    with Image.open(file) as picture:
        grey = picture.convert("L")
    out = io.BytesIO()
    if way == "WEBP":
        grey.convert("RGB").save(out, way, lossless=True)
    elif way == "comment":
        grey.save(out, "PNG", compress_level=1, dpi=(300, 300))
    else:
        grey.save(out, way)
    suffix = "png" if way == "comment" else way.lower()
    target.with_suffix(f".{suffix}").write_bytes(out.getvalue())


def _refused(outcome: Outcome) -> None:
    warned = "warning: " in outcome.err and ("trained on" in outcome.err or "copies of" in outcome.err)
    assert warned, "held-out classes that were in training give a result without a word"


def main(times: int, seed: int) -> str:
    """See `tests.trust`."""
    return fuzz.fuzz({"fuzz_leaks": times}, seed)
