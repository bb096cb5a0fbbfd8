"""What every meta-learner offers, and the fold that all recurrent ones share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import Any, ClassVar, Literal, NamedTuple

import torch
from torch import Tensor, nn

from metacli.episode import Episode, Mode, Spec
from metacli.errors import UsageError
from metacli.models.encoder import Encoder
from metacli.models.trace import About, Trace, trace_recurrent

ScanKind = Literal["auto", "plain", "fast"]


class MetaLearner(nn.Module, ABC):
    """f_theta: reads D_train once into phi, then answers D_test from phi. No gradient step at test time.

    A subclass is built as `cls(config, spec)` and declares a nested `Config(Section)` (see `metacli.config.base`).

    Attributes:
        modes: the ways of being asked that the model serves (see `Spec.mode`).
        capturable: whether its passes run on a GPU without the processor looking at a number.
    """

    Config: ClassVar[type[Any]]
    modes: ClassVar[frozenset[Mode]] = frozenset({"independent", "sequence", "stream"})
    capturable: bool = True

    def __init__(self, config: Any, spec: Spec):
        super().__init__()
        self.config = config
        self.spec = spec
        self.encoder = Encoder(config.encoder, spec.x_shape)
        self.input_size = self.encoder.size + spec.y_size

    @classmethod
    def refuse(cls, config: Any, spec: Spec) -> str | None:
        """Why a model with this config cannot serve these tasks, or None; asked when the recipe is validated."""
        if spec.mode not in cls.modes:
            return f"{config.name} serves {', '.join(sorted(cls.modes))} tasks, not {spec.mode} ones"
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

    @abstractmethod
    def predict(self, phi: Any, x_test: Tensor, y_late: Tensor | None = None) -> Tensor:
        """Logits (B, Q, O) on D_test; never sees y_test.

        Args:
            phi: what `adapt` returned.
            x_test: (B, Q, *x_shape).
            y_late: (B, Q, Y), `stream` only: the label that arrives with each item.
        """

    def trace(self, episode: Episode) -> Trace:
        """What the model did with an episode, step by step, for `inspect-memory`; here no more than the logits."""
        return Trace(self(episode), {})

    def forward(self, episode: Episode) -> Tensor:
        """Logits (B, Q, O): `adapt`, then `predict`."""
        phi = self.adapt(episode.x_train, episode.y_train, episode.mask_train)
        return self.predict(phi, episode.x_test, episode.y_late)


class Step(NamedTuple):
    """One step of a recurrence.

    Attributes:
        output: (B, D) what the output layer reads.
        state: the next state, a NamedTuple of tensors (nesting allowed), each with first dimension B.
        signals: a NamedTuple of what the step computed on the way (head parameters), for `inspect-memory`.
    """

    output: Tensor
    state: Any
    signals: Any = None


class Recurrent(MetaLearner):
    """One recurrence, three ways to be asked: phi is the state after D_train.

    Inputs of a step are [encoder(x), y]: y is the item's own label in D_train, zero for a question, and the label
    of the step before in a stream. A subclass sets `self.output` (D to O) and offers `initial_state` and `step`.

    Attributes:
        described: the meaning of the tensors of its state and signals that `inspect-memory` shows, by their names.
    """

    output: nn.Module
    described: dict[str, About]

    @abstractmethod
    def initial_state(self, batch: int) -> Any:
        """The state before the first item, for `batch` tasks."""

    @abstractmethod
    def step(self, state: Any, inputs: Tensor) -> Step:
        """One step of the recurrence.

        Args:
            inputs: (B, input_size).
        """

    def scan(self, state: Any, inputs: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Any]:
        """All steps in order: what training and evaluation run. Where `mask` is False, a task's state stands still.

        Args:
            state: the state before.
            inputs: (B, T, input_size), T >= 1.
            mask: (B, T) bool; None: all True.

        Returns:
            What the output layer reads at each step (B, T, D), 0 where `mask` is False, and the last state.
        """
        outputs = []
        for step in self._steps(state, inputs, mask):
            outputs.append(step.output)
            state = step.state
        whole = torch.stack(outputs, 1)
        return whole if mask is None else whole * mask.unsqueeze(2), state

    def fold(self, state: Any, inputs: Tensor, mask: Tensor | None = None) -> tuple[list[Step], Any]:
        """`scan` for those who look inside: every step with its state and signals, and the last state."""
        steps = list(self._steps(state, inputs, mask))
        return steps, steps[-1].state

    def _steps(self, state: Any, inputs: Tensor, mask: Tensor | None) -> Iterator[Step]:
        whole = [mask is None] * inputs.shape[1]
        if mask is not None and mask.device.type == "cpu":  # to ask a GPU is to wait for it
            whole = mask.all(0).tolist()
        for t, item in enumerate(inputs.unbind(1)):
            step = self.step(state, item)
            if mask is not None and not whole[t]:
                step = step._replace(state=select(mask[:, t], step.state, state))
            state = step.state
            yield step

    def adapt(self, x_train: Tensor, y_train: Tensor, mask: Tensor | None = None) -> Any:
        """phi: the state after D_train has been read, item by item."""
        state = self.initial_state(x_train.shape[0])
        if x_train.shape[1] == 0:
            return state
        return self.scan(state, self.inputs(x_train, y_train), mask)[1]

    def predict(self, phi: Any, x_test: Tensor, y_late: Tensor | None = None) -> Tensor:
        """Logits (B, Q, O): one step from a copy of phi for each item, or the items in order."""
        inputs = self.inputs(x_test, y_late)  # (B, Q, I)
        if self.spec.mode == "independent":
            state, questions = self.copies(phi, inputs)
            outputs = self.scan(state, questions.unsqueeze(1))[0].view(*inputs.shape[:2], -1)
        else:
            outputs = self.scan(phi, inputs)[0]
        return self.output(outputs)

    def copies(self, phi: Any, inputs: Tensor) -> tuple[Any, Tensor]:
        """A copy of phi for each of the questions (B, Q, input_size), and the questions, of first dimension B Q."""
        return tree_map(lambda s: s.repeat_interleave(inputs.shape[1], 0), phi), inputs.flatten(0, 1)

    def trace(self, episode: Episode) -> Trace:
        """Every state and signal of the fold; see `MetaLearner.trace`."""
        return trace_recurrent(self, episode)


def tree_map(fn: Callable[..., Tensor], *trees: Any) -> Any:
    """`fn` over the tensors of equally shaped NamedTuples (nesting allowed)."""
    if isinstance(trees[0], Tensor):
        return fn(*trees)
    return type(trees[0])(*(tree_map(fn, *leaves) for leaves in zip(*trees, strict=True)))


def select(mask: Tensor, new: Any, old: Any) -> Any:
    """`new` for the tasks where mask (B,) is True, `old` elsewhere, leaf by leaf."""
    return tree_map(lambda a, b: torch.where(mask.view(-1, *[1] * (a.dim() - 1)), a, b), new, old)
