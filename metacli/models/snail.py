"""SNAIL: temporal convolutions that aggregate past items, and causal attention that retrieves them."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal, NamedTuple

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from metacli.config.base import BaseConfig
from metacli.episode import Episode, Spec
from metacli.errors import UsageError
from metacli.models.base import MetaLearner
from metacli.models.encoder import EncoderConfig
from metacli.models.layers.attention import causal_mask
from metacli.models.layers.snail_blocks import AttentionBlock, TCBlock, count_dense_blocks
from metacli.models.matching_init import init_snail_by_content
from metacli.models.trace import ArrayInfo, Trace, Traced

Width = Annotated[int, Field(ge=1, le=4096)]


class Phi(NamedTuple):
    """SNAIL's phi: its cached activations of D_train. Padding, if any, comes before the real items.

    Attributes:
        items: (B, S, D) the features of every item before the last block. As blocks append to their input, these
            contain the inputs of every dilated convolution.
        keys: (B, S, sum of `keys`) the keys of all attention blocks, side by side.
        values: (B, S, sum of `values`) their values.
        padding_mask: (B, S) bool, False at padding.
    """

    items: Tensor
    keys: Tensor
    values: Tensor
    padding_mask: Tensor


class ItemActivations(NamedTuple):
    """The activations of T items.

    Attributes:
        items: (B, T, D) after the last block, or before it if no output was needed.
        keys: as in `Phi`.
        values: as in `Phi`.
        weights: (B, T, S + T) attention weights of each block that was evaluated.
    """

    items: Tensor
    keys: Tensor
    values: Tensor
    weights: list[Tensor]


class SNAIL(MetaLearner):
    """The simple neural attentive meta-learner of Mishra et al. 2018 (section 3, appendix A).

    Attention blocks alternate with TC blocks, then a linear layer follows. Items are [encoder(x), y]: y is the item's
    label in D_train, zero for a query, and the label of the previous item in a stream. D_train is read once, all items
    at the same time. Every query then continues from it. This equals the paper's computation, which reads the sequence
    [D_train, query] once for each query. In a sequence task the answer phase continues D_train in order.

    The dilations of a TC block are 1, 2, 4, ... and in the paper's pseudo-code 2, 4, 8, ...; see `TCBlock`.
    """

    tiny: ClassVar[dict[str, Any]] = {"filters": 6, "keys": [5, 6, 7], "values": [4, 5, 6]}

    class Config(BaseConfig):
        """Keys of SNAIL. The defaults are the paper's network for Omniglot."""

        name: Literal["snail"] = Field("snail", description="Registered name of the model.")
        encoder: EncoderConfig = Field(
            EncoderConfig(kind="conv", channels=64, size=64), description="How inputs become features."
        )
        filters: int = Field(128, ge=1, le=4096, description="D, features that each dense block appends.")
        keys: list[Width] = Field(
            [64, 256, 512],
            min_length=1,
            max_length=16,
            description="Key width of each attention block. There is a TC block between two attention blocks.",
        )
        values: list[Width] = Field(
            [32, 128, 256],
            min_length=1,
            max_length=16,
            description="Value width of each attention block.",
        )
        first_dilation: Literal[1, 2] = Field(
            1,
            description=(
                "Dilation of the first dense block in a TC block. With 1, convolutions reach every earlier item. "
                "With 2, as in the paper's pseudo-code, they reach every other one."
            ),
        )
        init: Literal["random", "content"] = Field(
            "random",
            description=(
                "Initial weights. `random`, or `content`, which is not in the paper: in the first attention block, a "
                "query reads the labels of similar support examples (see `metacli.models.matching_init`)."
            ),
        )

        @model_validator(mode="after")
        def _check_lengths(self) -> SNAIL.Config:
            if len(self.keys) != len(self.values):
                raise ValueError(
                    f"keys has {len(self.keys)} numbers, values has {len(self.values)}: use one per attention block"
                )
            return self

    def __init__(self, config: Config, spec: Spec):
        super().__init__(config, spec)
        self.max_steps = 2 ** count_dense_blocks(spec.length)
        self.attentions = nn.ModuleList()
        self.convolutions = nn.ModuleList()  # number i comes before attention block i + 1
        width = self.input_size
        for i, (keys, values) in enumerate(zip(config.keys, config.values, strict=True)):
            if i:
                block = TCBlock(width, config.filters, spec.length, config.first_dilation)
                self.convolutions.append(block)
                width = block.width
            self.attentions.append(AttentionBlock(width, keys, values))
            width += values
        self.output = nn.Linear(width, spec.out_size)
        if config.init == "content":
            init_snail_by_content(self.attentions[0], self.output, spec.y_size)

    @classmethod
    def check_compatible(cls, config: Any, spec: Spec) -> str | None:
        """See `MetaLearner.check_compatible`; with `init: content` a value must hold a whole label."""
        if config.init == "content" and not (spec.mode == "independent" and 0 < spec.y_size <= config.values[0]):
            return (
                f"init: content needs the mode independent and labels of 1 to {config.values[0]} numbers (values[0]), "
                f"but these tasks have the mode {spec.mode} and labels of {spec.y_size}"
            )
        return super().check_compatible(config, spec)

    def adapt(self, x_train: Tensor, y_train: Tensor, mask: Tensor | None = None) -> Phi:
        """Returns phi, the activations of D_train, computed in parallel over time.

        Raises:
            UsageError: D_train is longer than the convolutions can reach.
        """
        empty = self._empty_phi(x_train.shape[0])
        if x_train.shape[1] == 0:
            return empty
        inputs = self.encode_items(x_train, y_train)
        items, keys, values, _ = self._run_items(empty, inputs, parallel=False, needs_output=False)
        if mask is None:
            return Phi(items, keys, values, torch.ones_like(items[..., 0], dtype=torch.bool))
        return _move_padding_first(Phi(items, keys, values, mask))

    def predict(self, phi: Phi, x_test: Tensor, y_previous: Tensor | None = None) -> Tensor:
        """Returns logits (B, Q, O): each query from its own copy of phi, or all queries in order.

        Raises:
            UsageError: D_train and a query (or all queries in order) are longer than the convolutions can reach.
        """
        return self.output(self._run_queries(phi, x_test, y_previous).items)

    def trace(self, episode: Episode) -> Trace:
        """Returns the weights of every attention block over D_train and D_test, and the items after the last block."""
        batch, support_size = episode.x_train.shape[:2]
        query_count = episode.x_test.shape[1]
        phi = self.adapt(episode.x_train, episode.y_train, episode.mask_train)
        queries = self._run_queries(phi, episode.x_test, episode.y_previous)
        support = self._run_items(
            self._empty_phi(batch), self.encode_items(episode.x_train, episode.y_train), parallel=False
        )
        blocks, steps = len(self.attentions), support_size + query_count
        weights = phi.items.new_zeros(batch, steps, blocks, steps)
        weights[:, :support_size, :, :support_size] = torch.stack(support.weights, 2)
        weights[:, support_size:] = torch.stack(queries.weights, 2)
        if episode.mask_train is not None:  # padding comes first in phi, and last in the episode
            order = _padding_first_order(episode.mask_train)[:, None, None].expand(-1, query_count, blocks, -1)
            on_support = weights[:, support_size:, :, :support_size]
            weights[:, support_size:, :, :support_size] = on_support.clone().scatter(-1, order, on_support)
        text = "attention weights of each block over earlier steps and the step itself; sum to 1"
        about = ArrayInfo(("block", "step"), text, "attention")
        state = torch.cat([support.items, queries.items], 1)
        return Trace(self.output(queries.items), {"attention": Traced(weights, about)}, state=state)

    def _run_queries(self, phi: Phi, x_test: Tensor, y_previous: Tensor | None) -> ItemActivations:
        return self._run_items(phi, self.encode_items(x_test, y_previous), parallel=self.spec.mode == "independent")

    def _run_items(self, phi: Phi, x: Tensor, parallel: bool, needs_output: bool = True) -> ItemActivations:
        """Computes items x (B, T, D) that follow phi, in order, or each directly after phi if `parallel`.

        Without `needs_output` the last block computes its keys and values only.
        """
        steps = phi.items.shape[1] + (1 if parallel else x.shape[1])
        if steps > self.max_steps:
            raise UsageError(
                f"a sequence of {steps} items is longer than the {self.max_steps} items that this SNAIL can reach",
                f"use fewer ways or shots or a shorter sequence, or train on tasks of {steps} items or more",
            )
        visible = causal_mask(phi.padding_mask, x.shape[1], parallel)
        old_keys = phi.keys.split(self.config.keys, -1)
        old_values = phi.values.split(self.config.values, -1)
        keys, values, weights = [], [], []
        for i, attention in enumerate(self.attentions):
            if i:
                x = self.convolutions[i - 1](x, phi.items, parallel)
            assert isinstance(attention, AttentionBlock)
            if attention is self.attentions[-1] and not needs_output:
                keys.append(attention.key(x))
                values.append(attention.value(x))
                break
            x, new_keys, new_values, new_weights = attention(x, old_keys[i], old_values[i], visible)
            keys.append(new_keys)
            values.append(new_values)
            weights.append(new_weights)
        return ItemActivations(x, torch.cat(keys, -1), torch.cat(values, -1), weights)

    def _empty_phi(self, batch: int) -> Phi:
        """Returns phi of an empty D_train."""
        like = self.output.weight
        before_last = self.output.in_features - self.config.values[-1]
        widths = before_last, sum(self.config.keys), sum(self.config.values)
        items, keys, values = (like.new_zeros(batch, 0, width) for width in widths)
        return Phi(items, keys, values, like.new_zeros(batch, 0, dtype=torch.bool))


def _move_padding_first(phi: Phi) -> Phi:
    """Moves each task's padding from the end to the front of phi, as zeros, like the time before the first item."""
    order = _padding_first_order(phi.padding_mask)
    padding_mask = phi.padding_mask.gather(1, order)
    items, keys, values = (
        a.gather(1, order[..., None].expand_as(a)).where(padding_mask[..., None], 0)
        for a in (phi.items, phi.keys, phi.values)
    )
    return Phi(items, keys, values, padding_mask)


def _padding_first_order(padding_mask: Tensor) -> Tensor:
    """Returns (B, S) the source index of each item when the padding moves from the end to the front."""
    count = padding_mask.shape[1]
    return (torch.arange(count, device=padding_mask.device) + padding_mask.sum(1, keepdim=True)) % count
