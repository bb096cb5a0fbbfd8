"""What can be trusted, tried: `python -m tests.trust`, or `make trust`.

Each check is a module with `main(times, seed) -> str`, which returns a line of figures or raises an AssertionError.
Those named fuzz_* throw hostile inputs of one kind at the command line; see `tests.trust.fuzz`.
"""
