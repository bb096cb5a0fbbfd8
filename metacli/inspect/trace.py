"""MemoryTrace: what a model did with one task, step by step, as named and described arrays."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from metacli.errors import MetacliError
from metacli.evaluation.logits import pad_labels
from metacli.models.attribution import attribute_reads
from metacli.models.base import MetaLearner
from metacli.models.trace import WEIGHTINGS, ArrayInfo
from metacli.system import outputs
from metacli.tasks.answers import Decoded, summarize_result
from metacli.tasks.base import Split, Tasks
from metacli.tasks.sample import Sample, extract_sample


class Head(NamedTuple):
    """The weightings of one head over time.

    Attributes:
        name: read0, write1, block2, layer0.head1, ...
        role: read, write or attention.
        weights: (T, places), rows that sum to 1; places are locations, or the T steps themselves for attention.
    """

    name: str
    role: str
    weights: np.ndarray


@dataclass(frozen=True)
class MemoryTrace:
    """One task on one time axis of T = S + Q steps: the items of D_train, then those of D_test.

    In N-way K-shot (`sample.mode` independent) each query is answered from its own copy of phi, so its step follows
    step S - 1, not the step before it.

    Attributes:
        model: the model's registered name.
        sample: the task, see `metacli.tasks.sample`.
        arrays: by name: the common ones of `COMMON`, then the model's own; those about answers are (Q, *axes), all
            others (T, *axes).
        about: the meaning of each array.
        reads_first: whether a step reads the memory as it was before the step wrote.
    """

    model: str
    sample: Sample
    arrays: dict[str, np.ndarray]
    about: dict[str, ArrayInfo]
    reads_first: bool = False

    @property
    def start(self) -> int:
        """S, the step of the first query."""
        return len(self.sample.x_train)

    @property
    def steps(self) -> int:
        """T."""
        return self.start + len(self.sample.x_test)

    @property
    def decoded(self) -> Decoded:
        """The decoded logits of the model."""
        return Decoded(*(self.arrays.get(name) for name in Decoded._fields))  # type: ignore[arg-type]

    @property
    def verdict(self) -> str:
        """The number of correct answers, or the error, as text."""
        return summarize_result(self.decoded, self.sample.y_test, self.sample.scored)

    def names(self, role: str) -> list[str]:
        """The arrays of a role."""
        return [name for name, about in self.about.items() if about.role == role]

    @cached_property
    def heads(self) -> list[Head]:
        """All heads; empty for a model without memory or attention."""
        words = {"write": "write", "read": "read", "attention": "block"}
        heads = []
        for role, word in words.items():
            for name in self.names(role):
                weights = self.arrays[name]
                head_names = self.about[name].names or [f"{word}{i}" for i in range(weights.shape[1])]
                heads += [Head(n, role, weights[:, i]) for i, n in enumerate(head_names)]
        return heads

    @cached_property
    def sources(self) -> np.ndarray | None:
        """(T, heads, T) share of each reading head's weight on what each step wrote."""
        weights = {role: [h.weights for h in self.heads if h.role == role] for role in ("attention", "read", "write")}
        retention = self.names("retention")
        retention_values = self.arrays[retention[0]] if retention else None
        apart = self.sample.mode == "independent"
        return attribute_reads(weights, retention_values, self.start, apart, self.reads_first)

    def check(self) -> None:
        """Raises a MetacliError that names the step and head if a weighting is not a distribution."""
        for name, about in self.about.items():
            if about.role not in WEIGHTINGS:
                continue
            values, (low, high) = self.arrays[name], about.total
            total = values.sum(-1)
            wrong = ~((total >= low - 1e-3) & (total <= high + 1e-3) & (values >= -1e-6).all(-1))
            if wrong.any():
                step, head = (int(i) for i in np.argwhere(wrong)[0])
                should = "1" if low == high == 1 else f"{low:g} to {high:g}"
                place = f"{name}, step {step + 1}, {about.axes[0]} {head}"
                raise MetacliError(
                    f"{place}: the weights sum to {total[step, head]:.4f}, not {should}",
                    "the weights of the checkpoint are damaged or not finite; try an earlier checkpoint",
                )


COMMON = {
    "x": ArrayInfo(("x",), "the input of each step, an image (channels, height, width) in [0, 1] or a vector"),
    "y_read": ArrayInfo(("y",), "the label that the model read with x, one-hot or a random vector; zero for no label"),
    "is_query": ArrayInfo((), "whether the step is a query"),
    "answer": ArrayInfo(("part",), "the right answer to each query, which the model never sees: label, bits, y"),
    "scored": ArrayInfo((), "whether the answer is scored"),
    "logits": ArrayInfo(("out",), "the scores of the answers, before softmax or sigmoid; for real numbers, the answer"),
    "probability": ArrayInfo(("out",), "the softmax of the logits of each character; for bits, their sigmoid"),
    "prediction": ArrayInfo(("part",), "the most probable answer; for real numbers, the answer or its mean"),
    "scale": ArrayInfo(("part",), "the predicted standard deviation of the answer"),
    "confidence": ArrayInfo((), "the probability of the predicted answer; for bits, the mean over the bits"),
    "correct": ArrayInfo((), "whether the whole predicted answer is right"),
}
_BY_QUERY = ("answer", "scored", "logits", "probability", "prediction", "scale", "confidence", "correct")


