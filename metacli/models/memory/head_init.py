"""Initial weights of the heads of memory networks, for recipes with `init` other than `random`. Not in the papers."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

# The typical size of an entry of an initial key, so that a mark has the size of what it is added to. PyTorch draws
# weights and biases uniformly from +-1/sqrt(H), variance 1 / (3 H): an entry's root mean square is
# sqrt((1 + |h|^2) / (3 H)). With H = 200, at the first five steps: |h|^2 = 14 to 18 and so 0.17 with the feed-forward
# controller of omniglot_mann, 1.0 to 2.0 and 0.07 with the LSTM of omniglot_stream_mann (measured: 0.17 and 0.07).
# One number for both is their geometric mean, sqrt(0.17 * 0.07) = 0.11.
_MARK_SIZE = 0.11
# Scale of a label's vector, small enough that the key of its item still finds the row: the cosine falls to
# 1 / sqrt(1 + share^2). Untrained omniglot_mann with shares 0.1, 0.3, 1: the cosine of an item's key with its row is
# 0.96, 0.93, 0.73, and its row is the best of all 128 for 100, 100, 91 % of items. So 0.3 has no cost yet.
_LABEL_SHARE = 0.3


def init_ntm_by_content(interface: nn.Linear, config: Any, sizes: list[int], read_next: bool) -> None:
    """Makes write heads advance by one location per step and add the read heads' keys; read heads address by content.

    Args:
        interface: the layer that emits the interface vector, changed in place.
        config: an `NTM.Config`.
        sizes: sizes of the parts of the interface vector, see `NTMAccess`.
        read_next: whether reads go to the location after the best match.
    """
    c = config
    _, scalars, gate, shift, _ = interface.bias.split(sizes)
    strength, sharpness = scalars.view(-1, 2).unbind(1)
    reads, writes = slice(0, c.read_heads), slice(c.read_heads, None)
    strength[reads] = 8
    gate[reads], gate[writes] = 3, -3  # by content, by location
    sharpness[writes] = 3
    if c.shift_range:
        offsets = shift.view(len(gate), -1)
        offsets[reads, c.shift_range + read_next] = 3  # stay, or the next location
        offsets[writes, c.shift_range + 1] = 3  # the next location
    for parameter in interface.parameters():
        keys, *_, erase_and_add = parameter.split(sizes)
        add_vectors = erase_and_add.unflatten(0, (c.write_heads, 2, c.width))[:, 1]
        for head, add_vector in enumerate(add_vectors):
            add_vector.copy_(keys.unflatten(0, (-1, c.width))[head % c.read_heads])


def init_lrua_pairs(interface: nn.Linear, config: Any, sizes: list[int]) -> None:
    """Pairs the heads, so that a label is written beside the previous item; see `MANN.Config.init`.

    Args:
        interface: the layer that emits the interface vector, changed in place.
        config: a `MANN.Config`.
        sizes: sizes of the parts of a head's interface vector, see `LRUA`.
    """
    c = config
    mark = _MARK_SIZE * (-1.0) ** torch.arange(c.width)  # orthogonal to the constant that the memory starts at
    for parameter in interface.parameters():
        key, alpha, vector, _ = parameter.unflatten(0, (c.read_heads, -1)).split(sizes, 1)
        is_bias = parameter.dim() == 1
        if is_bias:
            alpha[::2], alpha[1::2] = -3, 3
        if c.write_vector == "separate":
            pair_count = len(key[1::2])
            key[1::2] = key[::2][:pair_count]
            vector[::2] = key[::2]
            vector[1::2] *= _LABEL_SHARE
            if is_bias:
                key[::2][:pair_count] += mark
                vector[1::2] += mark


def init_dnc_beside_previous_label(network: Any) -> None:
    """Makes a DNC write an item one step late, beside its label; see `DNC.Config.init`.

    The early half of the LSTM's units encodes the current step. The late half encodes what the early half held in the
    previous step, and the label. The write head writes the late half. The read heads' keys come from the early half.

    Args:
        network: a freshly initialised `DNC` with one LSTM layer, changed in place.
    """
    c, cell, half = network.config, network.controller.layers[0], network.config.hidden // 2
    early, late = slice(0, half), slice(half, 2 * half)
    cell.bias_hh.view(4, -1)[1] -= 2  # the forget gate: little of the previous step remains
    input_weight, recurrent_weight = (w.view(4, c.hidden, -1)[2, late] for w in (cell.weight_ih, cell.weight_hh))
    input_weight[:, : network.encoder.size] = 0
    recurrent_weight.zero_()
    recurrent_weight[:, early] = 4 * torch.eye(half)  # two half-open gates let a quarter pass

    keys, write_vector = _read_keys_and_write_vector(network)
    keys[..., early], keys[..., late] = write_vector[:, late], 0
    write_vector[:, early] = 0
    _bias_dnc_to_content(network)


def init_dnc_by_content(network: Any) -> None:
    """Makes a DNC write each step to a free location, and use the write vector as the key of the read heads.

    Args:
        network: a freshly initialised `DNC`, changed in place.
    """
    keys, write_vector = _read_keys_and_write_vector(network)
    keys.copy_(write_vector.expand_as(keys))
    _bias_dnc_to_content(network)


def _read_keys_and_write_vector(network: Any) -> tuple[Tensor, Tensor]:
    """Views the weights that emit the keys of the read heads (R, W, H) and the write vector (W, H)."""
    c = network.config
    keys, _, _, _, _, write_vector, *_ = network.heads.weight.split(network.access.part_sizes)
    return keys.view(c.read_heads, c.width, c.hidden), write_vector


def _bias_dnc_to_content(network: Any) -> None:
    """Sets the biases: writes go to free locations, no location is freed, reads address sharply by content."""
    k_r, b_r, k_w, b_w, _, v, f, g_a, g_w, pi = network.heads.bias.split(network.access.part_sizes)
    for part in (k_r, k_w, v):
        part.zero_()
    for part in (b_r, b_w):
        part.fill_(7)
    f.fill_(-3)  # nothing is freed
    g_a.fill_(3)  # to free locations
    g_w.fill_(3)  # written
    pi.view(-1, 3)[:, 1] = 3  # by content
