"""MANN: a memory read by content and written by least recently used access (Santoro et al. 2016)."""

from __future__ import annotations

import math
from typing import ClassVar, Literal, NamedTuple

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from metacli.models.memory import addressing, init, lrua
from metacli.models.memory.core import MEMORY_START, Access, MemoryConfig, MemoryNetwork
from metacli.models.trace import About


class State(NamedTuple):
    """The memory and heads of a MANN after a step.

    Attributes:
        memory: (B, L, W).
        reads: (B, R, W) what each head read last.
        read_weights: (B, R, L).
        write_weights: (B, R, L).
        usage: (B, L), at least 0; carries no gradient.
    """

    memory: Tensor
    reads: Tensor
    read_weights: Tensor
    write_weights: Tensor
    usage: Tensor


class Signals(NamedTuple):
    """What the heads emitted at one step.

    Attributes:
        key: (B, R, W) k_t.
        gate: (B, R, 1) sigma(alpha) in (0, 1): 1 writes where the head last read, 0 to its least used location.
        strength: (B, R, 1) sharpness of the read, over 0.
        least_used: (B, R, L) one-hot, the location that each head would write anew.
        write_vector: (B, R, W).
    """

    key: Tensor
    gate: Tensor
    strength: Tensor
    least_used: Tensor
    write_vector: Tensor


class LRUA(Access):
    """Least recently used access, the memory access of MANN (Santoro et al. 2016, sections 3.1 and 3.2).

    A step: the least used locations are wiped, the heads write, then read what is there, or read first (`order`).
    """

    described: ClassVar[dict[str, About]] = {
        "memory": About(("slot", "width"), "M_t, the memory after the step", "memory"),
        "reads": About(("head", "width"), "r_t, what each head read"),
        "read_weights": About(("head", "slot"), "w^r_t, sums to 1 over the slots", "read"),
        "write_weights": About(("head", "slot"), "w^w_t, sums to 1 over the slots", "write"),
        "usage": About(("slot",), "w^u_t >= 0, decaying sum of all reads and writes of a slot", "usage"),
        "key": About(("head", "width"), "k_t, what each head looks for"),
        "gate": About(("head", "one"), "sigma(alpha) in (0, 1): 1 writes where the head last read, 0 to a new slot"),
        "strength": About(("head", "one"), "factor on the cosine inside the read's softmax; 1 in the paper"),
        "least_used": About(("head", "slot"), "w^lu_t, one-hot: the slot that each head would write anew", "weighting"),
        "write_vector": About(("head", "width"), "what each head writes; the key in the paper"),
    }

    state = State
    scan = "metacli.models.memory.fast.lrua:LRUAScan"

    def __init__(self, config: MANN.Config):
        c = self.config = config
        self.reads_size = c.read_heads * c.width
        # of each head: the key; alpha; the vector to write; the strength
        self.sizes = [c.width, 1, c.width * (c.write_vector == "separate"), int(c.learn_strength)]
        self.interface_size = c.read_heads * sum(self.sizes)
        self.reads_first = c.order == "read-first"

    def initial_state(self, batch: int, like: Tensor) -> State:
        """Memory at 1e-6, nothing used, head r on location r."""
        c = self.config
        first = torch.eye(c.read_heads, c.locations, device=like.device, dtype=like.dtype).expand(batch, -1, -1)
        return State(
            memory=like.new_full((batch, c.locations, c.width), MEMORY_START),
            reads=like.new_zeros(batch, c.read_heads, c.width),
            read_weights=first,
            write_weights=first,
            usage=like.new_zeros(batch, c.locations),
        )

    def step(self, interface: Tensor, state: State) -> tuple[State, Signals]:
        """Wipe, write and read, or read, wipe and write; see `Access.step`."""
        signals = self.emit(interface, state.usage)
        write_weights = lrua.write_weights(signals.gate, state.read_weights, signals.least_used)
        memory = addressing.add(lrua.wipe(state.memory, signals.least_used), write_weights, signals.write_vector)
        looked_at = state.memory if self.reads_first else memory
        similarity = addressing.cosine_similarity(signals.key, looked_at)
        read_weights = addressing.content_weighting(similarity, signals.strength)
        reads = addressing.read(looked_at, read_weights)
        usage = lrua.usage(state.usage, read_weights, write_weights, self.config.usage_decay)
        return State(memory, reads, read_weights, write_weights, usage), signals

    def emit(self, interface: Tensor, usage: Tensor) -> Signals:
        """The numbers that the interface (B, I) stands for, and the slots that the usage (B, L) so far lets it take."""
        c = self.config
        key, alpha, vector, raw = interface.unflatten(1, (c.read_heads, -1)).split(self.sizes, 2)
        return Signals(
            key=key,
            gate=torch.sigmoid(alpha),
            strength=nn.functional.softplus(raw) if c.learn_strength else torch.full_like(alpha, c.strength),
            least_used=lrua.least_used(usage, c.read_heads),
            write_vector=vector if c.write_vector == "separate" else key,
        )

    def kept(self, arrays: dict[str, Tensor]) -> tuple[Tensor, str]:
        """See `Access.kept`."""
        return 1 - arrays["least_used"].sum(2), "1 where a slot's content survives the step, 0 where it is wiped"

    def start(self, interface: nn.Linear) -> None:
        """See `Access.start`: a learnt strength begins at `strength`; see also `MANN.Config.start`."""
        c = self.config
        if c.learn_strength:  # softplus of this is `strength`
            interface.bias.view(c.read_heads, -1)[:, -1] = c.strength + math.log(-math.expm1(-c.strength))
        if c.start == "associative":
            init.lrua_in_pairs(interface, self)


