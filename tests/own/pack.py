"""`python -m tests.own.pack RUN_DIR... [--figure KEY=VALUE ...]`: a run's best checkpoint becomes a model that ships.

It is named as its recipe. Train it by that first (`metacli train glyphs_transformer`). What is for resuming is left
out, numbers are kept in half precision (a model computes in single precision all the same), and what it is held to
from then on is measured with these on 1,000 test tasks and written beside it. The name of a model that ships, in place
of a run, measures that one again.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from metacli import api
from metacli.checkpoints import checkpoint
from metacli.checkpoints.bundled import FOLDER
from metacli.checkpoints.reference_scores import FIGURES, FIRST
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
        name = run if (FOLDER / f"{run}.pt").is_file() else pack(Path(run), o.name)
        figure(name, o.figure)


def pack(run: Path, name: str | None) -> str:
    """Copy the best checkpoint of a run; its name."""
    saved = checkpoint.load(run)
    recipe = load_recipe(name or saved.recipe.name)
    trained, shipped = saved.recipe.as_dict(), recipe.as_dict()
    differing = [key for key in shipped if key != "name" and shipped[key] != trained[key]]
    if differing:
        raise SystemExit(f"{run}: the recipe {recipe.name} that ships differs in {', '.join(differing)}")
    assert saved.provenance is not None
    FOLDER.mkdir(exist_ok=True)
    path = FOLDER / f"{recipe.name}.pt"
    model, place = saved.build_model().half(), saved.environment
    checkpoint.save(path, recipe, saved.step, saved.best, model, saved.provenance, environment=place)
    print(f"{path}: step {saved.step}, best val {saved.best:.4f}, {path.stat().st_size / 1e6:.1f} MB")
    return recipe.name


def figure(name: str, overrides: list[str]) -> None:
    """Measure a model that ships and write down what it reached."""
    recipe = checkpoint.load(FOLDER / f"{name}.pt").recipe
    scores = api.evaluate(name, *overrides, n_tasks=TASKS)
    found = {
        "recipe": recipe.name,
        "overrides": overrides,
        "metric": scores.metric.name,
        "mean": round(scores.mean, 9),
        "ci95": round(scores.ci95, 9),
        "n_tasks": TASKS,
        "first": round(float(scores.values[scores.metric.name][:FIRST].mean()), 9),
        "data": DATA.get(recipe.task.name, "generated sequences, made by metacli"),
    }
    all_figures = json.loads(FIGURES.read_text(encoding="utf-8")) if FIGURES.is_file() else {}
    files.write(FIGURES, json.dumps(dict(sorted({**all_figures, name: found}.items())), indent=2) + "\n")
    print(f"{name}: {scores}")


if __name__ == "__main__":
    main()
