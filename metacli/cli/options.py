"""What the verbs share: options, and how a result is shown."""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager, redirect_stderr
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from metacli.errors import UsageError
from metacli.system import terminal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rich.console import Console

    from metacli.tasks.base import Split

Overrides = Annotated[
    list[str] | None, typer.Argument(metavar="KEY=VALUE", help="Recipe keys to change, as in task.ways=20.")
]
CHECKPOINT = "A .pt file, a run directory, or a shipped name."
CheckpointPath = Annotated[str, typer.Option("--checkpoint", "-c", help=CHECKPOINT)]
CheckpointPaths = Annotated[list[str], typer.Option("--checkpoint", "-c", help=f"{CHECKPOINT} Repeat to compare.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:N or mps.")]
ThreadCount = Annotated[str, typer.Option("--threads", help="A number, or auto: as many as help.")]
SplitName = Annotated[str, typer.Option(help="train, val or test.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON alone on stdout.")]


def _import_plugins(ctx: typer.Context, sources: list[str] | None) -> list[str] | None:
    """Imports them while options are parsed, before a verb asks for a name; not to complete a word in a shell."""
    if not ctx.resilient_parsing:
        from metacli import plugins

        for source in sources or []:
            plugins.load_plugin(source)
    return sources


Plugins = Annotated[
    list[str] | None,
    typer.Option("--plugin", callback=_import_plugins, help="A file or module of yours to import; repeatable."),
]


@contextmanager
def hushed() -> Iterator[None]:
    """Nothing reaches stderr meanwhile; an error that comes out is told after it."""
    with open(os.devnull, "w", encoding="utf-8") as nowhere, redirect_stderr(nowhere):
        yield


def check_split(split: str) -> Split:
    """The split of this name; raises a UsageError where there is none."""
    if split not in ("train", "val", "test"):
        raise UsageError(f"unknown split {split!r}", "one of train, val, test")
    return cast("Split", split)


def print_result(as_json: bool, result: Any, draw: Callable[[Console], object]) -> None:
    """The result on stdout: as JSON alone, or drawn."""
    if as_json:
        print(terminal.as_json(result, terminal.encoding_of(sys.stdout)))
        return
    from metacli.show.console import Screen

    draw(Screen())
