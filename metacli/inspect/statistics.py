"""Decode the sufficient statistics of tasks from a model's state: does the network hold the posterior?

For tasks whose optimum is known, its statistics are regressed linearly on the state of every step (Mikulik et al. 2020,
"Meta-trained agents implement Bayes-optimal agents"). A control does the same with the untrained network, because a
random recurrent network holds something of its past as well.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from rich.text import Text

from metacli.evaluation.evaluate import CHUNK
from metacli.evaluation.logits import pad_labels
from metacli.models.base import MetaLearner
from metacli.show.curves import sparkline
from metacli.tasks.base import Split
from metacli.tasks.optimum import OptimumTasks

LEAST_TASKS = 16
_PENALTIES = 10.0 ** np.arange(-9, 2)  # of ridge regression, as shares of the mean square of a feature
_MOST_ITEMS = 50_000  # steps to fit on


def decode_statistics(model: MetaLearner, tasks: OptimumTasks, split: Split, count: int) -> list[dict[str, Any]]:
    """Returns how well each statistic of `OptimumTasks.statistics` is decoded from the state, as plain values.

    Half of the tasks fit the regression and choose its penalty. R^2 is that of the other half. Keys: `statistic`; `r2`,
    over all answers; `r2_untrained`, likewise for the untrained network; `r2_by_query`, over tasks for each query, null
    where all tasks have the same value; `n_tasks`, held-out tasks.

    Args:
        count: number of tasks, at least `LEAST_TASKS`.

    Returns:
        Empty if the tasks have no statistics, or the model names no state.
    """
    names = list(tasks.statistics(tasks.batch(split, 0, 1)))
    states, targets = _collect(model, tasks, split, count) if names else (None, None)
    if states is None or targets is None:
        return []
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        untrained = type(model)(model.config, model.spec).to(next(model.parameters()))
    control = _collect(untrained, tasks, split, count)[0]
    assert control is not None
    residual, control_residual = (held_out_residuals(x, targets) for x in (states, control))
    held_out = targets[-len(residual) :]
    rows = []
    for i, name in enumerate(names):
        y, parts = held_out[..., i], (residual[..., i], control_residual[..., i])
        r2, r2_untrained = (float(1 - np.square(part).mean() / y.var()) if y.var() else None for part in parts)
        spread = y.var(0)
        by_query = 1 - np.square(parts[0]).mean(0) / np.where(spread > 0, spread, np.nan)
        rows.append(
            {
                "statistic": name,
                "r2": r2,
                "r2_untrained": r2_untrained,
                "r2_by_query": [None if np.isnan(v) else float(v) for v in by_query],
                "n_tasks": len(residual),
            }
        )
    return rows


def held_out_residuals(states: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Returns the errors (n // 2, Q, K) of ridge regression on the second half of the tasks.

    Three quarters of the first half fit the weights, the last quarter chooses the penalty of each statistic.

    Args:
        states: (n, Q, D).
        targets: (n, Q, K).
    """
    n = len(states) - len(states) // 2
    n_fit = max(1, n * 3 // 4)
    stride = -(-n_fit * states.shape[1] // _MOST_ITEMS)
    x, y = (
        states[:n_fit].reshape(-1, states.shape[2])[::stride],
        targets[:n_fit].reshape(-1, targets.shape[2])[::stride],
    )
    x_mean, y_mean, scale = x.mean(0), y.mean(0), x.std(0) + 1e-6
    x = (x - x_mean) / scale
    values, vectors = np.linalg.eigh(x.T @ x / len(x))
    projected = vectors.T @ (x.T @ (y - y_mean)) / len(x)
    weights = np.stack([vectors @ (projected / (values.clip(0)[:, None] + p)) for p in _PENALTIES])  # (P, D, K)

    def errors(part: slice, chosen: np.ndarray) -> np.ndarray:
        return targets[part] - y_mean - (states[part] - x_mean) / scale @ chosen

    scores = [np.square(errors(slice(n_fit, n), w)).mean((0, 1)) for w in weights]
    best = np.argmin(scores, 0)  # (K,)
    return errors(slice(n, None), weights[best, :, np.arange(len(best))].T)


@torch.no_grad()
def _collect(
    model: MetaLearner, tasks: OptimumTasks, split: Split, count: int
) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Returns the states (count, Q, D) at the queries and the statistics (count, Q, K); None without states."""
    model.eval()
    weight, states, targets = next(model.parameters()), [], []
    for first in range(0, count, CHUNK):
        episode = tasks.batch(split, first, min(CHUNK, count - first))
        state = model.trace(pad_labels(model, episode).to(weight.device, weight.dtype)).state
        if state is None:
            return None, None
        states.append(state[:, episode.x_train.shape[1] :].double().cpu().numpy())
        targets.append(torch.stack(list(tasks.statistics(episode).values()), -1).double().numpy())
    return np.concatenate(states), np.concatenate(targets)


def print_statistics(console: Console, rows: list[dict[str, Any]]) -> None:
    """Prints the rows of `decode_statistics`, with R^2 over the queries as bars from 0 to 1."""
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for column in ("statistic", "R^2", "untrained", "R^2 over the queries, 0 to 1"):
        table.add_column(column, no_wrap=True, justify="right" if column in ("R^2", "untrained") else "left")
    for row in rows:
        bars = sparkline(np.array([v for v in row["r2_by_query"] if v is not None]).clip(0, 1), 0, 1)
        numbers = ("-" if v is None else f"{v:.3f}" for v in (row["r2"], row["r2_untrained"]))
        table.add_row(row["statistic"].replace("_", " "), *numbers, bars)
    console.print()
    console.print(Text("what the optimum knows, decoded linearly from the state of the model", style="bold"))
    console.print(table)
    note = f"R^2 on {rows[0]['n_tasks']:,} held-out tasks; untrained: the same network with random weights"
    console.print(Text(note, style="dim"))
