"""`python -m metacli`: the command line."""

from metacli.cli import main

main()
