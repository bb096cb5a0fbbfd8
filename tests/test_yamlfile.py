from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metacli.config.yaml_file import MAX_BYTES, dump, parse
from metacli.errors import UsageError


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-4", 1e-4),
        ("3E5", 3e5),
        (".5", 0.5),
        ("-7", -7),
        ("1_000", 1000),
        ("0x1f", 31),
        ("true", True),
        ("no", "no"),
        ("on", "on"),
        ("12:30", "12:30"),
        ("2020-01-01", "2020-01-01"),
        ("null", None),
        ("", None),
        ("'1'", "1"),
        ("[1, 2.0]", [1, 2.0]),
    ],
)
def test_scalars_as_people_mean_them(text, value):
    parsed = parse(text, "x")
    assert parsed == value
    assert type(parsed) is type(value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: 1\nb: 2\na: 3", ["line 3", "duplicate key 'a'", "line 1"]),
        ("a: {b: 1, b: 2}", ["line 1", "duplicate key 'b'"]),
        ("a: [1,\nb", ["line 2"]),
        ("&a [*a]", ["anchors"]),
        ("[" * 2000, ["nested deeper"]),
        ("!!python/object/apply:os.system [ls]", ["line 1", "tag"]),
        ("? [a]\n: 1", ["key must be a word"]),
        ("a: " + "x" * MAX_BYTES, ["at most"]),
        ("a: \x00", ["not YAML"]),
    ],
)
def test_bad_yaml_is_named(text, words):
    with pytest.raises(UsageError) as e:
        parse(text, "file.yaml")
    assert "file.yaml" in e.value.message
    for word in words:
        assert word in e.value.message


LEAVES = st.none() | st.booleans() | st.integers(-(10**12), 10**12) | st.floats(allow_nan=False) | st.text(max_size=12)
TREES = st.recursive(
    LEAVES,
    lambda kids: st.lists(kids, max_size=3) | st.dictionaries(st.text(min_size=1, max_size=6), kids, max_size=3),
    max_leaves=8,
)


@given(TREES)
def test_dump_reads_back(tree):
    assert parse(dump(tree), "x") == tree
