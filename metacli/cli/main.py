"""The command line: its verbs, and how errors become messages and exit codes.

torch is imported inside the verbs, so that `--help` is quick.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from metacli.cli import (
    completion_index,
    curves,
    draw,
    inspect_memory,
    models,
    predict,
    recipes,
    runs,
    sample_tasks,
    train,
)
from metacli.cli import eval as eval_verb
from metacli.cli.options import examples
from metacli.compute import torchrun
from metacli.errors import MetacliError, ReportedElsewhereError, UsageError
from metacli.registry import MODELS
from metacli.system import memory, operating_system, streams, terminal
from metacli.version import __version__

app = typer.Typer(
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
    help=f"Train, evaluate and look inside model-based meta-learners: {', '.join(MODELS)}.",
    epilog=examples("metacli train strokes_ntm --run-dir runs/first", "metacli eval runs/first").replace(
        "Examples", "Start with"
    ),
)


TyperError: Any = typer.BadParameter.__base__  # raised by typer for an unknown verb, option or value
_COMPLETION_HELP = {
    "install_completion": "Set up tab completion for this shell (bash, zsh, fish or PowerShell).",
    "show_completion": "Print the completion script of this shell.",
}


@app.callback(invoke_without_command=True)
def _top(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    if version:
        print(__version__)
        raise typer.Exit
    try:
        Path.cwd()
    except FileNotFoundError:  # the math library of torch would end the process in it
        raise UsageError("the current folder no longer exists", "change to another folder: cd") from None


app.command("train", epilog=train.EXAMPLES)(train.train)
app.command("eval", epilog=eval_verb.EXAMPLES)(eval_verb.evaluate)
app.command("sample-tasks", epilog=sample_tasks.EXAMPLES)(sample_tasks.sample_tasks)
app.command("inspect-memory", epilog=inspect_memory.EXAMPLES)(inspect_memory.inspect_memory)
app.command("recipes", epilog=recipes.EXAMPLES)(recipes.recipes)
app.command("predict", epilog=predict.EXAMPLES)(predict.predict)
app.command("draw", epilog=draw.EXAMPLES)(draw.draw)
app.command("models", epilog=models.EXAMPLES)(models.models)
app.command("curves", epilog=curves.EXAMPLES)(curves.curves)
app.command("runs", epilog=runs.EXAMPLES)(runs.runs)


def build_command() -> Any:
    """Returns the command of the app, with plain help texts for the options that typer adds."""
    command: Any = typer.main.get_command(app)
    for parameter in command.params:
        if parameter.name in _COMPLETION_HELP:
            parameter.help = _COMPLETION_HELP[parameter.name]
    return command


def main() -> None:
    """Run a verb. Expected errors become the lines `error:` and `hint:` on stderr and an exit status."""
    terminal.set_up_streams()
    with streams.discard_lost_messages():
        _run_verb()


def _run_verb() -> None:
    is_distributed = sys.argv[1:2] in (["train"], ["eval"])  # the other verbs ignore the variables of torchrun
    rank = torchrun.rank_if_valid() if is_distributed else torchrun.RankInfo()
    try:
        with streams.report_lost_result(), memory.explain_out_of_memory():
            code = build_command()(prog_name="metacli", standalone_mode=False)
        raise SystemExit(code)
    except TyperError as e:
        error = _explain(e)
        if error.message and not rank.local_rank:  # there is none where the help is shown instead
            terminal.print_to_stderr(*error.lines)
        raise SystemExit(e.exit_code) from None
    except MetacliError as e:
        printed_elsewhere = isinstance(e, ReportedElsewhereError) or (isinstance(e, UsageError) and rank.local_rank)
        if not printed_elsewhere:  # a usage error is the same in all processes of a machine
            torchrun.print_error(e, rank)
        raise SystemExit(e.code) from None
    except KeyboardInterrupt:
        terminal.print_to_stderr("interrupted")
        raise SystemExit(130) from None
    except OSError as e:
        if not operating_system.is_closed_pipe(e):
            torchrun.print_error(operating_system.explain_os_error(e), rank)
        raise SystemExit(1) from None


def _explain(error: Any) -> UsageError:
    """Returns an error of typer with a hint: KEY=VALUE for an unknown option that is named like a recipe key."""
    option = getattr(error, "option_name", None) or ""
    if keys := completion_index.suggest_keys(option.lstrip("-").replace("-", "_")):
        words = [word for arg in sys.argv for word in (arg.split("=", 1) if arg.startswith(f"{option}=") else [arg])]
        value = ([*words[words.index(option) + 1 :], "VALUE"] if option in words else ["VALUE"])[0]
        return UsageError(error.message, f"recipe keys have no dashes: {' or '.join(f'{key}={value}' for key in keys)}")
    help_command = f"{error.ctx.command_path} --help" if error.ctx else ""
    return UsageError(error.format_message().replace("Value error, ", ""), help_command)


if __name__ == "__main__":
    main()
