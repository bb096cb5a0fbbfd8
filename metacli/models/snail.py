"""SNAIL: temporal convolutions to gather what was seen, causal attention to find it again."""

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
from metacli.models.layers.causal import AttentionBlock, TCBlock, causal_mask, dense_blocks
from metacli.models.matching import snail_by_content
from metacli.models.trace import ArrayInfo, Trace, Traced

Width = Annotated[int, Field(ge=1, le=4096)]


class Phi(NamedTuple):
    """SNAIL's phi: its cached activations of D_train. Padding, if any, stands in front of the real items.

    Attributes:
        items: (B, S, D) the features of every item before the last block. As blocks append to their input, the first
            columns are the inputs of every dilated convolution, whose tails a query continues.
        keys: (B, S, sum of `keys`) the keys of all attention blocks, side by side.
        values: (B, S, sum of `values`) their values.
        padding_mask: (B, S) bool, False at padding.
    """

    items: Tensor
    keys: Tensor
    values: Tensor
    padding_mask: Tensor


class Run(NamedTuple):
    """What T items became.

    Attributes:
        items: (B, T, D) after the last block; before it where they were not asked.
        keys: as in `Phi`.
        values: as in `Phi`.
        weights: (B, T, S + T) of each attention block that read.
    """

    items: Tensor
    keys: Tensor
    values: Tensor
    weights: list[Tensor]


