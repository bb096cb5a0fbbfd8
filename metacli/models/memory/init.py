"""How the heads of a memory network begin, where a recipe asks for more than random weights. The papers do not."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

# The size of an entry of a key at the start, so that a mark weighs about as much as what it is added to. PyTorch draws
# weights and biases uniformly from +-1/sqrt(H), variance 1 / (3 H): an entry's root mean square is
# sqrt((1 + |h|^2) / (3 H)). With H = 200, at the first five steps: |h|^2 = 14 to 18 and so 0.17 with the feed-forward
# controller of omniglot_mann, 1.0 to 2.0 and 0.07 with the LSTM of omniglot_stream_mann (measured: 0.17 and 0.07).
# One number for both is their geometric mean, sqrt(0.17 * 0.07) = 0.11.
_MARK = 0.11
# What a label's vector is scaled by, so that its item's row is still found: beside one of the usual size the cosine
# with the key falls to 1 / sqrt(1 + share^2). Untrained omniglot_mann, shares 0.1, 0.3, 1: cosine of an item's key with
# its row 0.96, 0.93, 0.73; its row the best of all 128 for 100, 100, 91 % of items. So 0.3 costs nothing yet.
_LABEL_SHARE = 0.3


def ntm_by_content(interface: nn.Linear, config: Any, sizes: list[int], then_next: bool) -> None:
    """Write heads move on by one location at each step and add what the read heads look for; reads go by content.

    Args:
        interface: the layer that emits the interface vector, changed in place.
        config: an `NTM.Config`.
        sizes: of the parts of the interface vector, see `NTMAccess`.
        then_next: reads go to the location after the best match.
    """
    c = config
    _, positive, gate, shift, _ = interface.bias.split(sizes)
    strength, sharpness = positive.view(-1, 2).unbind(1)
    reads, writes = slice(0, c.read_heads), slice(c.read_heads, None)
    strength[reads] = 8
    gate[reads], gate[writes] = 3, -3  # by content, by location
    sharpness[writes] = 3
    if c.shift_range:
        offsets = shift.view(len(gate), -1)
        offsets[reads, c.shift_range + then_next] = 3  # stay, or the next location
        offsets[writes, c.shift_range + 1] = 3  # the next location
    for parameter in interface.parameters():
        keys, *_, change = parameter.split(sizes)
        added = change.unflatten(0, (c.write_heads, 2, c.width))[:, 1]
        for head, add in enumerate(added):
            add.copy_(keys.unflatten(0, (-1, c.width))[head % c.read_heads])


def lrua_in_pairs(interface: nn.Linear, config: Any, sizes: list[int]) -> None:
    """Heads go in pairs, so that a label joins the item before it; see `MANN.Config.init`.

    Args:
        interface: the layer that emits the interface vector, changed in place.
        config: a `MANN.Config`.
        sizes: of the parts of the interface vector of a head, see `LRUA`.
    """
    c = config
    mark = _MARK * (-1.0) ** torch.arange(c.width)  # orthogonal to the constant that the memory starts at
    for parameter in interface.parameters():
        key, alpha, vector, _ = parameter.unflatten(0, (c.read_heads, -1)).split(sizes, 1)
        bias = parameter.dim() == 1
        if bias:
            alpha[::2], alpha[1::2] = -3, 3
        if c.write_vector == "separate":
            pairs = len(key[1::2])
            key[1::2] = key[::2][:pairs]
            vector[::2] = key[::2]
            vector[1::2] *= _LABEL_SHARE
            if bias:
                key[::2][:pairs] += mark
                vector[1::2] += mark


def dnc_beside_previous_label(network: Any) -> None:
    """An item is written one step late, beside the label that came for it; see `DNC.Config.init`.

    The early half of the LSTM's units sees the step, the late half what the early half held one step before, and the
    label. The write head writes what the late half holds, the read heads look for it by what the early half holds.

    Args:
        network: a `DNC`, just initialised, changed in place; its controller is one layer of LSTM.
    """
    c, cell, half = network.config, network.controller.layers[0], network.config.hidden // 2
    early, late = slice(0, half), slice(half, 2 * half)
    cell.bias_hh.view(4, -1)[1] -= 2  # the forget gate: a step leaves little behind
    incoming, recurrent = (w.view(4, c.hidden, -1)[2, late] for w in (cell.weight_ih, cell.weight_hh))
    incoming[:, : network.encoder.size] = 0
    recurrent.zero_()
    recurrent[:, early] = 4 * torch.eye(half)  # two half-open gates let a quarter pass

    keys, written = _sought_and_written(network)
    keys[..., early], keys[..., late] = written[:, late], 0
    written[:, early] = 0
    _dnc_goes_by_content(network)


def dnc_by_content(network: Any) -> None:
    """Each step is written to a free location, the read heads look by content for what would be written now.

    Args:
        network: a `DNC`, just initialised, changed in place.
    """
    keys, written = _sought_and_written(network)
    keys.copy_(written.expand_as(keys))
    _dnc_goes_by_content(network)


def _sought_and_written(network: Any) -> tuple[Tensor, Tensor]:
    """The layers' weights, in place: keys of the read heads (R, W, H) and the write vector (W, H)."""
    c = network.config
    keys, _, _, _, _, written, *_ = network.heads.weight.split(network.access.sizes)
    return keys.view(c.read_heads, c.width, c.hidden), written


def _dnc_goes_by_content(network: Any) -> None:
    """Writes go to free locations, none of which is freed; reads go by content, sharply."""
    k_r, b_r, k_w, b_w, _, v, f, g_a, g_w, pi = network.heads.bias.split(network.access.sizes)
    for part in (k_r, k_w, v):
        part.zero_()
    for part in (b_r, b_w):
        part.fill_(7)
    f.fill_(-3)  # nothing is freed
    g_a.fill_(3)  # to free locations
    g_w.fill_(3)  # written
    pi.view(-1, 3)[:, 1] = 3  # by content
