"""The passes over the memory of one task, each with its gradient: score, write, read; compiled by numba.

NTM, LRUA and DNC are these three and small things in between. Here the memory M is (W, L), its rows along the last
axis: every loop ends in one along the locations, which the compiler turns into vector instructions of the processor
at hand, and each number is loaded once where PyTorch's operations load it many times. Results are written into arrays
that the caller gives. Functions on whole batches build on these (`ntm_scan`, `lrua_scan`).
"""

from __future__ import annotations

import numpy as np

from metacli.models.memory.addressing import NORM_FLOOR
from metacli.models.memory.fast.rows import Array, compiled, exp


@compiled
def unit(key: Array, out: Array) -> float:
    """k / |k| of a key (W,) into `out`; returns 1 / |k|."""
    total = key[0] * 0 + NORM_FLOOR
    for w in range(len(key)):
        total += key[w] * key[w]
    inverse = 1 / np.sqrt(total)
    for w in range(len(key)):
        out[w] = key[w] * inverse
    return inverse


@compiled
def unit_back(unit: Array, inverse: float, d_unit: Array, d_key: Array) -> None:
    """Gradient of `unit`, added to `d_key` (W,)."""
    along = unit[0] * 0
    for w in range(len(unit)):
        along += unit[w] * d_unit[w]
    for w in range(len(unit)):
        d_key[w] += inverse * (d_unit[w] - unit[w] * along)


@compiled
def score(memory: Array, units: Array, cosines: Array, inverse: Array) -> None:
    """K[k, M(i)] (Graves et al. 2014, eq. 6) of keys of norm 1 (heads, W) into `cosines` (heads, L).

    `inverse` (L,) gets 1 / |M(i)|.
    """
    width, locations = memory.shape
    heads = units.shape[0]
    inverse[:] = NORM_FLOOR
    cosines[:] = 0
    for w in range(width):
        row = memory[w]
        for i in range(locations):
            inverse[i] += row[i] * row[i]
        for h in range(heads):
            out, k = cosines[h], units[h, w]
            for i in range(locations):
                out[i] += k * row[i]
    for i in range(locations):
        inverse[i] = 1 / np.sqrt(inverse[i])
    for h in range(heads):
        out = cosines[h]
        for i in range(locations):
            out[i] *= inverse[i]


@compiled
def score_back(
    memory: Array, units: Array, cosines: Array, inverse: Array, d_cosines: Array, d_memory: Array, d_units: Array
) -> None:
    """Gradient of `score`, added to `d_memory` (W, L), written to `d_units` (heads, W); overwrites `d_cosines`."""
    width, locations = memory.shape
    heads = units.shape[0]
    along = np.zeros(locations, memory.dtype)
    for h in range(heads):
        d, cosine = d_cosines[h], cosines[h]
        for i in range(locations):
            along[i] += d[i] * cosine[i]
            d[i] *= inverse[i]
    for i in range(locations):
        along[i] *= inverse[i] * inverse[i]
    for w in range(width):
        row, d_row = memory[w], d_memory[w]
        for i in range(locations):
            d_row[i] -= row[i] * along[i]
        for h in range(heads):
            d, k = d_cosines[h], units[h, w]
            total = k * 0
            for i in range(locations):
                d_row[i] += k * d[i]
                total += d[i] * row[i]
            d_units[h, w] = total


@compiled
def write(memory: Array, erasing: Array, erase: Array, adding: Array, add: Array, written: Array) -> None:
    """M(i) prod_h [1 - w_h(i) e_h] + sum_h w_h(i) a_h (Graves et al. 2014, eqs. 3 and 4) into `written` (W, L).

    Args:
        erasing: (E, L) the weights to erase by.
        erase: (E, W) e_h.
        adding: (A, L) the weights to add by.
        add: (A, W) a_h.
    """
    width, locations = memory.shape
    for w in range(width):
        row, out = memory[w], written[w]
        for i in range(locations):
            out[i] = row[i]
        for h in range(erasing.shape[0]):
            weight, e = erasing[h], erase[h, w]
            for i in range(locations):
                out[i] *= 1 - e * weight[i]
        for h in range(adding.shape[0]):
            weight, a = adding[h], add[h, w]
            for i in range(locations):
                out[i] += a * weight[i]


@compiled
def add_back(adding: Array, add: Array, d_memory: Array, d_adding: Array, d_add: Array) -> None:
    """Gradient of the adding in `write`: added to `d_adding` (A, L), written to `d_add` (A, W)."""
    width, locations = d_memory.shape
    for w in range(width):
        d_row = d_memory[w]
        for h in range(adding.shape[0]):
            weight, d_weight, a = adding[h], d_adding[h], add[h, w]
            total = a * 0
            for i in range(locations):
                d_weight[i] += a * d_row[i]
                total += weight[i] * d_row[i]
            d_add[h, w] = total


@compiled
def erase_back(memory: Array, erasing: Array, erase: Array, d_memory: Array, d_erasing: Array, d_erase: Array) -> None:
    """Gradient of the erasing in `write`: turns `d_memory` into that of M; the others as in `add_back`."""
    width, locations = memory.shape
    heads = erasing.shape[0]
    others = np.empty(locations, memory.dtype)
    for w in range(width):
        row, d_row = memory[w], d_memory[w]
        for h in range(heads):
            for i in range(locations):
                others[i] = d_row[i] * row[i]
            for other in range(heads):
                if other != h:
                    weight, e = erasing[other], erase[other, w]
                    for i in range(locations):
                        others[i] *= 1 - e * weight[i]
            weight, d_weight, e = erasing[h], d_erasing[h], erase[h, w]
            total = e * 0
            for i in range(locations):
                d_weight[i] -= e * others[i]
                total += weight[i] * others[i]
            d_erase[h, w] = -total
        for h in range(heads):
            weight, e = erasing[h], erase[h, w]
            for i in range(locations):
                d_row[i] *= 1 - e * weight[i]


@compiled
def read(memory: Array, weights: Array, reads: Array) -> None:
    """r = sum_i w(i) M(i) (Graves et al. 2014, eq. 2) of weights (R, L) into `reads` (R, W)."""
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
def read_back(memory: Array, weights: Array, d_reads: Array, d_memory: Array, d_weights: Array) -> None:
    """Gradient of `read`, added to `d_memory` (W, L) and `d_weights` (R, L)."""
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
    """Softmax of (L,) into `out`; overwrites `logits`; `bits` as in `exp`."""
    top, total = logits[0], logits[0] * 0
    for i in range(len(logits)):
        top = max(top, logits[i])
    for i in range(len(logits)):
        logits[i] -= top
    exp(logits, out, bits)
    for i in range(len(logits)):
        total += out[i]
    total = 1 / total
    for i in range(len(logits)):
        out[i] *= total


@compiled
def softmax_back(out: Array, d_out: Array) -> None:
    """Gradient of `softmax` in place: `d_out` (L,) becomes that of the logits."""
    along = out[0] * 0
    for i in range(len(out)):
        along += out[i] * d_out[i]
    for i in range(len(out)):
        d_out[i] = out[i] * (d_out[i] - along)
