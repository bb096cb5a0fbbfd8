"""`kill -9` at random moments: what comes of the run in the end is, bit for bit, what comes of one never stopped."""

from __future__ import annotations

import json
import os
import random
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from metacli.checkpoints import file_format
from metacli.config import yaml_file
from tests.trust.nursery import Ended, Nursery

TRAIN = {"steps": 24, "batch": 2, "eval_every": 7, "eval_tasks": 4, "checkpoint_every": 3, "log_every": 4, "warmup": 5}
RECIPES = {
    "copy": {
        "seed": 1,
        "task": {"name": "copy", "width": 3, "max_length": 3},
        "model": {"name": "lstm", "hidden": 8, "layers": 1},
        "train": {**TRAIN, "schedule": "cosine"},
    },
    "folder": {
        "seed": 2,
        "task": {"name": "folder", "root": "pictures", "size": 12, "ways": 2, "queries": 1, "prepare": True},
        "model": {"name": "transformer", "width": 8, "layers": 1, "heads": 2, "dropout": 0.2}
        | {"encoder": {"kind": "flat"}},
        "train": {**TRAIN, "optimizer": "adamw", "weight_decay": 0.1},
    },
}
TIMES = ("seconds", "episodes_per_s", "threads")  # what differs from one run to the next


def main(times: int, seed: int) -> str:
    """Kill and resume `times` times, at moments that come of `seed`; a line of figures.

    Raises:
        AssertionError: a run ended otherwise than the one that was never stopped, or could not go on.
    """
    with tempfile.TemporaryDirectory(dir=memory()) as temporary, Nursery(Path(temporary)) as nursery:
        return killed(nursery, times, seed)


def killed(nursery: Nursery, times: int, seed: int) -> str:
    """`main`, in the folder of a nursery."""
    draw, kills, runs = random.Random(seed), 0, 0
    moments: dict[str, int] = {}
    prepare(nursery.folder)
    whole = {name: lived(nursery, name, {}) for name in RECIPES}
    while kills < times:
        name = list(RECIPES)[runs % len(RECIPES)]
        plan = {"draw": draw, "most": min(times - kills, draw.randint(2, 6)), "moments": moments}
        found = lived(nursery, name, plan)
        kills, runs = kills + found["kills"], runs + 1
        for key in ("last", "best", "metrics", "eval"):
            assert found[key] == whole[name][key], f"run {runs} of {name} ends with another {key}"
    where = ", ".join(f"{n} {moment}" for moment, n in sorted(moments.items(), key=lambda item: -item[1]))
    return f"{kills} kills in {runs} runs ({where}), all resumed to the same weights, metrics and eval, bit for bit"


def memory() -> str | None:
    """A folder in memory, where there is one: what is killed loses nothing that was written, synced or not."""
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


def prepare(top: Path) -> None:
    """The recipes, and a folder of pictures."""
    for name, tree in RECIPES.items():
        (top / f"{name}.yaml").write_text(yaml_file.dump(tree))
    draw = np.random.default_rng(0)
    for split, classes in (("train", range(4)), ("val", range(4, 6)), ("test", range(6, 8))):
        for c in classes:
            folder = top / "pictures" / split / f"class{c}"
            folder.mkdir(parents=True, exist_ok=True)
            for i in range(2):
                ink = np.full((24, 24), 255, np.uint8)
                row, column = draw.integers(4, 12, 2)
                ink[row : row + 8, column] = ink[row, column : column + 4 + c] = 0
                Image.fromarray(ink).save(folder / f"{i}.png")


def lived(nursery: Nursery, name: str, plan: dict[str, Any]) -> dict[str, Any]:
    """A run from data preparation to `eval`, killed as planned and resumed each time; all that came of it."""
    run = nursery.folder / "run"
    for old in (run, nursery.folder / "cache"):
        shutil.rmtree(old, ignore_errors=True)
    kills = 0
    lives = {"train": 130, "eval": 8}  # about as many calls that change a file; fewer where most is done
    for verb in ("train", "eval"):
        while True:
            options = ["--resume", "run"] if (run / "recipe.yaml").exists() else [f"{name}.yaml", "--run-dir", "run"]
            args = ["train", *options] if verb == "train" else ["eval", "-c", "run", "--tasks", 9, "--json"]
            ended = nursery.run(
                *args, "--threads", 1, **(_moment(plan, lives[verb]) if kills < plan.get("most", 0) else {})
            )
            if ended.code == 0:
                break
            assert ended.code == -9, f"{' '.join(map(str, args))} ended with {ended.code}: {ended.err[-600:]}"
            kills += 1
            _count(plan["moments"], run, ended)
    left = {path.name for path in run.iterdir()}
    wanted = {"recipe.yaml", "env.json", "metrics.jsonl", "last.safetensors", "best.safetensors", "eval.json"}
    assert left == wanted, f"the run directory holds {sorted(left ^ wanted)}"
    rubbish = (
        [path.name for path in (nursery.folder / "cache").glob(".*")] if (nursery.folder / "cache").exists() else []
    )
    assert not rubbish, f"the cache holds {rubbish}"
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return {
        "kills": kills,
        **{kind: digest(run / f"{kind}.safetensors") for kind in ("last", "best")},
        "metrics": [{k: v for k, v in line.items() if k not in TIMES} for line in lines],
        "eval": (ended.out, (run / "eval.json").read_text()),
    }


def digest(path: Path) -> str:
    """The digest of all that a checkpoint holds, which is right."""
    return str(file_format.read_file(path)[0][file_format.DIGEST_KEY])


def _moment(plan: dict[str, Any], calls: int) -> dict[str, Any]:
    """When a process is killed: at a call that changes a file, or simply after a while."""
    draw: random.Random = plan["draw"]
    if draw.random() < 0.3:
        return {"after": draw.uniform(0.005, 0.6)}
    fault = draw.choice(["kill", "killed after", "killed halfway"])
    return {"fault": fault, "at": draw.randint(1, calls // (4 if fault == "killed halfway" else 1))}


def _count(moments: dict[str, int], run: Path, ended: Ended) -> None:
    """Note where a kill came, by what it left."""
    if not (run / "recipe.yaml").exists():
        moment = "before the run began"
    elif any(path.name.endswith(".part") for path in run.iterdir()):
        moment = "while a file was written"
    elif (run / "metrics.jsonl").exists() and not (run / "metrics.jsonl").read_bytes().endswith(b"\n"):
        moment = "in a line of the log"
    else:
        moment = "between"
    moments[moment] = moments.get(moment, 0) + 1


if __name__ == "__main__":
    print(main(int(sys.argv[1]), int(sys.argv[2])))
