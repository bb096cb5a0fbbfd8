"""What the compiled time loops of all accesses share: the controller, the interface and the reads; see `scan`."""

from __future__ import annotations

from typing import NamedTuple

from metacli.models.memory.fast import elementwise
from metacli.models.memory.fast.elementwise import Array, compiled, copy_row
from metacli.models.memory.fast.product import add_product
from metacli.models.memory.fast.tape import step_indices


class Steps(NamedTuple):
    """The arrays of all steps that the compiled loop of an access shares with the controller.

    G is 4 H for an LSTM, gates in PyTorch's order i, f, g, o, and H for a feedforward layer. A cell's input is the
    output from below (the reads for the first layer), followed by h_{t-1} for an LSTM; V is the widest of all layers.

    Attributes:
        mask: (T, B), whether a task takes a step.
        keep: whether a backward pass follows; see `Tape`.
        recurrent: whether the controller is an LSTM.
        hidden: H.
        input_gates: (T, B, G), the inputs' part of the first layer, with its bias.
        widths: (layers,), the width of each layer's input.
        weights: (layers, V, G), zeros below the width.
        biases: (layers, G).
        interface_weight: (H, I).
        interface_bias: (I,).
        cell_inputs: states (layers, B, V).
        cells: states (layers, B, H); of width 0 for a feedforward controller.
        gates: steps (layers, B, G), after their activations.
        tanh_cells: steps (layers, B, H); of width 0 for a feedforward controller.
        interface: steps (B, I).
        reads: (B, D), those of the current step.
        outputs: (B, T, H + D), the controller's output and the reads, 0 where the mask is False.
        bits: scratch array; see `elementwise.exp`.
    """

    mask: Array
    keep: bool
    recurrent: bool
    hidden: int
    input_gates: Array
    widths: Array
    weights: Array
    biases: Array
    interface_weight: Array
    interface_bias: Array
    cell_inputs: Array
    cells: Array
    gates: Array
    tanh_cells: Array
    interface: Array
    reads: Array
    outputs: Array
    bits: Array


class StepGradients(NamedTuple):
    """The gradients of `Steps`, and the weights transposed.

    Attributes:
        weights: (layers, G, V).
        interface_weight: (I, H).
        outputs: (B, T, H + D).
        interface: (T, B, I), zeros before the backward pass.
        gates: (T, layers, B, G), before their activations.
        h: (layers, B, H), from after to before the current step; of width 0 for a feedforward controller.
        cells: likewise.
        state_reads: (B, D), of the reads as part of the state, from after to before the current step.
        reads: (B, D), of the reads of the current step.
        hidden: (B, H), of the output of the current layer.
        cell_input: (B, V), of the input of the current layer.
    """

    weights: Array
    interface_weight: Array
    outputs: Array
    interface: Array
    gates: Array
    h: Array
    cells: Array
    state_reads: Array
    reads: Array
    hidden: Array
    cell_input: Array


@compiled
def compute_interface(steps: Steps, t: int) -> None:
    """Computes the controller's output and the interface of step t."""
    now, before, after = step_indices(t, steps.keep)
    hidden, layers, outputs = steps.hidden, len(steps.weights), steps.outputs[:, t]
    for layer in range(layers):
        rows, width = steps.gates[now, layer], steps.widths[layer]
        cell_input, next_input = steps.cell_inputs[before, layer], steps.cell_inputs[after, layer]
        for b in range(len(rows)):
            copy_row(steps.input_gates[t, b] if layer == 0 else steps.biases[layer], rows[b])
        add_product(cell_input[:, :width], steps.weights[layer, :width], rows)
        for b in range(len(rows)):
            output = outputs[b, :hidden] if layer == layers - 1 else steps.cell_inputs[before, layer + 1, b, :hidden]
            if steps.recurrent:
                h, h_before = next_input[b, width - hidden : width], cell_input[b, width - hidden : width]
                c_before, c = steps.cells[before, layer, b], steps.cells[after, layer, b]
                if steps.mask[t, b]:
                    _cell_forward(rows[b], c_before, c, steps.tanh_cells[now, layer, b], h, steps.bits)
                    copy_row(h, output)
                else:
                    copy_row(h_before, h)
                    copy_row(c_before, c)
            else:
                elementwise.tanh(rows[b], rows[b], steps.bits)
                copy_row(rows[b], output)
            if not steps.mask[t, b]:
                output[:] = 0
    interface = steps.interface[now]
    for b in range(len(interface)):
        copy_row(steps.interface_bias, interface[b])
    add_product(outputs[:, :hidden], steps.interface_weight, interface)


