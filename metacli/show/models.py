"""The bundled models as a list to choose from."""

from __future__ import annotations

import textwrap
from itertools import groupby
from typing import Any

from rich.console import Console
from rich.text import Text

from metacli.checkpoints import bundled
from metacli.checkpoints.bundled import BundledModel
from metacli.config import catalogue
from metacli.registry import TASKS, resolve
from metacli.system import files
from metacli.tasks.metrics import Metric


def models_as_json(models: list[BundledModel]) -> list[dict[str, Any]]:
    """Returns the models as plain values. The keys are part of the interface; docs/cli.md describes them."""
    rows = []
    for model in models:
        plain = model.as_dict()
        mean, ci95, n_tasks = (plain.pop(key) for key in ("mean", "ci95", "n_tasks"))
        plain.pop("metric")
        rows.append({**plain, "reference_score": _metric_of(model).score(mean, ci95, n_tasks)})
    return rows


def _metric_of(model: BundledModel) -> Metric:
    task = bundled.load_task(model.name)
    answer = resolve(TASKS, task.name, "task").answer_of(task)
    return next(m for m in answer.metrics if m.name == model.metric)


_WIDTH = 80
_START = [
    "Start with: metacli eval strokes_transformer (downloads nothing)",
    "Look into a memory: metacli inspect-memory copy_ntm",
    "Classify your own images: metacli predict --support DIR --query FILE",
]


def print_models(console: Console, models: list[BundledModel]) -> None:
    """Prints the models by what they learn, each with its reference score, and which model to start with."""
    by_name = {model.name: model for model in models}
    listed = [(entry.setting, by_name[entry.name]) for entry in catalogue.list_recipes() if entry.name in by_name]
    widest = max(len(name) for name in by_name)
    lines = []
    for setting, group in groupby(listed, key=lambda pair: pair[0]):
        lines.append(Text(setting, style="bold"))
        for _, model in group:
            lines.append(
                Text(f"  {model.name:<{widest}}  {format_score(model):<26}{files.format_size(model.bytes):>8}")
            )
            lines += [Text(f"    with {' '.join(model.overrides)}")] if model.overrides else []
    n_tasks = ", ".join(f"{count:,}" for count in sorted({model.n_tasks for model in models}))
    data = "; ".join(sorted({model.data for model in models}))
    for paragraph in (
        f"Scores are means over {n_tasks} test tasks with 95 % intervals. `metacli eval NAME` computes them again; "
        "add the keys below a name where there are some.",
        "Weights are stored in half precision (float16). A model computes in single precision.",
        f"Trained on: {data}.",
    ):
        lines += [Text(""), *map(Text, textwrap.wrap(paragraph, _WIDTH))]
    for line in (*lines, Text(""), *map(Text, _START)):
        console.print(line, soft_wrap=True, highlight=False)


def format_score(model: BundledModel) -> str:
    """Returns the reference score of a model, as in `accuracy 96.5 % ± 0.4`."""
    metric = _metric_of(model)
    return f"{metric.label} {metric.format_value(model.mean, model.ci95)}"
