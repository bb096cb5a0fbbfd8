"""`metacli` and `python -m metacli`: the command line, or tab completion, which must not wait for its imports."""

import os
import sys


def main() -> None:
    """Runs the command line. If a shell asks for completions, prints them instead."""
    from metacli.cli import completion

    if completion.VARIABLE in os.environ:
        sys.exit(completion.complete())
    from metacli.system import streams

    streams.fill_closed_descriptors()  # before any file stays open
    from metacli.cli.main import main as run_command_line

    run_command_line()


if __name__ == "__main__":
    main()
