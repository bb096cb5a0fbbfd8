"""MANN: the memory-augmented neural network of Santoro et al. 2016 (arXiv 1605.06065)."""

from __future__ import annotations

import math
from typing import ClassVar, Literal, NamedTuple

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from metacli.episode import Episode, Spec
from metacli.models import addressing, lrua
from metacli.models.base import Recurrent, Step
from metacli.models.controller import DESCRIBED, Controller, ControllerKind, ControllerState
from metacli.models.encoder import EncoderConfig
from metacli.models.tracing import About, Trace, Traced
from metacli.section import Section

_MARK = 0.11  # about the size of an entry of a key at the start
_LABEL_SHARE = 0.3  # of the usual size: a label adds to an item's row without drowning it


class State(NamedTuple):
    """phi of a MANN.

    Attributes:
        memory: (B, L, W).
        reads: (B, R, W) what each head read last.
        read_weights: (B, R, L).
        write_weights: (B, R, L).
        usage: (B, L), at least 0; carries no gradient.
        controller: the controller's own state.
    """

    memory: Tensor
    reads: Tensor
    read_weights: Tensor
    write_weights: Tensor
    usage: Tensor
    controller: ControllerState


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


class MANN(Recurrent):
    """A controller with an external memory, read by content and written by least recently used access (LRUA).

    Where the paper leaves a choice, and public code differs:

    - Order: a step writes first and then reads M_t, as the paper's equations have their indices. So a head finds the
      row that it has just written, and in a stream can write the label, one step later, to that same row.
    - Slots: head r owns the (r + 1)-th least used location, so that R heads write R different ones; elsewhere all
      heads write all R of them. All R are wiped before the write.
    - Written vector: the key, as in the paper; `write_vector: separate` is a deviation.
    - Start: memory 1e-6, usage 0, head r has last read and written location r.
    """

    described: ClassVar[dict[str, About]] = {
        "memory": About(("slot", "width"), "M_t, the memory after the step", "memory"),
        "reads": About(("head", "width"), "r_t, what each head read"),
        "read_weights": About(("head", "slot"), "w^r_t, sums to 1 over the slots", "read"),
        "write_weights": About(("head", "slot"), "w^w_t, sums to 1 over the slots", "write"),
        "usage": About(("slot",), "w^u_t >= 0, decaying sum of all reads and writes of a slot", "usage"),
        **DESCRIBED,
        "key": About(("head", "width"), "k_t, what each head looks for"),
        "gate": About(("head", "one"), "sigma(alpha) in (0, 1): 1 writes where the head last read, 0 to a new slot"),
        "strength": About(("head", "one"), "factor on the cosine inside the read's softmax; 1 in the paper"),
        "least_used": About(("head", "slot"), "w^lu_t, one-hot: the slot that each head would write anew", "weighting"),
        "write_vector": About(("head", "width"), "what each head writes; the key in the paper"),
    }

    class Config(Section):
        """A `mann` section of a recipe; the paper's values are the defaults.

        Attributes:
            encoder: how an item becomes a feature vector; the paper: flat.
            controller: `lstm` (the paper's best) or `feedforward`.
            hidden: H, units of a controller layer; the paper: 200.
            layers: controller layers; the paper: 1.
            locations: L, rows of the memory; the paper: 128. At least `read_heads`.
            width: W, numbers in a row; the paper: 40.
            read_heads: R, heads, each with one read and one write; the paper: 4.
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
        encoder: EncoderConfig = EncoderConfig()
        controller: ControllerKind = "lstm"
        hidden: int = Field(200, ge=1, le=8192)
        layers: int = Field(1, ge=1, le=16)
        locations: int = Field(128, ge=1, le=65536)
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

    def __init__(self, config: Config, spec: Spec):
        super().__init__(config, spec)
        heads, width = config.read_heads, config.width
        self.controller = Controller(config.controller, self.input_size + heads * width, config.hidden, config.layers)
        self.sizes = [width, 1, width * (config.write_vector == "separate"), int(config.learn_strength)]
        self.heads = nn.Linear(config.hidden, heads * sum(self.sizes))  # one layer steers all heads
        if config.learn_strength:
            with torch.no_grad():  # softplus of this is `strength`
                start = config.strength + math.log(-math.expm1(-config.strength))
                self.heads.bias.view(heads, -1)[:, -1] = start
        self.output = nn.Linear(config.hidden + heads * width, spec.out_size)
        if config.start == "associative":
            self._associate()

    @torch.no_grad()
    def _associate(self) -> None:
        separate = self.config.write_vector == "separate"
        mark = _MARK * (-1.0) ** torch.arange(self.config.width)  # orthogonal to the constant that the memory starts at
        for parameter in self.heads.parameters():
            key, alpha, vector, _ = parameter.unflatten(0, (self.config.read_heads, -1)).split(self.sizes, 1)
            bias = parameter.dim() == 1
            if bias:
                alpha[::2], alpha[1::2] = -3, 3
            if separate:
                pairs = len(key[1::2])
                key[1::2] = key[::2][:pairs]
                vector[::2] = key[::2]
                vector[1::2] *= _LABEL_SHARE
            if separate and bias:
                key[::2][:pairs] += mark
                vector[1::2] += mark

    def initial_state(self, batch: int) -> State:
        """Memory at 1e-6, nothing used, head r on location r."""
        heads, locations, width = self.config.read_heads, self.config.locations, self.config.width
        like = self.heads.weight
        first = torch.eye(heads, locations, device=like.device, dtype=like.dtype).expand(batch, -1, -1)
        return State(
            memory=like.new_full((batch, locations, width), 1e-6),
            reads=like.new_zeros(batch, heads, width),
            read_weights=first,
            write_weights=first,
            usage=like.new_zeros(batch, locations),
            controller=self.controller.initial(batch),
        )

    def step(self, state: State, inputs: Tensor) -> Step:
        """The controller emits the heads; the memory is wiped, written, read, or read first (`order`).

        Args:
            inputs: (B, input_size).
        """
        seen = torch.cat([inputs, state.reads.flatten(1)], 1)
        hidden, controller = self.controller(seen, state.controller)  # (B, H)
        signals = self.emit(hidden, state.usage)

        write_weights = lrua.write_weights(signals.gate, state.read_weights, signals.least_used)
        memory = addressing.add(lrua.wipe(state.memory, signals.least_used), write_weights, signals.write_vector)
        looked_at = memory if self.config.order == "write-first" else state.memory
        similarity = addressing.cosine_similarity(signals.key, looked_at)
        read_weights = addressing.content_weighting(similarity, signals.strength)
        reads = addressing.read(looked_at, read_weights)
        usage = lrua.usage(state.usage, read_weights, write_weights, self.config.usage_decay)

        output = torch.cat([hidden, reads.flatten(1)], 1)
        return Step(output, State(memory, reads, read_weights, write_weights, usage, controller), signals)

    def trace(self, episode: Episode) -> Trace:
        """See `Recurrent.trace`; and which slots survive the wipe."""
        trace = super().trace(episode)
        kept = 1 - trace.arrays["least_used"].values.sum(2)  # (B, T, L)
        about = About(("slot",), "1 where a slot's content survives the step, 0 where it is wiped", "kept")
        arrays = {**trace.arrays, "kept": Traced(kept, about)}
        return Trace(trace.logits, arrays, reads_first=self.config.order == "read-first")

    def emit(self, hidden: Tensor, usage: Tensor) -> Signals:
        """The heads' parameters from the controller's output (B, H) and the usage (B, L) so far."""
        c = self.config
        key, alpha, vector, raw = self.heads(hidden).unflatten(1, (c.read_heads, -1)).split(self.sizes, 2)
        return Signals(
            key=key,
            gate=torch.sigmoid(alpha),
            strength=nn.functional.softplus(raw) if c.learn_strength else torch.full_like(alpha, c.strength),
            least_used=lrua.least_used(usage, c.read_heads),
            write_vector=vector if c.write_vector == "separate" else key,
        )
