"""The core that all memory networks share: a controller, the interface that it steers a memory by, an output layer."""

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
from metacli.models.memory.controller import DESCRIBED, Controller, ControllerKind, ControllerState
from metacli.models.recurrent import Recurrent, Step
from metacli.models.trace import ArrayInfo, Trace, Traced

MEMORY_START = 1e-6  # a constant start trains about twice as fast as the next best (Collier and Beel 2018)


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
    """phi of a memory network: all that it knows after a step.

    Attributes:
        access: the memory and what its heads carry on, a NamedTuple with the fields `memory` (B, L, W) and `reads`
            (B, R, W), the last reads, among others.
        controller: the controller's own state.
    """

    access: Any
    controller: ControllerState


class Access(ABC):
    """How a memory is addressed, written and read: one step from the interface vector that the controller emits.

    It has no parameters. A subclass is built as `cls(config)`.

    Attributes:
        interface_size: I, width of the interface vector.
        reads_size: R W, width of all reads side by side.
        described: see `Recurrent.described`; its own state and parameters.
        state: the class of its state, a NamedTuple that begins with `memory` and `reads`.
        scan: where to find its `AccessScan`, as `module:class`; None where there is none.
        reads_first: whether a step reads the memory as it was before the step wrote.
    """

    interface_size: int
    reads_size: int
    described: ClassVar[dict[str, ArrayInfo]]
    state: ClassVar[type[Any]]
    scan: ClassVar[str | None] = None
    reads_first: bool = False

    def scan_class(self) -> Any:
        """The class that `scan` names."""
        module, _, name = str(self.scan).partition(":")
        return getattr(import_module(module), name)

    def meaning(self) -> dict[str, ArrayInfo]:
        """`described`, where it depends on the config."""
        return self.described

    @abstractmethod
    def initial_state(self, batch: int, like: Tensor) -> Any:
        """The state before the first step, for `batch` tasks, of the dtype and on the device of `like`."""

    @abstractmethod
    def step(self, interface: Tensor, state: Any) -> tuple[Any, Any]:
        """One step.

        Args:
            interface: (B, I).
            state: the state after the step before.

        Returns:
            The next state, and the parameters for `inspect-memory`.
        """

    @abstractmethod
    def retention(self, arrays: dict[str, Tensor]) -> tuple[Tensor, str]:
        """The share of each location's content that survives a step (B, T, L), from the trace; a sentence on it."""

    @abstractmethod
    def initialise(self, interface: nn.Linear) -> None:
        """Set the layer (H to I) that emits the interface, just initialised, as the recipe wants heads to begin."""


class MemoryNetwork(Recurrent):
    """A controller around a memory (Graves et al. 2014, section 3; MANN and the DNC have the same).

    A step: the controller sees [inputs, r_{t-1}] and emits the interface, by which the memory is written and read; the
    output layer sees the controller's output and r_t. A subclass names its `Config(MemoryConfig)` and its `Access`.
    """

    Access: ClassVar[type[Access]]

    def __init__(self, config: Any, spec: Spec):
        super().__init__(config, spec)
        self.access = self.Access(config)  # type: ignore[call-arg]
        inputs, reads = self.input_size, self.access.reads_size
        self.controller = Controller(config.controller, inputs + reads, config.hidden, config.layers)
        self.heads = nn.Linear(config.hidden, self.access.interface_size)  # one layer steers all heads
        self.output = nn.Linear(config.hidden + reads, spec.out_size)
        self.fast = False
        self.described = {**self.access.meaning(), **DESCRIBED}
        with torch.no_grad():
            self.access.initialise(self.heads)

    def initial_state(self, batch: int) -> State:
        """The state before the first item."""
        return State(self.access.initial_state(batch, self.heads.weight), self.controller.initial(batch))

    def step(self, state: State, inputs: Tensor) -> Step:
        """One step: steer, then access the memory."""
        hidden, controller = self.controller(torch.cat([inputs, state.access.reads.flatten(1)], -1), state.controller)
        access, parameters = self.access.step(self.heads(hidden), state.access)
        output = torch.cat([hidden, access.reads.flatten(1)], -1)
        return Step(output, State(access, controller), parameters)

    def use_scan(self, wanted: ScanKind, device: torch.device) -> str:
        """See `MetaLearner.use_scan`: the plain scan, or the fast one (`scan`), on a CPU with numba, for `auto` too."""
        self.fast = False
        if wanted == "plain":
            return "plain: as asked"
        missing = None
        if self.access.scan is None:
            missing = f"{self.config.name} has no fast scan"
        elif device.type != "cpu":
            missing = f"the fast scan is for CPUs, not for {device.type}"
        elif not jit.available():
            missing = jit.reason()
        if missing is None:
            self.fast = True
            return "fast: compiled by numba, some 15 s at its first use on a machine"
        if wanted == "fast":
            raise UsageError(f"train.scan: {missing}", "train.scan=auto takes what there is")
        return f"plain: {missing}"

    def scan(self, state: State, inputs: Tensor, mask: Tensor | None = None) -> tuple[Tensor, State]:
        """See `Recurrent.scan` and `use_scan`."""
        if not (self.fast and inputs.dtype in (torch.float32, torch.float64)):
            return super().scan(state, inputs, mask)
        from metacli.models.memory.fast.scan import scan

        return scan(self, state, inputs, mask)

    def trace(self, episode: Episode) -> Trace:
        """See `Recurrent.trace`; and what each location keeps."""
        trace = super().trace(episode)
        retention, text = self.access.retention({name: traced.values for name, traced in trace.arrays.items()})
        arrays = {**trace.arrays, "retention": Traced(retention, ArrayInfo(("location",), text, "retention"))}
        return Trace(trace.logits, arrays, self.access.reads_first)
