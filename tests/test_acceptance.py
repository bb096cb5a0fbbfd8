"""The user's own commands in the checkout; `make acceptance` runs them from a wheel and from the sdist."""

from __future__ import annotations

import sys

from tests.acceptance import Session, check_commands, check_names


def test_the_commands_that_users_type(cli, tmp_path):
    session = Session(sys.executable, tmp_path, cli)
    check_names(session)
    check_commands(session, plot=True)
