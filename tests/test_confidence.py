"""The interval of an accuracy over new tasks of new classes."""

from __future__ import annotations

import math

import numpy as np
import pytest

from metacli.evaluation.confidence import accuracy_ci95_classes, mean_ci95, student_t

WAYS, QUERIES = 5, 2


def sample_answers(rng, class_count, task_count, spread):
    """Answers (k, 4) as of `count_answers`, and the accuracy of each task. Classes differ in difficulty by `spread`."""
    right_share = 0.8 + spread * rng.uniform(-1, 1, class_count)
    rows, scores = [], []
    for task in range(task_count):
        classes = rng.choice(class_count, WAYS, replace=False)
        hits = rng.binomial(QUERIES, right_share[classes])
        scores.append(hits.sum() / (WAYS * QUERIES))
        rows += [(task, c, c, hit) for c, hit in zip(classes, hits, strict=True) if hit]
        rows += [(task, c, class_count, QUERIES - hit) for c, hit in zip(classes, hits, strict=True) if hit < QUERIES]
    return np.array(rows), np.array(scores)


def test_the_variance_is_that_of_a_plain_loop():
    answers, scores = sample_answers(np.random.default_rng(0), 12, 30, 0.2)
    sums = {"task": {}, "class": {}, "cell": {}}
    for task, asked, answered, count in answers.tolist():
        residual = count * ((asked == answered) - scores.mean()) / (WAYS * QUERIES) / len(scores)
        for kind, key in (("task", task), ("class", asked), ("cell", (task, asked))):
            sums[kind][key] = sums[kind].get(key, 0.0) + residual
    parts = {k: sum(v**2 for v in s.values()) * len(s) / (len(s) - 1) for k, s in sums.items()}
    wanted = student_t(11) * math.sqrt(parts["task"] + parts["class"] - parts["cell"])
    assert accuracy_ci95_classes(answers) == pytest.approx(wanted)


def test_it_covers_new_classes_where_the_interval_over_tasks_does_not():
    rng, covered = np.random.default_rng(1), np.zeros(2)
    for _ in range(200):
        answers, scores = sample_answers(rng, 40, 200, 0.2)
        error = abs(scores.mean() - 0.8)  # the mean over all classes that there could be
        covered += error <= mean_ci95(scores)[1], error <= accuracy_ci95_classes(answers)
    over_tasks, over_classes = covered / 200
    assert over_tasks < 0.75
    assert over_classes > 0.9


def test_there_is_none_without_a_spread():
    assert math.isnan(accuracy_ci95_classes(np.array([(0, 1, 1, 5), (1, 2, 2, 5)])))
    assert math.isnan(accuracy_ci95_classes(np.array([(0, 1, 1, 3), (0, 2, 1, 2)])))
