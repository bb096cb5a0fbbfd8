"""A causal Transformer that learns in context: D_train is a prompt of labelled items, its keys and values are phi."""

from __future__ import annotations

from functools import partial
from typing import Any, ClassVar, Literal, NamedTuple

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn import functional as F

from metacli.config.base import BaseConfig
from metacli.episode import Episode, Spec
from metacli.models.base import MetaLearner
from metacli.models.encoder import EncoderConfig
from metacli.models.layers.attention import attention, last_real, rotated, smeared
from metacli.models.layers.causal import causal_mask
from metacli.models.layers.dropout import Dropout
from metacli.models.matching import transformer_by_content
from metacli.models.trace import ArrayInfo, Trace, Traced

ROTARY_BASE = 10_000.0  # of the wavelengths, as in Vaswani et al. 2017 and Su et al. 2021


class Phi(NamedTuple):
    """The Transformer's phi: its cached keys and values of D_train.

    Attributes:
        keys: (B, layers, heads, S, D), turned by their positions where these count.
        values: (B, layers, heads, S, D).
        padding_mask: (B, S) bool, True where an item is real.
        last: (B, layers, heads, D) the key of the last real item, neither smeared nor turned; zero without one.
    """

    keys: Tensor
    values: Tensor
    padding_mask: Tensor
    last: Tensor


