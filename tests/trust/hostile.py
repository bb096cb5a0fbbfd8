"""Values, texts, bytes and trees as nobody should send them."""

from __future__ import annotations

import copy
import math
import os
from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st

Draw = Callable[[Any], Any]

ODD = [
    "", " ", ".", "..", "../../x", "/etc/passwd", "~", "-", "--", "-c", "a=b", "a" * 300, "\0", "\t", "\r\n", "\u2028",
    "\x1b[2J", "\x1b]0;title\x07", "\x9b2J",
    "[/red]", "[bold]", "[link=x]", "%s%n", "{}", "{0.__class__}", "null", "nan",
    "<script>alert(1)</script>", "\u202e", "e\u0301", "\U0001f4a5", "\U0001f468\u200d\U0001f469", "\ud800", "\udcff",
    "CON", "#", "*", "\\", "'", '"', "true", "0x10", "1e5", ".inf", "12:30", "\ufeff", "\u0661", "1" * 5000,
]  # fmt: skip
texts = st.one_of(st.sampled_from(ODD), st.text(max_size=20))
ODD_NUMBERS = [
    0, -0.0, 1, -1, 2, 3, 7, 10, 100, 255, 256, 1000, 65_535, 65_536, 10**6, 2**31 - 1, 2**31, 2**32, 2**63 - 1, 2**63,
    10**30, 10**400, 1e-320, 1e-30, 0.1, 0.5, 0.999, 1.5, 1e9, 1e308, math.inf, -math.inf, math.nan,
]  # fmt: skip
numbers = st.one_of(st.sampled_from(ODD_NUMBERS), st.integers(-5, 40), st.integers(), st.floats())
plain = st.one_of(numbers, texts, st.booleans(), st.none())
values = st.one_of(
    plain, st.recursive(plain, lambda v: st.lists(v, max_size=4) | st.dictionaries(texts, v, max_size=3), max_leaves=6)
)


SIZES = [0, 1, 2, 3, 5, 8, 16, 50, 100, 1000, 65_536, 10**6, 10**8, 2**31 - 1, 2**40]
WORDS = [
    "mann", "ntm", "dnc", "lstm", "snail", "transformer", "copy", "strokes", "clusters", "sinusoid", "folder", "flat",
    "conv", "mean", "sum", "adam", "adamw", "rmsprop", "cosine", "constant", "k-shot", "stream", "one-hot", "strings",
    "train", "all", "plain", "fast", "auto", "random", "lake", "bias",
]  # fmt: skip


def like(value: Any) -> st.SearchStrategy:
    """Values of the type of this one, which get past the first check."""
    if isinstance(value, bool):
        return st.booleans()
    if isinstance(value, int):
        return st.one_of(st.integers(0, 9), st.sampled_from(SIZES))
    if isinstance(value, float):
        return st.one_of(st.floats(0, 1), st.sampled_from([0.0, 1e-30, 1e-9, 1.0, 10.0, 1e30]))
    return st.sampled_from(WORDS) if isinstance(value, str) else values


def argument(text: str) -> str:
    """The text as a process can be given it: without NULs, what is no UTF-8 as the system's own bytes."""
    return os.fsdecode(text.encode("utf-8", "surrogatepass").replace(b"\0", b""))


def file_name(text: str) -> str:
    """The text as a file can be called."""
    raw = os.fsencode(argument(text)).replace(b"/", b"")[:200]
    return os.fsdecode(raw) if raw not in (b"", b".", b"..") else "x"


def damaged(draw: Draw, content: bytes) -> bytes:
    """Bytes with a few flipped, changed, cut out, doubled, put in or cut off."""
    data = bytearray(content)
    for _ in range(draw(st.integers(1, 3))):
        how = draw(st.sampled_from(["flip", "flip", "set", "cut", "double", "insert", "end", "empty", "zeros"]))
        at = draw(st.integers(0, max(len(data) - 1, 0)))
        size = draw(st.integers(1, 64))
        if how == "flip" and data:
            data[at] ^= 1 << draw(st.integers(0, 7))
        elif how == "set" and data:
            data[at] = draw(st.integers(0, 255))
        elif how == "cut":
            del data[at : at + size]
        elif how == "double":
            data[at:at] = data[at : at + size]
        elif how == "insert":
            data[at:at] = draw(st.binary(min_size=1, max_size=12))
        elif how == "end":
            del data[at:]
        elif how == "zeros":
            data[at : at + size] = bytes(len(data[at : at + size]))
        elif how == "empty" and draw(st.integers(0, 9)) == 0:
            data.clear()
    return bytes(data)


def bent(draw: Draw, tree: Any, foreign: Any = values) -> Any:
    """A copy of nested dictionaries and lists with a few values replaced, taken away, added or moved.

    Args:
        foreign: the strategy that values come from.
    """
    tree = copy.deepcopy(tree)
    for _ in range(draw(st.integers(1, 3))):
        nodes = list(_nodes(tree))
        if not nodes:
            return draw(foreign)
        node = draw(st.sampled_from(nodes))
        keys = list(node) if isinstance(node, dict) else list(range(len(node)))
        key = draw(st.sampled_from(keys))
        how = draw(st.sampled_from(["like", "like", "like", "replace", "replace", "remove", "add", "move", "swap"]))
        if how == "like" and isinstance(node[key], int | float | str):
            node[key] = draw(like(node[key]))
        elif how in ("replace", "like"):
            node[key] = draw(foreign)
        elif how == "remove":
            del node[key]
        elif how == "add" and isinstance(node, dict):
            node[draw(texts)] = draw(foreign)
        elif how == "move" and isinstance(node, dict):
            node[draw(texts)] = node.pop(key)
        elif how == "swap":
            other = draw(st.sampled_from(keys))
            node[key], node[other] = node[other], node[key]
    return tree


def _nodes(tree: Any) -> Any:
    if isinstance(tree, dict | list) and tree:
        yield tree
        for child in list(tree.values()) if isinstance(tree, dict) else tree:
            yield from _nodes(child)
