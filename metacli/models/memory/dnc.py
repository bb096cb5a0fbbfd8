"""The Differentiable Neural Computer, with memory allocation and temporal links."""

from __future__ import annotations

from typing import Any, ClassVar, Literal, NamedTuple

import torch
import torch.nn.functional as F
from pydantic import Field, model_validator
from torch import Tensor, nn

from metacli.episode import Spec
from metacli.models.memory import addressing, allocation, head_init, linkage
from metacli.models.memory.core import INITIAL_MEMORY, Access, MemoryConfig, MemoryNetwork
from metacli.models.trace import AT_MOST_1, ArrayInfo

MODES = 3  # read modes: backward, by content, forward


class State(NamedTuple):
    """The memory and heads of a DNC after a step.

    Attributes:
        memory: (B, L, W) M_t.
        reads: (B, R, W) r^i_t.
        read_weights: (B, R, L) w^(r,i)_t.
        write_weights: (B, 1, L) w^w_t.
        usage: (B, L) u_t.
        precedence: (B, L) p_t.
        links: (B, L, L) L_t.
    """

    memory: Tensor
    reads: Tensor
    read_weights: Tensor
    write_weights: Tensor
    usage: Tensor
    precedence: Tensor
    links: Tensor


class InterfaceParameters(NamedTuple):
    """The parameters that the heads emit in a step.

    Attributes:
        read_key: (B, R, W) k^(r,i)_t.
        read_strength: (B, R, 1) beta^(r,i)_t > 1.
        write_key: (B, 1, W) k^w_t.
        write_strength: (B, 1, 1) beta^w_t > 1.
        erase: (B, 1, W) e_t in (0, 1).
        write_vector: (B, 1, W) v_t.
        free_gate: (B, R, 1) f^i_t in (0, 1): 1 frees the location that the head has read.
        allocation_gate: (B, 1, 1) g^a_t in (0, 1): 1 writes to a free location, 0 by content.
        write_gate: (B, 1, 1) g^w_t in (0, 1): 0 writes nothing.
        read_modes: (B, R, 3) pi^i_t: backward, by content, forward; sums to 1.
        allocation: (B, 1, L) a_t.
    """

    read_key: Tensor
    read_strength: Tensor
    write_key: Tensor
    write_strength: Tensor
    erase: Tensor
    write_vector: Tensor
    free_gate: Tensor
    allocation_gate: Tensor
    write_gate: Tensor
    read_modes: Tensor
    allocation: Tensor


