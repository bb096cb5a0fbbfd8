"""Compiled addressing by content; see `metacli.models.memory.addressing.content_weighting`."""

from __future__ import annotations

from metacli.models.memory.fast import kernels
from metacli.models.memory.fast.elementwise import Array, compiled


@compiled
def content_weighting(
    memory: Array, keys: Array, strengths: Array, cosines: Array, inverse: Array, content: Array, bits: Array
) -> None:
    """Writes the softmax of beta K[k, M(i)] over the locations into `content` (heads, L).

    Args:
        memory: (W, L) M.
        keys: (heads, W) k, of norm 1.
        strengths: (heads,) beta.
        cosines: (heads, L), and `inverse` (L,), written as by `kernels.cosine_similarity`.
        bits: as in `elementwise.exp`.
    """
    kernels.cosine_similarity(memory, keys, cosines, inverse)
    for h in range(len(strengths)):
        for i in range(len(inverse)):
            content[h, i] = strengths[h] * cosines[h, i]
        kernels.softmax(content[h], content[h], bits)


@compiled
def content_weighting_backward(
    memory: Array,
    keys: Array,
    strengths: Array,
    cosines: Array,
    inverse: Array,
    content: Array,
    d_content: Array,
    d_memory: Array,
    d_keys: Array,
    d_strengths: Array,
) -> None:
    """Gradient: adds to `d_memory` (W, L), writes `d_keys` (heads, W) and `d_strengths`, and alters `d_content`."""
    for h in range(len(strengths)):
        kernels.softmax_backward(content[h], d_content[h])
        total = content[h, 0] * 0
        for i in range(len(inverse)):
            total += d_content[h, i] * cosines[h, i]
            d_content[h, i] *= strengths[h]
        d_strengths[h] = total
    kernels.cosine_similarity_backward(memory, keys, cosines, inverse, d_content, d_memory, d_keys)
