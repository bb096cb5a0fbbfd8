"""What `predict` prints: a line for each question."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table
from rich.text import Text

from metacli.predict.command import Prediction

RUNNERS_UP = 2


def print_prediction(console: Console, prediction: Prediction) -> None:
    """A table of the answers: class, probability, what else it could be, and the example that was looked at most."""
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    table.add_column("query", overflow="ellipsis", no_wrap=True, ratio=3)
    table.add_column("answer", overflow="ellipsis", no_wrap=True, ratio=3)
    table.add_column("probability", justify="right", no_wrap=True, min_width=11)
    table.add_column("else", overflow="ellipsis", no_wrap=True, ratio=3)
    looks = prediction.looked_at is not None
    if looks:
        table.add_column("looked at most", overflow="ellipsis", no_wrap=True, ratio=3)
    for q, (question, row) in enumerate(zip(prediction.questions, prediction.probabilities, strict=True)):
        first, *others = row.argsort()[::-1][: RUNNERS_UP + 1]
        rest = ", ".join(f"{prediction.classes[i]} {row[i]:.0%}" for i in others if row[i] >= 0.01)
        cells = [Text(question.path.name), Text(prediction.classes[first], style="bold"), Text(f"{row[first]:.1%}")]
        looked = prediction.most_looked_at(q)
        cells += [Text(rest, style="dim")] + ([Text(f"{looked[0]}/{looked[1].path.name}")] if looked else [])
        table.add_row(*cells)
    console.print(table)
