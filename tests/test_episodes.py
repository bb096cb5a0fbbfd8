"""Episode i of a split is a pure function of the seed, the split and i; see `tests.trust.episodes`."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from metacli.registry import TASKS
from metacli.tasks.base import SPLITS
from tests.trust import episodes


@pytest.fixture(scope="module")
def everything(tmp_path_factory):
    return episodes.all_tasks(tmp_path_factory.mktemp("episodes"), 3)


def test_every_registered_task_is_among_them(everything):
    assert {tasks.config.name for tasks in everything.values()} >= set(TASKS) - {"omniglot"}


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(SPLITS), st.integers(0, 2**40), st.lists(st.integers(1, 7), min_size=2, max_size=4))
def test_no_episode_depends_on_where_batches_begin_and_end(everything, split, first, sizes):
    for name, tasks in everything.items():
        alone = [episodes.single(tasks.batch(split, first + i, 1), 0) for i in range(sum(sizes))]
        together, at = [], first
        for size in sizes:
            batch = tasks.batch(split, at, size)
            together += [episodes.single(batch, b) for b in range(size)]
            at += size
        assert alone == together, name


def test_the_same_by_the_sampler_and_in_a_process_with_older_instructions(tmp_path):
    here = episodes.digests(tmp_path, 1, 6, [1])
    there = episodes.elsewhere(tmp_path, 1, 6, [4, 1], PYTHONHASHSEED="5", **episodes.OLDER)
    assert there == here
    sampled = episodes.threaded(tmp_path, 1, 6)
    assert sampled == {key: here[key] for key in sampled}
