"""A causal Transformer that learns in context: D_train is the context, and its keys and values are phi."""

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
from metacli.models.layers.attention import attention_weights, causal_mask, rotate, select_last_key, smear_keys
from metacli.models.layers.dropout import Dropout
from metacli.models.matching_init import init_transformer_by_content
from metacli.models.trace import ArrayInfo, Trace, Traced

ROTARY_BASE = 10_000.0  # base of the wavelengths, as in Vaswani et al. 2017 and Su et al. 2021


class Phi(NamedTuple):
    """The Transformer's phi: its cached keys and values of D_train.

    Attributes:
        keys: (B, layers, heads, S, D), rotated by their positions unless `positions` is none.
        values: (B, layers, heads, S, D).
        padding_mask: (B, S) bool, False at padding.
        last_key: (B, layers, heads, D) the key of the last item before smearing and rotation; zero without items.
    """

    keys: Tensor
    values: Tensor
    padding_mask: Tensor
    last_key: Tensor


class Block(nn.Module):
    """A pre-norm Transformer layer: attention and an MLP, each with a residual connection.

    Args:
        width: width of an item.
        heads: number of attention heads, each `width / heads` wide.
        dropout: dropout rate of the attention weights and of both results.
        smear: whether a key is mixed with the key of the previous item.
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
        """Returns queries, keys and values (B, heads, T, D) of items x (B, T, width)."""
        projected = self.project(self.before_attention(x)).unflatten(2, (3, self.heads, -1))
        query, key, value = projected.permute(2, 0, 3, 1, 4)
        return query, key, value

    def forward(self, x: Tensor, query: Tensor, keys: Tensor, values: Tensor, visible: Tensor) -> Tensor:
        """Computes the layer's output for items that follow S earlier items.

        Args:
            x: (B, T, width).
            query: (B, heads, T, D) of x.
            keys: (B, heads, S + T, D) of the earlier items and of x.
            values: (B, heads, S + T, D) of the earlier items and of x.
            visible: (B, T, S + T) bool, which items each item may attend to; at least itself.
        """
        if self.training and self.drop.p:
            read = self.drop(attention_weights(query, keys, visible)) @ values
        else:
            read = F.scaled_dot_product_attention(query, keys, values, attn_mask=visible.unsqueeze(1))
        x = x + self.drop(self.merge(read.transpose(1, 2).flatten(2)))
        return x + self.drop(self.network(self.before_network(x)))


class Transformer(MetaLearner):
    """A decoder-only Transformer (Vaswani et al. 2017) that is meta-trained to learn from its context.

    Items are [encoder(x), y], as in every model: y is an item's label in D_train, zero for a query, and the label of
    the previous item in a stream. Each item attends to earlier items and to itself. phi is the keys and values of
    D_train, so that a query costs one item and not the whole sequence. Such in-context learners are studied as
    prior-data fitted networks (Mueller et al. 2022, arXiv 2112.10510) and as general-purpose in-context learners
    (Kirsch et al. 2022, arXiv 2212.04458).

    Queries and keys are rotated by their positions (rotary embedding, Su et al. 2021, arXiv 2104.09864), so that
    attention depends on distance. Sequence tasks need this. N-way K-shot does not, as the order of D_train has no
    meaning there: `positions: none`.

    In a stream a label arrives one item late. One layer must attend to the previous item, and another to the item
    after the one that resembles the query. These are the induction heads of Olsson et al. 2022 (arXiv 2209.11895),
    which form late or not at all. Their remedy is `smear_keys`: a key is mixed with that of the previous item, by a
    learnt share per head.
    """

    tiny: ClassVar[dict[str, Any]] = {"width": 8, "layers": 2, "heads": 2}

    class Config(BaseConfig):
        """Keys of a Transformer."""

        name: Literal["transformer"] = Field("transformer", description="Registered name of the model.")
        encoder: EncoderConfig = Field(EncoderConfig(), description="How inputs become features.")
        width: int = Field(
            128,
            ge=2,
            le=8192,
            description="Width of the representation between layers. Must be a multiple of 2 * `heads`.",
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
            False, description="Mix each key with the key of the previous item. This speeds up learning on streams."
        )
        init: Literal["random", "content"] = Field(
            "random",
            description=(
                "Initial weights. `random`, or `content`: in the first layer, a query reads the labels of similar "
                "support examples (see `metacli.models.matching_init`). This speeds up learning with many ways."
            ),
        )

        @model_validator(mode="after")
        def _check_heads(self) -> Transformer.Config:
            if self.width % (2 * self.heads):
                raise ValueError(f"width {self.width} must be a multiple of 2 * heads, {2 * self.heads}")
            return self

    def __init__(self, config: Config, spec: Spec):
        super().__init__(config, spec)
        c = config
        self.embed = nn.Linear(self.input_size, c.width)
        self.blocks = nn.ModuleList(Block(c.width, c.heads, c.dropout, c.smear_keys) for _ in range(c.layers))
        self.norm = nn.LayerNorm(c.width)
        self.output = nn.Linear(c.width, spec.out_size)
        if c.init == "content":
            init_transformer_by_content(self.embed, self.blocks, self.output, spec)

    @classmethod
    def check_compatible(cls, config: Any, spec: Spec) -> str | None:
        """See `MetaLearner.check_compatible`; with `init: content` every head must hold a whole label."""
        if config.init == "content" and not 0 < spec.y_size <= config.width // config.heads:
            needed = f"labels of 1 to {config.width // config.heads} numbers (width / heads)"
            return f"init: content needs {needed}, but these tasks have {spec.y_size}"
        return super().check_compatible(config, spec)

    def adapt(self, x_train: Tensor, y_train: Tensor, mask: Tensor | None = None) -> Phi:
        """Returns phi, the keys and values of D_train, computed in parallel over time. Padding is at the end."""
        phi = self._empty_phi(x_train.shape[0])
        if x_train.shape[1]:
            phi = self._run_items(phi, self.encode_items(x_train, y_train), mask, parallel=False, needs_output=False)[1]
        return phi

    def predict(self, phi: Phi, x_test: Tensor, y_previous: Tensor | None = None) -> Tensor:
        """Returns logits (B, Q, O): each query from phi alone, or all queries in order (stream, sequence)."""
        return self.output(self.norm(self._run_queries(phi, x_test, y_previous)))

    def trace(self, episode: Episode) -> Trace:
        """Returns the attention of every head over D_train and D_test, and the items after the last layer as the state.

        Heads are kept separate, layer by layer: a mean would hide the head that retrieves the class.
        """
        support_size, query_count = episode.x_train.shape[1], episode.x_test.shape[1]
        phi = self.adapt(episode.x_train, episode.y_train, episode.mask_train)
        heads = self.config.layers * self.config.heads
        weights = phi.keys.new_zeros(len(episode), support_size + query_count, heads, support_size + query_count)
        items = []
        if support_size:
            support_attention: list[Tensor] = []
            empty = self._empty_phi(len(episode))
            inputs = self.encode_items(episode.x_train, episode.y_train)
            items.append(self._run_items(empty, inputs, None, parallel=False, attention_out=support_attention)[0])
            weights[:, :support_size, :, :support_size] = torch.cat(support_attention, 1).transpose(1, 2)
        query_attention: list[Tensor] = []
        items.append(self._run_queries(phi, episode.x_test, episode.y_previous, query_attention))
        weights[:, support_size:] = torch.cat(query_attention, 1).transpose(1, 2)
        text = "attention weights of each head, layer by layer, over earlier steps and the step itself; sum to 1"
        c = self.config
        names = tuple(f"layer{i}.head{j}" for i in range(c.layers) for j in range(c.heads))
        about = ArrayInfo(("head", "step"), text, "attention", names=names)
        logits = self.output(self.norm(items[-1]))
        return Trace(logits, {"attention": Traced(weights, about)}, state=torch.cat(items, 1))

    def _run_queries(
        self, phi: Phi, x_test: Tensor, y_previous: Tensor | None, attention_out: list[Tensor] | None = None
    ) -> Tensor:
        """Returns the queries (B, Q, width) after the last layer, before normalisation."""
        inputs, parallel = self.encode_items(x_test, y_previous), self.spec.mode == "independent"
        return self._run_items(phi, inputs, None, parallel, attention_out=attention_out)[0]

    def _run_items(
        self,
        phi: Phi,
        inputs: Tensor,
        mask: Tensor | None,
        parallel: bool,
        needs_output: bool = True,
        attention_out: list[Tensor] | None = None,
    ) -> tuple[Tensor, Phi]:
        """Computes items (B, T, input_size) that follow phi, in order, or each right after phi if `parallel`.

        Args:
            mask: (B, T) bool, False at padding, which is at the end. None: no padding.
            needs_output: without it, the last layer computes its keys and values only.
            attention_out: if given, the attention of each layer, (B, heads, T, S + T), is appended to it.

        Returns:
            The items (B, T, width) after the last layer, or before it without `needs_output`, and phi of these items
            alone.
        """
        visible = causal_mask(phi.padding_mask, inputs.shape[1], parallel)
        rotation = (
            None if self.config.positions == "none" else self._compute_rotation(phi.padding_mask, inputs, parallel)
        )
        mask_real = torch.ones_like(inputs[..., 0], dtype=torch.bool) if mask is None else mask
        x, keys, values, last_keys = self.embed(inputs), [], [], []
        for layer, block in enumerate(self.blocks):
            assert isinstance(block, Block)
            query, key, value = block.project_heads(x)
            last_keys.append(select_last_key(key, mask_real))
            if block.smear is not None:
                key = smear_keys(block.smear, key, phi.last_key[:, layer], parallel)
            if rotation is not None:
                query, key = rotate(query, rotation), rotate(key, rotation)
            keys.append(key)
            values.append(value)
            if block is self.blocks[-1] and not needs_output:
                break
            key, value = torch.cat([phi.keys[:, layer], key], 2), torch.cat([phi.values[:, layer], value], 2)
            x = block(x, query, key, value, visible)
            if attention_out is not None:
                attention_out.append(attention_weights(query, key, visible))
        return x, Phi(torch.stack(keys, 1), torch.stack(values, 1), mask_real, torch.stack(last_keys, 1))

    def _compute_rotation(self, padding_mask: Tensor, inputs: Tensor, parallel: bool) -> Tensor:
        """Returns (B, T, D / 2) complex, the rotation of items by their positions after the real items of phi."""
        pairs = self.config.width // self.config.heads // 2
        arange = partial(torch.arange, dtype=inputs.dtype, device=inputs.device)
        steps = arange(1 if parallel else inputs.shape[1])
        position = (padding_mask.sum(1, keepdim=True) + steps).expand(-1, inputs.shape[1])  # (B, T)
        frequency = ROTARY_BASE ** (-arange(pairs) / pairs)
        angle = position[..., None] * frequency
        return torch.polar(torch.ones_like(angle), angle)

    def _empty_phi(self, batch: int) -> Phi:
        """Returns phi of an empty D_train."""
        c, like = self.config, self.output.weight
        empty = like.new_zeros(batch, c.layers, c.heads, 0, c.width // c.heads)
        last = like.new_zeros(batch, c.layers, c.heads, c.width // c.heads)
        return Phi(empty, empty, like.new_zeros(batch, 0, dtype=torch.bool), last)
