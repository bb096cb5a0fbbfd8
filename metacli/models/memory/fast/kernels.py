"""Kernels on the memory of one task, each with its gradient, compiled by numba.

Memory access consists mainly of cosine similarity, write and read. Here the memory M is (W, L), so that every inner
loop runs along the locations, and the compiler can use vector instructions. Each number is loaded once, where PyTorch's
operations load it many times. Results are written into arrays of the caller. `lrua`, `ntm` and `dnc` build on these
kernels.
"""

from __future__ import annotations

import numpy as np

from metacli.models.memory.addressing import NORM_FLOOR
from metacli.models.memory.fast.elementwise import Array, compiled, exp


@compiled
def normalize(key: Array, out: Array) -> float:
    """Writes k / |k| of a key (W,) into `out`; returns 1 / |k|."""
    total = key[0] * 0 + NORM_FLOOR
    for w in range(len(key)):
        total += key[w] * key[w]
    inverse = 1 / np.sqrt(total)
    for w in range(len(key)):
        out[w] = key[w] * inverse
    return inverse


@compiled
def normalize_backward(normalized: Array, inverse: float, d_normalized: Array, d_key: Array) -> None:
    """Adds the gradient of `normalize` to `d_key` (W,)."""
    projection = normalized[0] * 0
    for w in range(len(normalized)):
        projection += normalized[w] * d_normalized[w]
    for w in range(len(normalized)):
        d_key[w] += inverse * (d_normalized[w] - normalized[w] * projection)


@compiled
def cosine_similarity(memory: Array, keys: Array, cosines: Array, inverse: Array) -> None:
    """Writes K[k, M(i)] (Graves et al. 2014, eq. 6) of keys of norm 1 (heads, W) into `cosines` (heads, L).

    Writes 1 / |M(i)| into `inverse` (L,).
    """
    width, locations = memory.shape
    heads = keys.shape[0]
    inverse[:] = NORM_FLOOR
    cosines[:] = 0
    for w in range(width):
        row = memory[w]
        for i in range(locations):
            inverse[i] += row[i] * row[i]
        for h in range(heads):
            out, k = cosines[h], keys[h, w]
            for i in range(locations):
                out[i] += k * row[i]
    for i in range(locations):
        inverse[i] = 1 / np.sqrt(inverse[i])
    for h in range(heads):
        out = cosines[h]
        for i in range(locations):
            out[i] *= inverse[i]


@compiled
def cosine_similarity_backward(
    memory: Array, keys: Array, cosines: Array, inverse: Array, d_cosines: Array, d_memory: Array, d_keys: Array
) -> None:
    """Adds the gradient of `cosine_similarity` to `d_memory` (W, L); writes `d_keys` (heads, W); alters `d_cosines`."""
    width, locations = memory.shape
    heads = keys.shape[0]
    projection = np.zeros(locations, memory.dtype)
    for h in range(heads):
        d, cosine = d_cosines[h], cosines[h]
        for i in range(locations):
            projection[i] += d[i] * cosine[i]
            d[i] *= inverse[i]
    for i in range(locations):
        projection[i] *= inverse[i] * inverse[i]
    for w in range(width):
        row, d_row = memory[w], d_memory[w]
        for i in range(locations):
            d_row[i] -= row[i] * projection[i]
        for h in range(heads):
            d, k = d_cosines[h], keys[h, w]
            total = k * 0
            for i in range(locations):
                d_row[i] += k * d[i]
                total += d[i] * row[i]
            d_keys[h, w] = total


@compiled
def write(
    memory: Array, erase_weights: Array, erase_vectors: Array, add_weights: Array, add_vectors: Array, written: Array
) -> None:
    """Writes M(i) prod_h [1 - w_h(i) e_h] + sum_h w_h(i) a_h (Graves et al. 2014, eqs. 3, 4) into `written` (W, L).

    Args:
        erase_weights: (E, L) weights of the erase vectors.
        erase_vectors: (E, W) e_h.
        add_weights: (A, L) weights of the add vectors.
        add_vectors: (A, W) a_h.
    """
    width, locations = memory.shape
    for w in range(width):
        row, out = memory[w], written[w]
        for i in range(locations):
            out[i] = row[i]
        for h in range(erase_weights.shape[0]):
            weight, e = erase_weights[h], erase_vectors[h, w]
            for i in range(locations):
                out[i] *= 1 - e * weight[i]
        for h in range(add_weights.shape[0]):
            weight, a = add_weights[h], add_vectors[h, w]
            for i in range(locations):
                out[i] += a * weight[i]