@torch.no_grad()
def record_traces(model: MetaLearner, tasks: Tasks, split: Split, first: int, count: int = 1) -> list[MemoryTrace]:
    """Returns the traces of tasks first, ..., first + count - 1 of a split, with the model in eval mode.

    Raises:
        MetacliError: a weighting is not a distribution.
    """
    model.eval()
    episode = tasks.batch(split, first, count)
    weight = next(model.parameters())
    trace = model.trace(pad_labels(model, episode).to(weight.device, weight.dtype))
    logits = tasks.logits(trace.logits.float().cpu(), episode).numpy()
    values = {name: traced.values.float().cpu().numpy() for name, traced in trace.arrays.items()}
    about = {name: traced.about for name, traced in trace.arrays.items()}
    padded_support = episode.x_train.shape[1]
    traces = []
    for row in range(count):
        sample = extract_sample(tasks, split, episode, row)
        n_support, n_queries = len(sample.x_train), len(sample.x_test)
        steps = np.r_[0:n_support, padded_support : padded_support + n_queries]
        model_arrays = {name: v[row, steps] for name, v in values.items()}
        for name in model_arrays:
            if about[name].role == "attention":
                model_arrays[name] = model_arrays[name][..., steps]
        decoded = tasks.decode(logits[row, :n_queries], sample.y_test)
        arrays = _common_arrays(sample, logits[row, :n_queries], decoded) | model_arrays
        described = {name: info for name, info in (COMMON | about).items() if name in arrays}
        memory_trace = MemoryTrace(model.config.name, sample, arrays, described, trace.reads_first)
        memory_trace.check()
        traces.append(memory_trace)
    return traces


def save_npz(path: str | Path, trace: MemoryTrace) -> None:
    """Saves every array under its name, `about` (a JSON text with the axes and meaning of each), and `sources`.

    NumPy alone reads it: `json.loads(str(np.load(path)["about"]))`.

    Raises:
        MetacliError: the file cannot be written, or a weighting is not a distribution.
    """
    trace.check()
    arrays, about = _collect_arrays(trace)
    outputs.write_arrays(path, {"about": np.array(json.dumps(about)), **arrays})


def save_json(path: str | Path, trace: MemoryTrace) -> None:
    """Saves what `save_npz` does as one JSON object: `about`, and `arrays` as nested lists rounded to six digits.

    Raises:
        MetacliError: the file cannot be written, or a weighting is not a distribution.
    """
    trace.check()
    arrays, about = _collect_arrays(trace)
    plain = {name: _round_to_digits(values) for name, values in arrays.items()}
    outputs.write_output(path, json.dumps({"about": about, "arrays": plain}, allow_nan=False))


def _collect_arrays(trace: MemoryTrace) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    s, arrays = trace.sample, dict(trace.arrays)
    about: dict[str, Any] = {
        "generator": outputs.GENERATOR,
        "model": trace.model,
        "task": {"name": s.task, "split": s.split, "index": s.index, "mode": s.mode, "classes": s.classes},
        "steps": {"d_train": trace.start, "d_test": len(s.x_test)},
        "arrays": {
            name: {"axes": ["query" if name in _BY_QUERY else "step", *a.axes], "text": a.text, "role": a.role}
            | ({"names": a.names} if a.names else {})
            for name, a in trace.about.items()
        },
    }
    if trace.sources is not None:
        arrays["sources"] = trace.sources
        text = "share of each reading head's weight that lands on what each step wrote, or on the step itself"
        about["arrays"]["sources"] = {"axes": ["step", "head", "step"], "text": text, "role": ""}
    return arrays, about


def _round_to_digits(values: np.ndarray) -> Any:
    if values.dtype.kind != "f":
        return values.tolist()
    digits = 5 - np.floor(np.log10(np.abs(values).clip(1e-12))).clip(-300, 10)
    scale = 10.0**digits
    return (np.round(values.astype(np.float64) * scale) / scale).tolist()


def _common_arrays(s: Sample, logits: np.ndarray, decoded: Decoded) -> dict[str, np.ndarray]:
    n_queries = len(s.x_test)
    y_test_read = s.y_previous if s.mode == "stream" else np.zeros((n_queries, s.y_train.shape[1]), np.float32)
    return {
        "x": np.concatenate([s.x_train, s.x_test]),
        "y_read": np.concatenate([s.y_train, y_test_read]),
        "is_query": np.arange(len(s.x_train) + n_queries) >= len(s.x_train),
        "answer": s.y_test,
        "scored": s.scored,
        "logits": logits,
        **{name: value for name, value in decoded._asdict().items() if value is not None},
    }