class MANN(MemoryNetwork):
    """A controller with an external memory, read by content and written by least recently used access (LRUA).

    Where the paper leaves a choice, and public code differs:

    - Order: a step writes first and then reads M_t, as the paper's equations have their indices. So a head finds the
      row that it has just written, and in a stream can write the label, one step later, to that same row.
    - Slots: head r owns the (r + 1)-th least used location, so that R heads write R different ones; elsewhere all
      heads write all R of them. All R are wiped before the write.
    - Written vector: the key, as in the paper; `write_vector: separate` is a deviation.
    - Start: memory 1e-6, usage 0, head r has last read and written location r.
    """

    Access = LRUA

    class Config(MemoryConfig):
        """Keys of MANN, beside those of every memory network; the paper's values are the defaults.

        Attributes:
            read_heads: R, heads, each with one read and one write, at most `locations`; the paper: 4.
            usage_decay: gamma, share of the usage kept from one step to the next; the paper: 0.99, public code 0.95.
            strength: factor on the cosine inside the read's softmax; the paper has none, which is 1.
            learn_strength: emit the strength at every step instead, softplus, starting near `strength`; a
                deviation: the paper has no strength.
            write_vector: `key` writes the read's key, the paper; `separate` emits a vector of its own to write.
            order: `write-first` reads M_t, the paper; `read-first` reads M_{t-1}, then writes.
            start: how heads behave before any training. `neutral`: as small random numbers have it, the paper.
                `associative`: heads go in pairs, so that a label joins the item before it. The first of a pair
                writes to a least used location, the second where it last read. With a separate written vector, the
                second looks for the row that the first has just written and marks it as labelled, and the first
                looks for rows so marked: without the mark a head finds the question's own row, which knows no label.
        """

        name: Literal["mann"] = "mann"
        hidden: int = Field(200, ge=1, le=8192)
        width: int = Field(40, ge=1, le=4096)
        read_heads: int = Field(4, ge=1, le=64)
        usage_decay: float = Field(0.99, ge=0, le=1)
        strength: float = Field(1.0, gt=0, le=1000)
        learn_strength: bool = False
        write_vector: Literal["key", "separate"] = "key"
        order: Literal["write-first", "read-first"] = "write-first"
        start: Literal["neutral", "associative"] = "neutral"

        @model_validator(mode="after")
        def _a_slot_for_each_head(self) -> MANN.Config:
            if self.locations < self.read_heads:
                raise ValueError(
                    f"locations is {self.locations}, fewer than the {self.read_heads} read_heads: each head needs a "
                    "location of its own to write, so raise locations or lower read_heads"
                )
            return self
