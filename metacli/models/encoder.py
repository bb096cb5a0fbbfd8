"""Encoder: maps an input item to a feature vector, by four convolution blocks or a registered network."""

from __future__ import annotations

import math
from contextlib import nullcontext
from typing import Annotated, Any, Literal

import torch
from pydantic import Field, ModelWrapValidatorHandler, model_validator
from torch import Tensor, nn

from metacli.compute.cpu import choose_precision
from metacli.config.base import BaseConfig
from metacli.config.display import shorten_value
from metacli.errors import MetacliError
from metacli.models.layers.conv_block import conv_block, fixed_conv_block
from metacli.models.layers.dropout import Dropout
from metacli.registry import ENCODERS, did_you_mean, is_known, resolve

KINDS = ("flat", "conv")  # built in; plugins register others
BLOCKS = 4
Channels = Annotated[int, Field(ge=1, le=1024)]


class EncoderConfig(BaseConfig):
    """Keys of an encoder. The Config of a registered encoder extends this class."""

    kind: Literal["flat", "conv"] = Field(
        "flat",
        description=(
            "`flat` leaves the inputs unchanged. `conv` is four blocks of 3x3 convolution, batch norm, ReLU and 2x2 "
            "max pooling, for images only (Vinyals et al. 2016, section 4.1). Any other value is the name of a "
            "registered encoder."
        ),
    )
    channels: Channels | Annotated[list[Channels], Field(min_length=BLOCKS, max_length=BLOCKS)] = Field(
        64,
        description=(
            "Filters of the blocks: one number for all blocks, or four numbers. Fewer filters in the first blocks, "
            "whose images are large, cost little accuracy and save much time."
        ),
    )
    pools: int = Field(
        BLOCKS,
        ge=0,
        le=BLOCKS,
        description=(
            "Number of blocks with pooling, counted from the first. An image of 28 x 28 pixels becomes 1 x 1 with 4 "
            "poolings, and 3 x 3 with 3, which preserves the positions of strokes."
        ),
    )
    size: int = Field(
        0,
        ge=0,
        le=4096,
        description="Width of the feature vector, from a linear layer after the blocks. 0 omits this layer.",
    )
    dropout: float = Field(
        0.0,
        ge=0,
        lt=1,
        description=(
            "Share of the outputs of the blocks (`flat`: of the inputs) dropped in training, before the linear layer."
        ),
    )
    normalise: bool = Field(
        False,
        description=(
            "Normalise features to mean 0 and variance 1 with a last batch norm. Without it, rectified features have a "
            "cosine similarity of about 0.8 for any two inputs, which makes content-based addressing difficult."
        ),
    )
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        "auto",
        description=(
            "Arithmetic of the convolutions in training. `auto` chooses bfloat16 only on processors "
            "that compute it natively. Evaluation always uses the model's own precision."
        ),
    )

    @classmethod
    def select_variant(cls, values: Any) -> type[BaseConfig]:
        """Returns the Config of the registered encoder that `values` name, or this class.

        Raises:
            ValueError: there is no encoder of this kind.
        """
        kind = values.get("kind") if isinstance(values, dict) else None
        if cls is not EncoderConfig or not isinstance(kind, str) or kind in KINDS:
            return cls
        if not is_known(ENCODERS, kind):
            kinds = (*KINDS, *ENCODERS)
            raise ValueError(
                f"unknown kind {shorten_value(kind)}{did_you_mean(kind, kinds)} (known: {', '.join(kinds)})"
            )
        return resolve(ENCODERS, kind, "encoder").Config

    @model_validator(mode="wrap")
    @classmethod
    def _validate_variant(cls, values: Any, handler: ModelWrapValidatorHandler[EncoderConfig]) -> Any:
        variant = cls.select_variant(values)
        return handler(values) if variant is cls else variant.model_validate(values)


class Flatten(Dropout):
    """Flattens (n, ...) to (n, features), with dropout in training."""

    def forward(self, x: Tensor) -> Tensor:
        """See `Dropout`."""
        return super().forward(x.flatten(1))


