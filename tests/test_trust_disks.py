"""A short form of `python -m tests.trust`: kills at random moments, disks that fill or turn read-only."""

from __future__ import annotations

import random

import pytest

from tests.trust import disks, io_errors, kills
from tests.trust.nursery import Nursery


@pytest.fixture(scope="module")
def nursery(tmp_path_factory):
    with Nursery(tmp_path_factory.mktemp("nursery")) as nursery:
        kills.prepare(nursery.folder)
        yield nursery


def test_what_is_killed_goes_on_as_if_it_had_not_been(nursery):
    assert kills.killed(nursery, 4, 0).startswith("4 kills in ")


@pytest.mark.parametrize("fault", ["full", "read-only"])
def test_a_file_system_that_fails_loses_nothing_good(nursery, fault):
    assert disks.at_moments(nursery, fault, 3, seed=1)


def test_an_io_error_at_any_call_is_one_line_and_loses_nothing_good(nursery):
    draw = random.Random(0)
    assert io_errors.trained(nursery, "copy", 3, draw) > 0
    assert io_errors.commands(nursery, len(io_errors.COMMANDS), draw) > 0
