"""Overrides: KEY=VALUE as arguments of the verbs that take them."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from tests.trust import fuzz
from tests.trust.confined import Case
from tests.trust.goods import FLAT, Goods
from tests.trust.hostile import Draw, argument, like, texts, values

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


def case(draw: Draw, place: Path, goods: Goods) -> Case:
    """One to three overrides."""
    verb = draw(st.sampled_from(["sample", "sample", "sample", "sample", "eval", "eval", "train", "dry"]))
    recipe = draw(st.sampled_from(RECIPES)) if verb == "sample" else "smoke"
    keys = {key: v for key, v in _keys(recipe).items() if verb != "eval" or key.startswith("task.")}
    given = [_override(draw, keys) for _ in range(draw(st.sampled_from([1, 1, 1, 2, 3])))]
    if verb == "sample":
        return Case(["sample-tasks", recipe, *given, "-n", "1"])
    if verb == "eval":
        return Case(["eval", "-c", str(goods.finished()), *given, "--tasks", "2", "--threads", "1"])
    if verb == "dry":
        return Case(["train", "smoke", *FLAT, *given, "train.steps=1", "--dry-run", "--threads", "1"])
    return Case(["train", "smoke", *given, *LAST, "--run-dir", "run", "--threads", "1"])


def _override(draw: Draw, keys: dict[str, Any]) -> str:
    other = st.one_of(texts, st.sampled_from(list(_keys("strokes_mann"))), st.sampled_from(SECTIONS))
    key = draw(st.sampled_from(list(keys))) if draw(st.integers(0, 7)) else draw(other)
    value = draw(like(keys.get(key))) if draw(st.integers(0, 3)) else draw(values)
    return argument(
        draw(st.sampled_from(["{}={}", "{}={}", "{}={}", "{}.x={}", "{}:{}", "{}=={}", "{}"])).format(key, value)
    )


@functools.cache
def _keys(recipe: str) -> dict[str, Any]:
    """Every key of a shipped recipe with its value, defaults included."""
    from metacli.config import recipe as recipes
    from metacli.config.keys import flatten

    return flatten(recipes.load_recipe(recipe).as_dict())


def main(times: int, seed: int) -> str:
    """See `tests.trust`."""
    return fuzz.fuzz({"fuzz_overrides": times}, seed)
