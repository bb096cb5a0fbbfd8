"""Compiled temporal links of one task, with gradients; equations as in `metacli.models.memory.linkage`."""

from __future__ import annotations

from metacli.models.memory.fast.elementwise import Array, compiled


@compiled
def update_links(
    links_before: Array,
    write_weights: Array,
    precedence: Array,
    read_weights: Array,
    links: Array,
    backward: Array,
    forward: Array,
) -> None:
    """Writes L_t into `links` (L, L), L_t^T w^(r,i)_(t-1) into `backward` and L_t w^(r,i)_(t-1) into `forward` (R, L).

    Each row of L_t is used while it is in the processor's cache.

    Args:
        links_before: (L, L) L_(t-1).
        write_weights: (L,) w^w_t.
        precedence: (L,) p_(t-1).
        read_weights: (R, L) w^(r,i)_(t-1).
    """
    locations, heads = len(write_weights), len(read_weights)
    one = links.dtype.type(1)  # an integer would turn float32 into float64
    backward[:] = 0
    for i in range(locations):
        row_before, row, weight = links_before[i], links[i], write_weights[i]
        for j in range(locations):
            row[j] = (one - weight - write_weights[j]) * row_before[j] + weight * precedence[j]
        row[i] = 0
        for h in range(heads):
            read_row, backward_row = read_weights[h], backward[h]
            read_weight, total = read_row[i], row[0] * 0
            for j in range(locations):
                backward_row[j] += read_weight * row[j]
            for j in range(locations):
                total += row[j] * read_row[j]
            forward[h, i] = total


@compiled
def update_links_backward(
    links_before: Array,
    write_weights: Array,
    precedence: Array,
    read_weights: Array,
    links: Array,
    d_backward: Array,
    d_forward: Array,
    d_links: Array,
    d_write_weights: Array,
    d_precedence: Array,
    d_read_weights: Array,
) -> None:
    """Gradient of `update_links`: turns `d_links` into that of L_(t-1), and adds to the last three."""
    locations, heads = len(write_weights), len(read_weights)
    one = links.dtype.type(1)
    for i in range(locations):
        row_before, row, d_row, weight = links_before[i], links[i], d_links[i], write_weights[i]
        for h in range(heads):
            read_row, d_backward_row, d_read_row = read_weights[h], d_backward[h], d_read_weights[h]
            read_weight, d_forward_i, total = read_row[i], d_forward[h, i], row[0] * 0
            for j in range(locations):
                d_row[j] += read_weight * d_backward_row[j] + d_forward_i * read_row[j]
                total += row[j] * d_backward_row[j]
                d_read_row[j] += d_forward_i * row[j]
            d_read_row[i] += total
        d_row[i] = 0
        total = row[0] * 0
        for j in range(locations):
            scaled = d_row[j] * row_before[j]
            total += d_row[j] * precedence[j] - scaled
            d_write_weights[j] -= scaled
            d_precedence[j] += weight * d_row[j]
            d_row[j] *= one - weight - write_weights[j]
        d_write_weights[i] += total


@compiled
def update_precedence(previous: Array, write_weights: Array, precedence: Array) -> None:
    """Writes p_t into `precedence` (L,), given p_(t-1) and w^w_t."""
    retained = write_weights.dtype.type(1) - write_weights.sum()
    for i in range(len(previous)):
        precedence[i] = retained * previous[i] + write_weights[i]


@compiled
def update_precedence_backward(
    previous: Array, write_weights: Array, d_precedence: Array, d_write_weights: Array
) -> None:
    """Gradient of `update_precedence`: turns `d_precedence` into that of p_(t-1), and adds to `d_write_weights`."""
    retained, projection = write_weights.dtype.type(1) - write_weights.sum(), previous[0] * 0
    for i in range(len(previous)):
        projection += d_precedence[i] * previous[i]
    for i in range(len(previous)):
        d_write_weights[i] += d_precedence[i] - projection
        d_precedence[i] *= retained


@compiled
def read_weighting(backward: Array, content: Array, forward: Array, modes: Array, read_weights: Array) -> None:
    """Writes w^(r,i)_t into `read_weights` (R, L), given b_t, c^r_t, f_t (R, L) and pi_t (R, 3)."""
    for h in range(len(modes)):
        backward_mode, content_mode, forward_mode = modes[h, 0], modes[h, 1], modes[h, 2]
        for i in range(backward.shape[1]):
            read_weights[h, i] = (
                backward_mode * backward[h, i] + content_mode * content[h, i] + forward_mode * forward[h, i]
            )


@compiled
def read_weighting_backward(
    backward: Array,
    content: Array,
    forward: Array,
    modes: Array,
    d_read_weights: Array,
    d_backward: Array,
    d_content: Array,
    d_forward: Array,
    d_modes: Array,
) -> None:
    """Writes the gradient of the first four of `read_weighting` into the last four."""
    for h in range(len(modes)):
        d, zero = d_read_weights[h], modes[h, 0] * 0
        backward_mode, content_mode, forward_mode = modes[h, 0], modes[h, 1], modes[h, 2]
        d_backward_mode, d_content_mode, d_forward_mode = zero, zero, zero
        for i in range(len(d)):
            d_backward_mode += d[i] * backward[h, i]
            d_content_mode += d[i] * content[h, i]
            d_forward_mode += d[i] * forward[h, i]
            d_backward[h, i] = backward_mode * d[i]
            d_content[h, i] = content_mode * d[i]
            d_forward[h, i] = forward_mode * d[i]
        d_modes[h, 0], d_modes[h, 1], d_modes[h, 2] = d_backward_mode, d_content_mode, d_forward_mode