class SNAIL(MetaLearner):
    """The simple neural attentive meta-learner of Mishra et al. 2018 (section 3, appendix A).

    Attention blocks with a TC block between each two, then a linear layer, on items [encoder(x), y]: y is the item's
    own label in D_train, zero for a question, and the label of the item before in a stream. D_train is read once, all
    items at the same time; every question then continues from it, which equals the paper's own order, the whole
    sequence [D_train, question] once for each question. In a sequence the answer phase continues D_train in order.

    The convolutions of a TC block look back 1, 2, 4, ... steps, in the paper's pseudo-code 2, 4, 8, ...; see `TCBlock`.
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
            description="Key width of each attention block. A TC block stands between two attention blocks.",
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
                "Dilation of the first dense block in a TC block. 1 reaches every earlier item. 2, as the paper's "
                "pseudo-code says, reaches every other one."
            ),
        )
        init: Literal["random", "content"] = Field(
            "random",
            description=(
                "Initial weights. `random`, or `content`, which is not in the paper: in the first attention block, a "
                "query reads the labels of similar support examples (see `metacli.models.matching`)."
            ),
        )

        @model_validator(mode="after")
        def _check_lengths(self) -> SNAIL.Config:
            if len(self.keys) != len(self.values):
                raise ValueError(f"keys has {len(self.keys)} numbers, values {len(self.values)}: one each per block")
            return self

    def __init__(self, config: Config, spec: Spec):
        super().__init__(config, spec)
        self.reach = 2 ** dense_blocks(spec.length)
        self.attentions = nn.ModuleList()
        self.convolutions = nn.ModuleList()  # number i stands before attention block i + 1
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
            snail_by_content(self.attentions[0], self.output, spec.y_size)

    @classmethod
    def check_compatible(cls, config: Any, spec: Spec) -> str | None:
        """See `MetaLearner.check_compatible`; `init: content` reads an item's own label, whole."""
        if config.init == "content" and not (spec.mode == "independent" and 0 < spec.y_size <= config.values[0]):
            return (
                f"init: content needs questions asked one by one and labels of 1 to values[0], {config.values[0]},"
                f" numbers; these tasks have {spec.mode} ones and {spec.y_size}"
            )
        return super().check_compatible(config, spec)

    def adapt(self, x_train: Tensor, y_train: Tensor, mask: Tensor | None = None) -> Phi:
        """phi: the activations of D_train, read in order, in parallel over time.

        Raises:
            UsageError: D_train is longer than the convolutions reach.
        """
        empty = self._nothing(x_train.shape[0])
        if x_train.shape[1] == 0:
            return empty
        run = self._run(empty, self.inputs(x_train, y_train), parallel=False, asked=False)
        if mask is None:
            return Phi(run.items, run.keys, run.values, torch.ones_like(run.items[..., 0], dtype=torch.bool))
        return _padding_first(Phi(run.items, run.keys, run.values, mask))

    def predict(self, phi: Phi, x_test: Tensor, y_previous: Tensor | None = None) -> Tensor:
        """Logits (B, Q, O), each question from its own copy of phi, or the items in order from phi.

        Raises:
            UsageError: D_train and a question (or all items in order) are longer than the convolutions reach.
        """
        return self.output(self._ask(phi, x_test, y_previous).items)

    def trace(self, episode: Episode) -> Trace:
        """The weights of every attention block, on the time axis of D_train and D_test; see `MetaLearner.trace`."""
        batch, seen = episode.x_train.shape[:2]
        count = episode.x_test.shape[1]
        phi = self.adapt(episode.x_train, episode.y_train, episode.mask_train)
        run = self._ask(phi, episode.x_test, episode.y_previous)
        learning = self._run(self._nothing(batch), self.inputs(episode.x_train, episode.y_train), parallel=False)
        weights = phi.items.new_zeros(batch, seen + count, len(self.attentions), seen + count)
        weights[:, :seen, :, :seen] = torch.stack(learning.weights, 2)
        weights[:, seen:] = torch.stack(run.weights, 2)
        if episode.mask_train is not None:  # phi holds its padding in front, the episode at the end
            places = _order(episode.mask_train)[:, None, None].expand(-1, count, len(self.attentions), -1)
            weights[:, seen:, :, :seen] = (
                weights[:, seen:, :, :seen].clone().scatter(-1, places, weights[:, seen:, :, :seen])
            )
        text = "the weights of each attention block over the steps before and the step itself, sum to 1"
        return Trace(
            self.output(run.items), {"attention": Traced(weights, ArrayInfo(("block", "step"), text, "attention"))}
        )

    def _ask(self, phi: Phi, x_test: Tensor, y_previous: Tensor | None) -> Run:
        return self._run(phi, self.inputs(x_test, y_previous), parallel=self.spec.mode == "independent")

    def _run(self, phi: Phi, x: Tensor, parallel: bool, asked: bool = True) -> Run:
        """Items x (B, T, D) that follow phi, one after the other, or (`parallel`) each as the only one.

        Of items that are not asked, others see no more than the keys and values of the last block: it reads nothing.
        """
        steps = phi.items.shape[1] + (1 if parallel else x.shape[1])
        if steps > self.reach:
            raise UsageError(
                f"{steps} items in a row: this SNAIL was built to reach {self.reach}",
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
            if attention is self.attentions[-1] and not asked:
                keys.append(attention.key(x))
                values.append(attention.value(x))
                break
            x, new_keys, new_values, new_weights = attention(x, old_keys[i], old_values[i], visible)
            keys.append(new_keys)
            values.append(new_values)
            weights.append(new_weights)
        return Run(x, torch.cat(keys, -1), torch.cat(values, -1), weights)

    def _nothing(self, batch: int) -> Phi:
        """phi of an empty D_train."""
        like = self.output.weight
        before_last = self.output.in_features - self.config.values[-1]
        widths = before_last, sum(self.config.keys), sum(self.config.values)
        items, keys, values = (like.new_zeros(batch, 0, width) for width in widths)
        return Phi(items, keys, values, like.new_zeros(batch, 0, dtype=torch.bool))


def _padding_first(phi: Phi) -> Phi:
    """phi with each task's padding moved from the end to the front, as zeros: what was there before the start."""
    order = _order(phi.padding_mask)
    padding_mask = phi.padding_mask.gather(1, order)
    items, keys, values = (
        a.gather(1, order[..., None].expand_as(a)).where(padding_mask[..., None], 0)
        for a in (phi.items, phi.keys, phi.values)
    )
    return Phi(items, keys, values, padding_mask)


def _order(padding_mask: Tensor) -> Tensor:
    """(B, S) where each item comes from when the padding at the end moves to the front."""
    count = padding_mask.shape[1]
    return (torch.arange(count, device=padding_mask.device) + padding_mask.sum(1, keepdim=True)) % count
