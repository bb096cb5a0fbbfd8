"""Makes a golden checkpoint of each registered model in today's format: python -m tests.golden

Run it once for a new model, or when the format's number rises; files of older formats are kept as they are.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import torch

from metacli.checkpoints import checkpoint
from metacli.config.recipe import recipe_from_dict
from metacli.registry import MODELS
from metacli.training.loop import train
from metacli.training.progress import Progress
from metacli.training.run import RunPlan
from tests.golden import HERE, evaluated

SMALLEST = {
    "deltanet": {"width": 4, "layers": 1, "heads": 2},
    "lstm": {"hidden": 4, "layers": 1},
    "prototypical": {},
    "snail": {"filters": 3, "keys": [3, 3], "values": [3, 3]},
    "transformer": {"width": 8, "layers": 1, "heads": 2},
}
FLAT = {"kind": "flat"}
MEMORY = {"hidden": 4, "locations": 6, "width": 4, "read_heads": 1}


def main() -> None:
    """Train, evaluate and keep those that are not there yet."""
    torch.set_num_threads(1)
    file = HERE / "expected.json"
    expected = json.loads(file.read_text()) if file.is_file() else {}
    for name in MODELS:
        path = HERE / f"format{checkpoint.FORMAT}_{name}.safetensors"
        if path.is_file():
            continue
        steps = {"steps": 30, "batch": 4, "lr": 0.01, "eval_every": 0, "eval_tasks": 10, "checkpoint_every": 0}
        tree = {
            "seed": 1,
            "task": {"name": "clusters"},
            "model": {"name": name, "encoder": FLAT, **SMALLEST.get(name, MEMORY)},
        }
        recipe = recipe_from_dict({"name": f"golden_{name}", **tree, "train": steps}, "golden")
        with tempfile.TemporaryDirectory() as folder:
            run = train(recipe, RunPlan(Path(folder) / "run"), torch.device("cpu"), Progress(quiet=True), 1).run
            path.write_bytes((run / "best.safetensors").read_bytes())
        expected[path.name] = evaluated(path)
        print(path.name, path.stat().st_size, expected[path.name])
    file.write_text(json.dumps(expected, indent=2, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
