"""Episodes sampled ahead by a thread: the same ones, in order, and no thread is left behind."""

from __future__ import annotations

import threading
import time
from contextlib import closing
from dataclasses import fields

import pytest
import torch

from metacli.registry import TASKS, build
from metacli.tasks.images.strokes import Strokes
from metacli.tasks.sequences.copy import Copy
from metacli.training.prefetch import AHEAD, batches

CPU = torch.device("cpu")


class Slow(Copy):
    """Says what was asked for; fails at one episode."""

    def __init__(self, fails: int | None = None):
        super().__init__(Copy.Config(width=2, max_length=3), 0)
        self.asked: list[int] = []
        self.fails = fails

    def batch(self, split, first, count):
        self.asked.append(first)
        if first == self.fails:
            raise ValueError(f"no episode {first}")
        return super().batch(split, first, count)


def sampling() -> list[threading.Thread]:
    return [t for t in threading.enumerate() if t.name == "sampler"]


def settled(task: Slow) -> int:
    """Batches made once no more are."""
    before = -1
    while before != len(task.asked):
        before = len(task.asked)
        time.sleep(0.05)
    return before


@pytest.mark.parametrize("beside", [False, True])
@pytest.mark.parametrize("kind", ["copy", "strokes"])
def test_they_are_the_episodes_of_plain_calls(kind, beside, tmp_path, monkeypatch):
    monkeypatch.setenv("METACLI_CACHE", str(tmp_path))
    if kind == "copy":
        task = build(TASKS, Copy.Config(width=3, max_length=5), 4)
    else:
        config = Strokes.Config(classes=10, val_classes=5, test_classes=5, instances=6, rotation=20, shift=2, size=12)
        task = build(TASKS, config, 4)
    count = 0
    for i, got in enumerate(batches(task, 3, range(2, 9), CPU, beside), 2):
        plain = task.batch("train", i * 3, 3)
        for field in fields(plain):
            a, b = getattr(plain, field.name), getattr(got, field.name)
            assert (a is None and b is None) or torch.equal(a, b), field.name
        count += 1
    assert count == 7
    assert not sampling()


def test_no_more_than_a_few_are_made_ahead():
    task = Slow()
    with closing(batches(task, 2, range(50), CPU, True)) as source:
        next(source)
        assert settled(task) == AHEAD + 1
        next(source)
        assert settled(task) == AHEAD + 2
    assert task.asked == [2 * i for i in range(AHEAD + 2)]
    assert not sampling()


@pytest.mark.parametrize("stop", [KeyboardInterrupt, RuntimeError, GeneratorExit])
def test_a_reader_that_stops_ends_the_thread(stop):
    source = batches(Slow(), 2, range(50), CPU, True)
    next(source)
    assert len(sampling()) == 1
    with pytest.raises(stop):
        source.throw(stop)
    assert not sampling()


def test_a_source_that_nobody_reads_starts_no_thread():
    source = batches(Slow(), 2, range(50), CPU, True)
    assert not sampling()
    source.close()
    assert list(batches(Slow(), 2, range(5, 5), CPU, True)) == []
    assert not sampling()


@pytest.mark.parametrize("beside", [False, True])
def test_an_error_arrives_in_its_place(beside):
    source = batches(Slow(fails=6), 2, range(50), CPU, beside)
    assert [int(next(source).index[0]) for _ in range(3)] == [0, 2, 4]
    with pytest.raises(ValueError, match="no episode 6"):
        next(source)
    assert not sampling()


def test_the_threads_of_torch_stay_as_they_were():
    found = []
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        with closing(batches(Slow(), 2, range(50), CPU, True)) as source:
            next(source)
            assert torch.get_num_threads() == 2
            other = threading.Thread(target=lambda: found.append(torch.get_num_threads()))
            other.start()
            other.join()
        assert found == [2], "a thread that begins later"
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("flushes", [False, True])
def test_denormals_are_treated_as_by_the_reader(flushes):
    class Tiny(Slow):
        def batch(self, split, first, count):
            self.product = (torch.tensor(1e-40) * 1).item()
            return super().batch(split, first, count)

    task = Tiny()
    torch.set_flush_denormal(flushes)
    try:
        assert len(list(batches(task, 2, range(3), CPU, True))) == 3
    finally:
        torch.set_flush_denormal(False)
    assert (task.product == 0) == flushes


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("beside", [False, True])
def test_on_a_gpu_they_are_the_same(beside):
    task = Slow()
    for i, got in enumerate(batches(task, 3, range(20), torch.device("cuda"), beside)):
        plain = task.batch("train", i * 3, 3)
        assert got.x_train.is_cuda
        assert torch.equal(got.x_train.cpu(), plain.x_train)
        assert torch.equal(got.y_test.cpu(), plain.y_test)