@compiled
def add_backward(
    add_weights: Array, add_vectors: Array, d_memory: Array, d_add_weights: Array, d_add_vectors: Array
) -> None:
    """Gradient of the addition in `write`: added to `d_add_weights` (A, L), written to `d_add_vectors` (A, W)."""
    width, locations = d_memory.shape
    for w in range(width):
        d_row = d_memory[w]
        for h in range(add_weights.shape[0]):
            weight, d_weight, a = add_weights[h], d_add_weights[h], add_vectors[h, w]
            total = a * 0
            for i in range(locations):
                d_weight[i] += a * d_row[i]
                total += weight[i] * d_row[i]
            d_add_vectors[h, w] = total


@compiled
def erase_backward(
    memory: Array,
    erase_weights: Array,
    erase_vectors: Array,
    d_memory: Array,
    d_erase_weights: Array,
    d_erase_vectors: Array,
) -> None:
    """Gradient of the erasing in `write`: turns `d_memory` into that of M; the others as in `add_backward`."""
    width, locations = memory.shape
    heads = erase_weights.shape[0]
    d_retained = np.empty(locations, memory.dtype)
    for w in range(width):
        row, d_row = memory[w], d_memory[w]
        for h in range(heads):
            for i in range(locations):
                d_retained[i] = d_row[i] * row[i]
            for other in range(heads):
                if other != h:
                    weight, e = erase_weights[other], erase_vectors[other, w]
                    for i in range(locations):
                        d_retained[i] *= 1 - e * weight[i]
            weight, d_weight, e = erase_weights[h], d_erase_weights[h], erase_vectors[h, w]
            total = e * 0
            for i in range(locations):
                d_weight[i] -= e * d_retained[i]
                total += weight[i] * d_retained[i]
            d_erase_vectors[h, w] = -total
        for h in range(heads):
            weight, e = erase_weights[h], erase_vectors[h, w]
            for i in range(locations):
                d_row[i] *= 1 - e * weight[i]


@compiled
def read(memory: Array, weights: Array, reads: Array) -> None:
    """Writes r = sum_i w(i) M(i) (Graves et al. 2014, eq. 2) of weights (R, L) into `reads` (R, W)."""
    width, locations = memory.shape
    for w in range(width):
        row = memory[w]
        for r in range(weights.shape[0]):
            weight = weights[r]
            total = row[0] * 0
            for i in range(locations):
                total += weight[i] * row[i]
            reads[r, w] = total


@compiled
def read_backward(memory: Array, weights: Array, d_reads: Array, d_memory: Array, d_weights: Array) -> None:
    """Adds the gradient of `read` to `d_memory` (W, L) and `d_weights` (R, L)."""
    width, locations = memory.shape
    for w in range(width):
        row, d_row = memory[w], d_memory[w]
        for r in range(weights.shape[0]):
            weight, d_weight, d = weights[r], d_weights[r], d_reads[r, w]
            for i in range(locations):
                d_row[i] += d * weight[i]
                d_weight[i] += d * row[i]


@compiled
def softmax(logits: Array, out: Array, bits: Array) -> None:
    """Writes the softmax of (L,) into `out`; overwrites `logits`; `bits` as in `exp`."""
    largest, total = logits[0], logits[0] * 0
    for i in range(len(logits)):
        largest = max(largest, logits[i])
    for i in range(len(logits)):
        logits[i] -= largest
    exp(logits, out, bits)
    for i in range(len(logits)):
        total += out[i]
    total = 1 / total
    for i in range(len(logits)):
        out[i] *= total


@compiled
def softmax_backward(out: Array, d_out: Array) -> None:
    """Replaces `d_out` (L,), the gradient of the softmax, by that of the logits."""
    projection = out[0] * 0
    for i in range(len(out)):
        projection += out[i] * d_out[i]
    for i in range(len(out)):
        d_out[i] = out[i] * (d_out[i] - projection)
