"""The Neural Turing Machine: heads address a memory by content and by location."""

from __future__ import annotations

from typing import Any, ClassVar, Literal, NamedTuple

import torch
import torch.nn.functional as F
from pydantic import Field, model_validator
from torch import Tensor, nn

from metacli.models.memory import addressing, head_init
from metacli.models.memory.core import INITIAL_MEMORY, Access, MemoryConfig, MemoryNetwork
from metacli.models.trace import ArrayInfo


class State(NamedTuple):
    """The memory and heads of an NTM after a step.

    Attributes:
        memory: (B, L, W) M_t.
        reads: (B, R, W) r_t.
        read_weights: (B, R, L) w_t of the read heads.
        write_weights: (B, Wh, L) w_t of the write heads.
    """

    memory: Tensor
    reads: Tensor
    read_weights: Tensor
    write_weights: Tensor


class InterfaceParameters(NamedTuple):
    """The parameters that the heads emit in a step. `heads` are the read heads, then the write heads (R + Wh).

    Attributes:
        key: (B, heads, W) k_t.
        strength: (B, heads, 1) beta_t > 0.
        gate: (B, heads, 1) g_t in (0, 1); 1 addresses by content only, 0 by location only.
        shift: (B, heads, 2k + 1) s_t over the offsets -k, ..., k; sums to 1.
        sharpness: (B, heads, 1) gamma_t > 1.
        content: (B, heads, L) w^c_t, the weighting by content only.
        erase: (B, Wh, W) e_t in (0, 1).
        add: (B, Wh, W) a_t in (-1, 1).
    """

    key: Tensor
    strength: Tensor
    gate: Tensor
    shift: Tensor
    sharpness: Tensor
    content: Tensor
    erase: Tensor
    add: Tensor


class NTMAccess(Access):
    """The memory access of the Neural Turing Machine (Graves, Wayne, Danihelka 2014, sections 3.1 to 3.3).

    In a step, all heads are addressed on M_{t-1}. The write heads erase and add, giving M_t. The read heads read M_t.
    """

    array_info: ClassVar[dict[str, ArrayInfo]] = {
        "memory": ArrayInfo(("location", "width"), "M_t, the memory after the step", "memory"),
        "reads": ArrayInfo(("head", "width"), "r_t, the vector that each read head read"),
        "read_weights": ArrayInfo(("head", "location"), "w_t of the read heads, sums to 1 over the locations", "read"),
        "write_weights": ArrayInfo(
            ("head", "location"), "w_t of the write heads, sums to 1 over the locations", "write"
        ),
        "key": ArrayInfo(
            ("head", "width"), "k_t, the key of each head, compared with the memory; read heads come before write heads"
        ),
        "strength": ArrayInfo(("head", "one"), "beta_t > 0, the key strength: sharpness of the content weighting"),
        "gate": ArrayInfo(("head", "one"), "g_t in (0, 1): 1 addresses by content, 0 keeps the previous weighting"),
        "shift": ArrayInfo(
            ("head", "offset"), "s_t, the weighting of shifts, sums to 1 over the offsets -k, ..., k", "weighting"
        ),
        "sharpness": ArrayInfo(("head", "one"), "gamma_t > 1, the exponent that sharpens the weighting"),
        "content": ArrayInfo(
            ("head", "location"),
            "w^c_t, the weighting by content, highest where the memory matches the key",
            "weighting",
        ),
        "erase": ArrayInfo(
            ("write head", "width"), "e_t in (0, 1) of the write heads: 1 erases the content of the location"
        ),
        "add": ArrayInfo(("write head", "width"), "a_t of the write heads, the vector that is added to the location"),
    }

    state = State
    scan = "metacli.models.memory.fast.ntm:NTMScan"
    clip = 20.0  # bound of the interface, which keeps heads away from saturation, where the gradient is 0

    def __init__(self, config: NTM.Config):
        c = self.config = config
        heads = c.read_heads + c.write_heads
        self.reads_size = c.read_heads * c.width
        # keys; beta and gamma; g; s; e and a
        self.part_sizes = [
            heads * c.width,
            heads * 2,
            heads,
            heads * (2 * c.shift_range + 1),
            c.write_heads * 2 * c.width,
        ]
        self.interface_size = sum(self.part_sizes)

    def initial_state(self, batch: int, like: Tensor) -> State:
        """Returns the state before the first item: memory 1e-6, every head at location 0."""
        c = self.config
        memory = like.new_full((batch, c.locations, c.width), INITIAL_MEMORY)
        weights = memory.new_zeros(batch, c.read_heads + c.write_heads, c.locations)
        weights[:, :, 0] = 1
        read_weights, write_weights = weights.split([c.read_heads, c.write_heads], 1)
        reads = memory.new_full((batch, c.read_heads, c.width), INITIAL_MEMORY)  # all heads are at location 0
        return State(memory, reads, read_weights, write_weights)

    def step(self, interface: Tensor, state: State) -> tuple[State, InterfaceParameters]:
        """Addresses, erases, adds and reads; see `Access.step`."""
        parameters, weights = self.address(interface, state)
        read_weights, write_weights = weights.split([self.config.read_heads, self.config.write_heads], 1)
        memory = addressing.erase(state.memory, write_weights, parameters.erase)
        memory = addressing.add(memory, write_weights, parameters.add)
        return State(memory, addressing.read(memory, read_weights), read_weights, write_weights), parameters

    def address(self, interface: Tensor, state: State) -> tuple[InterfaceParameters, Tensor]:
        """Splits the interface (B, I) into parameters in their ranges; also returns w_t of all heads (B, R + Wh, L)."""
        c = self.config
        heads = c.read_heads + c.write_heads
        key, scalars, gate, shift, erase_and_add = interface.clamp(-self.clip, self.clip).split(self.part_sizes, -1)
        key = key.unflatten(-1, (heads, c.width))  # k_t
        strength, sharpness = scalars.view(-1, heads, 2).split(1, -1)
        strength = F.softplus(strength)  # beta_t
        gate = torch.sigmoid(gate).unsqueeze(-1)  # g_t
        shift = torch.softmax(shift.unflatten(-1, (heads, -1)), -1)  # s_t
        sharpness = 1 + F.softplus(sharpness)  # gamma_t
        erase, add = erase_and_add.unflatten(-1, (c.write_heads, 2 * c.width)).chunk(2, -1)
        erase = torch.sigmoid(erase)  # e_t
        add = torch.tanh(add)  # a_t

        content = addressing.content_weighting(addressing.cosine_similarity(key, state.memory), strength)
        previous = torch.cat([state.read_weights, state.write_weights], 1)
        weights = addressing.interpolate(content, previous, gate)
        weights = addressing.circular_shift(weights, shift)
        weights = addressing.sharpen(weights, sharpness)
        return InterfaceParameters(key, strength, gate, shift, sharpness, content, erase, add), weights

    def retention(self, arrays: dict[str, Tensor]) -> tuple[Tensor, str]:
        """See `Access.retention`."""
        retained = addressing.retained_share(arrays["write_weights"], arrays["erase"])
        return retained, "share of a location's content that remains after the step's erasing, mean over the width"

    def init_interface(self, interface: nn.Linear) -> None:
        """See `Access.init_interface` and `NTM.Config.init`."""
        if self.config.init != "random":
            head_init.init_ntm_by_content(
                interface, self.config, self.part_sizes, read_next=self.config.init == "content-then-next"
            )


