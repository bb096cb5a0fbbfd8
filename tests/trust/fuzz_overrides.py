"""Overrides: KEY=VALUE as arguments of the verbs that take them."""

from __future__ import annotations

import functools
from pathlib import Path

from hypothesis import strategies as st

from tests.trust import fuzz
from tests.trust.confined import Case
from tests.trust.goods import FLAT, Goods
from tests.trust.hostile import Draw, argument, numbers, texts, values

NEEDS = ("finished",)
RECIPES = [
    "smoke",
    "strokes_mann",
    "sinusoid_snail",
    "copy_dnc",
    "glyphs_transformer",
    "dynamic_ngrams_ntm",
    "omniglot_ntm",
]
LAST = ["train.steps=1", "train.batch=2", "train.eval_tasks=2", "train.eval_every=0", "train.tensorboard=false"]
FORMS = ["{}={}"] * 12 + ["{}.x={}", "{}:{}", "{}=={}", "{}"]
SECTIONS = ["task", "model", "train", "model.encoder", "plugins", "format", "name", "seed"]
WORDS = [
    "mann",
    "ntm",
    "dnc",
    "lstm",
    "snail",
    "transformer",
    "copy",
    "strokes",
    "clusters",
    "sinusoid",
    "folder",
    "flat",
]


def case(draw: Draw, place: Path, goods: Goods) -> Case:
    """One to three overrides."""
    verb = draw(st.sampled_from(["sample", "sample", "sample", "sample", "eval", "eval", "train", "dry"]))
    recipe = draw(st.sampled_from(RECIPES)) if verb == "sample" else "smoke"
    keys = [key for key in _keys(recipe) if verb != "eval" or key.startswith("task.")]
    given = [_override(draw, keys) for _ in range(draw(st.sampled_from([1, 1, 1, 2, 3])))]
    if verb == "sample":
        return Case(["sample-tasks", recipe, *given, "-n", "1"])
    if verb == "eval":
        return Case(["eval", "-c", str(goods.finished()), *given, "--tasks", "2", "--threads", "1"])
    if verb == "dry":
        return Case(["train", "smoke", *FLAT, *given, "train.steps=1", "--dry-run", "--threads", "1"])
    return Case(["train", "smoke", *given, *LAST, "--run-dir", "run", "--threads", "1"])


def _override(draw: Draw, keys: list[str]) -> str:
    other = st.one_of(texts, st.sampled_from(_keys("strokes_mann")), st.sampled_from(SECTIONS))
    key = draw(st.sampled_from(keys)) if draw(st.integers(0, 7)) else draw(other)
    value = draw(st.one_of(st.integers(0, 9).map(str), numbers.map(str), values.map(str), st.sampled_from(WORDS)))
    return argument(
        draw(st.sampled_from(["{}={}", "{}={}", "{}={}", "{}.x={}", "{}:{}", "{}=={}", "{}"])).format(key, value)
    )


@functools.cache
def _keys(recipe: str) -> list[str]:
    """Every key of a shipped recipe, with its defaults."""
    from metacli.config import recipe as recipes
    from metacli.config.keys import flat

    return sorted(flat(recipes.load(recipe).as_dict()))


def main(times: int, seed: int) -> str:
    """See `tests.trust`."""
    return fuzz.fuzz({"fuzz_overrides": times}, seed)
