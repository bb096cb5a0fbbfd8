"""Prototypical network: a query is compared with the mean feature vector of each class."""

from __future__ import annotations

import math
from typing import Any, ClassVar, Literal, NamedTuple

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from metacli.config.base import BaseConfig
from metacli.episode import Episode, Spec
from metacli.models.base import MetaLearner
from metacli.models.encoder import EncoderConfig
from metacli.models.memory.addressing import NORM_FLOOR
from metacli.models.trace import AT_MOST_1, ArrayInfo, Trace, Traced

ABSENT_LOGIT = -1e4  # of a label without support examples: probability 0, and finite in every precision


class Phi(NamedTuple):
    """A prototypical network's phi: c_n = sums_n / counts_n is the prototype of class n (equation 1).

    Attributes:
        sums: (B, N, D) the sum of the features of each class.
        counts: (B, N) the number of examples of each class.
    """

    sums: Tensor
    counts: Tensor


class Prototypical(MetaLearner):
    """Class means in the feature space of the encoder (Snell, Swersky, Zemel 2017, arXiv 1703.05175).

        c_n = mean of f(x_i) over the examples of class n,    p(y = n | x) = softmax_n( scale s(f(x), c_n) )

    (equations 1 and 2). The similarity s is the cosine, or 1 - |f(x) - c_n|^2 / (2 D): the paper's squared Euclidean
    distance, shifted and scaled so that it equals the cosine for features of length sqrt(D). The scale is learnt. The
    paper has none. It matters where the encoder is frozen or its features have a fixed length.

    In a stream the means are running means. A class without an earlier example has no mean, so it gets a similarity
    that is learnt, `unseen`, the same for all such classes. It is a threshold: an item that is less similar to every
    mean than this belongs to a new class, and all new classes are equally probable. In N-way K-shot the support set
    holds every class, so a label without examples has probability 0.

    A label of several characters (MANN's streams of 15 classes) is predicted character by character: a prototype is
    the mean of all examples whose label has this letter in this place.
    """

    modes = frozenset({"independent", "stream"})
    can_extend = True
    tiny: ClassVar[dict[str, Any]] = {}

    class Config(BaseConfig):
        """Keys of a prototypical network."""

        name: Literal["prototypical"] = Field("prototypical", description="Registered name of the model.")
        encoder: EncoderConfig = Field(
            EncoderConfig(kind="conv", channels=64, size=64), description="How inputs become features."
        )
        similarity: Literal["cosine", "euclidean"] = Field(
            "cosine",
            description=(
                "Similarity of a query and a class mean. `cosine`, or `euclidean`: the negative squared distance, "
                "divided by twice the number of features."
            ),
        )
        scale: float = Field(
            10.0, gt=0, le=1000, description="Initial factor of a similarity in the logits. It is learnt."
        )

    def __init__(self, config: Config, spec: Spec):
        super().__init__(config, spec)
        self.log_scale = nn.Parameter(torch.tensor(math.log(config.scale)))
        self.unseen = nn.Parameter(torch.tensor(0.5)) if spec.mode == "stream" else None

    @classmethod
    def check_compatible(cls, config: Any, spec: Spec) -> str | None:
        """See `MetaLearner.check_compatible`. Labels must be classes."""
        if spec.random_labels:
            return f"{config.name} counts the examples of each label: set task.labels to one-hot"
        if spec.mode in cls.modes and (spec.real_labels or spec.y_size < 2 or spec.y_size != spec.out_size):
            return f"{config.name} predicts class labels, but the answers of these tasks are real numbers"
        return super().check_compatible(config, spec)

    def adapt(self, x_train: Tensor, y_train: Tensor, mask: Tensor | None = None) -> Phi:
        """Returns phi, the sum of the features of each class and the number of its examples."""
        labels = y_train if mask is None else y_train * mask[..., None]
        empty = self._empty_phi(len(x_train))
        return self.extend(empty, x_train, labels) if x_train.shape[1] else empty

    def extend(self, phi: Phi, x_train: Tensor, y_train: Tensor) -> Phi:
        """See `MetaLearner.extend`: adds sums and counts."""
        return Phi(phi.sums + y_train.mT @ self.encoder(x_train), phi.counts + y_train.sum(1))

    def predict(self, phi: Phi, x_test: Tensor, y_previous: Tensor | None = None) -> Tensor:
        """Returns logits (B, Q, N), scale times the similarity to each class mean."""
        features = self.encoder(x_test)
        means = self._accumulate(phi, features, y_previous)
        return self._compute_logits(self._compute_similarity(features, means), means.counts)

    def trace(self, episode: Episode) -> Trace:
        """Returns class means, similarities, and the share of each example in an answer; see `MetaLearner.trace`.

        The probability of a class is divided evenly among the examples that its mean is made of. A step of D_train is
        compared with the means of the examples before it.
        """
        features = self.encoder(torch.cat([episode.x_train, episode.x_test], 1))  # (B, T, D)
        previous = episode.y_previous
        if previous is None:
            mask = episode.mask_train
            labels = episode.y_train if mask is None else episode.y_train * mask[..., None]
            previous = _shift(F.pad(labels, (0, 0, 0, episode.x_test.shape[1])))
        means = self._accumulate(self._empty_phi(len(episode)), features, previous)
        similarity = self._compute_similarity(features, means)
        logits = self._compute_logits(similarity, means.counts)
        share = logits.softmax(-1) * (means.counts > 0) / means.counts.clamp_min(1)  # of one example of each class
        attention = (share @ F.pad(previous, (0, 0, 0, 1))[:, 1:].mT).tril(-1)  # (B, T, T)
        about = {
            "attention": "share of each earlier example in the answer; an unseen class has the rest",
            "similarity": "s, the similarity to the mean of each class, 0 without examples; a cosine, or at most 1",
            "prototypes": "c_n, the mean feature vector of the examples of each class before the step",
        }
        info = {
            "attention": ArrayInfo(("head", "step"), about["attention"], "attention", AT_MOST_1, ("prototypes",)),
            "similarity": ArrayInfo(("label",), about["similarity"]),
            "prototypes": ArrayInfo(("label", "feature"), about["prototypes"]),
        }
        arrays = (attention.unsqueeze(2), similarity, _divide(means))
        traced = {name: Traced(values, info[name]) for name, values in zip(info, arrays, strict=True)}
        return Trace(logits[:, episode.x_train.shape[1] :], traced)

    def _accumulate(self, phi: Phi, features: Tensor, y_previous: Tensor | None) -> Phi:
        """Returns phi as it is at each query: sums (B, Q, N, D) and counts (B, Q, N); 1 for Q if it does not change."""
        start = Phi(phi.sums.unsqueeze(1), phi.counts.unsqueeze(1))
        if y_previous is None:
            return start
        added = y_previous.unsqueeze(3) * _shift(features).unsqueeze(2)
        return Phi(start.sums + added.cumsum(1), start.counts + y_previous.cumsum(1))

    def _compute_similarity(self, features: Tensor, phi: Phi) -> Tensor:
        """Returns s (B, Q, N), 0 for a class without examples; see the class.

        Args:
            features: (B, Q, D) of the queries.
            phi: the result of `_accumulate`.
        """
        means = _divide(phi)
        if self.config.similarity == "cosine":
            similarity = (means @ features.unsqueeze(3)).squeeze(3)  # (B, Q, N)
            inverse_norm = (means.square().sum(-1) + NORM_FLOOR).rsqrt()
            similarity = similarity * inverse_norm * (features.square().sum(-1, keepdim=True) + NORM_FLOOR).rsqrt()
        else:
            similarity = 1 - (features.unsqueeze(2) - means).square().mean(-1) / 2
        return similarity * (phi.counts > 0)

    def _compute_logits(self, similarity: Tensor, counts: Tensor) -> Tensor:
        scale = self.log_scale.exp()
        without_examples = torch.full_like(scale, ABSENT_LOGIT) if self.unseen is None else scale * self.unseen
        return torch.where(counts > 0, scale * similarity, without_examples)

    def _empty_phi(self, batch: int) -> Phi:
        """Returns phi of an empty D_train."""
        sums = self.log_scale.new_zeros(batch, self.spec.y_size, self.encoder.size)
        return Phi(sums, sums[..., 0])


def _shift(items: Tensor) -> Tensor:
    """Returns items (B, T, D) one step later: zeros at the first step, without the last item."""
    return F.pad(items, (0, 0, 1, 0))[:, :-1]


def _divide(phi: Phi) -> Tensor:
    """Returns the class means (..., N, D), zero for a class without examples."""
    return phi.sums / phi.counts.clamp_min(1).unsqueeze(-1)
