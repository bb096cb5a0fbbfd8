"""The models that ship: named, whole, trained by the recipe of their name, and good on characters never seen."""

from __future__ import annotations

import json
import os
import re

import numpy as np
import pytest
import torch
from PIL import Image

import metacli
from metacli.checkpoints import bundled, checkpoint, file_format
from metacli.config.recipe import load_recipe
from metacli.errors import UsageError
from metacli.tasks.images.synthetic.pen import draw_strokes, rasterize
from metacli.tasks.images.synthetic.script import generate_characters
from tests.own import pack

NAMES = bundled.bundled_names()
FEW_MB = 4e6


def drawings(classes: int, each: int) -> list[list[Image.Image]]:
    """Invented characters of one alphabet that no model was trained on: by class, dark ink on white."""
    numbers = np.arange(classes) + 55_000
    lines, owner = draw_strokes(0, numbers, generate_characters(0, numbers), each)
    page = owner[:, None] * each + np.arange(each)
    pages = rasterize(lines.reshape(-1, lines.shape[2]), page.ravel(), classes * each)
    return [[Image.fromarray(255 - p) for p in some] for some in pages.reshape(classes, each, *pages.shape[1:])]


def test_some_ship():
    assert "glyphs_transformer" in NAMES


@pytest.mark.parametrize("name", NAMES)
def test_weights_are_stored_in_half_precision_and_computed_with_in_single(name):
    tensors = file_format.read_file(bundled.find_checkpoint(name))[1]
    assert {t.dtype for t in tensors.values() if t.is_floating_point()} == {torch.float16}
    assert {w.dtype for w in checkpoint.load(bundled.find_checkpoint(name)).build_model().parameters()} == {
        torch.float32
    }


@pytest.mark.parametrize("name", NAMES)
def test_it_was_trained_by_the_recipe_of_its_name(name):
    path = bundled.find_checkpoint(name)
    assert path.stat().st_size < FEW_MB
    saved = checkpoint.load(path)
    shipped = load_recipe(name).as_dict()
    assert {k: v for k, v in saved.recipe.as_dict().items() if k in shipped} == shipped
    assert saved.optimizer is None
    assert not set(saved.provenance.classes["train"]) & set(saved.provenance.classes["test"])


@pytest.mark.parametrize("name", [model.name for model in bundled.bundled_classifiers()])
def test_it_tells_new_characters_apart(name):
    task = bundled.load_task(name)
    ways = min(max(5, task.fewest_ways), task.ways)
    shown = drawings(ways, 6)
    learner = metacli.load(name).fit([c[0] for c in shown], [str(i) for i in range(ways)])
    asked = [(picture, str(i)) for i, c in enumerate(shown) for picture in c[1:]]
    assert learner.score([p for p, _ in asked], [name for _, name in asked]) > 0.7


def test_the_one_that_suits_is_chosen_and_named():
    shown = drawings(20, 2)
    learner = metacli.load().fit([c[0] for c in shown], range(20))
    assert learner.name == "glyphs_transformer"
    assert learner.score([c[1] for c in shown], range(20)) > 0.6
    assert metacli.load().fit([c[0] for c in shown[:3]], "abc").name == "glyphs_transformer"
    many = drawings(21, 2)
    learner = metacli.load().fit([c[0] for c in many], range(21))
    assert learner.name == "glyphs_any_transformer"
    assert learner.score([c[1] for c in many], range(21)) > 0.6
    with pytest.raises(UsageError, match="did you mean 'glyphs_transformer'"):
        metacli.load("glyphs_transformr")


def test_the_command_line_takes_the_name(cli, tmp_path):
    shown = drawings(3, 2)
    for i, (one, other) in enumerate(shown):
        (tmp_path / "s" / f"c{i}").mkdir(parents=True)
        one.save(tmp_path / "s" / f"c{i}" / "1.png")
        (tmp_path / "q").mkdir(exist_ok=True)
        other.save(tmp_path / "q" / f"{i}.png")
    done = cli("predict", "--support", "s", "--query", "q", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    learner = metacli.load().fit([c[0] for c in shown], ["c0", "c1", "c2"])
    shares = [list(p["probabilities"].values()) for p in found["predictions"]]
    np.testing.assert_allclose(shares, learner.predict_proba([c[1] for c in shown]), atol=1e-6)
    assert found["checkpoint"] in NAMES
    assert found["checkpoint"] in done.stderr


def test_only_those_trained_on_few_shot_tasks_of_pictures_are_taught():
    tasks = {name: bundled.load_task(name) for name in NAMES}
    assert {model.name for model in bundled.bundled_classifiers()} == {
        name for name, task in tasks.items() if task.name in ("omniglot", "strokes") and task.protocol == "k-shot"
    }


def test_the_list_of_classifiers_says_what_their_recipes_say():
    listed = json.loads((bundled.FOLDER / bundled.CLASSIFIERS_NAME).read_text())
    assert listed == pack.classifiers()
    assert list(listed) == sorted(listed)


@pytest.mark.parametrize("name", NAMES)
def test_it_still_reaches_its_stated_figure(name):
    if bundled.load_task(name).name == "omniglot" and not os.environ.get("METACLI_DATA"):
        pytest.skip("Omniglot is not at hand")
    stated = next(model for model in bundled.bundled_models() if model.name == name)
    scores = metacli.evaluate(name, *stated.overrides, n_tasks=bundled.FIRST_TASKS)
    assert scores.metric.name == stated.metric
    assert scores.mean == pytest.approx(stated.first, abs=stated.ci95)
    assert stated.first == pytest.approx(stated.mean, abs=2 * scores.ci95)  # four standard errors


def test_models_are_listed(cli):
    listed = json.loads(cli("models", "--json").stdout)
    assert [model["name"] for model in listed] == NAMES
    wanted = {"name", "recipe", "reference_score", "first", "bytes", "overrides", "data"}
    assert all(model.keys() == wanted for model in listed)
    scores = [model["reference_score"] for model in listed]
    assert all(score.keys() == {"metric", "unit", "mean", "ci95", "n_tasks"} for score in scores)
    assert all(0 < score["ci95"] < score["mean"] for score in scores)
    assert all(score["mean"] < 1 for score in scores if score["metric"] == "accuracy")
    table = cli("models").stdout
    assert all(re.search(rf"^  {name} +(accuracy|bits) ", table, re.M) for name in NAMES)
    assert all(len(line) <= 80 for line in table.splitlines())
    for command in re.findall(r": metacli \w[\w-]* (\w+)( |$)", table, re.M):
        assert command[0] in NAMES
    assert "Start with: metacli eval strokes_transformer" in table
