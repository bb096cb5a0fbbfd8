"""The confusion matrix: its counts against a plain loop, and which tasks have one."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch
from PIL import Image

from metacli.errors import UsageError
from metacli.evaluation.answers import check_classes_recur, confusion_matrix, count_answers, join_counts
from metacli.registry import TASKS, build, resolve


@pytest.fixture
def tasks(tmp_path):
    """3-way tasks over five classes in `test`."""
    for i in range(5):
        (tmp_path / "test" / f"c{i}").mkdir(parents=True)
        for k in range(4):
            Image.new("L", (9, 9), 40 * i + k).save(tmp_path / "test" / f"c{i}" / f"{k}.png")
    keys = {"root": str(tmp_path), "ways": 3, "queries": 2, "size": 8}
    return build(TASKS, resolve(TASKS, "folder", "task").Config(**keys), 0)


def test_counts_are_those_of_a_loop(tasks):
    torch.manual_seed(0)
    wanted: Counter[tuple[str, str]] = Counter()
    parts = []
    for first, count in ((0, 7), (7, 4)):
        episode = tasks.batch("test", first, count)
        logits = torch.randn(count, episode.y_test.shape[1], 3)
        parts.append(count_answers(logits, episode, tasks.answer))
        for b in range(count):
            names = tasks.class_names(episode.classes[b])
            for q, right in enumerate(episode.y_test[b, :, 0].tolist()):
                wanted[names[right], names[int(logits[b, q].argmax())]] += 1
    matrix = confusion_matrix(join_counts(parts), tasks)
    assert matrix.classes == [f"test/c{i}" for i in range(5)]
    found = {
        (matrix.classes[i], matrix.classes[j]): int(matrix.counts[i, j]) for i, j in np.argwhere(matrix.counts).tolist()
    }
    assert found == dict(wanted)
    assert join_counts([parts[0], None]) is None


def test_only_tasks_whose_classes_recur_have_one(tasks):
    check_classes_recur(tasks, "test")
    for name, words in (("clusters", "new classes for every task"), ("copy", "not the label of a class")):
        other = build(TASKS, resolve(TASKS, name, "task").Config(), 0)
        with pytest.raises(UsageError, match=words):
            check_classes_recur(other, "test")
        episode = other.batch("test", 0, 2)
        logits = torch.zeros(*episode.y_test.shape[:2], other.answer.size)
        assert count_answers(logits, episode, other.answer) is None
    many = build(TASKS, resolve(TASKS, "strokes", "task").Config(), 0)
    with pytest.raises(UsageError, match="at most 40 classes"):
        check_classes_recur(many, "test")


def test_it_is_drawn(tasks, tmp_path):
    pytest.importorskip("matplotlib")
    from metacli.show.confusion import save_confusion

    episode = tasks.batch("test", 0, 20)
    counts = count_answers(torch.randn(20, episode.y_test.shape[1], 3), episode, tasks.answer)
    save_confusion(tmp_path / "m.png", confusion_matrix(counts, tasks), "accuracy 33.3 % over 20 tasks")
    with Image.open(tmp_path / "m.png") as picture:
        assert min(picture.size) > 300
