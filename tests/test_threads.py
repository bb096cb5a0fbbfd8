from __future__ import annotations

import pytest
import torch

from metacli.compute import cpu, threads
from metacli.errors import UsageError


@pytest.fixture(autouse=True)
def _one_thread_again():
    yield
    torch.set_num_threads(1)


class Clock:
    """A clock that only work moves on."""

    def __init__(self):
        self.now = 0.0

    def perf_counter(self):
        return self.now

    monotonic = perf_counter


@pytest.fixture
def work(monkeypatch):
    """A trial that takes as many seconds as is said for the number of threads at the time."""
    clock = Clock()
    monkeypatch.setattr(threads, "time", clock)

    def call(seconds):
        def trial():
            clock.now += seconds[torch.get_num_threads()]

        return trial

    return call


@pytest.fixture
def cores(monkeypatch):
    def call(count: int) -> None:
        monkeypatch.setattr(cpu, "available_cores", lambda: (count, "cores of this process"))

    return call


def test_more_threads_only_where_they_gain(cores, work):
    cores(4)
    assert threads.choose_threads(None, work({1: 0.03, 2: 0.015, 4: 0.02})).count == torch.get_num_threads() == 2
    assert threads.choose_threads(None, work({1: 0.02, 2: 0.03, 4: 0.06})).count == torch.get_num_threads() == 1
    assert threads.choose_threads(None, work({1: 0.02, 2: 0.0195, 4: 0.0199})).count == 1  # too little to be a gain
    chosen = threads.choose_threads(None, work({1: 0.04, 2: 0.02, 4: 0.01}))
    assert chosen.count == 4
    assert "4 cores" in str(chosen)
    assert "0.04 s with 1" in str(chosen)


def test_three_cores_are_tried_as_one_two_and_three(cores):
    cores(3)
    seen = set()
    threads.choose_threads(None, lambda: seen.add(torch.get_num_threads()))
    assert seen == {1, 2, 3}


def test_no_trial_on_one_core_or_for_little_work(cores):
    cores(1)
    assert threads.choose_threads(None, pytest.fail).count == 1
    cores(8)
    assert threads.choose_threads(None, None).count == 1


def test_a_number_is_taken_as_asked():
    assert threads.choose_threads(threads.parse_thread_count("2"), pytest.fail).count == torch.get_num_threads() == 2
    assert threads.parse_thread_count("auto") is None
    for wrong in ("0", "-1", "two", "1.5", "", "2000"):
        with pytest.raises(UsageError, match="whole number from 1 to 1024, or auto"):
            threads.parse_thread_count(wrong)


def test_a_resumed_run_goes_on_with_its_threads_unless_they_have_become_slow(cores, work):
    cores(2)
    assert threads.choose_threads(None, work({1: 0.010, 2: 0.011}), 2).count == 2  # a new run would take 1
    assert threads.choose_threads(None, work({1: 0.010, 2: 0.050}), 2).count == 1
    assert threads.choose_threads(None, pytest.fail, 1).count == 1
    assert threads.choose_threads(None, work({1: 0.02, 2: 0.01}), 16).count == 2  # begun where there were more cores
    assert threads.choose_threads(1, pytest.fail, 2).count == 1
