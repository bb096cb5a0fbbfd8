from __future__ import annotations

import os
import re

import pytest

from metacli.config import yaml_file
from metacli.config.catalogue import extract_purpose
from metacli.config.recipe import find_recipe, load_recipe, recipe_from_dict, recipes_folder
from metacli.errors import UsageError
from metacli.registry import MODELS

SHIPPED = sorted(recipes_folder().glob("*.yaml"))


@pytest.mark.parametrize("path", SHIPPED, ids=lambda p: p.stem)
def test_every_shipped_recipe_is_valid_and_says_what_it_is_for(path):
    recipe = load_recipe(str(path))
    assert recipe.name == path.stem
    assert len(extract_purpose(path.read_text())) > 20
    assert re.search(r"^# +metacli train ", path.read_text(), re.MULTILINE)


@pytest.mark.parametrize("path", SHIPPED, ids=lambda p: p.stem)
def test_names_say_what_is_inside(path):
    recipe = load_recipe(str(path))
    words = path.stem.split("_")
    if path.stem == "smoke":
        return
    data = {name: name for name in ("omniglot", "strokes", "folder")} | {"scratch": "omniglot"}
    if words[0] in data:
        assert recipe.task.name == data[words[0]]
        shape = re.search(r"_(\d+)w(\d+)s_", path.stem)
        if words[1].startswith("stream"):
            assert (recipe.task.protocol, recipe.task.ways) == ("stream", int(words[1].removeprefix("stream") or 5))
        elif several := re.search(r"_(\d+)way_", path.stem):
            assert (recipe.task.ways, recipe.task.fewest_shots) == (int(several[1]), 1)
        elif words[1] == "any":
            assert (recipe.task.labels, recipe.task.shots, recipe.task.fewest_ways > 0) == ("embedded", 1, True)
        else:
            assert (recipe.task.ways, recipe.task.shots) == ((int(shape[1]), int(shape[2])) if shape else (5, 1))
    elif words[0] == "glyphs":  # for a person's own classes: whole alphabets held out, any number of ways
        assert (recipe.task.name, recipe.task.split, recipe.task.prepare) == ("omniglot", "lake", True)
        assert recipe.task.labels == ("embedded" if words[1] == "any" else "one-hot")
        assert recipe.task.fewest_ways >= 2
    else:
        assert path.stem.startswith(recipe.task.name.replace("-", "_"))
    assert recipe.model.name in words


def test_recipes_from_scratch_differ_in_the_model_and_in_the_number_of_steps_alone():
    recipes = [load_recipe(str(path)) for path in SHIPPED if path.stem.startswith("scratch_")]
    assert len({str(recipe.model.encoder) for recipe in recipes}) == 1
    assert {getattr(recipe.model, "init", "random") for recipe in recipes} == {"random"}
    assert {recipe.train.encoder_from for recipe in recipes} == {""}
    models_of_task: dict[str, list[str]] = {}
    for recipe in recipes:
        key = str((recipe.task, recipe.train.model_copy(update={"steps": 0, "lr": 0})))
        models_of_task.setdefault(key, []).append(recipe.model.name)
    assert [sorted(names) for names in models_of_task.values()] == [sorted(MODELS)] * 3


def test_bare_name_and_path_are_the_same():
    found = {find_recipe(name).resolve() for name in ("copy_ntm", "recipes/copy_ntm.yaml", "copy_ntm.yaml")}
    assert len(found) == 1


def test_unknown_recipe_is_met_with_a_suggestion():
    with pytest.raises(UsageError, match="did you mean 'copy_ntm'"):
        load_recipe("copy_ntn")


def test_overrides_follow_the_rules_of_the_file(tiny_file):
    recipe = load_recipe(str(tiny_file), ["train.lr=3e-4", "model.encoder.kind=flat", "seed=9"])
    assert recipe.train.lr == 3e-4
    assert recipe.seed == 9


@pytest.mark.parametrize("text", ["007", "1e5", "true", "[x]", "x #y", "null", "a: b", "'", '"'])
def test_an_override_of_text_is_text(text):
    recipe = load_recipe("omniglot_ntm", [f"task.root={text}", "task.name=folder", f"train.encoder_from={text}"])
    assert os.path.basename(recipe.task.root) == recipe.train.encoder_from == text


def test_quotes_around_an_override_of_text_are_removed(tiny_file):
    recipe = load_recipe(str(tiny_file), ['train.encoder_from="x #y"', "train.schedule='cosine'", 'name="07"'])
    assert (recipe.train.encoder_from, recipe.train.schedule, recipe.name) == ("x #y", "cosine", "07")
    assert load_recipe(str(tiny_file), ["train.encoder_from="]).train.encoder_from == ""


def test_round_trip(tiny):
    assert recipe_from_dict(yaml_file.parse(yaml_file.dump(tiny.as_dict()), "x"), "x") == tiny


def test_all_errors_at_once_each_with_its_key(tiny_tree):
    tiny_tree["train"] |= {"step": 3, "batch": 0, "lr": "fast"}
    tiny_tree["model"]["hiden"] = 3
    tiny_tree["sed"] = 1
    tiny_tree["task"]["width"] = 3.5
    with pytest.raises(UsageError) as e:
        recipe_from_dict(tiny_tree, "r.yaml")
    lines = e.value.message.splitlines()
    for start in ("sed", "task.width", "model.hiden", "train.step", "train.batch", "train.lr"):
        assert any(line.startswith(f"r.yaml: {start}:") for line in lines), start
    assert "did you mean 'hidden'" in e.value.message
    assert "did you mean 'seed'" in e.value.message
    assert e.value.code == 2


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"model": {"name": "ntn"}}, "did you mean 'ntm'"),
        ({"task": {"name": "copi"}}, "did you mean 'copy'"),
        ({"model": {}}, "model.name: missing"),
        ({"task": 3}, "task.name: missing"),
        ({"train": []}, "train: should be a mapping"),
        ({"seed": -1}, "seed: should be a whole number"),
        ({"seed": True}, "seed: should be a whole number"),
        ({"model": {"name": "snail"}}, "conv needs images"),
        ({"model": {"name": "ntm", "locations": 2, "shift_range": 5}}, "shift_range 5"),
        ({"model": {"name": ["ntm"]}}, "model.name"),
    ],
)
def test_bad_recipes(tiny_tree, change, words):
    with pytest.raises(UsageError) as e:
        recipe_from_dict(tiny_tree | change, "r")
    assert words in e.value.message


@pytest.mark.parametrize("text", ["", "just words", "- 1", "3"])
def test_a_recipe_is_a_mapping(tmp_path, text):
    path = tmp_path / "r.yaml"
    path.write_text(text)
    with pytest.raises(UsageError, match="mapping"):
        load_recipe(str(path))


@pytest.mark.parametrize("bad", ["train.lr", "=3", "..=3"])
def test_an_override_has_a_key_and_a_value(tiny_file, bad):
    with pytest.raises(UsageError, match="not KEY=VALUE"):
        load_recipe(str(tiny_file), [bad])


def test_binary_file_and_folder(tmp_path):
    (tmp_path / "r.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match="cannot read"):
        load_recipe(str(tmp_path / "r.yaml"))
    with pytest.raises(UsageError, match="is a folder"):
        load_recipe(str(tmp_path))
