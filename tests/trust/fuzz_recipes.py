"""Recipes: those that ship, as trees with foreign values and as texts with foreign lines and bytes."""

from __future__ import annotations

import functools
import json
from pathlib import Path

import yaml
from hypothesis import strategies as st

from tests.trust import fuzz
from tests.trust.confined import Case
from tests.trust.goods import Goods
from tests.trust.hostile import Draw, bent, damaged, texts, values

SOURCES = sorted((Path(__file__).parent.parent.parent / "recipes").glob("*.yaml"))
LINES = [
    "&a", "*a", "<<: *a", "a: &a [*a]", "!!python/object/apply:os.system [touch x]", "!!binary aGk=", "---", "...",
    "{",
    "[", "? x", "\t", "\0", "\ufeff", "[" * 2000, "{a: " * 2000, "a: " * 50, "seed: " + "1" * 5000, "seed: 1e400",
    "|",
    "seed: 0x" + "f" * 400, "seed: 2001-01-01", "task: !!set {a}", "train: {steps: 1__0}", "%YAML 1.1", "x: 'a",
    "a: b: c",
    "plugins: {x: /etc/passwd}", "format: 3", "format: -1", "format: x", "model: {name: mann}", "task: {name: folder}",
]  # fmt: skip
SHORT = ["train.steps=1", "train.batch=2", "train.eval_tasks=2"]


def case(draw: Draw, place: Path, goods: Goods) -> Case:
    """A recipe, and a verb that reads it."""
    path = place / draw(st.sampled_from(["r.yaml", "r.yml", "r", "[bold].yaml", "\x1b[2J.yaml"]))
    path.write_bytes(_content(draw))
    verbs = [["sample-tasks", path.name, "-n", "1"], ["sample-tasks", path.name, "-n", "1", "--json"]]
    verbs += [["recipes", path.name], ["train", path.name, *SHORT, "--run-dir", "run", "--threads", "1"]]
    verbs += [["train", path.name, "train.steps=1", "--dry-run", "--threads", "1"]]
    often = [verbs[0]] * 12 + verbs[1:3] * 4 + verbs[3:]  # the last are the slow ones
    return Case(draw(st.sampled_from(often)))


def _content(draw: Draw) -> bytes:
    source = draw(st.sampled_from(SOURCES))
    how = draw(st.sampled_from(["tree", "tree", "tree", "line", "bytes", "other"]))
    if how == "tree":
        tree = bent(draw, _tree(source))
        if draw(st.booleans()):
            return json.dumps(tree).encode("utf-8", "surrogatepass")
        return yaml.safe_dump(tree, allow_unicode=draw(st.booleans())).encode("utf-8", "surrogatepass")
    if how == "line":
        lines = source.read_text().splitlines()
        for _ in range(draw(st.integers(1, 2))):
            line = draw(st.one_of(st.sampled_from(LINES), texts.map(lambda t: f"{t}: {t}"), texts))
            lines.insert(draw(st.integers(0, len(lines))), " " * draw(st.sampled_from([0, 2, 4])) + line)
        return "\n".join(lines).encode("utf-8", "surrogatepass")
    if how == "bytes":
        return damaged(draw, source.read_bytes())
    return draw(
        st.one_of(
            st.binary(max_size=200),
            values.map(lambda v: repr(v).encode("utf-8", "replace")),
            st.just(b"a: 1\n" * 50_000),
        )
    )


@functools.cache
def _tree(source: Path) -> dict:
    return yaml.safe_load(source.read_text())


def main(times: int, seed: int) -> str:
    """See `tests.trust`."""
    return fuzz.fuzz({"fuzz_recipes": times}, seed)
