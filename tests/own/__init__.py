"""How well shipped models tell a person's own classes apart: `python -m tests.own`."""
