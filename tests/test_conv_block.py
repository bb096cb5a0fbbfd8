"""The encoder's fast training blocks against the plain ones: values, gradients, running statistics."""

from __future__ import annotations

import copy

import pytest
import torch
from torch.nn import functional as F

from metacli.models.encoder import Encoder, EncoderConfig
from metacli.models.layers.conv_block import conv_block, patch_sums


def encoder(shape: tuple[int, int, int], channels: int = 6, pools: int = 4) -> Encoder:
    """With weights of batch norm of both signs, and zero."""
    torch.manual_seed(0)
    config = EncoderConfig(kind="conv", channels=channels, pools=pools, size=5, normalise=True)
    made = Encoder(config, shape).double().train()
    for norm in made.layers:
        if not isinstance(norm, torch.nn.BatchNorm2d):
            continue
        torch.nn.init.normal_(norm.weight)
        torch.nn.init.normal_(norm.bias)
        norm.weight.data[0] = 0.0
    return made


def plain(encoder: Encoder, x: torch.Tensor) -> torch.Tensor:
    return encoder.layers(x.flatten(0, 1).contiguous(memory_format=torch.channels_last)).unflatten(0, x.shape[:2])


@pytest.mark.parametrize("wants_grad", [False, True])
@pytest.mark.parametrize("shape", [(1, 28, 28), (1, 20, 21), (1, 5, 16), (3, 28, 28), (2, 9, 6)])
def test_training_equals_the_plain_blocks(shape, wants_grad):
    """More images than one part holds, blank surroundings as drawings have them, so that many windows tie."""
    fast = encoder(shape)
    slow = copy.deepcopy(fast)
    x = torch.rand(2, 150, *shape, dtype=torch.float64).round(decimals=1)
    x[..., : shape[2] // 2] = 0
    images = [x.clone().requires_grad_(wants_grad) for _ in range(2)]
    for _ in range(2):  # the running statistics of two steps
        features, reference = fast(images[0]), plain(slow, images[1])
        torch.testing.assert_close(features, reference, atol=1e-9, rtol=0)
    towards = torch.randn_like(features)
    features.backward(towards)
    reference.backward(towards)
    for (name, mine), (_, theirs) in zip(fast.named_parameters(), slow.named_parameters(), strict=True):
        torch.testing.assert_close(mine.grad, theirs.grad, atol=1e-9, rtol=1e-9, msg=name)
    for (name, mine), (_, theirs) in zip(fast.named_buffers(), slow.named_buffers(), strict=True):
        torch.testing.assert_close(mine, theirs, atol=1e-9, rtol=0, msg=name)
    if wants_grad:
        torch.testing.assert_close(images[0].grad, images[1].grad, atol=1e-9, rtol=1e-9)


def test_evaluation_with_gradients_is_the_plain_path():
    made = encoder((1, 12, 12)).eval()
    x = torch.rand(2, 3, 1, 12, 12, dtype=torch.float64)
    assert torch.equal(made(x), plain(made, x))
    made.freeze()
    assert torch.equal(made(x.requires_grad_()), plain(made, x))
    assert made(x).requires_grad


@pytest.mark.parametrize("pools", [0, 2, 4])
@pytest.mark.parametrize("shape", [(1, 28, 28), (1, 20, 21), (3, 9, 6)])
def test_without_gradients_batch_norm_is_folded(shape, pools):
    """A frozen encoder in train mode, and any encoder in evaluation. Other weights are followed at once."""
    made = encoder(shape, pools=pools)
    x = torch.rand(2, 150, *shape, dtype=torch.float64).round(decimals=1)
    for _ in range(2):
        made(x)  # the running statistics
        with torch.no_grad():
            torch.testing.assert_close(made.eval()(x), plain(made, x), atol=1e-10, rtol=0)
        made.train()
    other = encoder(shape, pools=pools).float()
    other.freeze()
    other.load_state_dict(made.state_dict())
    other = copy.deepcopy(other).double().train()
    before = copy.deepcopy(other.state_dict())
    features = other(x)
    assert not features.requires_grad
    torch.testing.assert_close(features, plain(other, x), atol=1e-10, rtol=0)
    torch.testing.assert_close(other.state_dict(), before, atol=0, rtol=0)


def test_patch_sums_are_those_of_unfolded_patches():
    x = torch.rand(7, 1, 6, 9, dtype=torch.float64)
    patches = F.unfold(x, 3, padding=1)
    products, total = patch_sums(x)
    torch.testing.assert_close(products, torch.einsum("nkp,nlp->kl", patches, patches))
    torch.testing.assert_close(total, patches.sum((0, 2)))


def test_folded_statistics_lose_no_precision():
    """The products are summed in double: nearer to the exact result than batch norm in single precision."""
    torch.manual_seed(0)
    made = Encoder(EncoderConfig(kind="conv", channels=16), (1, 28, 28)).train()
    x = torch.rand(300, 1, 28, 28).round().contiguous(memory_format=torch.channels_last)
    twin, usual = copy.deepcopy(made).double(), copy.deepcopy(made)
    fast = conv_block(x, made.layers[0], made.layers[1])
    exact = twin.layers[:4](x.double())
    assert (fast - exact).abs().max() < max(1e-5, 2 * (usual.layers[:4](x) - exact).abs().max())
    torch.testing.assert_close(made.layers[1].running_var.double(), twin.layers[1].running_var, rtol=1e-5, atol=0)


@pytest.mark.parametrize("channels", [1, 3])
def test_constant_images_give_no_nan(channels):
    made = Encoder(EncoderConfig(kind="conv", channels=4), (channels, 16, 16)).train()
    for value in (0.0, 1.0, 1000.0):
        made.zero_grad()
        features = made(torch.full((1, 3, channels, 16, 16), value))
        features.sum().backward()
        assert features.isfinite().all()
        assert all(p.grad.isfinite().all() for p in made.parameters())


def test_bfloat16_gradients_stay_near():
    torch.manual_seed(0)
    low = Encoder(EncoderConfig(kind="conv", channels=8, precision="bfloat16"), (1, 28, 28)).train()
    full = Encoder(EncoderConfig(kind="conv", channels=8), (1, 28, 28)).train()
    full.load_state_dict(low.state_dict())
    x = torch.rand(4, 5, 1, 28, 28)
    for made in (low, full):
        made(x).square().sum().backward()
    for mine, theirs in zip(low.parameters(), full.parameters(), strict=True):
        assert mine.grad.dtype == torch.float32
        assert torch.cosine_similarity(mine.grad.flatten(), theirs.grad.flatten(), dim=0) > 0.95
