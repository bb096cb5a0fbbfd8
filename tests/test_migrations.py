"""Recipes and checkpoints of earlier formats are brought to today's; those of newer ones are refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metacli.checkpoints import checkpoint, schema
from metacli.checkpoints.provenance import NO_CLASSES
from metacli.config import migrations, recipe
from metacli.errors import MetacliError, UsageError
from metacli.registry import MODELS, TASKS, build


def rename_instances(tree):
    """A migration of recipes."""
    tree["task"]["instances"] = tree["task"].pop("drawings")


def test_a_recipe_of_an_earlier_format_is_migrated(monkeypatch, tmp_path):
    monkeypatch.setattr(migrations, "FORMAT", 2)
    monkeypatch.setattr(recipe, "FORMAT", 2)
    monkeypatch.setattr(migrations, "MIGRATIONS", {1: rename_instances})
    file = tmp_path / "r.yaml"
    file.write_text("task: {name: strokes, drawings: 6}\nmodel: {name: ntm}\n")
    assert recipe.load_recipe(str(file)).task.instances == 6
    today = {"format": 2, "task": {"name": "strokes", "drawings": 6}, "model": {"name": "ntm"}}
    with pytest.raises(UsageError, match=r"task\.drawings: unknown key"):
        recipe.recipe_from_dict(today, "x")


@pytest.mark.parametrize("wrong", [migrations.FORMAT + 1, 0, "two", True])
def test_a_recipe_of_another_format_is_refused(wrong):
    with pytest.raises(UsageError, match="x: recipe format"):
        migrations.migrate({"format": wrong}, "x")


@given(st.dictionaries(st.text(max_size=5), st.one_of(st.integers(), st.text(), st.dictionaries(st.text(), st.none()))))
def test_a_recipe_of_today_stays_as_it_is(tree):
    if "format" not in tree:
        assert migrations.migrate(tree, "x") == tree


def test_a_checkpoint_of_an_earlier_format_is_migrated_and_a_newer_one_refused(monkeypatch, tmp_path, tiny):
    path = tmp_path / "a.safetensors"
    model = build(MODELS, tiny.model, build(TASKS, tiny.task, 0).spec)
    checkpoint.save(path, checkpoint.Snapshot(tiny, 7, None, model, NO_CLASSES))

    def migrate(metadata, tensors):
        metadata["step"] += 1
        tensors["model.renamed"] = tensors.pop(next(iter(tensors)))

    with monkeypatch.context() as patch:
        patch.setattr(schema, "FORMAT", 2)
        patch.setattr(schema, "MIGRATIONS", {1: migrate})
        migrated = checkpoint.load(path)
        assert migrated.step == 8
        assert "renamed" in migrated.model
        patch.setattr(checkpoint, "FORMAT", 2)
        checkpoint.save(path, checkpoint.Snapshot(tiny, 7, None, model, NO_CLASSES))
        assert checkpoint.load(path).step == 7
    with pytest.raises(MetacliError, match="checkpoint format 2"):
        checkpoint.load(path)
