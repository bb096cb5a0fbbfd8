"""The trained models that ship, as a list to choose from."""

from __future__ import annotations

from rich.console import Console
from rich.text import Text

from metacli.checkpoints import bundled
from metacli.checkpoints.bundled import BundledModel
from metacli.config import catalogue
from metacli.registry import TASKS, resolve
from metacli.system import files


def print_models(console: Console, models: list[BundledModel]) -> None:
    """Each with what it can do, what it is held to, and the command that shows it."""
    purposes = {entry.name: entry.purpose for entry in catalogue.list_recipes()}
    for model in models:
        task = bundled.load_task(model.name)
        answer = resolve(TASKS, task.name, "task").answer_of(task)
        metric = next(m for m in answer.metrics if m.name == model.metric)
        spread = metric.format_interval({"mean": model.mean, "ci95": model.ci95})
        console.print(Text(f"{model.name}, {files.format_size(model.bytes)}", style="bold"), soft_wrap=True)
        for line in (
            purposes[model.recipe],
            f"trained on {model.data}",
            f"{metric.label} {spread} over {model.n_tasks:,} test tasks:",
            f"  {model.command}",
        ):
            console.print(Text(f"  {line}"), soft_wrap=True, highlight=False)
