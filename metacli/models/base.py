"""What every meta-learner offers."""

from __future__ import annotations

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
    """f_theta: reads D_train once into phi, then answers D_test from phi. No gradient step at test time.

    A subclass is built as `cls(config, spec)` and declares a nested `Config(BaseConfig)` (see `metacli.config.base`).

    Attributes:
        modes: the ways of being asked that the model serves (see `Spec.mode`).
        tiny: keys of its config that make a model small enough for a test or a trial.
        can_extend: whether `extend` goes on from phi.
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
        """Why a model with this config cannot serve these tasks, or None; asked when the recipe is validated."""
        if spec.mode not in cls.modes:
            return f"{config.name} serves {', '.join(sorted(cls.modes))} tasks, not {spec.mode} ones"
        if config.encoder.kind == "conv" and len(spec.x_shape) != 3:
            return "encoder.kind: conv is for images, and these tasks show vectors: use flat"
        return None

    def use_scan(self, wanted: ScanKind, device: torch.device) -> str | None:
        """Choose how the model runs through a sequence on a device; what was chosen and why, None without a choice.

        Raises:
            UsageError: the model does not have what is wanted.
        """
        if wanted == "fast":
            raise UsageError(f"train.scan: {self.config.name} runs in one way only", "leave it out")
        return None

    def inputs(self, x: Tensor, y: Tensor | None) -> Tensor:
        """(B, T, input_size): every item encoded, beside it its label y (B, T, Y), or zeros for a question."""
        features = self.encoder(x)
        label = features.new_zeros(*x.shape[:2], self.spec.y_size) if y is None else y.to(features.dtype)
        return torch.cat([features, label], -1)

    @abstractmethod
    def adapt(self, x_train: Tensor, y_train: Tensor, mask: Tensor | None = None) -> Any:
        """phi <- f_theta(D_train), an immutable NamedTuple of tensors whose first dimension is B.

        Args:
            x_train: (B, S, *x_shape), S >= 0.
            y_train: (B, S, Y).
            mask: (B, S) bool, True where an item is real, padding at the end; None: all are.
        """

    def extend(self, phi: Any, x_train: Tensor, y_train: Tensor) -> Any:
        """The phi of a longer D_train, from that of its beginning: what `adapt` makes of the two together.

        Args:
            phi: of the items before.
            x_train: (B, S, *x_shape), those that follow, S >= 1.
            y_train: (B, S, Y).
        """
        raise NotImplementedError(f"{type(self).__name__} reads D_train as a whole")

    @abstractmethod
    def predict(self, phi: Any, x_test: Tensor, y_previous: Tensor | None = None) -> Tensor:
        """Logits (B, Q, O) on D_test; never sees y_test.

        Args:
            phi: what `adapt` returned.
            x_test: (B, Q, *x_shape).
            y_previous: (B, Q, Y), `stream` only: the label that arrives with each item.
        """

    def least_bytes(self, batch: int, seen: int, asked: int, training: bool) -> int:
        """Bytes that an episode takes at the least beside itself and the parameters; 0 where nobody has counted.

        Args:
            batch: B.
            seen: S.
            asked: Q.
            training: whether what the gradient needs is kept.
        """
        return 0

    def trace(self, episode: Episode) -> Trace:
        """What the model did with an episode, step by step, for `inspect-memory`; here no more than the logits."""
        return Trace(self(episode), {})

    def forward(self, episode: Episode) -> Tensor:
        """Logits (B, Q, O): `adapt`, then `predict`."""
        phi = self.adapt(episode.x_train, episode.y_train, episode.mask_train)
        return self.predict(phi, episode.x_test, episode.y_previous)
