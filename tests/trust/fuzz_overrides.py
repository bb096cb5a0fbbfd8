"""Overrides: KEY=VALUE as arguments of the verbs that take them."""

from __future__ import annotations

import functools
from pathlib import Path

from hypothesis import strategies as st

from tests.trust import fuzz
from tests.trust.confined import Case
from tests.trust.goods import FLAT, Goods
from tests.trust.hostile import Draw, argument, texts, values

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
    """One to four overrides."""
    given = [_override(draw) for _ in range(draw(st.integers(1, 4)))]
    recipe = draw(st.sampled_from(RECIPES))
    verb = draw(st.sampled_from(["sample", "sample", "eval", "train", "dry"]))
    if verb == "sample":
        return Case(["sample-tasks", recipe, *given, "-n", "1"])
    if verb == "eval":
        return Case(["eval", "-c", str(goods.finished()), *given, "--tasks", "2", "--threads", "1"])
    if verb == "dry":
        return Case(["train", "smoke", *FLAT, *given, "train.steps=1", "--dry-run", "--threads", "1"])
    return Case(["train", "smoke", *given, *LAST, "--run-dir", "run", "--threads", "1"])


def _override(draw: Draw) -> str:
    key = draw(st.one_of(st.sampled_from(_keys()), st.sampled_from(_keys()), texts))
    value = draw(st.one_of(values.map(str), st.sampled_from(WORDS)))
    return argument(
        draw(st.sampled_from(["{}={}", "{}={}", "{}={}", "{}.x={}", "{}:{}", "{}=={}", "{}"])).format(key, value)
    )


@functools.cache
def _keys() -> list[str]:
    """Every key that a shipped recipe has, with its defaults."""
    from metacli.config import recipe
    from metacli.config.keys import flat

    keys = {key for name in RECIPES for key in flat(recipe.load(name).as_dict())}
    return sorted(keys | {"task", "model", "train", "model.encoder", "plugins", "format", "name", "seed"})


def main(times: int, seed: int) -> str:
    """See `tests.trust`."""
    return fuzz.fuzz({"fuzz_overrides": times}, seed)
