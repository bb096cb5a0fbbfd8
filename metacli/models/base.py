"""MetaLearner: the base class of all models."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from metacli.episode import Episode, Mode, Spec
from metacli.errors import UsageError
from metacli.models.encoder import Encoder
from metacli.models.trace import Trace

ScanKind = Literal["auto", "plain", "fast"]


class MetaLearner(nn.Module, ABC):
    """f_theta reads D_train once into phi, then answers D_test from phi. No gradient step is taken at test time.

    A subclass is built as `cls(config, spec)` and declares a nested `Config(BaseConfig)` (see `metacli.config.base`).

    Attributes:
        modes: the modes that the model supports (see `Spec.mode`).
        tiny: config keys of a model that is small enough for tests.
        can_extend: whether `extend` is implemented.
    """

    Config: ClassVar[type[Any]]
    modes: ClassVar[frozenset[Mode]] = frozenset({"independent", "sequence", "stream"})
    tiny: ClassVar[dict[str, Any]]
    can_extend: bool = False

    def __init__(self, config: Any, spec: Spec):
        super().__init__()
        self.config = config
        self.spec = spec
        self.encoder = Encoder(config.encoder, spec.x_shape)
        self.input_size = self.encoder.size + spec.y_size

    @classmethod
    def check_compatible(cls, config: Any, spec: Spec) -> str | None:
        """Returns why a model with this config does not support these tasks, or None. Called by recipe validation."""
        if spec.mode not in cls.modes:
            return f"{config.name} supports tasks in mode {', '.join(sorted(cls.modes))}, not {spec.mode}"
        if config.encoder.kind == "conv" and len(spec.x_shape) != 3:
            return "encoder.kind: conv needs images, but these tasks have vectors: use flat"
        return None

    def use_scan(self, requested: ScanKind, device: torch.device) -> str | None:
        """Selects the scan implementation for a device.

        Returns:
            The selection and its reason, or None if the model has only one implementation.

        Raises:
            UsageError: the requested implementation is not available.
        """
        if requested == "fast":
            raise UsageError(f"train.scan: {self.config.name} has only one implementation", "set train.scan=auto")
        return None

    def encode_items(self, x: Tensor, y: Tensor | None) -> Tensor:
        """Returns (B, T, input_size): the features of each item, then its label y (B, T, Y), zeros for a query."""
        features = self.encoder(x)
        label = features.new_zeros(*x.shape[:2], self.spec.y_size) if y is None else y.to(features.dtype)
        return torch.cat([features, label], -1)

    @abstractmethod
    def adapt(self, x_train: Tensor, y_train: Tensor, mask: Tensor | None = None) -> Any:
        """Returns phi <- f_theta(D_train), an immutable NamedTuple of tensors with first dimension B.

        Args:
            x_train: (B, S, *x_shape), S >= 0.
            y_train: (B, S, Y).
            mask: (B, S) bool, False at padding, which is at the end. None: no padding.
        """

    def extend(self, phi: Any, x_train: Tensor, y_train: Tensor) -> Any:
        """Returns phi after further support examples, equal to `adapt` on all of them.

        Args:
            phi: the task state after the earlier examples.
            x_train: (B, S, *x_shape), the further examples, S >= 1.
            y_train: (B, S, Y).
        """
        raise NotImplementedError(f"{type(self).__name__} cannot extend phi, because it reads D_train at once")

    @abstractmethod
    def predict(self, phi: Any, x_test: Tensor, y_previous: Tensor | None = None) -> Tensor:
        """Returns logits (B, Q, O) on D_test, without reading y_test. With `Spec.random_labels`, see `Tasks.logits`.

        Args:
            phi: the result of `adapt`.
            x_test: (B, Q, *x_shape).
            y_previous: (B, Q, Y), `stream` only: the label of the item before each item.
        """

    def least_bytes(self, n_support: int, n_queries: int, training: bool) -> int:
        """Returns a lower bound of the bytes that one task needs, without the episode and the parameters.

        It is the size of phi for one item, times the number of items. Without training, a recurrent model keeps only
        its latest state, but every independent query has its own copy of it.

        Args:
            n_support: S.
            n_queries: Q.
            training: whether activations are kept for the gradient.
        """
        shapes = (self.spec.x_shape, (self.spec.y_size,))
        x, y = (next(self.parameters()).new_zeros(1, 0, *shape) for shape in shapes)
        n_states = max(n_support, n_queries)
        if training:
            n_states = n_support + n_queries
        elif self.can_extend:
            n_states = n_queries if self.spec.mode == "independent" else 1
        return n_states * _size(self.adapt(x, y))

    def trace(self, episode: Episode) -> Trace:
        """Returns the model's internal arrays at each step, for `inspect-memory`; the base class only logits."""
        return Trace(self(episode), {})

    def forward(self, episode: Episode) -> Tensor:
        """Returns logits (B, Q, O): `adapt`, then `predict`."""
        phi = self.adapt(episode.x_train, episode.y_train, episode.mask_train)
        return self.predict(phi, episode.x_test, episode.y_previous)


def _size(phi: Any) -> int:
    """Returns the bytes of nested NamedTuples of tensors. If D_train is empty, those of one item."""
    if isinstance(phi, Tensor):
        return math.prod(count or 1 for count in phi.shape) * phi.element_size()
    return sum(map(_size, phi)) if isinstance(phi, tuple) else 0
