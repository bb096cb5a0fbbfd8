from __future__ import annotations

import pytest
import torch
from torch import nn

from metacli.models.encoder import Encoder, EncoderConfig
from metacli.models.layers.dropout import Dropout, random_int16


def usual(encoder: Encoder, x: torch.Tensor) -> torch.Tensor:
    """The four blocks as they are usually written: convolution, batch norm, ReLU, then pooling."""
    modules = list(encoder.layers)
    for conv, norm in zip(modules[0::4][:4], modules[1::4][:4], strict=True):
        assert isinstance(conv, nn.Conv2d)
        x = torch.relu(norm(conv(x)))
        if min(x.shape[-2:]) > 1:
            x = torch.max_pool2d(x, 2)
    return x.flatten(1)


@pytest.mark.parametrize("training", [True, False])
def test_pooling_before_the_relu_changes_nothing(training):
    encoder = Encoder(EncoderConfig(kind="conv", channels=5), (2, 20, 20)).double().train(training)
    x = torch.randn(7, 2, 20, 20, dtype=torch.float64)
    torch.testing.assert_close(encoder(x[None])[0], usual(encoder, x))
    assert encoder.size == 5


@pytest.mark.parametrize("precision", ["auto", "bfloat16"])
def test_doubles_stay_doubles(precision):
    """Whatever the processor: low precision is for single precision alone."""
    encoder = Encoder(EncoderConfig(kind="conv", channels=5, precision=precision), (2, 20, 20)).double()
    x = torch.randn(7, 2, 20, 20, dtype=torch.float64)
    torch.testing.assert_close(encoder(x[None])[0], usual(encoder, x))


@pytest.mark.parametrize("size", [4, 16, 28])
@pytest.mark.parametrize("linear", [0, 6])
def test_sizes(size, linear):
    encoder = Encoder(EncoderConfig(kind="conv", channels=3, size=linear), (1, size, size))
    assert encoder(torch.rand(2, 3, 1, size, size)).shape == (2, 3, encoder.size)
    flat = Encoder(EncoderConfig(), (1, size, size))
    x = torch.rand(2, 3, 1, size, size)
    assert torch.equal(flat(x), x.flatten(2))


def test_blocks_of_their_own_sizes():
    encoder = Encoder(EncoderConfig(kind="conv", channels=[2, 3, 4, 5], precision="float32"), (1, 28, 28))
    assert [c.out_channels for c in encoder.layers if isinstance(c, nn.Conv2d)] == [2, 3, 4, 5]
    assert encoder.size == 5
    x = torch.rand(6, 1, 28, 28)
    torch.testing.assert_close(encoder(x[None])[0], usual(encoder, x))
    with pytest.raises(ValueError, match="4 items"):
        EncoderConfig(kind="conv", channels=[2, 3, 4])


@pytest.mark.parametrize(("pools", "side"), [(0, 28), (2, 7), (3, 3), (4, 1)])
def test_the_first_blocks_alone_pool(pools, side):
    encoder = Encoder(EncoderConfig(kind="conv", channels=[2, 3, 4, 5], pools=pools), (1, 28, 28)).double()
    assert encoder.size == 5 * side**2
    assert sum(isinstance(m, nn.MaxPool2d) for m in encoder.layers) == pools
    x = torch.rand(6, 1, 28, 28, dtype=torch.float64)
    torch.testing.assert_close(encoder(x[None])[0], encoder.layers(x))


def test_dropout_is_of_the_blocks_numbers_and_for_training_only():
    encoder = Encoder(EncoderConfig(kind="conv", channels=8, pools=2, dropout=0.25), (1, 28, 28)).double()
    x = torch.rand(60, 1, 28, 28, dtype=torch.float64)
    features, plain = encoder(x[None])[0], encoder.layers[:-1](x).flatten(1)
    kept = features != 0
    torch.testing.assert_close(features[kept], plain[kept] / 0.75)
    lost = float((plain[~kept] != 0).sum() / (plain != 0).sum())
    assert lost == pytest.approx(0.25, abs=0.02)
    encoder.eval()
    assert torch.equal(encoder(x[None]), encoder(x[None]))


def test_normalised_features_no_longer_point_the_same_way():
    x = torch.rand(1, 60, 1, 28, 28).round()
    cosine = {}
    for normalise in (False, True):
        torch.manual_seed(0)
        config = EncoderConfig(kind="conv", channels=16, normalise=normalise, precision="float32")
        encoder = Encoder(config, (1, 28, 28)).train()
        features = encoder(x)[0]
        pairs = torch.cosine_similarity(features[:, None], features[None], dim=-1)
        cosine[normalise] = pairs[~torch.eye(60, dtype=torch.bool)].mean()
    assert cosine[False] > 0.7
    assert cosine[True].abs() < 0.1
    torch.testing.assert_close(features.mean(0), torch.zeros(16), atol=1e-5, rtol=0)


def test_bfloat16_is_for_training_only_and_stays_near():
    torch.manual_seed(0)
    low = Encoder(EncoderConfig(kind="conv", channels=8, precision="bfloat16"), (1, 28, 28))
    full = Encoder(EncoderConfig(kind="conv", channels=8, precision="float32"), (1, 28, 28))
    full.load_state_dict(low.state_dict())
    x = torch.rand(4, 5, 1, 28, 28)
    assert torch.equal(low.eval()(x), full.eval()(x))
    trained, reference = low.train()(x), full.train()(x)
    assert trained.dtype == torch.float32
    assert not torch.equal(trained, reference)
    torch.testing.assert_close(trained, reference, atol=0.2, rtol=0.1)


def test_a_frozen_encoder_computes_in_bfloat16_in_training_only():
    torch.manual_seed(0)
    config = EncoderConfig(kind="conv", channels=16, pools=3, size=24, normalise=True, precision="bfloat16")
    encoder = Encoder(config, (1, 28, 28)).train()
    x = torch.rand(4, 15, 1, 28, 28).round()
    for _ in range(20):
        encoder(x)  # the running statistics
    encoder.freeze()
    assert encoder.training_precision(x.device) == (torch.bfloat16, "set in the recipe")
    trained, evaluated = encoder.train()(x), encoder.eval()(x)
    assert trained.dtype == torch.float32
    assert torch.cosine_similarity(trained, evaluated, dim=-1).mean() > 0.9999
    assert not torch.equal(trained, evaluated)
    torch.testing.assert_close(evaluated, encoder.layers(x.flatten(0, 1)).view_as(evaluated), atol=1e-5, rtol=1e-5)


def test_dropout_scales_by_the_share_that_it_keeps():
    """Of 16 random bits for each number: nearly none and nearly all, uneven shapes, every position alike."""
    torch.manual_seed(0)
    for rate in (1e-6, 0.001, 0.3, 0.75, 0.999):
        x = torch.ones(40_001, 5, dtype=torch.float64)
        y = Dropout(rate)(x)
        kept, scale = (y != 0).double(), float(y.max())
        assert torch.equal(y, kept * scale)
        assert abs(1 / scale - (1 - rate)) <= 2**-16
        error = 6 * (rate * (1 - rate) / len(x)) ** 0.5 + 2**-16
        torch.testing.assert_close(kept.mean(0), torch.full((5,), 1 - rate).double(), atol=error, rtol=0)
    bits = random_int16(400_003, torch.device("cpu")).long()
    assert len(bits) == 400_003
    each = torch.bincount((bits + 2**15) // 2**12, minlength=16)
    assert (each - len(bits) / 16).abs().max() < 6 * (len(bits) / 16) ** 0.5
