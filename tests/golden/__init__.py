"""Golden checkpoints: one of each model and format, a few KB each, and what they score. See `__main__`."""

from __future__ import annotations

from pathlib import Path

import torch

from metacli.checkpoints import checkpoint
from metacli.evaluation.evaluate import build_eval_tasks, evaluate

HERE = Path(__file__).parent


def evaluated(path: Path) -> dict[str, float]:
    """The means of 20 test tasks of seed 1: `loss` and `accuracy`."""
    saved = checkpoint.load(path)
    tasks = build_eval_tasks(saved, ["seed=1"])[1]
    means = evaluate(saved.build_model(), tasks, "test", 20, torch.device("cpu")).means()
    return {name: means[name] for name in ("loss", "accuracy")}
