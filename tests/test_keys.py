"""Every key of every registered Config can be read about without the source."""

from __future__ import annotations

import re
from typing import Annotated, Literal

import pytest
from pydantic import Field, ValidationError

from metacli.config.base import BaseConfig
from metacli.config.keys import SEED_KEY, find_section, flatten, list_keys
from metacli.errors import UsageError
from metacli.registry import MODELS, TASKS

ALL = ["train", *TASKS, *MODELS]
UNCLEAR = (  # wording that has a plain or standard term
    "answers right|as many as|beat|everyone|give it back|goe?s? on|going on|guessing|hangs on|held to|looked? at|"
    "lost by|only say|questions?|score|ships?|shown|slot|tell|told|voice|what begins|what ends|what it|what is asked"
)


@pytest.mark.parametrize("name", ALL)
def test_every_key_has_a_meaning_a_type_and_a_range_where_it_has_one(name):
    section, config = find_section(name)
    assert section == ("train" if name == "train" else "task" if name in TASKS else "model")
    keys = {key.name: key for key in list_keys(config)}
    for key in keys.values():
        assert key.meaning, key.name
        assert key.type, key.name
        field = config
        for word in key.name.split("."):
            found = field.model_fields[word]
            field = found.annotation
        assert bool(key.range) >= bool(found.metadata), f"{key.name} has bounds that are not told"
        if key.type in ("whole number", "number"):
            assert key.range, f"{key.name}: any number?"


@pytest.mark.parametrize("name", ALL)
def test_descriptions_are_short_plain_sentences(name):
    for key in [SEED_KEY, *list_keys(find_section(name)[1])]:
        limit = 600 if key.name == "init" else 300
        assert 10 <= len(key.meaning) <= limit, (key.name, len(key.meaning))
        assert key.meaning.endswith("."), key.meaning
        assert "  " not in key.meaning, key.meaning
        assert not re.search(rf"\b({UNCLEAR})\b", key.meaning, re.IGNORECASE), key.meaning


@pytest.mark.parametrize("name", ALL)
def test_defaults_are_those_of_the_config(name):
    config = find_section(name)[1]
    given = {key.name: "/x" for key in list_keys(config) if key.required}
    values = flatten(config.model_validate(given).model_dump())
    told = {key.name: key.default for key in list_keys(config) if key.type != "keys" and not key.required}
    assert told | given == values
    assert list_keys(config)[0].name == ("name" if name != "train" else "steps")


def test_ranges_are_what_validation_enforces():
    class Inner(BaseConfig):
        size: int = Field(3, ge=1, le=9000, description="A nested key.")

    class Config(BaseConfig):
        inner: Inner = Field(Inner(size=4), description="Holds other keys.")
        rate: float = Field(0.5, gt=0, lt=1)
        kind: Literal["a", "b"] = "a"
        widths: list[Annotated[int, Field(ge=2, le=5)]] = Field([2], min_length=1, max_length=3, description="Sizes.")
        either: Annotated[int, Field(ge=1)] | list[int] = 1
        maybe: int | None = None
        root: str = Field(min_length=1)

    keys = {key.name: key for key in list_keys(Config)}
    assert list(keys) == ["inner", "inner.size", "rate", "kind", "widths", "either", "maybe", "root"]
    assert keys["inner.size"].range == "1 to 9,000"
    assert keys["inner.size"].default == 4
    assert keys["inner.size"].meaning == "A nested key."
    assert keys["rate"].range == "above 0, below 1"
    assert keys["kind"].type == "one of a, b"
    assert (keys["widths"].type, keys["widths"].range) == ("list of whole numbers", "1 to 3 of them, each 2 to 5")
    assert keys["widths"].meaning == "Sizes."
    assert keys["either"].type == "whole number or list of whole numbers"
    assert keys["maybe"].type == "whole number or none"
    assert (keys["root"].required, keys["root"].range, keys["root"].meaning) == (True, "not empty", "")
    for wrong in ({"rate": 0.0}, {"rate": 1.0}, {"widths": []}, {"widths": [1]}, {"inner": {"size": 9001}}):
        with pytest.raises(ValidationError):
            Config.model_validate({"root": "x", **wrong})


def test_the_seed_stands_beside_the_sections():
    assert SEED_KEY.range == "0 to 2,147,483,647"
    assert "training tasks" in SEED_KEY.meaning


def test_an_unknown_part_suggests_a_near_one():
    with pytest.raises(UsageError, match="did you mean 'transformer'") as caught:
        find_section("transfomer")
    assert "priority-sort" in caught.value.hint
