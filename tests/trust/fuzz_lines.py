"""Command lines: any options of any verb, with values that they do not expect."""

from __future__ import annotations

from pathlib import Path

from hypothesis import strategies as st

from tests.trust import fuzz
from tests.trust.confined import Case
from tests.trust.goods import TINY, Goods, copied
from tests.trust.hostile import Draw, argument, numbers, texts

NEEDS = ("finished", "memory", "pictures")
PLUGINS = {
    "raises.py": "1 / 0",
    "syntax.py": "def (",
    "leaves.py": "raise SystemExit(3)",
    "nothing.py": "",
    "text.py": "\udcff",
    "twice.py": "import metacli\nmetacli.register('lstm')(int)\n",
    "wrong.py": "import metacli\n@metacli.register('mine')\nclass Mine: pass\n",
    "no.txt": "x",
}
VERBS = {
    "train": ["--run-dir", "--resume", "--dry-run", "--device", "--threads", "--plugin", "--json"],
    "eval": ["-c", "--tasks", "--split", "--show", "--device", "--threads", "--plugin", "--json"],
    "sample-tasks": ["-n", "--split", "--png", "--npz", "--plugin", "--json"],
    "inspect-memory": ["-c", "--task", "--tasks", "--split", "--out", "--format", "--head", "--threads", "--json"],
    "recipes": ["--keys", "--copy", "--plugin", "--json"],
    "predict": ["--support", "--query", "-c", "--orders", "--png", "--threads", "--json"],
    "--version": [],
    "--help": [],
    "nothing": ["--json"],
}
FLAGS = ("--json", "--dry-run", "--help")
LIKELY = {
    "--split": ["train", "val", "test"], "--device": ["cpu", "cuda", "mps", "cuda:7", "auto", "meta", "cpu:99"],
    "--threads": ["1", "2", "auto", "0", "-1", "99999999999", "1e9"], "--format": ["npz", "html,json", "npz,png", ","],
    "--tasks": ["1", "3"], "--task": ["0", "7", "-1", "2147483648"], "--show": ["0", "5"], "-n": ["1", "2", "101"],
    "--keys": ["train", "ntm", "copy", "folder"], "--orders": ["1", "2", "0"], "--head": ["read0", "all", "write0"],
}  # fmt: skip
WORDS = [
    "smoke",
    "strokes_ntm",
    "copy",
    "stream mann",
    "glyphs_mann",
    "strokes_transformer",
    "task.ways=3",
    "seed=1",
    "x=y",
]


def case(draw: Draw, place: Path, goods: Goods) -> Case:
    """A verb, what it needs, most of the time, and some options."""
    for name, text in PLUGINS.items():
        (place / name).write_text(text, errors="surrogateescape")
    copied(goods.finished(), place / "finished")
    copied(goods.memory(), place / "memory")
    word = draw(st.sampled_from(sorted(VERBS)))
    argv = [word]
    if draw(st.integers(0, 5)):
        argv += _needed(word, goods)
    for _ in range(draw(st.integers(0, 4))):
        option = draw(st.sampled_from([*VERBS[word], "--help", "--threads", "WORD"]))
        argv += [_value(draw, "WORD", goods)] if option == "WORD" else [option]
        if option not in FLAGS and option != "WORD" and draw(st.integers(0, 15)):
            argv.append(_value(draw, option, goods))
    return Case([argument(text) for text in argv], encoding=draw(st.sampled_from(["utf-8", "utf-8", "ascii"])))


def _needed(word: str, goods: Goods) -> list[str]:
    known = str(goods.pictures())
    return {
        "train": ["smoke", *TINY, "train.steps=2"],
        "eval": ["-c", "finished", "--tasks", "2"],
        "sample-tasks": ["smoke"],
        "inspect-memory": ["-c", "memory"],
        "predict": ["--support", known, "--query", f"{known}/class0/0.png", "--orders", "1"],
    }.get(word, [])


def _value(draw: Draw, option: str, goods: Goods) -> str:
    if option in LIKELY and draw(st.integers(0, 3)):
        return draw(st.sampled_from(LIKELY[option]))
    if option == "--plugin" and draw(st.integers(0, 3)):
        return draw(st.sampled_from([*PLUGINS, "json", "no.such", "metacli.nothing", "this"]))
    inside = texts.map(
        lambda t: t.replace("/", "").strip("~")
    )  # an option that names a file may lead anywhere, on purpose
    own = [str(goods.pictures()), "finished", "memory", "x", "x.png", "/dev/null", "nothing.py"]
    own = [
        place
        for place in own
        if option not in ("--run-dir", "--resume", "--out", "--png", "--npz", "--copy") or "/" not in place
    ]
    return draw(st.one_of(st.sampled_from(own), st.sampled_from(WORDS), inside, numbers.map(str)))


def main(times: int, seed: int) -> str:
    """See `tests.trust`."""
    return fuzz.fuzz({"fuzz_lines": times}, seed)
