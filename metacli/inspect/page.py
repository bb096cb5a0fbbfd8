"""A trace as one self-contained HTML page: the steps of the task as a strip, the memory at each step."""

from __future__ import annotations

import base64
import html
import io
import json
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from metacli.inspect.analysis import find_heads, format_answer, head_rows, label_of_step, reading_head_names
from metacli.inspect.highlights import View, choose_first_step, find_used_locations, rank_heads
from metacli.inspect.trace import COMMON, MemoryTrace
from metacli.show.channels import channel_rows
from metacli.system import outputs

_CIVIDIS = [
    [0, 34, 78], [0, 46, 106], [26, 56, 111], [50, 67, 109], [67, 78, 108], [83, 90, 109], [97, 101, 111],
    [111, 112, 115], [125, 124, 120], [140, 136, 120], [155, 148, 118], [171, 160, 114], [188, 174, 108],
    [205, 187, 99], [222, 201, 88], [240, 216, 70], [254, 232, 56],
]  # fmt: skip
_SCRIPTS = ("page.js", "page_memory.js", "page_steps.js")  # one after the other
_LARGEST = 3_000_000  # numbers of an array in the page; larger arrays are only in the other files


def save_page(path: str | Path, trace: MemoryTrace, heads: list[str]) -> None:
    """Saves a trace as a page that needs no network and no server. Its numbers have a precision of 16 bits.

    Args:
        heads: names of the heads to show; empty for all.

    Raises:
        MetacliError: the file cannot be written, or a weighting is not a distribution.
        UsageError: no such head.
    """
    trace.check()
    data = json.dumps(page_data(trace, heads), separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
    package = resources.files(__package__)
    text = {name: package.joinpath(name).read_text("utf-8") for name in ("page.html", "page.css", *_SCRIPTS)}
    script = "\n".join(text[name] for name in _SCRIPTS).replace("__MAP__", json.dumps(_CIVIDIS))
    page = text["page.html"].replace("__TITLE__", html.escape(f"{trace.model} on {trace.sample.title}"))
    page = page.replace("__CSS__", text["page.css"]).replace("__JS__", script).replace("__DATA__", data)
    outputs.write_output(path, page)


def page_data(trace: MemoryTrace, heads: list[str]) -> dict[str, Any]:
    """Returns the data of the page's script as plain values; see page.js."""
    s = trace.sample
    chosen, locations, memory_views = [], [], []
    for head in find_heads(trace, heads):
        values, names = head_rows(trace, head)
        if head.role != "attention":
            locations = names
            memory_views.append(View(head.name, head.role, values, names))
        about = trace.about[trace.names(head.role)[0]]
        entry = {"name": head.name, "role": head.role, "text": about.text, **_pack(values.T, 0.0, 1.0)}
        chosen.append(entry | ({"names": names} if head.role == "attention" else {}))
    drawn_roles = {"memory", "usage", "weighting", "links", "level", ""}
    arrays = [
        {"name": name, "role": about.role, "axes": list(about.axes), "text": about.text, **_pack(trace.arrays[name])}
        | ({"names": about.names} if about.names else {})
        for name, about in trace.about.items()
        if name not in COMMON and about.role in drawn_roles and name != "reads" and trace.arrays[name].size <= _LARGEST
    ]
    return {
        "title": f"{trace.model} on {s.title}",
        "score": trace.verdict,
        "legend": " · ".join(f"{label} = {name}" for label, name in s.legend),
        "places": "Memory after this step" if trace.names("memory") else "Attended by this step",
        "names": dict(s.legend),
        "mode": s.mode,
        "start": trace.start,
        "opens": choose_first_step(trace),
        "locations": locations,
        "used": find_used_locations(memory_views).tolist(),
        "first": next(iter(rank_heads(trace)), ""),
        "items": _build_items(trace),
        "heads": chosen,
        "arrays": arrays,
        "readers": reading_head_names(trace),
        "sources": None if trace.sources is None else _pack(trace.sources, 0.0, 1.0),
    }


def _build_items(trace: MemoryTrace) -> list[dict[str, Any]]:
    s, decoded = trace.sample, trace.decoded
    rows = None if s.view == "images" else channel_rows(s, decoded)
    items = []
    for t in range(trace.steps):
        q = t - trace.start
        item: dict[str, Any] = {"label": label_of_step(trace, t), "query": q >= 0, "correct": None}
        if rows is None:
            item["image"] = _encode_image(trace.arrays["x"][t])
        else:
            item["shades"] = _round_list(rows.inputs[:, t])
            item["rows"] = [["input", item["shades"], _round_list(trace.arrays["x"][t])]]
        if q >= 0 and s.scored[q]:
            item |= {"answer": item["label"], "prediction": format_answer(trace, q)}
            if decoded.correct is not None and decoded.confidence is not None:
                item |= {"correct": bool(decoded.correct[q]), "confidence": float(decoded.confidence[q])}
            if rows is not None and len(rows.answers):
                model_values = decoded.prediction if decoded.probability is None else decoded.probability
                item["rows"] += [
                    ["right answer", _round_list(rows.answers[:, t]), _round_list(s.y_test[q])],
                    ["answer of the model", _round_list(rows.guesses[:, t]), _round_list(model_values[q])],
                ]
            if s.answer.is_class_label and s.answer.components == 1 and decoded.probability is not None:
                item["odds"] = _round_list(decoded.probability[q])
        if q >= 0 and s.labels_previous:
            item["previous"] = s.labels_previous[q]
        items.append(item)
    return items


def _pack(values: np.ndarray, low: float | None = None, high: float | None = None) -> dict[str, Any]:
    """Returns an array as base64 of little-endian 16-bit numbers from `low` (0) to `high` (65535)."""
    low = float(values.min()) if low is None else low
    high = float(values.max()) if high is None else high
    scaled = np.rint((values.astype(np.float64) - low) / ((high - low) or 1.0) * 65535).clip(0, 65535)
    data = base64.b64encode(scaled.astype("<u2").tobytes()).decode()
    return {"shape": list(values.shape), "low": low, "high": high, "data": data}


def _encode_image(image: np.ndarray) -> str:
    """Returns an image (C, H, W) in [0, 1] as a data address; a single channel as dark ink on white."""
    pixels = (image.clip(0, 1) * 255).astype(np.uint8)
    picture = Image.fromarray(pixels.transpose(1, 2, 0)) if len(pixels) == 3 else Image.fromarray(255 - pixels[0])
    file = io.BytesIO()
    picture.save(file, format="PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"


def _round_list(values: np.ndarray) -> list[float]:
    return [round(float(v), 6) for v in values]