class DNCAccess(Access):
    """The memory access of the Differentiable Neural Computer (Graves et al. 2016, Methods).

    In a step, locations that were read may be freed. The write head writes to a free location, or by content, and the
    temporal links are updated. Every read head reads by content, or the location written before or after its last one.
    """

    array_info: ClassVar[dict[str, ArrayInfo]] = {
        "memory": ArrayInfo(("location", "width"), "M_t, the memory after the step", "memory"),
        "reads": ArrayInfo(("head", "width"), "r_t, the vector that each read head read"),
        "read_weights": ArrayInfo(
            ("head", "location"), "w^r_t, sums to at most 1 over the locations", "read", AT_MOST_1
        ),
        "write_weights": ArrayInfo(
            ("head", "location"), "w^w_t, sums to at most 1 over the locations", "write", AT_MOST_1
        ),
        "usage": ArrayInfo(("location",), "u_t in [0, 1]: 0 for a free location", "usage"),
        "links": ArrayInfo(
            ("location", "location"), "L_t[i, j]: the degree to which i was written directly after j", "links"
        ),
        "precedence": ArrayInfo(("location",), "p_t: the degree to which a location was written last"),
        "read_key": ArrayInfo(("head", "width"), "k^r_t, the key of each read head, compared with the memory"),
        "read_strength": ArrayInfo(
            ("head", "one"), "beta^r_t > 1, the key strength: sharpness of the content weighting"
        ),
        "write_key": ArrayInfo(("write head", "width"), "k^w_t, the key of the write head, compared with the memory"),
        "write_strength": ArrayInfo(
            ("write head", "one"), "beta^w_t > 1, the key strength: sharpness of the content weighting"
        ),
        "erase": ArrayInfo(("write head", "width"), "e_t in (0, 1): 1 erases the content of the location"),
        "write_vector": ArrayInfo(("write head", "width"), "v_t, the vector that is written"),
        "free_gate": ArrayInfo(("head", "one"), "f_t in (0, 1): 1 frees the location that the head has read"),
        "allocation_gate": ArrayInfo(
            ("write head", "one"), "g^a_t in (0, 1): 1 writes to a free location, 0 by content"
        ),
        "write_gate": ArrayInfo(("write head", "one"), "g^w_t in (0, 1): 0 writes nothing"),
        "read_modes": ArrayInfo(("head", "mode"), "pi_t: backward, by content, forward; sums to 1", "weighting"),
        "allocation": ArrayInfo(
            ("write head", "location"),
            "a_t, the weighting of free locations, highest for the least used one",
            "weighting",
            AT_MOST_1,
        ),
    }

    state = State
    scan = "metacli.models.memory.fast.dnc:DNCScan"

    def __init__(self, config: DNC.Config):
        c = self.config = config
        r, w = c.read_heads, c.width
        self.reads_size = r * w
        # k^r; beta^r; k^w; beta^w; e; v; f; g^a; g^w; pi
        self.part_sizes = [r * w, r, w, 1, w, w, r, 1, 1, MODES * r]
        self.interface_size = sum(self.part_sizes)

    def initial_state(self, batch: int, like: Tensor) -> State:
        """Returns the state before the first item: memory 1e-6, all locations free, no reads or writes."""
        c = self.config
        zero = like.new_zeros(batch, c.locations)
        return State(
            memory=like.new_full((batch, c.locations, c.width), INITIAL_MEMORY),
            reads=like.new_zeros(batch, c.read_heads, c.width),
            read_weights=like.new_zeros(batch, c.read_heads, c.locations),
            write_weights=zero.unsqueeze(1),
            usage=zero,
            precedence=zero,
            links=like.new_zeros(batch, c.locations, c.locations),
        )

    def step(self, interface: Tensor, state: State) -> tuple[State, InterfaceParameters]:
        """Frees, allocates, writes, links and reads; see `Access.step`."""
        p = self.parse_interface(interface)
        retention = allocation.retention_vector(p.free_gate, state.read_weights)
        usage = allocation.update_usage(state.usage, state.write_weights.squeeze(1), retention)
        free_locations = allocation.allocation_weighting(usage)
        similarity = addressing.cosine_similarity(p.write_key, state.memory)
        content = addressing.content_weighting(similarity, p.write_strength).squeeze(1)
        write_vector_weights = allocation.write_weighting(
            free_locations, content, p.allocation_gate.squeeze(1), p.write_gate.squeeze(1)
        )

        write_weights = write_vector_weights.unsqueeze(1)
        memory = addressing.erase(state.memory, write_weights, p.erase)
        memory = addressing.add(memory, write_weights, p.write_vector)
        links = linkage.link_matrix(state.links, write_vector_weights, state.precedence)
        precedence = linkage.precedence_weighting(state.precedence, write_vector_weights)

        similarity = addressing.cosine_similarity(p.read_key, memory)
        read_weights = linkage.read_weighting(
            linkage.backward_weighting(links, state.read_weights),
            addressing.content_weighting(similarity, p.read_strength),
            linkage.forward_weighting(links, state.read_weights),
            p.read_modes,
        )
        reads = addressing.read(memory, read_weights)
        parameters = p._replace(allocation=free_locations.unsqueeze(1))
        return State(memory, reads, read_weights, write_weights, usage, precedence, links), parameters

    def parse_interface(self, interface: Tensor) -> InterfaceParameters:
        """Splits the interface (B, I) into parameters and maps them to their ranges; `allocation` is left empty."""
        r = self.config.read_heads
        k_r, b_r, k_w, b_w, e, v, f, g_a, g_w, pi = interface.split(self.part_sizes, -1)
        return InterfaceParameters(
            read_key=k_r.unflatten(-1, (r, -1)),  # k^(r,i)_t
            read_strength=1 + F.softplus(b_r).unsqueeze(-1),  # beta^(r,i)_t
            write_key=k_w.unsqueeze(1),  # k^w_t
            write_strength=1 + F.softplus(b_w).unsqueeze(-1),  # beta^w_t
            erase=torch.sigmoid(e).unsqueeze(1),  # e_t
            write_vector=v.unsqueeze(1),  # v_t
            free_gate=torch.sigmoid(f).unsqueeze(-1),  # f^i_t
            allocation_gate=torch.sigmoid(g_a).unsqueeze(-1),  # g^a_t
            write_gate=torch.sigmoid(g_w).unsqueeze(-1),  # g^w_t
            read_modes=torch.softmax(pi.unflatten(-1, (r, MODES)), -1),  # pi^i_t
            allocation=interface[:, :0],
        )

    def retention(self, arrays: dict[str, Tensor]) -> tuple[Tensor, str]:
        """See `Access.retention`."""
        retained = addressing.retained_share(arrays["write_weights"], arrays["erase"])
        return retained, "share of a location's content that remains after the step's erasing, mean over the width"

    def init_interface(self, interface: nn.Linear) -> None:
        """See `Access.init_interface`: unchanged here; for `init: content` see `DNC`."""


