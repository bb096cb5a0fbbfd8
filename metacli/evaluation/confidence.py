"""The 95 % intervals of a mean: over tasks, and over tasks and classes."""

from __future__ import annotations

import math

import numpy as np

_FEW = (12.7062, 4.30265, 3.18245, 2.77645)  # t for 1 to 4 degrees of freedom
_NORMAL = 1.959964  # for infinitely many


def mean_ci95(values: np.ndarray) -> tuple[float, float]:
    """Mean over tasks and half the width of its 95 % interval, t s / sqrt(n); NaN entries are left out.

    Equal values have no interval. They say nothing about the spread, and t s / sqrt(n) would be zero: for a model that
    scores 99.0 % over many tasks, 5 tasks are equal in 67 of 100 samples. Where values differ, few are no problem: for
    three bundled models and 2 to 300 tasks, the interval contained the mean in 84 (50 tasks) to 100 of 100 samples.

    Args:
        values: (n,). The interval is NaN for fewer than two values and for equal values, both are NaN for none.
    """
    values = values[~np.isnan(values)]
    if len(values) == 0:
        return math.nan, math.nan
    if values.min() == values.max():
        return float(values[0]), math.nan
    return float(values.mean()), float(student_t(len(values) - 1) * values.std(ddof=1) / math.sqrt(len(values)))


def accuracy_ci95_classes(answers: np.ndarray) -> float:
    """Half the width of the accuracy's 95 % interval over new tasks of new classes; NaN where `mean_ci95` has none.

    The interval over tasks takes the classes as fixed. But every class occurs in many tasks, so a hard class lowers the
    scores of many. Here the residuals are clustered by task and by class: V = V_task + V_class - V_(task, class)
    (Cameron, Gelbach, Miller 2011, equation 2.10), each with the factor G / (G - 1) of its G clusters.

    Args:
        answers: see `metacli.evaluation.answers.count_answers`.
    """
    task, asked, count = (np.unique(answers[:, 0], return_inverse=True)[1], answers[:, 1], answers[:, 3].astype(float))
    correct = count * (answers[:, 1] == answers[:, 2])
    size = np.bincount(task, count)  # queries of each task
    scores = np.bincount(task, correct) / size
    if len(scores) < 2 or scores.min() == scores.max():
        return math.nan
    residual = (correct - count * scores.mean()) / size[task] / len(size)
    _, by_class = np.unique(asked, return_inverse=True)
    _, by_cell = np.unique(answers[:, :2], axis=0, return_inverse=True)

    def clustered(cluster: np.ndarray) -> float:
        sums = np.bincount(cluster.ravel(), residual)
        return float((sums**2).sum() * len(sums) / (len(sums) - 1))

    by_task = clustered(task)
    variance = max(by_task + clustered(by_class) - clustered(by_cell), by_task)
    return student_t(min(len(size), int(by_class.max()) + 1) - 1) * math.sqrt(variance)


def student_t(freedom: int) -> float:
    """The 97.5 % quantile of Student's t, to three digits after the point; Abramowitz and Stegun 1964, 26.7.5.

    Args:
        freedom: degrees of freedom, at least 1.
    """
    if freedom <= len(_FEW):
        return _FEW[freedom - 1]
    z = _NORMAL
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return z + sum(term / freedom ** (power + 1) for power, term in enumerate(terms))
