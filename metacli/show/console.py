"""The console that prints all tables and drawings. It prints text as it is: no markup, no control characters."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text

from metacli.system import terminal


class Screen(Console):
    """A `rich` console that escapes control characters in all strings and texts, see `metacli.system.terminal`.

    A string is escaped before a table measures it, a `Text` only when it is drawn. A cell whose `Text` becomes longer
    is cut instead of wrapped. So pass foreign names to tables as strings.
    """

    def __init__(self, **settings: Any):
        super().__init__(markup=False, emoji=False, **settings)

    def render_str(self, text: str, **settings: Any) -> Text:
        """Returns a string as a text, escaped."""
        return super().render_str(terminal.escape_lines(text, self.encoding), **settings)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Yields the segments of a renderable, escaped."""
        for piece in super().render(renderable, options):
            yield piece if piece.control else Segment(terminal.escape_lines(piece.text, self.encoding), piece.style)


def printable(console: Console, text: str) -> str:
    """Returns a foreign name as this console prints it, escaped and on one line, so that it can be measured."""
    return terminal.escape_text(text, console.encoding)
