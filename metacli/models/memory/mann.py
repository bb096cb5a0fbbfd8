"""MANN: a memory that is read by content and written by least recently used access (Santoro et al. 2016)."""

from __future__ import annotations

import math
from typing import Any, ClassVar, Literal, NamedTuple

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from metacli.models.memory import addressing, head_init, lrua
from metacli.models.memory.core import INITIAL_MEMORY, Access, MemoryConfig, MemoryNetwork
from metacli.models.trace import ArrayInfo


class State(NamedTuple):
    """The memory and heads of a MANN after a step.

    Attributes:
        memory: (B, L, W).
        reads: (B, R, W) the most recent reads.
        read_weights: (B, R, L).
        write_weights: (B, R, L).
        usage: (B, L), at least 0; carries no gradient.
    """

    memory: Tensor
    reads: Tensor
    read_weights: Tensor
    write_weights: Tensor
    usage: Tensor


class InterfaceParameters(NamedTuple):
    """The parameters that the heads emit in a step.

    Attributes:
        key: (B, R, W) k_t.
        gate: (B, R, 1) sigma(alpha) in (0, 1): 1 writes to the location last read, 0 to the least used locations.
        strength: (B, R, 1) sharpness of the read, above 0.
        least_used: (B, R, L) w^lu, 1 at the least used locations of each head: one, or all R (`shared`).
        erased: (B, L) 1 at the locations that are set to zero before the write.
        write_vector: (B, R, W).
    """

    key: Tensor
    gate: Tensor
    strength: Tensor
    least_used: Tensor
    erased: Tensor
    write_vector: Tensor


class LRUA(Access):
    """Least recently used access, the memory access of MANN (Santoro et al. 2016, sections 3.1 and 3.2).

    In a step, the least used locations are erased, the heads write, then read; or they read first (`order`).
    """

    array_info: ClassVar[dict[str, ArrayInfo]] = {
        "memory": ArrayInfo(("location", "width"), "M_t, the memory after the step", "memory"),
        "reads": ArrayInfo(("head", "width"), "r_t, the vector that each head read"),
        "read_weights": ArrayInfo(("head", "location"), "w^r_t, sums to 1 over the locations", "read"),
        "write_weights": ArrayInfo(("head", "location"), "w^w_t, sums to 1 over the locations", "write"),
        "usage": ArrayInfo(("location",), "w^u_t >= 0, decaying sum of all reads and writes of a location", "usage"),
        "key": ArrayInfo(("head", "width"), "k_t, the key of each head, compared with the memory"),
        "gate": ArrayInfo(
            ("head", "one"), "sigma(alpha) in (0, 1): 1 writes to the location last read, 0 to the least used one"
        ),
        "strength": ArrayInfo(("head", "one"), "factor on the cosine inside the read's softmax; 1 in the paper"),
        "least_used": ArrayInfo(
            ("head", "location"), "w^lu_t, one-hot at the least used location of each head", "weighting"
        ),
        "erased": ArrayInfo(("location",), "1 where the content is set to zero before the write, else 0"),
        "write_vector": ArrayInfo(("head", "width"), "the vector that each head writes; the key in the paper"),
    }

    state = State
    scan = "metacli.models.memory.fast.lrua:LRUAScan"

    def __init__(self, config: MANN.Config):
        c = self.config = config
        self.reads_size = c.read_heads * c.width
        # per head: the key; alpha; the write vector; the strength
        self.part_sizes = [c.width, 1, c.width * (c.write_vector == "separate"), int(c.learn_strength)]
        self.interface_size = c.read_heads * sum(self.part_sizes)
        self.reads_first = c.order == "read-first"

    def describe_arrays(self) -> dict[str, ArrayInfo]:
        """See `Access.describe_arrays`: with shared least used locations, write weights sum to more than 1."""
        heads = self.config.read_heads
        if self.config.least_used == "own" or heads == 1:
            return self.array_info
        write_text = f"w^w_t, sums to 1 to {heads} over the locations, because heads share their least used locations"
        least_used_text = f"w^lu_t, 1 at the {heads} least used locations, equal for all heads"
        return self.array_info | {
            "write_weights": ArrayInfo(("head", "location"), write_text, "write", (1, heads)),
            "least_used": ArrayInfo(("head", "location"), least_used_text, "weighting", (heads, heads)),
        }

    def initial_state(self, batch: int, like: Tensor) -> State:
        """Returns the state before the first item: memory 1e-6, usage 0, head r at location r."""
        c = self.config
        one_hot = like.new_zeros(c.read_heads, c.locations).fill_diagonal_(1).expand(batch, -1, -1)
        return State(
            memory=like.new_full((batch, c.locations, c.width), INITIAL_MEMORY),
            reads=like.new_zeros(batch, c.read_heads, c.width),
            read_weights=one_hot,
            write_weights=one_hot,
            usage=like.new_zeros(batch, c.locations),
        )

    def step(self, interface: Tensor, state: State) -> tuple[State, InterfaceParameters]:
        """Erases, writes and reads, or reads, erases and writes; see `Access.step`."""
        p = self.parse_interface(interface, state.usage)
        write_weights = lrua.write_weighting(p.gate, state.read_weights, p.least_used)  # w^w_t, eq. 7
        memory = lrua.erase_locations(state.memory, p.erased)
        memory = addressing.add(memory, write_weights, p.write_vector)  # M_t, eq. 8
        read_memory = state.memory if self.reads_first else memory
        similarity = addressing.cosine_similarity(p.key, read_memory)  # K, eq. 2
        read_weights = addressing.content_weighting(similarity, p.strength)  # w^r_t, eq. 3
        reads = addressing.read(read_memory, read_weights)  # r_t, eq. 4
        usage = lrua.update_usage(state.usage, read_weights, write_weights, self.config.usage_decay)  # w^u_t, eq. 5
        return State(memory, reads, read_weights, write_weights, usage), p

    def parse_interface(self, interface: Tensor, usage: Tensor) -> InterfaceParameters:
        """Splits the interface (B, I) into parameters, and finds the least used locations from the usage (B, L)."""
        c = self.config
        key, alpha, vector, strength = interface.unflatten(1, (c.read_heads, -1)).split(self.part_sizes, 2)
        ranked = lrua.rank_least_used(usage, c.read_heads)  # (B, R, L), the least used location first
        return InterfaceParameters(
            key=key,  # k_t
            gate=torch.sigmoid(alpha),  # sigma(alpha)
            strength=nn.functional.softplus(strength) if c.learn_strength else torch.full_like(alpha, c.strength),
            least_used=lrua.share_least_used(ranked) if c.least_used == "shared" else ranked,  # w^lu_{t-1}, eq. 6
            erased=ranked.sum(1) if c.erase == "all" else ranked[:, 0],
            write_vector=vector if c.write_vector == "separate" else key,  # the k_t of eq. 8
        )

    def retention(self, arrays: dict[str, Tensor]) -> tuple[Tensor, str]:
        """See `Access.retention`."""
        return 1 - arrays["erased"], "1 where a location keeps its content in the step, 0 where it is erased"

    def init_interface(self, interface: nn.Linear) -> None:
        """See `Access.init_interface`: a learnt strength starts at `strength`; see also `MANN.Config.init`."""
        c = self.config
        if c.learn_strength:  # softplus of this is `strength`
            interface.bias.view(c.read_heads, -1)[:, -1] = c.strength + math.log(-math.expm1(-c.strength))
        if c.init == "content":
            head_init.init_lrua_pairs(interface, c, self.part_sizes)


