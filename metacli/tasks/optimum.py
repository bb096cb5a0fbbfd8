"""OptimumTasks: task distributions whose best possible predictor is known exactly."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import replace
from functools import cached_property
from typing import ClassVar

import torch
from torch import Tensor

from metacli.episode import Episode
from metacli.tasks.base import Tasks
from metacli.tasks.metrics import Metric

OPTIMUM = "optimum"  # the name of the Bayes-optimal predictor among the reference predictors
AXIS = "examples_seen"


class OptimumTasks(Tasks):
    """Tasks with reference predictors: the Bayes-optimal one, and simple baselines.

    A reference predictor reads the same examples as the model before each answer, and knows the task distribution. For
    the optimum no predictor has a lower expected cost. The metrics are `above_optimum`, the loss, the mean cost of
    each reference predictor, and all of these costs as curves over the number of examples seen.

    Attributes:
        cost_unit: the unit of the loss of one answer.
    """

    cost_unit: ClassVar[str] = "nats per observation"

    @abstractmethod
    def reference_costs(self, episode: Episode) -> dict[str, Tensor]:
        """Returns the cost (B, Q) of every answer of each reference predictor by name, `optimum` first.

        The costs have the unit of the loss. Those of answers that are not scored are ignored.
        """

    def statistics(self, episode: Episode) -> dict[str, Tensor]:
        """Returns the sufficient statistics (B, Q) by name that the optimum has computed before each answer.

        `inspect-memory` decodes them from the state of a model. By default there are none.
        """
        return {}

    @cached_property
    def references(self) -> tuple[str, ...]:
        """The names of the reference predictors."""
        return tuple(self.reference_costs(self.batch("val", 0, 1)))

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """The distance from the optimum, the loss, the reference predictors, and their curves."""
        unit = self.cost_unit
        above = Metric("above_optimum", unit, False, note="above the Bayes-optimal predictor")
        numbers = (above, Metric("loss", unit, False), *(Metric(name, unit, None) for name in self.references))
        return (*numbers, *map(_curve_of, numbers))

    def score(self, logits: Tensor, episode: Episode) -> dict[str, Tensor]:
        """Returns the scores of the answers, and those of `metrics`; curves are (B, K), column k for k examples seen.

        `above_optimum` is the difference of the two costs of each task, so its interval over tasks is that of a paired
        comparison. K is `Spec.length`.
        """
        costs, counted = self._costs(logits, episode)
        seen, means = self.count_examples_seen(episode), _average(costs, counted)
        curves = {name: self._average_by(seen, cost, counted) for name, cost in costs.items()}
        for scores in (means, curves):
            scores["above_optimum"] = scores["loss"] - scores[OPTIMUM]
        named = {f"{name}_by_{AXIS}": curve for name, curve in curves.items()}
        return {**super().score(logits, episode), **means, **named}

    def headline_score(self, logits: Tensor, episode: Episode) -> Tensor:
        """See `Tasks.headline_score`; without the curves, because training computes it at every step."""
        if self.metrics[0].name != "above_optimum":
            return super().headline_score(logits, episode)
        means = _average(*self._costs(logits, episode))
        return means["loss"] - means[OPTIMUM]

    def _costs(self, logits: Tensor, episode: Episode) -> tuple[dict[str, Tensor], Tensor]:
        """Returns the costs (B, Q) of the model and of the reference predictors, and 1 where an answer is scored."""
        cost, scored = self._masked_cost(logits, episode)
        counted = torch.ones_like(cost[..., 0]) if scored is None else scored.to(cost.dtype)
        return {"loss": cost.mean(2), **self.reference_costs(episode)}, counted

    def count_examples_seen(self, episode: Episode) -> Tensor:
        """Returns (B, Q) int64, the number of examples that a model has seen before each answer.

        These are the support examples and, unless queries are independent, the steps of D_test before the answer.
        """
        queries = torch.arange(episode.x_test.shape[1], device=episode.x_test.device).expand(len(episode), -1)
        mask = episode.mask_train
        support = torch.full_like(queries[:, :1], episode.x_train.shape[1]) if mask is None else mask.sum(1, True)
        return support + (queries if self.spec.mode != "independent" else torch.zeros_like(queries))

    def _average_by(self, seen: Tensor, cost: Tensor, counted: Tensor) -> Tensor:
        """Returns (B, K), the mean cost of the counted answers of each task for each number of examples seen."""
        total, count = cost.new_zeros(2, len(cost), self.spec.length)
        return total.scatter_add(1, seen, cost * counted) / count.scatter_add(1, seen, counted)


def _average(costs: dict[str, Tensor], counted: Tensor) -> dict[str, Tensor]:
    """Returns the mean (B,) of each cost (B, Q) over the counted answers."""
    return {name: (cost * counted).sum(1) / counted.sum(1) for name, cost in costs.items()}


def _curve_of(metric: Metric) -> Metric:
    """Returns the metric of the curve of a cost over the number of examples seen."""
    title = f"{metric.unit} after k examples"
    return replace(metric, name=f"{metric.name}_by_{AXIS}", axis=AXIS, first=0, title=title)
