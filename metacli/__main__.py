"""`python -m metacli`: the command line."""

from metacli.cli.main import main

main()
