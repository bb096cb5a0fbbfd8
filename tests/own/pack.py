"""`python -m tests.own.pack RUN_DIR...`: a run's best checkpoint becomes a model that ships, named as its recipe.

Train it by the recipe first (`metacli train glyphs_transformer`). What is for resuming is left out.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from metacli.config.recipe import load as load_recipe
from metacli.training import checkpoint
from metacli.training.weights import FOLDER


def main() -> None:
    """Copy, after a look at whether the shipped recipe of that name is the one that it was trained by."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path, nargs="+")
    parser.add_argument("--name", help="of the recipe, where the run's recipe had another file name")
    o = parser.parse_args()
    for run in o.run:
        saved = checkpoint.load(run)
        recipe = load_recipe(o.name or saved.recipe.name)
        trained, shipped = saved.recipe.as_dict(), recipe.as_dict()
        differing = [key for key in shipped if key != "name" and shipped[key] != trained[key]]
        if differing:
            raise SystemExit(f"{run}: the recipe {recipe.name} that ships differs in {', '.join(differing)}")
        assert saved.provenance is not None
        FOLDER.mkdir(exist_ok=True)
        path = FOLDER / f"{recipe.name}.pt"
        model, place = saved.build_model(), saved.environment
        checkpoint.save(path, recipe, saved.step, saved.best, model, saved.provenance, environment=place)
        print(f"{path}: step {saved.step}, best val {saved.best:.4f}, {path.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
