"""A support set that a few-shot model reads in several random orders, and predictions averaged over the orders."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from metacli.classifier.certainty import measure_resemblance
from metacli.classifier.few_shot_model import FewShotModel
from metacli.episode import Episode
from metacli.models.attribution import attribute_reads
from metacli.models.trace import Trace
from metacli.tasks.images.jitter import Jitter, apply_jitter
from metacli.tasks.rng import CounterRNG

MAX_BATCH = 512  # queries times orders in one forward pass


class QueryResult(NamedTuple):
    """The answers to Q queries.

    Attributes:
        probabilities: (Q, N) float64, rows sum to 1; 0 for a class without support examples.
        attended: (Q, S) float64, the share of the model's attention on each support example, averaged over its read
            heads; rows sum to 1. None if it was not requested, or if the model has no memory or attention.
        resemblance: (Q,) float64, see `certainty.measure_resemblance`. None for an encoder without `normalise`, because
            only centred features have cosines that can be compared with a threshold.
    """

    probabilities: np.ndarray
    attended: np.ndarray | None
    resemblance: np.ndarray | None


@dataclass(frozen=True)
class FittedContext:
    """phi of a support set that was read in M random orders, each with its own assignment of labels to classes.

    Attributes:
        few_shot: the model.
        rng: the random numbers of the M orders.
        jitters: the transforms of the support images and of the query images; None without augmentation.
        label_vectors: (M, N, Y) the label of each class, one-hot or a random vector.
        order: (M, S) int64, the support examples in reading order.
        x: (M, S, *x_shape), the support examples in reading order, jittered.
        y: (S,) int64, the class of each support example.
        features: (S, F), the encoder's features of each support example, not jittered; None without `normalise`.
        phi: the task state, with first dimension M; None without support examples.
    """

    few_shot: FewShotModel
    rng: CounterRNG
    jitters: tuple[Jitter | None, Jitter | None]
    label_vectors: Tensor
    order: np.ndarray
    x: Tensor
    y: np.ndarray
    features: Tensor | None
    phi: Any

    @classmethod
    def create_empty(cls, few_shot: FewShotModel, orders: int, seed: int) -> FittedContext:
        """Returns a context without support examples."""
        rng = CounterRNG(seed, "lesson", np.arange(orders))
        label_vectors = few_shot.answer.draw_labels(rng, few_shot.ways)
        x = torch.zeros(orders, 0, *few_shot.model.spec.x_shape)
        jitters = Jitter.sample(rng, few_shot.task, 1), Jitter.sample(rng, few_shot.task, 1)
        order, y = np.zeros((orders, 0), np.int64), np.zeros(0, np.int64)
        encoder = few_shot.model.encoder
        features = torch.zeros(0, encoder.size) if few_shot.model.config.encoder.normalise else None
        return cls(few_shot, rng, jitters, label_vectors, order, x, y, features, None)

    @torch.no_grad()
    def extend(self, x: Tensor, y: np.ndarray) -> FittedContext:
        """Returns the context with further support examples.

        A recurrent model continues from phi. Every other model reads the whole support set again.

        Args:
            x: (n, *x_shape).
            y: (n,) int64, class numbers below N.
        """
        rng = deepcopy(self.rng)  # a copy, because drawing numbers changes it and `self` is immutable
        order = rng.permutation(len(y))  # (M, n)
        x_new, model = apply_jitter(self.jitters[0], x[torch.from_numpy(order)]), self.few_shot.model
        extended = replace(
            self,
            rng=rng,
            order=np.concatenate([self.order, order + len(self.y)], 1),
            x=torch.cat([self.x, x_new], 1),
            y=np.concatenate([self.y, y]),
            features=None if self.features is None else torch.cat([self.features, model.encoder(x)]),
        )
        if self.phi is not None and model.can_extend:
            return replace(extended, phi=model.extend(self.phi, x_new, extended.labels[:, -len(y) :]))
        return replace(extended, phi=model.adapt(extended.x, extended.labels))

    @property
    def labels(self) -> Tensor:
        """(M, S, Y) float32, the label of each support example in reading order."""
        classes = torch.from_numpy(self.y[self.order])[..., None]
        return self.label_vectors.gather(1, classes.expand(-1, -1, self.label_vectors.shape[2]))

    @torch.no_grad()
    def predict(self, x: Tensor, with_attention: bool = False) -> QueryResult:
        """Answers the queries x (Q, *x_shape), averaged over the orders.

        Args:
            with_attention: also compute which support examples were attended, at about twice the time.
        """
        if not len(x):
            return QueryResult(np.zeros((0, self.few_shot.ways)), None, None)
        batch = max(1, MAX_BATCH // len(self.label_vectors))
        results = [self._predict_batch(queries, with_attention) for queries in x.split(batch)]
        probabilities, *others = zip(*results, strict=True)
        attended, resemblance = (None if column[0] is None else np.concatenate(column) for column in others)
        return QueryResult(np.concatenate(probabilities), attended, resemblance)

    def _predict_batch(self, x: Tensor, with_attention: bool) -> QueryResult:
        orders, classes, model = len(self.label_vectors), np.unique(self.y), self.few_shot.model
        x_test = apply_jitter(self.jitters[1], x.expand(orders, *x.shape))
        trace = None
        if with_attention:
            y_test = torch.zeros(orders, len(x), 1, dtype=torch.int64)  # a placeholder, which no model reads
            trace = model.trace(Episode(self.x, self.labels, x_test, y_test, torch.arange(orders)))
        output = model.predict(self.phi, x_test) if trace is None else trace.logits
        logits = output @ self.label_vectors[:, classes].mT  # of one-hot labels: the logits in the order of the classes
        probabilities = np.zeros((len(x), self.few_shot.ways))
        probabilities[:, classes] = logits.double().softmax(2).mean(0).numpy()
        resemblance = None
        if self.features is not None:
            answers = probabilities.argmax(1)
            resemblance = measure_resemblance(model.encoder(x), self.features, self.y, answers)
        return QueryResult(probabilities, None if trace is None else self._average_attention(trace), resemblance)

    def _average_attention(self, trace: Trace) -> np.ndarray | None:
        """Returns (Q, S), each query's attention on each support example, averaged over read heads and orders."""
        support_size = self.x.shape[1]
        values = {name: traced.values.float().cpu().numpy() for name, traced in trace.arrays.items()}
        total = np.zeros((trace.logits.shape[1], support_size))
        for m, order in enumerate(self.order):
            by_role: dict[str, list[np.ndarray]] = {"attention": [], "read": [], "write": [], "retention": []}
            for name, traced in trace.arrays.items():
                if traced.about.role == "retention":
                    by_role["retention"].append(values[name][m])
                elif traced.about.role in by_role:
                    by_role[traced.about.role] += list(values[name][m].swapaxes(0, 1))
            retention = by_role["retention"][0] if by_role["retention"] else None
            shares = attribute_reads(by_role, retention, support_size, True, trace.reads_first)
            if shares is None:
                return None
            total[:, order] += shares[support_size:, :, :support_size].mean(1)
        return total / np.maximum(total.sum(1, keepdims=True), 1e-12)
