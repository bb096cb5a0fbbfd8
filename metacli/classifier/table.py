"""What `predict` prints: a line for each question."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table
from rich.text import Text

from metacli.classifier.prediction import Prediction
from metacli.show.console import legible
from metacli.show.results import shorten

WORTH_SAYING = 0.01  # probability


def print_prediction(console: Console, prediction: Prediction) -> None:
    """A table of the answers: class, probability, what else it could be, and the example that was looked at most."""
    looks = prediction.looked_at is not None
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for heading in ("query", "answer", "probability", "if not that", *["looked at most"] * looks):
        table.add_column(heading, no_wrap=True, justify="right" if heading == "probability" else "left")
    room = (console.width - len("probability") - 2 * len(table.columns)) // (len(table.columns) - 1)
    for q, (question, row) in enumerate(zip(prediction.questions, prediction.probabilities, strict=True)):
        first, second = row.argsort()[::-1][:2]
        rest = f"{row[second]:.0%} {prediction.classes[second]}" if row[second] >= WORTH_SAYING else ""
        cells = [question.path.name, prediction.classes[first], f"{row[first]:.1%}", rest]
        if looked := prediction.most_looked_at(q):
            cells.append(f"{looked[0]}/{looked[1].path.name}")
        table.add_row(*(Text(shorten(legible(console, cell), room)) for cell in cells))
    console.print(table)
