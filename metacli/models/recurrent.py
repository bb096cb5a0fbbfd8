"""One recurrence, three ways to be asked: what LSTM, NTM, MANN and DNC share."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from metacli.episode import Episode
from metacli.models.base import MetaLearner
from metacli.models.trace import ArrayInfo, Trace, Traced


class Step(NamedTuple):
    """One step of a recurrence.

    Attributes:
        output: (B, D) what the output layer reads.
        state: the next state, a NamedTuple of tensors (nesting allowed), each with first dimension B.
        parameters: a NamedTuple of what the step computed on the way (head parameters), for `inspect-memory`.
    """

    output: Tensor
    state: Any
    parameters: Any = None


class Recurrent(MetaLearner):
    """One recurrence, three ways to be asked: phi is the state after D_train.

    Inputs of a step are [encoder(x), y]: y is the item's own label in D_train, zero for a question, and the label
    of the step before in a stream. A subclass sets `self.output` (D to O) and offers `initial_state` and `step`.

    Attributes:
        described: the meaning of the tensors of its state and parameters that `inspect-memory` shows, by their names.
    """

    can_extend = True
    output: nn.Module
    described: dict[str, ArrayInfo]

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

    def unroll(self, state: Any, inputs: Tensor, mask: Tensor | None = None) -> tuple[list[Step], Any]:
        """`scan` for those who look inside: every step with its state and parameters, and the last state."""
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

    def extend(self, phi: Any, x_train: Tensor, y_train: Tensor) -> Any:
        """See `MetaLearner.extend`: the recurrence goes on."""
        return self.scan(phi, self.inputs(x_train, y_train))[1]

    def predict(self, phi: Any, x_test: Tensor, y_previous: Tensor | None = None) -> Tensor:
        """Logits (B, Q, O): one step from a copy of phi for each item, or the items in order."""
        inputs = self.inputs(x_test, y_previous)  # (B, Q, I)
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
        """Every state and interface parameter that is `described`, but empty ones; see `MetaLearner.trace`."""
        state, batch = self.initial_state(len(episode)), len(episode)
        frames = []
        if episode.x_train.shape[1]:
            steps, state = self.unroll(state, self.inputs(episode.x_train, episode.y_train), episode.mask_train)
            frames = [leaves(s.state) | leaves(s.parameters) for s in steps]
        questions = self.inputs(episode.x_test, episode.y_previous)  # (B, Q, I)
        if self.spec.mode == "independent":
            count = questions.shape[1]
            step = self.step(*self.copies(state, questions))
            outputs = step.output.unflatten(0, (batch, count))
            asked = leaves(step.state) | leaves(step.parameters)
            frames += [{k: v.unflatten(0, (batch, count))[:, q] for k, v in asked.items()} for q in range(count)]
        else:
            steps, _ = self.unroll(state, questions)
            outputs = torch.stack([s.output for s in steps], 1)
            frames += [leaves(s.state) | leaves(s.parameters) for s in steps]
        arrays = {
            name: Traced(torch.stack([f[name] for f in frames], 1), about) for name, about in self.described.items()
        }
        return Trace(self.output(outputs), {k: v for k, v in arrays.items() if v.values.numel()})


def tree_map(fn: Callable[..., Tensor], *trees: Any) -> Any:
    """`fn` over the tensors of equally shaped NamedTuples (nesting allowed)."""
    if isinstance(trees[0], Tensor):
        return fn(*trees)
    return type(trees[0])(*(tree_map(fn, *leaves) for leaves in zip(*trees, strict=True)))


def select(mask: Tensor, new: Any, old: Any) -> Any:
    """`new` for the tasks where mask (B,) is True, `old` elsewhere, leaf by leaf."""
    return tree_map(lambda a, b: torch.where(mask.view(-1, *[1] * (a.dim() - 1)), a, b), new, old)


def leaves(tree: Any) -> dict[str, Tensor]:
    """The tensors of a NamedTuple by name, those of nested ones beside the others; none of None."""
    found: dict[str, Tensor] = {}
    for name, value in ({} if tree is None else tree._asdict()).items():
        part = {name: value} if isinstance(value, Tensor) else leaves(value)
        assert not found.keys() & part.keys(), f"two tensors named {found.keys() & part.keys()}"
        found |= part
    return found
