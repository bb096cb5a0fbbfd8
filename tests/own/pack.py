"""`python -m tests.own.pack RUN_DIR... [--figure KEY=VALUE ...]`: a run's best checkpoint becomes a model that ships.

It is named as its recipe. Train it by that first (`metacli train glyphs_transformer`). What is for resuming is left
out, numbers are kept in half precision (a model computes in single precision all the same), and what it is held to
from then on is measured with these on 1,000 test tasks and written beside it. The name of a model that ships, in place
of a run, measures that one again. Then the list of models that `metacli predict` chooses from is written anew.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from metacli import api
from metacli.checkpoints import bundled, checkpoint
from metacli.classifier.few_shot_model import MAX_SUPPORT
from metacli.config.recipe import load_recipe
from metacli.system import files

DATA = {
    "omniglot": "Omniglot (Lake, Salakhutdinov, Tenenbaum 2015; MIT licence)",
    "strokes": "invented characters, made by metacli",
}
TASKS = 1000


def main() -> None:
    """Copy, after a look at whether the shipped recipe of that name is the one that it was trained by."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", nargs="+", help="a run directory, or the name of a model that ships already")
    parser.add_argument("--name", help="of the recipe, where the run's recipe had another file name")
    parser.add_argument("--figure", nargs="*", default=[], help="keys to change of the tasks that it is measured on")
    o = parser.parse_args()
    for run in o.run:
        name = run if bundled.bundled_file(run).is_file() else pack(Path(run), o.name)
        figure(name, o.figure)
    path = bundled.FOLDER / bundled.CLASSIFIERS_NAME
    files.write(path, json.dumps(classifiers(), indent=2) + "\n")


def classifiers() -> dict[str, dict[str, Any]]:
    """What the recipes of the bundled models that `metacli predict` can use say of their tasks, by name."""
    tasks = {name: bundled.load_task(name) for name in bundled.bundled_names()}
    return {
        name: {
            "ways": MAX_SUPPORT if task.labels == "embedded" else task.ways,
            "fewest_ways": task.fewest_ways,
            "prepare": task.prepare,
            "labels": task.labels,
        }
        for name, task in tasks.items()
        if getattr(task, "protocol", None) == "k-shot"
    }


def pack(run: Path, name: str | None) -> str:
    """Copy the best checkpoint of a run; its name."""
    saved = checkpoint.load(run)
    recipe = load_recipe(name or saved.recipe.name)
    trained, shipped = saved.recipe.as_dict(), recipe.as_dict()
    differing = [key for key in shipped if key != "name" and shipped[key] != trained[key]]
    if differing:
        raise SystemExit(f"{run}: the recipe {recipe.name} that ships differs in {', '.join(differing)}")
    path = bundled.bundled_file(recipe.name)
    model = saved.build_model().half()
    snapshot = checkpoint.Snapshot(recipe, saved.step, saved.best, model, saved.provenance)
    checkpoint.save(path, replace(snapshot, environment=saved.environment))
    print(f"{path}: step {saved.step}, best val {saved.best:.4f}, {path.stat().st_size / 1e6:.1f} MB")
    return recipe.name


def figure(name: str, overrides: list[str]) -> None:
    """Measure a model that ships and write down what it reached."""
    recipe = checkpoint.load(bundled.bundled_file(name)).recipe
    scores = api.evaluate(name, *overrides, n_tasks=TASKS)
    found = {
        "recipe": recipe.name,
        "overrides": overrides,
        "metric": scores.metric.name,
        "mean": round(scores.mean, 9),
        "ci95": round(scores.ci95, 9),
        "n_tasks": TASKS,
        "first": round(float(scores.values[scores.metric.name][: bundled.FIRST_TASKS].mean()), 9),
        "data": DATA.get(recipe.task.name, "generated sequences, made by metacli"),
    }
    path = bundled.FOLDER / bundled.FIGURES_NAME
    all_figures = json.loads(path.read_text(encoding="utf-8"))
    files.write(path, json.dumps(dict(sorted({**all_figures, name: found}.items())), indent=2) + "\n")
    print(f"{name}: {scores}")


if __name__ == "__main__":
    main()