class DNC(MemoryNetwork):
    """Differentiable Neural Computer (Graves et al. 2016, Nature 538).

    Choices that the paper leaves open, or that differ from public code:

    - The memory starts at the constant 1e-6.
    - Usage is differentiable, except through the order of the free list. google-deepmind/dnc stops the gradient at the
      write weights.
    - Usages that are equal to 1e-4 are ordered by location number.
    - Usages are at least 1e-6 in the products of the allocation weighting, as in google-deepmind/dnc.
    - The output layer reads the controller's output and the reads side by side, which equals the paper's sum of two
      matrix products.
    """

    Access = DNCAccess
    tiny: ClassVar[dict[str, Any]] = {"hidden": 12, "locations": 12, "width": 5, "read_heads": 2}

    class Config(MemoryConfig):
        """Keys of a DNC with one write head, as in the paper, beside those of every memory network."""

        name: Literal["dnc"] = Field("dnc", description="Registered name of the model.")
        locations: int = Field(64, ge=1, le=65536, description="L, number of memory locations.")
        read_heads: int = Field(1, ge=1, le=32, description="R, number of read heads.")
        init: Literal["random", "content", "previous-label"] = Field(
            "random",
            description=(
                "Initial weights. `random`: random weights, as in the paper. `content`: each step is written to a free "
                "location, and the read heads address by content. `previous-label`: for streams, where a label comes "
                "one step after its item. An item is written one step late, together with its label, and the key of "
                "the read heads is the current item. This needs a `controller` of one LSTM layer."
            ),
        )

        @model_validator(mode="after")
        def _check_init(self) -> DNC.Config:
            if self.init == "previous-label" and (self.controller != "lstm" or self.layers > 1):
                raise ValueError(
                    "init: previous-label needs a controller of one LSTM layer: set controller to lstm and layers to "
                    "1, or init to content or random"
                )
            return self

    def __init__(self, config: Config, spec: Spec):
        super().__init__(config, spec)
        initialise = {
            "content": head_init.init_dnc_by_content,
            "previous-label": head_init.init_dnc_beside_previous_label,
        }.get(config.init)
        if initialise:
            with torch.no_grad():
                initialise(self)
