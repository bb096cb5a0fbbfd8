"""The base classes of all memory networks: the memory access, and the network of controller, access and output."""

from __future__ import annotations

from abc import ABC, abstractmethod
from importlib import import_module
from typing import Any, ClassVar, NamedTuple

import torch
from pydantic import Field
from torch import Tensor, nn

from metacli.compute import jit
from metacli.config.base import BaseConfig
from metacli.episode import Episode, Spec
from metacli.errors import UsageError
from metacli.models.base import ScanKind
from metacli.models.encoder import EncoderConfig
from metacli.models.memory.controller import STATE_INFO, Controller, ControllerKind, ControllerState
from metacli.models.recurrent import Recurrent, Step
from metacli.models.trace import ArrayInfo, Trace, Traced

INITIAL_MEMORY = 1e-6  # a constant trains about twice as fast as the next best choice (Collier and Beel 2018)


class MemoryConfig(BaseConfig):
    """Keys of every memory network."""

    encoder: EncoderConfig = Field(EncoderConfig(), description="How inputs become features.")
    controller: ControllerKind = Field(
        "lstm", description="Network that reads the input and the previous reads, and controls the heads."
    )
    hidden: int = Field(100, ge=1, le=8192, description="H, units per controller layer.")
    layers: int = Field(1, ge=1, le=16, description="Number of stacked controller layers.")
    locations: int = Field(128, ge=1, le=65536, description="L, number of memory locations.")
    width: int = Field(20, ge=1, le=4096, description="W, numbers per memory location.")


class State(NamedTuple):
    """phi of a memory network: its state after a step.

    Attributes:
        access: the memory and the state of the heads, a NamedTuple with the fields `memory` (B, L, W) and `reads`
            (B, R, W), the most recent reads, among others.
        controller: the controller's state.
    """

    access: Any
    controller: ControllerState


class Access(ABC):
    """How a memory is addressed, written and read, given the interface vector that the controller emits.

    It has no parameters. A subclass is built as `cls(config)`.

    Attributes:
        interface_size: I, width of the interface vector.
        reads_size: R W, width of all reads side by side.
        array_info: see `Recurrent.array_info`, for the state and parameters of the access.
        state: the class of its state, a NamedTuple whose first fields are `memory` and `reads`.
        scan: its `AccessScan`, as `module:class`; None if it has no fast scan.
        reads_first: whether a step reads the memory before it writes.
    """

    interface_size: int
    reads_size: int
    array_info: ClassVar[dict[str, ArrayInfo]]
    state: ClassVar[type[Any]]
    scan: ClassVar[str | None] = None
    reads_first: bool = False

    def load_fast_scan(self) -> Any:
        """Imports the class that `scan` names."""
        module, _, name = str(self.scan).partition(":")
        return getattr(import_module(module), name)

    def describe_arrays(self) -> dict[str, ArrayInfo]:
        """Returns `array_info`; a subclass overrides this if the meaning depends on the config."""
        return self.array_info

    @abstractmethod
    def initial_state(self, batch: int, like: Tensor) -> Any:
        """Returns the state before the first step, for `batch` tasks, with the dtype and device of `like`."""

    @abstractmethod
    def step(self, interface: Tensor, state: Any) -> tuple[Any, Any]:
        """Computes one step.

        Args:
            interface: (B, I).
            state: the state after the previous step.

        Returns:
            The next state, and the parameters for `inspect-memory`.
        """

    @abstractmethod
    def retention(self, arrays: dict[str, Tensor]) -> tuple[Tensor, str]:
        """Returns (B, T, L), the share of each location's content that a step retains, and its description."""

    @abstractmethod
    def init_interface(self, interface: nn.Linear) -> None:
        """Adjusts the freshly initialised layer (H to I) that emits the interface, according to the recipe's `init`."""


class MemoryNetwork(Recurrent):
    """A controller with an external memory (Graves et al. 2014, section 3; the same for MANN and the DNC).

    In a step, the controller reads [inputs, r_{t-1}] and emits the interface, which controls the writes and reads. The
    output layer reads the controller's output and r_t. A subclass defines its `Config(MemoryConfig)` and its `Access`.
    """

    Access: ClassVar[type[Access]]

    def __init__(self, config: Any, spec: Spec):
        super().__init__(config, spec)
        self.access = self.Access(config)  # type: ignore[call-arg]
        inputs, reads = self.input_size, self.access.reads_size
        self.controller = Controller(config.controller, inputs + reads, config.hidden, config.layers)
        self.heads = nn.Linear(config.hidden, self.access.interface_size)  # one layer for all heads
        self.output = nn.Linear(config.hidden + reads, spec.out_size)
        self.uses_fast_scan = False
        self.array_info = {**self.access.describe_arrays(), **STATE_INFO}
        with torch.no_grad():
            self.access.init_interface(self.heads)

    def initial_state(self, batch: int) -> State:
        """Returns the state before the first item."""
        return State(self.access.initial_state(batch, self.heads.weight), self.controller.initial_state(batch))

    def step(self, state: State, inputs: Tensor) -> Step:
        """Computes one step of the controller, then of the memory access."""
        hidden, controller = self.controller(torch.cat([inputs, state.access.reads.flatten(1)], -1), state.controller)
        access, parameters = self.access.step(self.heads(hidden), state.access)
        output = torch.cat([hidden, access.reads.flatten(1)], -1)
        return Step(output, State(access, controller), parameters)

    def use_scan(self, requested: ScanKind, device: torch.device) -> str:
        """See `MetaLearner.use_scan`. `auto` selects the fast scan on a CPU with numba, otherwise the plain scan."""
        self.uses_fast_scan = False
        if requested == "plain":
            return "plain: as requested"
        obstacle = None
        if self.access.scan is None:
            obstacle = f"{self.config.name} has no fast scan"
        elif device.type != "cpu":
            obstacle = f"the fast scan is for CPUs, not for {device.type}"
        elif not jit.available():
            obstacle = jit.reason()
        if obstacle is None:
            self.uses_fast_scan = True
            return "fast: compiled by numba"
        if requested == "fast":
            raise UsageError(f"train.scan: {obstacle}", "set train.scan=auto to select an available scan")
        return f"plain: {obstacle}"

    def scan(self, state: State, inputs: Tensor, mask: Tensor | None = None) -> tuple[Tensor, State]:
        """See `Recurrent.scan` and `use_scan`."""
        if not (self.uses_fast_scan and inputs.dtype in (torch.float32, torch.float64)):
            return super().scan(state, inputs, mask)
        from metacli.models.memory.fast.scan import scan

        return scan(self, state, inputs, mask)

    def trace(self, episode: Episode) -> Trace:
        """See `Recurrent.trace`; adds the retention of each location."""
        trace = super().trace(episode)
        retention, text = self.access.retention({name: traced.values for name, traced in trace.arrays.items()})
        arrays = {**trace.arrays, "retention": Traced(retention, ArrayInfo(("location",), text, "retention"))}
        return trace._replace(arrays=arrays, reads_first=self.access.reads_first)