class Block(nn.Module):
    """One layer: attention, then a small network on each item by itself, both added to what comes in (pre-norm).

    Args:
        width: of an item.
        heads: of the attention, each `width / heads` wide.
        dropout: share of the attention weights and of both results that is dropped in training.
        smear: whether a key is mixed with that of the item before.
    """

    def __init__(self, width: int, heads: int, dropout: float, smear: bool = False):
        super().__init__()
        self.heads = heads
        self.before_attention, self.before_network = nn.LayerNorm(width), nn.LayerNorm(width)
        self.project = nn.Linear(width, 3 * width)  # to queries, keys and values
        self.merge = nn.Linear(width, width)
        self.network = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))
        self.drop = Dropout(dropout)
        self.smear = nn.Parameter(torch.zeros(heads, 1, 1)) if smear else None  # alpha of each head

    def project_heads(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values (B, heads, T, D) of items x (B, T, width)."""
        parts = self.project(self.before_attention(x)).unflatten(2, (3, self.heads, -1))
        query, key, value = parts.permute(2, 0, 3, 1, 4)
        return query, key, value

    def forward(self, x: Tensor, query: Tensor, keys: Tensor, values: Tensor, visible: Tensor) -> Tensor:
        """Items x (B, T, width) that follow S others to the next layer's.

        Args:
            x: (B, T, width).
            query: (B, heads, T, D) of x.
            keys: (B, heads, S + T, D) of the items before and of x.
            values: (B, heads, S + T, D) likewise.
            visible: (B, T, S + T) bool, which of them each item may look at: itself at least.
        """
        if self.training and self.drop.p:
            read = self.drop(attention(query, keys, visible)) @ values
        else:
            read = F.scaled_dot_product_attention(query, keys, values, attn_mask=visible.unsqueeze(1))
        x = x + self.drop(self.merge(read.transpose(1, 2).flatten(2)))
        return x + self.drop(self.network(self.before_network(x)))


class Transformer(MetaLearner):
    """A decoder-only Transformer (Vaswani et al. 2017) that is meta-trained to learn from its context.

    Items are [encoder(x), y], as every model reads them: y is an item's own label in D_train, zero for a question,
    and the label of the item before in a stream. Each item looks at those before it and at itself; what D_train left
    behind, keys and values, is phi, so that a question costs one item and not the whole sequence. Such in-context
    learners are studied as prior-data fitted networks (Mueller et al. 2022, arXiv 2112.10510) and as general-purpose
    in-context learners (Kirsch et al. 2022, arXiv 2212.04458).

    Queries and keys are turned by their positions (rotary embedding, Su et al. 2021, arXiv 2104.09864), so that
    attention knows how far back an item stands: sequence tasks need it. N-way K-shot does not, as the order of
    D_train means nothing there: `positions: none`.

    In a stream a label comes one item late, so that one layer must look at the item before, another at what came
    after the like of a question: the induction heads of Olsson et al. 2022 (arXiv 2209.11895), which form late or not
    at all. Their remedy is `smear_keys`: a key is mixed with that of the item before, by a share learnt for each head.
    """

    tiny: ClassVar[dict[str, Any]] = {"width": 8, "layers": 2, "heads": 2}

    class Config(BaseConfig):
        """Keys of a Transformer."""

        name: Literal["transformer"] = Field("transformer", description="Registered name of the model.")
        encoder: EncoderConfig = Field(EncoderConfig(), description="How inputs become features.")
        width: int = Field(
            128, ge=2, le=8192, description="Width of the representation between layers: an even number per head."
        )
        layers: int = Field(
            4, ge=1, le=64, description="Number of stacked layers, each with attention and a feed-forward network."
        )
        heads: int = Field(4, ge=1, le=64, description="Attention heads per layer. Must divide `width`.")
        dropout: float = Field(
            0.0,
            ge=0,
            lt=1,
            description="Share of the outputs of attention and feed-forward network dropped in training.",
        )
        positions: Literal["rotary", "none"] = Field(
            "rotary",
            description=(
                "`rotary`: rotary position encoding. `none`: the order of items matters only through the causal mask."
            ),
        )
        smear_keys: bool = Field(
            False, description="Mix each key with the key of the previous item. This helps to learn streams."
        )
        init: Literal["random", "content"] = Field(
            "random",
            description=(
                "Initial weights. `random`, or `content`: in the first layer, a query reads the labels of similar "
                "support examples (see `metacli.models.matching`). This helps to learn tasks with many ways."
            ),
        )

        @model_validator(mode="after")
        def _check_heads(self) -> Transformer.Config:
            if self.width % (2 * self.heads):
                raise ValueError(f"width {self.width} is no even number for each of {self.heads} heads")
            return self

    def __init__(self, config: Config, spec: Spec):
        super().__init__(config, spec)
        c = config
        self.embed = nn.Linear(self.input_size, c.width)
        self.blocks = nn.ModuleList(Block(c.width, c.heads, c.dropout, c.smear_keys) for _ in range(c.layers))
        self.norm = nn.LayerNorm(c.width)
        self.output = nn.Linear(c.width, spec.out_size)
        if c.init == "content":
            transformer_by_content(self.embed, self.blocks, self.output, spec.y_size)

    @classmethod
    def check_compatible(cls, config: Any, spec: Spec) -> str | None:
        """See `MetaLearner.check_compatible`; `init: content` keeps room for a label in every head."""
        if config.init == "content" and not 0 < spec.y_size < config.width // config.heads:
            room = config.width // config.heads - 1
            return (
                f"init: content needs labels of 1 to {room} numbers, width / heads - 1; these tasks have {spec.y_size}"
            )
        return super().check_compatible(config, spec)

    def adapt(self, x_train: Tensor, y_train: Tensor, mask: Tensor | None = None) -> Phi:
        """phi: the keys and values of D_train, read in order, in parallel over time; padding stands at the end."""
        phi = self._nothing(x_train.shape[0])
        if x_train.shape[1]:
            phi = self._run(phi, self.inputs(x_train, y_train), mask, parallel=False, asked=False)[1]
        return phi

    def predict(self, phi: Phi, x_test: Tensor, y_previous: Tensor | None = None) -> Tensor:
        """Logits (B, Q, O), each question from phi alone, or (stream, sequence) the items in order from phi."""
        return self._ask(phi, x_test, y_previous)

    def trace(self, episode: Episode) -> Trace:
        """The attention of every head, on the time axis of D_train and D_test; see `MetaLearner.trace`.

        Each head by itself, layer by layer: their mean would hide the one that finds the class again.
        """
        seen, count = episode.x_train.shape[1], episode.x_test.shape[1]
        phi = self.adapt(episode.x_train, episode.y_train, episode.mask_train)
        heads = self.config.layers * self.config.heads
        weights = phi.keys.new_zeros(len(episode), seen + count, heads, seen + count)
        if seen:
            learning: list[Tensor] = []
            nothing = self._nothing(len(episode))
            inputs = self.inputs(episode.x_train, episode.y_train)
            self._run(nothing, inputs, None, parallel=False, looked=learning)
            weights[:, :seen, :, :seen] = torch.cat(learning, 1).transpose(1, 2)
        asked: list[Tensor] = []
        logits = self._ask(phi, episode.x_test, episode.y_previous, asked)
        weights[:, seen:] = torch.cat(asked, 1).transpose(1, 2)
        text = "the weights of each head, layer by layer, over the steps before and the step itself, sum to 1"
        c = self.config
        names = tuple(f"layer{i}.head{j}" for i in range(c.layers) for j in range(c.heads))
        about = ArrayInfo(("head", "step"), text, "attention", names=names)
        return Trace(logits, {"attention": Traced(weights, about)})

    def _ask(self, phi: Phi, x_test: Tensor, y_previous: Tensor | None, looked: list[Tensor] | None = None) -> Tensor:
        parallel = self.spec.mode == "independent"
        return self.output(self.norm(self._run(phi, self.inputs(x_test, y_previous), None, parallel, looked=looked)[0]))

    def _run(
        self,
        phi: Phi,
        inputs: Tensor,
        mask: Tensor | None,
        parallel: bool,
        asked: bool = True,
        looked: list[Tensor] | None = None,
    ) -> tuple[Tensor, Phi]:
        """Items (B, T, input_size) that follow phi, one after the other, or (`parallel`) each as the only one.

        Of items that are not asked, others see no more than the keys and values of the last layer: it reads nothing.

        Args:
            mask: (B, T) bool, False at padding, which stands at the end; None: all are real.
            looked: where given, takes the attention of each layer, (B, heads, T, S + T).

        Returns:
            The last layer's items (B, T, width), before it where they were not asked, and the phi of these items alone.
        """
        visible = causal_mask(phi.padding_mask, inputs.shape[1], parallel)
        turn = None if self.config.positions == "none" else self._turn(phi.padding_mask, inputs, parallel)
        real = torch.ones_like(inputs[..., 0], dtype=torch.bool) if mask is None else mask
        x, keys, values, last = self.embed(inputs), [], [], []
        for layer, block in enumerate(self.blocks):
            assert isinstance(block, Block)
            query, key, value = block.project_heads(x)
            last.append(last_real(key, real))
            if block.smear is not None:
                key = smeared(block.smear, key, phi.last[:, layer], parallel)
            if turn is not None:
                query, key = rotated(query, turn), rotated(key, turn)
            keys.append(key)
            values.append(value)
            if block is self.blocks[-1] and not asked:
                break
            key, value = torch.cat([phi.keys[:, layer], key], 2), torch.cat([phi.values[:, layer], value], 2)
            x = block(x, query, key, value, visible)
            if looked is not None:
                looked.append(attention(query, key, visible))
        return x, Phi(torch.stack(keys, 1), torch.stack(values, 1), real, torch.stack(last, 1))

    def _turn(self, padding_mask: Tensor, inputs: Tensor, parallel: bool) -> Tensor:
        """(B, T, D / 2) complex: the rotation of items that follow the real ones of phi, by their positions."""
        half = self.config.width // self.config.heads // 2
        arange = partial(torch.arange, dtype=inputs.dtype, device=inputs.device)
        steps = arange(1 if parallel else inputs.shape[1])
        position = (padding_mask.sum(1, keepdim=True) + steps).expand(-1, inputs.shape[1])  # (B, T)
        rate = ROTARY_BASE ** (-arange(half) / half)
        angle = position[..., None] * rate
        return torch.polar(torch.ones_like(angle), angle)

    def _nothing(self, batch: int) -> Phi:
        """phi of an empty D_train."""
        c, like = self.config, self.output.weight
        empty = like.new_zeros(batch, c.layers, c.heads, 0, c.width // c.heads)
        last = like.new_zeros(batch, c.layers, c.heads, c.width // c.heads)
        return Phi(empty, empty, like.new_zeros(batch, 0, dtype=torch.bool), last)
