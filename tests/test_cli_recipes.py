"""`metacli recipes` as a user meets it."""

from __future__ import annotations

import json

import pytest
from rich.cells import cell_len

from metacli.config import catalogue, yaml_file
from metacli.config.recipe import load_recipe, recipes_folder
from metacli.registry import MODELS, TASKS

NAMES = {path.stem for path in recipes_folder().glob("*.yaml")}


def test_the_list_has_a_heading_for_each_task_and_a_line_for_each_recipe(cli):
    found = cli("recipes")
    assert found.returncode == 0, found.stderr
    lines = found.stdout.splitlines()
    assert all(cell_len(line) <= 80 for line in lines)
    listed = [line.split()[0] for line in lines if line.startswith("  ")]
    assert sorted(listed) == sorted(NAMES)
    headings = [line for line in lines if not line.startswith(" ")]
    assert len(headings) == len(set(headings)) < 30
    assert {h.split()[1].rstrip(":") for h in headings} == {load_recipe(name).task.name for name in NAMES}
    assert all(line.split(maxsplit=1)[1] for line in lines), "every recipe says who learns"


def test_words_filter_by_name_task_model_and_purpose(cli):
    for words in (["stream", "MANN"], ["repeat-copy"], ["download"], ["omniglot", "5-shot", "snail"]):
        found = json.loads(cli("recipes", *words, "--json").stdout)
        assert found
        assert found.keys() < NAMES
        for name, purpose in found.items():
            recipe = load_recipe(name)
            text = f"{name} {recipe.task.name} {recipe.model.name} {purpose}".lower()
            assert all(word.lower() in text for word in words)
    assert json.loads(cli("recipes", "--json").stdout).keys() == NAMES


def test_a_name_is_explained_key_by_key(cli):
    found = cli("recipes", "copy_snail")
    assert found.returncode == 0, found.stderr
    assert all(cell_len(line) <= 80 for line in found.stdout.splitlines())
    assert "…" not in found.stdout
    assert "Training: 3,000 steps" in found.stdout
    plain = json.loads(cli("recipes", "copy_snail", "--json").stdout)
    assert plain["recipe"] == load_recipe("copy_snail").as_dict()
    for row in plain["keys"]:
        assert row["meaning"]
        node = plain["recipe"]
        for word in row["name"].split("."):
            node = node[word]
        assert row["value"] == (None if row["type"] == "keys" else node)
        assert row["name"].split(".")[-1] in found.stdout
    assert plain["header"][0] == catalogue.extract_purpose((recipes_folder() / "copy_snail.yaml").read_text())


@pytest.mark.parametrize("part", ["train", "folder", "transformer"])
def test_keys_of_a_part(cli, part):
    found = cli("recipes", "--keys", part)
    assert found.returncode == 0, found.stderr
    assert all(cell_len(line) <= 80 for line in found.stdout.splitlines())
    plain = json.loads(cli("recipes", "--keys", part, "--json").stdout)
    assert plain["section"] in ("train", "task", "model")
    assert all(row["name"] in found.stdout and row["meaning"] for row in plain["keys"])


def test_a_copy_starts_ones_own_and_nothing_is_overwritten(cli, tmp_path):
    made = cli("recipes", "smoke", "--copy", "mine.yaml")
    assert made.returncode == 0, made.stderr
    original, copied = (recipes_folder() / "smoke.yaml").read_text(), (tmp_path / "mine.yaml").read_text()
    assert yaml_file.parse(copied, "") == yaml_file.parse(original, "")
    assert catalogue.extract_header(copied) == [
        "A copy of smoke. Describe your changes here.",
        "",
        "  metacli train mine.yaml",
    ]
    assert cli("recipes", "mine.yaml").stdout.startswith("A copy of smoke.")
    (tmp_path / "mine.yaml").write_text("mine")
    again = cli("recipes", "smoke", "--copy", "mine.yaml")
    assert again.returncode == 2
    assert "exists already" in again.stderr
    assert "hint:" in again.stderr
    assert (tmp_path / "mine.yaml").read_text() == "mine"
    assert cli("recipes", "smoke", "--copy", "none/mine.yaml").returncode == 1


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["mnan"], "did you mean 'mann'"),
        (["smoke.yml", "--copy", "x", "--keys", "ntm"], "cannot be combined"),
        (["stream", "--copy", "x"], "one recipe"),
        (["none.yaml"], "no recipe 'none.yaml'"),
        (["--keys", "trian"], "did you mean 'train'"),
    ],
)
def test_wrong_usage(cli, tmp_path, args, words):
    found = cli("recipes", *args)
    assert found.returncode == 2
    assert words in found.stderr
    assert found.stdout == ""
    assert not list(tmp_path.iterdir())


def test_every_registered_name_that_a_recipe_uses_is_in_the_list():
    found = catalogue.list_recipes()
    assert {e.model for e in found} == set(MODELS)
    assert {e.task for e in found} <= set(TASKS)
    assert all(e.setting and e.learner for e in found)
    for e in found:
        tree = yaml_file.parse((recipes_folder() / f"{e.name}.yaml").read_text(), e.name)
        assert (tree["task"]["name"], tree["model"]["name"]) == (e.task, e.model)
