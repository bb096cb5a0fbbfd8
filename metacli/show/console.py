"""The console that all tables and drawings go to: what it is given is text, never markup and never a control."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text

from metacli.system import terminal


class Screen(Console):
    """A `rich` console whose strings and texts are made harmless before they are styled, see `metacli.system.terminal`.

    Strings become what is shown before a table measures them. A `Text` does when it is drawn: it is always safe, but
    a cell is cut rather than wrapped where that made it longer, so names from elsewhere go into tables as strings.
    """

    def __init__(self, **settings: Any):
        super().__init__(markup=False, emoji=False, **settings)

    def render_str(self, text: str, **settings: Any) -> Text:
        """A string as a text."""
        return super().render_str(terminal.escape_lines(text, self.encoding), **settings)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """What is drawn, piece by piece."""
        for piece in super().render(renderable, options):
            yield piece if piece.control else Segment(terminal.escape_lines(piece.text, self.encoding), piece.style)


def legible(console: Console, text: str) -> str:
    """A name from elsewhere as this console shows it, on one line, for what must know its width."""
    return terminal.escape_text(text, console.encoding)