class MANN(MemoryNetwork):
    """A controller with an external memory, read by content and written by least recently used access (LRUA).

    Choices that the paper leaves open, and where public code differs:

    - Order: a step writes first and then reads M_t, as the indices of the paper's equations imply. So a head can read
      the location that it has just written, and in a stream can write the label there one step later.
    - Locations: w^lu is 1 at all R least used locations, the same for every head, as in the paper's equation 6. With
      `least_used: own`, head r uses the (r + 1)-th least used location, so that R heads write R different ones.
    - Erasing: "the least used memory location" is set to zero before the write, as in the paper. `erase: all` sets all
      R of them to zero.
    - Write vector: a vector of its own, as in public code. The paper writes the key (equation 8), `write_vector: key`,
      which learns much more slowly from random weights (docs/ablation.md).
    - Initial state: the memory is 1e-6 and the usage 0. Head r has last read and written location r.
    """

    Access = LRUA

    tiny: ClassVar[dict[str, Any]] = {"hidden": 12, "locations": 40, "width": 5, "read_heads": 2}

    class Config(MemoryConfig):
        """Keys of MANN, beside those of every memory network.

        The number of locations and the separate write vector are not those of the paper. All other defaults are.
        """

        name: Literal["mann"] = Field("mann", description="Registered name of the model.")
        hidden: int = Field(200, ge=1, le=8192, description="H, units per controller layer.")
        width: int = Field(40, ge=1, le=4096, description="W, numbers per memory location.")
        read_heads: int = Field(
            4,
            ge=1,
            le=64,
            description="R, number of heads, each with one read and one write. At most `locations`. The paper uses 4.",
        )
        usage_decay: float = Field(
            0.99,
            ge=0,
            le=1,
            description="gamma, share of the usage kept from step to step. The paper uses 0.99, public code 0.95.",
        )
        strength: float = Field(
            1.0,
            gt=0,
            le=1000,
            description="Factor on the cosine similarity in the softmax of a read. The paper has none, which equals 1.",
        )
        learn_strength: bool = Field(
            False,
            description=(
                "Let the controller emit the strength at every step, starting near `strength`. The paper has no "
                "strength."
            ),
        )
        write_vector: Literal["key", "separate"] = Field(
            "separate",
            description=(
                "Vector that a head writes. `separate`: a vector that the controller emits for it. `key`: the key of "
                "its read, as in the paper, which learns much more slowly."
            ),
        )
        least_used: Literal["own", "shared"] = Field(
            "shared",
            description=(
                "Location of a new write (w^lu, equation 6). `shared`: every head writes to all R least used locations "
                "at once, as in the paper. A write weighting then sums to sigma(alpha) + R (1 - sigma(alpha)). `own`: "
                "head r writes to the (r + 1)-th least used location."
            ),
        )
        erase: Literal["all", "one"] = Field(
            "one",
            description=(
                "Locations set to zero before each write. `one`: the least used one, as in the paper. `all`: the R "
                "least used ones."
            ),
        )
        order: Literal["write-first", "read-first"] = Field(
            "write-first",
            description="`write-first` reads M_t, as in the paper. `read-first` reads M_{t-1}, then writes.",
        )
        init: Literal["random", "content"] = Field(
            "random",
            description=(
                "Initial weights of the heads. `random`: random weights, as in the paper. `content`: heads work in "
                "pairs that store a label with the item before it. The first head of a pair writes to a least used "
                "location, the second to the location that it last read. With `write_vector: separate`, the second "
                "reads the location that the first has just written and marks it as labelled, and the key of the first "
                "matches marked locations. Without the mark, a head would read the location of the query itself, which "
                "contains no label."
            ),
        )

        @model_validator(mode="after")
        def _check_locations(self) -> MANN.Config:
            if self.locations < self.read_heads:
                raise ValueError(
                    f"locations {self.locations} is below read_heads {self.read_heads}, but each head needs its own "
                    "location to write: raise locations or lower read_heads"
                )
            return self