@compiled
def store_reads(steps: Steps, t: int) -> None:
    """Stores the reads of step t in the outputs, and as a part of the state."""
    _, before, after = step_indices(t, steps.keep)
    size = steps.reads.shape[1]
    for b in range(len(steps.reads)):
        if steps.mask[t, b]:
            copy_row(steps.reads[b], steps.cell_inputs[after, 0, b, :size])
            copy_row(steps.reads[b], steps.outputs[b, t, steps.hidden :])
        else:
            copy_row(steps.cell_inputs[before, 0, b, :size], steps.cell_inputs[after, 0, b, :size])
            steps.outputs[b, t, steps.hidden :] = 0


@compiled
def compute_reads_gradient(steps: Steps, gradients: StepGradients, t: int) -> None:
    """Computes the gradient of the reads of step t, where the mask is True."""
    d_reads, d_state_reads = gradients.reads, gradients.state_reads
    for b in range(len(d_reads)):
        d_outputs = gradients.outputs[b, t, steps.hidden :]
        for j in range(d_reads.shape[1]):
            d_reads[b, j] = d_outputs[j] + d_state_reads[b, j]


@compiled
def compute_interface_backward(steps: Steps, gradients: StepGradients, t: int) -> None:
    """Computes the backward step from the interface of step t to the reads and the state before it."""
    d_hidden, d_cell_input, d_state_reads = gradients.hidden, gradients.cell_input, gradients.state_reads
    hidden = steps.hidden
    for b in range(len(d_hidden)):
        copy_row(gradients.outputs[b, t, :hidden], d_hidden[b])
    add_product(gradients.interface[t, :, : steps.interface.shape[2]], gradients.interface_weight, d_hidden)
    for layer in range(len(steps.weights) - 1, -1, -1):
        width = steps.widths[layer]
        for b in range(len(d_hidden)):
            d_gates, gates = gradients.gates[t, layer, b], steps.gates[t, layer, b]
            if not steps.mask[t, b]:
                d_gates[:] = 0
            elif steps.recurrent:
                d_h, d_c = gradients.h[layer, b], gradients.cells[layer, b]
                for j in range(hidden):
                    d_h[j] += d_hidden[b, j]
                _cell_backward(gates, steps.cells[t, layer, b], steps.tanh_cells[t, layer, b], d_h, d_c, d_gates)
            else:
                for j in range(hidden):
                    d_gates[j] = d_hidden[b, j] * (1 - gates[j] * gates[j])
        d_cell_input[:] = 0
        add_product(gradients.gates[t, layer, :, : steps.gates.shape[3]], gradients.weights[layer], d_cell_input)
        for b in range(len(d_hidden)):
            if not steps.mask[t, b]:
                continue
            if steps.recurrent:
                copy_row(d_cell_input[b, width - hidden : width], gradients.h[layer, b])
            if layer == 0:
                copy_row(d_cell_input[b, : d_state_reads.shape[1]], d_state_reads[b])
            else:
                copy_row(d_cell_input[b, :hidden], d_hidden[b])


@compiled
def _cell_forward(gates: Array, c_before: Array, c: Array, tanh_c: Array, h: Array, bits: Array) -> None:
    """Applies the activations of the gates (4 H,), i, f, g, o, in place; writes c_t, tanh c_t and h_t (H,)."""
    hidden = len(c)
    i, f, g, o = gates[:hidden], gates[hidden : 2 * hidden], gates[2 * hidden : 3 * hidden], gates[3 * hidden :]
    elementwise.sigmoid(gates[: 2 * hidden], gates[: 2 * hidden], bits)
    elementwise.tanh(g, g, bits)
    elementwise.sigmoid(o, o, bits)
    for j in range(hidden):
        c[j] = f[j] * c_before[j] + i[j] * g[j]
    elementwise.tanh(c, tanh_c, bits)
    for j in range(hidden):
        h[j] = o[j] * tanh_c[j]


@compiled
def _cell_backward(gates: Array, c_before: Array, tanh_c: Array, d_h: Array, d_c: Array, d_gates: Array) -> None:
    """Writes the gradient of the gates before their activations into `d_gates`; `d_c` becomes that of c_{t-1}."""
    hidden = len(c_before)
    i, f, g, o = gates[:hidden], gates[hidden : 2 * hidden], gates[2 * hidden : 3 * hidden], gates[3 * hidden :]
    d_i, d_f = d_gates[:hidden], d_gates[hidden : 2 * hidden]
    d_g, d_o = d_gates[2 * hidden : 3 * hidden], d_gates[3 * hidden :]
    for j in range(hidden):
        d = d_c[j] + d_h[j] * o[j] * (1 - tanh_c[j] * tanh_c[j])
        d_i[j] = d * g[j] * i[j] * (1 - i[j])
        d_f[j] = d * c_before[j] * f[j] * (1 - f[j])
        d_g[j] = d * i[j] * (1 - g[j] * g[j])
        d_o[j] = d_h[j] * tanh_c[j] * o[j] * (1 - o[j])
        d_c[j] = d * f[j]