class NTM(MemoryNetwork):
    """Neural Turing Machine (Graves, Wayne, Danihelka 2014, arXiv 1410.5401).

    Choices that the paper leaves open:

    - The memory starts at the constant 1e-6, and every head at location 0.
    - a_t is bounded by tanh, so that the memory stays bounded.
    - The interface is clipped to [-20, 20] before its parameters are mapped to their ranges.
    - A step writes before it reads.
    """

    Access = NTMAccess

    tiny: ClassVar[dict[str, Any]] = {"hidden": 12, "locations": 12, "width": 5, "read_heads": 2}

    class Config(MemoryConfig):
        """Keys of an NTM, beside those of every memory network."""

        name: Literal["ntm"] = Field("ntm", description="Registered name of the model.")
        read_heads: int = Field(1, ge=1, le=32, description="R, number of read heads.")
        write_heads: int = Field(1, ge=1, le=32, description="Number of write heads.")
        shift_range: int = Field(
            1, ge=0, le=32, description="k, the largest shift of a head in one step. The offsets are -k, ..., k."
        )
        init: Literal["random", "content", "content-then-next"] = Field(
            "content",
            description=(
                "Initial weights of the heads. `random`: random weights, as in the paper. `content`: write heads move "
                "to the next location at each step and add the keys of the read heads. Read heads address by content "
                "(beta_t about 8). With random weights an NTM stays at chance level for long where labels are found by "
                "content, as in N-way K-shot. `content-then-next`: the same, but read heads read the location after "
                "the best match. In a stream, a label comes one step after its item, so that location contains the "
                "label."
            ),
        )

        @model_validator(mode="after")
        def _check_shift_range(self) -> NTM.Config:
            if 2 * self.shift_range + 1 > self.locations:
                raise ValueError(
                    f"shift_range {self.shift_range} has {2 * self.shift_range + 1} offsets, but there are only "
                    f"{self.locations} locations: lower shift_range or raise locations"
                )
            return self
