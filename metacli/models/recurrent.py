"""Recurrent: the base class of LSTM, NTM, MANN and DNC."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from metacli.episode import Episode
from metacli.models.base import MetaLearner
from metacli.models.trace import ArrayInfo, Trace, Traced

_STATE = ""  # the name of the whole state among the tensors of a step


class Step(NamedTuple):
    """One step of a recurrence.

    Attributes:
        output: (B, D) the input of the output layer.
        state: the next state, a NamedTuple of tensors (nesting allowed), each with first dimension B.
        parameters: a NamedTuple of intermediate values of the step (head parameters), for `inspect-memory`.
    """

    output: Tensor
    state: Any
    parameters: Any = None


class Recurrent(MetaLearner):
    """A recurrent meta-learner for all three modes: phi is the state after D_train.

    The input of a step is [encoder(x), y]: y is the item's label in D_train, zero for a query, and the label of the
    previous step in a stream. A subclass sets `self.output` (D to O) and implements `initial_state` and `step`.

    Attributes:
        array_info: by name, the meaning of the tensors of its state and parameters that `inspect-memory` shows.
    """

    can_extend = True
    output: nn.Module
    array_info: dict[str, ArrayInfo]

    @abstractmethod
    def initial_state(self, batch: int) -> Any:
        """Returns the state before the first item, for `batch` tasks."""

    @abstractmethod
    def step(self, state: Any, inputs: Tensor) -> Step:
        """Computes one step of the recurrence.

        Args:
            inputs: (B, input_size).
        """

    def scan(self, state: Any, inputs: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Any]:
        """Computes all steps in order, for training and evaluation. Where `mask` is False, a task's state is unchanged.

        Args:
            state: the state before the first step.
            inputs: (B, T, input_size), T >= 1.
            mask: (B, T) bool; None: all True.

        Returns:
            The input of the output layer at each step (B, T, D), 0 where `mask` is False, and the final state.
        """
        outputs = []
        for step in self._steps(state, inputs, mask):
            outputs.append(step.output)
            state = step.state
        stacked = torch.stack(outputs, 1)
        return stacked if mask is None else stacked * mask.unsqueeze(2), state

    def unroll(self, state: Any, inputs: Tensor, mask: Tensor | None = None) -> tuple[list[Step], Any]:
        """Like `scan`, but returns every step with its state and parameters, and the final state."""
        steps = list(self._steps(state, inputs, mask))
        return steps, steps[-1].state

    def _steps(self, state: Any, inputs: Tensor, mask: Tensor | None) -> Iterator[Step]:
        all_real = [mask is None] * inputs.shape[1]
        if mask is not None and mask.device.type == "cpu":  # on a GPU, reading a value would force a synchronisation
            all_real = mask.all(0).tolist()
        for t, item in enumerate(inputs.unbind(1)):
            step = self.step(state, item)
            if mask is not None and not all_real[t]:
                step = step._replace(state=select_tasks(mask[:, t], step.state, state))
            state = step.state
            yield step

    def adapt(self, x_train: Tensor, y_train: Tensor, mask: Tensor | None = None) -> Any:
        """Returns phi, the state after reading D_train item by item."""
        state = self.initial_state(x_train.shape[0])
        if x_train.shape[1] == 0:
            return state
        return self.scan(state, self.encode_items(x_train, y_train), mask)[1]

    def extend(self, phi: Any, x_train: Tensor, y_train: Tensor) -> Any:
        """See `MetaLearner.extend`: continues the recurrence."""
        return self.scan(phi, self.encode_items(x_train, y_train))[1]

    def predict(self, phi: Any, x_test: Tensor, y_previous: Tensor | None = None) -> Tensor:
        """Returns logits (B, Q, O): one step from a copy of phi for each query, or all queries in order."""
        inputs = self.encode_items(x_test, y_previous)  # (B, Q, I)
        if self.spec.mode == "independent":
            state, queries = self.repeat_for_queries(phi, inputs)
            outputs = self.scan(state, queries.unsqueeze(1))[0].view(*inputs.shape[:2], -1)
        else:
            outputs = self.scan(phi, inputs)[0]
        return self.output(outputs)

    def repeat_for_queries(self, phi: Any, inputs: Tensor) -> tuple[Any, Tensor]:
        """Returns a copy of phi for each query, and the queries (B, Q, input_size), both with first dimension B Q."""
        return tree_map(lambda s: s.repeat_interleave(inputs.shape[1], 0), phi), inputs.flatten(0, 1)

    def trace(self, episode: Episode) -> Trace:
        """Returns every array of `array_info`, except empty ones, and the state; see `MetaLearner.trace`."""
        state, batch = self.initial_state(len(episode)), len(episode)
        frames = []
        if episode.x_train.shape[1]:
            steps, state = self.unroll(state, self.encode_items(episode.x_train, episode.y_train), episode.mask_train)
            frames = [_collect_tensors(s) for s in steps]
        queries = self.encode_items(episode.x_test, episode.y_previous)  # (B, Q, I)
        if self.spec.mode == "independent":
            count = queries.shape[1]
            step = self.step(*self.repeat_for_queries(state, queries))
            outputs = step.output.unflatten(0, (batch, count))
            tensors = _collect_tensors(step)
            frames += [{k: v.unflatten(0, (batch, count))[:, q] for k, v in tensors.items()} for q in range(count)]
        else:
            steps, _ = self.unroll(state, queries)
            outputs = torch.stack([s.output for s in steps], 1)
            frames += [_collect_tensors(s) for s in steps]
        arrays = {
            name: Traced(torch.stack([f[name] for f in frames], 1), about) for name, about in self.array_info.items()
        }
        state = torch.stack([f[_STATE] for f in frames], 1)
        return Trace(self.output(outputs), {k: v for k, v in arrays.items() if v.values.numel()}, state=state)


def tree_map(function: Callable[..., Tensor], *trees: Any) -> Any:
    """Applies a function to the tensors of equally structured NamedTuples (nesting allowed)."""
    if isinstance(trees[0], Tensor):
        return function(*trees)
    return type(trees[0])(*(tree_map(function, *children) for children in zip(*trees, strict=True)))


def select_tasks(mask: Tensor, new: Any, old: Any) -> Any:
    """Returns `new` for the tasks where mask (B,) is True and `old` elsewhere, for every tensor."""
    return tree_map(lambda a, b: torch.where(mask.view(-1, *[1] * (a.dim() - 1)), a, b), new, old)


def named_tensors(tree: Any) -> dict[str, Tensor]:
    """Returns the tensors of a NamedTuple by name, nested ones included; empty for None."""
    tensors: dict[str, Tensor] = {}
    for name, value in ({} if tree is None else tree._asdict()).items():
        named = {name: value} if isinstance(value, Tensor) else named_tensors(value)
        assert not tensors.keys() & named.keys(), f"two tensors named {tensors.keys() & named.keys()}"
        tensors |= named
    return tensors


def _collect_tensors(step: Step) -> dict[str, Tensor]:
    """Returns the tensors of the state and the parameters by name, and the state as one vector (B, D)."""
    tensors = named_tensors(step.state)
    whole = torch.cat([tensor.flatten(1) for tensor in tensors.values()], 1)
    return {_STATE: whole} | tensors | named_tensors(step.parameters)