class Encoder(nn.Module):
    """Maps items x (..., *x_shape) to features (..., size).

    Args:
        config: the encoder section of the recipe.
        x_shape: shape of one item, (C, H, W) or (D,).

    Attributes:
        size: number of features.
        frozen: whether its parameters are fixed, see `freeze`.
    """

    frozen = False

    def __init__(self, config: EncoderConfig, x_shape: tuple[int, ...]):
        super().__init__()
        self.item_dims = len(x_shape)
        self.block_count = BLOCKS if config.kind == "conv" else 0
        self.pooled_blocks = 0  # number of leading blocks that pool
        layers: list[nn.Module] = []
        if config.kind == "flat":
            self.size = math.prod(x_shape)
        elif config.kind not in KINDS:
            layers = [resolve(ENCODERS, config.kind, "encoder")(config, x_shape)]
            self.size = measure_features(layers[0], config.kind, x_shape)
        else:
            channels, height, width = x_shape
            block_filters = config.channels if isinstance(config.channels, list) else [config.channels] * BLOCKS
            for block, filters in enumerate(block_filters):
                layers += [nn.Conv2d(channels, filters, 3, padding=1, bias=False)]
                layers += [nn.BatchNorm2d(filters)]
                if block < config.pools and min(height, width) > 1:
                    layers += [nn.MaxPool2d(2)]
                    self.pooled_blocks += 1
                    height, width = height // 2, width // 2
                layers += [nn.ReLU()]  # after pooling: equal values, a quarter of the work
                channels = filters
            self.size = channels * height * width
        layers += [Flatten(config.dropout)]
        if config.size:
            layers += [nn.Linear(self.size, config.size)]
            self.size = config.size
        if config.normalise:
            layers += [nn.BatchNorm1d(self.size, affine=False)]
        self.layers = nn.Sequential(*layers)
        self.channels_last = config.kind in KINDS  # faster; a registered network may rely on the usual memory order
        if self.channels_last:
            self.layers.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.has_convolutions = any(isinstance(m, nn.Conv1d | nn.Conv2d | nn.Conv3d) for m in self.layers.modules())
        self.precision = config.precision

    def freeze(self) -> None:
        """Fixes all parameters and keeps the layers in eval mode, also when the model is in train mode."""
        self.frozen = True
        self.requires_grad_(False)
        self.layers.eval()

    def train(self, mode: bool = True) -> Encoder:
        """See `nn.Module.train`. A frozen encoder also sets `self.training`, because its precision depends on it."""
        super().train(mode)
        if self.frozen:
            self.layers.eval()
        return self

    def training_precision(self, device: torch.device) -> tuple[torch.dtype, str] | None:
        """Returns the dtype of the convolutions in training on a device and its reason; None without convolutions."""
        return choose_precision(self.precision, device) if self.has_convolutions else None

    def forward(self, x: Tensor) -> Tensor:
        """Maps (..., *x_shape) to (..., size)."""
        leading_shape = x.shape[: x.dim() - self.item_dims]
        items = x.flatten(0, len(leading_shape) - 1)
        if items.dim() == 4 and self.channels_last:
            items = items.contiguous(memory_format=torch.channels_last)
        precision = self.training_precision(x.device) if self.training else None
        use_bfloat16 = (
            precision is not None and precision[0] is torch.bfloat16 and x.dtype is torch.float32
        )  # doubles keep their precision
        with torch.autocast(x.device.type, torch.bfloat16) if use_bfloat16 else nullcontext():
            if x.is_cpu and self.layers.training:
                features = self._forward_training(items)
            elif x.is_cpu and not (torch.is_grad_enabled() and (x.requires_grad or not self.frozen)):
                features = self._forward_fixed(items)
            else:
                features = self.layers(items)
        return features.to(x.dtype).unflatten(0, leading_shape)

    def _forward_training(self, items: Tensor) -> Tensor:
        """Computes self.layers(items) with blocks that are faster in training on a CPU."""
        for block in range(0, 4 * self.pooled_blocks, 4):
            conv, norm = self.layers[block], self.layers[block + 1]
            items = conv_block(items, conv, norm)  # type: ignore[arg-type]  # the type of a Sequential's layers is unknown
        return self.layers[4 * self.pooled_blocks :](items)

    @torch.no_grad()
    def _forward_fixed(self, items: Tensor) -> Tensor:
        """Computes self.layers(items) in eval mode with blocks that are faster without gradients on a CPU."""
        start = 0
        for block in range(self.block_count):
            pools = block < self.pooled_blocks
            conv, norm = self.layers[start], self.layers[start + 1]
            items = fixed_conv_block(items, conv, norm, pools)  # type: ignore[arg-type]
            start += 4 if pools else 3
        return self.layers[start:](items)


@torch.no_grad()
def measure_features(network: nn.Module, kind: str, x_shape: tuple[int, ...]) -> int:
    """Returns the number of features that a registered encoder computes from an item.

    Raises:
        MetacliError: the network does not map (M, *x_shape) to (M, ...).
    """
    features = network.eval()(torch.zeros(2, *x_shape))
    network.train()
    if not isinstance(features, Tensor) or features.dim() < 2 or len(features) != 2:
        result = tuple(features.shape) if isinstance(features, Tensor) else type(features).__name__
        raise MetacliError(f"encoder {kind!r}: its output for items {(2, *x_shape)} is {result}, not (2, features)")
    return features[0].numel()
