"""What the verbs share: options, the progress bar, and how a result is printed."""

from __future__ import annotations

import sys
from contextlib import contextmanager, redirect_stderr
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from metacli.system import operating_system, terminal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rich.console import Console

CHECKPOINT = "Checkpoint: a run directory, a .safetensors file or the name of a bundled model."
Overrides = Annotated[
    list[str] | None,
    typer.Argument(metavar="KEY=VALUE", help="Recipe keys to change, as in task.ways=20."),
]
CheckpointOption = Annotated[
    str | None,
    typer.Option("--checkpoint", "-c", help="Same as the argument CHECKPOINT."),
]
CheckpointOptions = Annotated[
    list[str] | None,
    typer.Option("--checkpoint", "-c", help="Same as the argument CHECKPOINT; repeatable."),
]
Device = Annotated[str, typer.Option(help="Device: auto, cpu, cuda, cuda:N or mps.")]
ThreadCount = Annotated[
    str,
    typer.Option("--threads", help="Number of CPU threads, or auto to measure and pick the fastest."),
]
SplitName = Annotated[Literal["train", "val", "test"], typer.Option(help="Split that the tasks come from.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print only JSON on stdout.")]


def _import_plugins(ctx: typer.Context, sources: list[str] | None) -> list[str] | None:
    """Import plugins while options are parsed, before a verb looks a name up. A shell that completes skips them."""
    if sources and not ctx.resilient_parsing:
        from metacli import plugins
        from metacli.compute.settings import own_settings

        for source in sources:
            plugins.load_plugin(source)
        ctx.with_resource(own_settings())  # a plugin may have changed the settings of torch and NumPy
    return sources


Plugins = Annotated[
    list[str] | None,
    typer.Option("--plugin", callback=_import_plugins, help="Python file or module to import first; repeatable."),
]


def expand_paths(value: Any) -> Any:
    """Callback of options and arguments that are paths. Expands `~`, which a shell does not do in `--run-dir=~/x`."""
    if value is None:
        return None
    expand = operating_system.expand_home
    return [expand(path) for path in value] if isinstance(value, list | tuple) else expand(value)


_FORCE = "metacli.force"  # a key of the context's `meta`


def _remember_force(ctx: typer.Context, force: bool) -> bool:
    ctx.meta[_FORCE] = force
    return force


Force = Annotated[
    bool,
    typer.Option(
        "--force", is_eager=True, callback=_remember_force, help="Overwrite files that metacli did not write."
    ),
]


def output_file(suffix: str, help_text: str) -> Any:
    """Returns an option that names a file to write. The verb also needs the option `Force`.

    The file is checked while options are parsed, before any work; see `metacli.system.outputs.check_output`.
    """

    def check(ctx: typer.Context, param: typer.CallbackParam, path: Any) -> Path | None:
        if path is None or ctx.resilient_parsing:
            return None
        from metacli.system import outputs

        expanded = operating_system.expand_home(path)
        if suffix == ".png":
            from metacli.show.figures import require_matplotlib

            require_matplotlib()
        outputs.check_output(expanded, suffix, param.opts[0], ctx.meta.get(_FORCE, False))
        return expanded

    return typer.Option(help=help_text, callback=check)


def examples(*commands: str) -> str:
    """Returns example commands as the last lines of a help text."""
    return "\n".join(["Examples:", *(f"  {command}" for command in commands)])


@contextmanager
def silence_stderr() -> Iterator[None]:
    """Within it nothing is printed on stderr. An error that leaves it is printed afterwards."""
    with redirect_stderr(terminal.Nowhere()):
        yield


def task_bar(count: int) -> Any:
    """A progress bar over tasks on stderr, where that is a terminal; a context manager."""
    from tqdm import tqdm

    return tqdm(total=count, unit="task", file=terminal.stderr(), disable=None, leave=False)


def print_result(as_json: bool, result: Any, draw: Callable[[Console], object]) -> None:
    """Print the result on stdout, as JSON or drawn by `draw`."""
    if as_json:
        print(terminal.format_json(result, terminal.encoding_of(sys.stdout)))
        return
    from metacli.show.console import Screen

    draw(Screen())
