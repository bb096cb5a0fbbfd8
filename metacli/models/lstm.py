"""The LSTM meta-learner, whose only memory is its recurrent state."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import Field
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from metacli.config.base import BaseConfig
from metacli.episode import Spec
from metacli.models.encoder import EncoderConfig
from metacli.models.memory.controller import STATE_INFO
from metacli.models.memory.controller import ControllerState as State
from metacli.models.recurrent import Recurrent, Step, select_tasks


class LSTM(Recurrent):
    """A stacked LSTM that reads D_train and continues on D_test (Hochreiter, Younger, Conwell 2001).

    phi is the hidden and the cell state of every layer, zero at the start. `scan` runs whole sequences in one call.
    `step` computes one step with the same weights; unrolling it gives the same states.
    """

    array_info = STATE_INFO

    tiny: ClassVar[dict[str, Any]] = {"hidden": 12, "layers": 2}

    class Config(BaseConfig):
        """Keys of an LSTM."""

        name: Literal["lstm"] = Field("lstm", description="Registered name of the model.")
        encoder: EncoderConfig = Field(EncoderConfig(), description="How inputs become features.")
        hidden: int = Field(256, ge=1, le=8192, description="Units per layer.")
        layers: int = Field(3, ge=1, le=16, description="Number of stacked layers.")

    def __init__(self, config: Config, spec: Spec):
        super().__init__(config, spec)
        self.lstm = nn.LSTM(self.input_size, config.hidden, config.layers, batch_first=True)
        self.output = nn.Linear(config.hidden, spec.out_size)

    def initial_state(self, batch: int) -> State:
        """Returns the zero state before the first item."""
        zero = next(self.lstm.parameters()).new_zeros(batch, self.config.layers, self.config.hidden)
        return State(zero, zero)

    def step(self, state: State, inputs: Tensor) -> Step:
        """Computes one step of every layer."""
        output, last = self._run(state, inputs.unsqueeze(1))
        return Step(output.squeeze(1), last)

    def scan(self, state: State, inputs: Tensor, mask: Tensor | None = None) -> tuple[Tensor, State]:
        """See `Recurrent.scan`. Padding must be at the end of a sequence; its outputs are zero."""
        if mask is None:
            return self._run(state, inputs)
        lengths = mask.sum(1)
        packed = pack_padded_sequence(inputs, lengths.clamp_min(1).cpu(), batch_first=True, enforce_sorted=False)
        outputs, last = self._run(state, packed)
        padded = pad_packed_sequence(outputs, batch_first=True, total_length=inputs.shape[1])[0]
        return padded, select_tasks(lengths > 0, last, state)  # packing does not support an empty D_train

    def _run(self, state: State, inputs: Any) -> tuple[Any, State]:
        """Computes all steps: the last layer's outputs (B, T, H), packed if `inputs` are, and the final state."""
        initial = (state.h.transpose(0, 1).contiguous(), state.c.transpose(0, 1).contiguous())
        output, (h, c) = self.lstm(inputs, initial)
        return output, State(h.transpose(0, 1), c.transpose(0, 1))
