"""How the plain references see an episode: four convolution blocks in the order of the paper, labels beside."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from metacli.episode import Episode

_OF_A_LAYER = (nn.Conv2d, nn.BatchNorm2d, nn.Linear, nn.BatchNorm1d)


class PlainEncoder(nn.Module):
    """Convolution, batch norm, ReLU, pooling, four times over; or flat pixels.

    Args:
        config: of our encoder.
        x_shape: (C, H, W) or (D,).
    """

    def __init__(self, config, x_shape: tuple[int, ...]):
        super().__init__()
        layers: list[nn.Module] = []
        size = 0
        if config.kind == "conv":
            channels, height, width = x_shape
            for _ in range(4):
                layers += [nn.Conv2d(channels, config.channels, 3, padding=1, bias=False)]
                layers += [nn.BatchNorm2d(config.channels), nn.ReLU()]
                channels = config.channels
                if min(height, width) > 1:
                    layers += [nn.MaxPool2d(2)]
                    height, width = height // 2, width // 2
            size = channels * height * width
        layers += [nn.Flatten()]
        if config.size:
            layers += [nn.Linear(size, config.size)]
            size = config.size
        if config.normalise:
            layers += [nn.BatchNorm1d(size, affine=False)]
        self.layers = nn.Sequential(*layers)

    @classmethod
    def like(cls, model: nn.Module) -> PlainEncoder:
        """The plain form of a model's encoder, with the same weights."""
        encoder = cls(model.config.encoder, model.spec.x_shape)
        mine, theirs = (find(m, _OF_A_LAYER) for m in (encoder, model.encoder))
        for layer, source in zip(mine, theirs, strict=True):
            layer.load_state_dict(source.state_dict())
        return encoder

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, *x_shape) to (B, T, features)."""
        return self.layers(x.flatten(0, 1)).unflatten(0, x.shape[:2])


def find(model: nn.Module, kind) -> list[nn.Module]:
    """The modules of some kind, in order, those of the encoder of a model left out."""
    return [m for name, m in model.named_modules() if isinstance(m, kind) and not name.startswith("encoder.")]


def in_order(encoder: PlainEncoder, episode: Episode) -> Tensor:
    """(B, S + Q, I) D_train, then D_test: every item encoded, beside it the label that arrives with it, or zeros."""
    if episode.mask_train is not None and not episode.mask_train.all():
        raise ValueError("a plain reference takes episodes of one length: fix it, as in task.length=20")
    x, y = torch.cat([episode.x_train, episode.x_test], 1), episode.y_train
    late = y.new_zeros(*episode.x_test.shape[:2], y.shape[2]) if episode.y_previous is None else episode.y_previous
    return torch.cat([encoder(x), torch.cat([y, late], 1).to(x.dtype)], -1)
