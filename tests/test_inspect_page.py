"""The page in a real browser: no error, stepping changes what it should, the numbers are those of the trace."""

from __future__ import annotations

import base64
import html
import json
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from test_inspect import CASES, trace_of

from metacli.errors import UsageError
from metacli.inspect.highlights import choose_first_step, rank_heads
from metacli.inspect.page import page_data, save_page
from metacli.inspect.trace import MemoryTrace, record_traces
from metacli.models.memory.mann import MANN
from metacli.tasks.sequences.copy import Copy

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
browser = pytest.mark.skipif(CHROMIUM is None, reason="no chromium here: apt-get install chromium")


def unpacked(entry: dict) -> np.ndarray:
    raw = np.frombuffer(base64.b64decode(entry["data"]), "<u2").reshape(entry["shape"])
    return entry["low"] + raw / 65535 * (entry["high"] - entry["low"])


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_the_numbers_in_the_page_are_those_of_the_trace(name, kind):
    trace = trace_of(name, kind)
    data = json.loads(json.dumps(page_data(trace, []), allow_nan=False))
    assert [h["name"] for h in data["heads"]] == [h.name for h in trace.heads]
    for entry, head in zip(data["heads"], trace.heads, strict=True):
        shown = unpacked(entry)
        if head.role == "attention" and kind == "independent":
            assert entry["names"][-1] == "itself"
            np.testing.assert_allclose(shown[:, -1], head.weights.diagonal(), atol=1e-5)
            for t in range(trace.steps):
                earlier = min(t, trace.start)
                np.testing.assert_allclose(shown[t, :earlier], head.weights[t, :earlier], atol=1e-5)
        else:
            np.testing.assert_allclose(shown, head.weights, atol=1e-5)
    for entry in data["arrays"]:
        span = entry["high"] - entry["low"]
        np.testing.assert_allclose(unpacked(entry), trace.arrays[entry["name"]], atol=span / 65535 + 1e-6)
    assert [i["correct"] for i in data["items"][trace.start :]] == trace.arrays["correct"].tolist()


def test_a_page_needs_no_network_and_nothing_in_it_can_end_the_script(tmp_path: Path):
    trace = trace_of("ntm", "independent")
    names = ["</script><script>alert(1)</script>", "<b>&amp;", '"quoted"']
    save_page(tmp_path / "p.html", replace(trace, sample=replace(trace.sample, classes=names)), [])
    text = (tmp_path / "p.html").read_text()
    assert not re.search(r"https?:|src=|href=|@import|url\(", text.replace("src: item.image", ""))
    assert text.count("</script>") == 2
    assert "<b>&amp;" not in text


def test_an_episode_of_50_steps_and_a_memory_of_128_x_40_is_under_3_mb(tmp_path: Path):
    tasks = Copy(Copy.Config(length=25), 0)
    trace = record_traces(MANN(MANN.Config(hidden=200), tasks.spec), tasks, "test", 0)[0]
    assert trace.steps >= 50
    assert trace.arrays["memory"].shape[1:] == (128, 40)
    save_page(tmp_path / "p.html", trace, [])
    assert (tmp_path / "p.html").stat().st_size < 3_000_000


def test_only_the_chosen_heads_are_in_the_page():
    trace = trace_of("mann", "stream")
    assert [h["name"] for h in page_data(trace, ["read1"])["heads"]] == ["read1"]
    with pytest.raises(UsageError, match="no head"):
        page_data(trace, ["read7"])


CATCH = """<script>
window.errors = [];
addEventListener("error", (e) => errors.push(e.message));
addEventListener("unhandledrejection", (e) => errors.push(String(e.reason)));
console.error = console.warn = (...words) => errors.push(words.join(" "));
</script>"""

DRIVE = """<script>
const key = (name) => document.dispatchEvent(new KeyboardEvent("keydown", { key: name, bubbles: true }));
const buttons = () => [...document.querySelectorAll("#film button")];
const selected = () => buttons().findIndex((b) => b.getAttribute("aria-selected") === "true");
function hover(canvas, row, rows) {
  const box = canvas.getBoundingClientRect();
  const place = { clientX: box.left + box.width / 2, clientY: box.top + ((row + 0.5) * box.height) / rows };
  canvas.dispatchEvent(new PointerEvent("pointermove", { ...place, bubbles: true }));
  return document.getElementById("tip").textContent;
}
const result = { steps: [], errors: window.errors, opened: selected() };
const rows = () => [...document.querySelectorAll("#columns canvas")].map((canvas) => canvas.height);
const everything = document.getElementById("all");
result.inUse = rows();
result.names = [...document.querySelectorAll("#odds small")].map((name) => name.textContent);
result.told = document.getElementById("facts").textContent + document.getElementById("spoken").textContent;
result.spill = document.getElementById("columns").scrollWidth - document.getElementById("columns").clientWidth;
result.map = [document.getElementById("which").value, document.querySelector("#map canvas").height];
result.reader = document.getElementById("reader").value;
everything.checked = true; everything.dispatchEvent(new Event("change"));
result.all = rows();
const reader = document.getElementById("reader");
reader.selectedIndex = 0; reader.dispatchEvent(new Event("change"));
key("Home");
for (let t = 0; t < buttons().length; t++) {
  const columns = [...document.querySelectorAll("#columns figure")].map((figure) => {
    const canvas = figure.querySelector("canvas"), rows = canvas.height;
    return { name: figure.querySelector("figcaption").textContent,
      tips: Array.from({ length: rows }, (_, r) => hover(canvas, r, rows)),
      pixels: Array.from(canvas.getContext("2d").getImageData(0, 0, 1, rows).data) };
  });
  result.steps.push({ selected: selected(), where: document.getElementById("where").textContent,
    slider: document.getElementById("slider").value, facts: document.getElementById("facts").innerText,
    tabs: buttons().filter((b) => b.tabIndex === 0).length, columns,
    shares: buttons().map((b) => b.querySelector(".number").textContent),
    signals: document.getElementById("parameters").textContent });
  key("ArrowRight");
}
result.stays = selected();
key("Home"); result.home = selected();
key("ArrowLeft"); result.before = selected();
key("End"); result.end = selected();
buttons()[2].click(); result.click = selected();
document.getElementById("back").click(); result.back = selected();
document.getElementById("forward").click(); result.forward = selected();
const slider = document.getElementById("slider");
slider.value = 4; slider.dispatchEvent(new Event("input")); result.slid = selected();
const map = document.querySelector("#map canvas"), box = map.getBoundingClientRect();
const middle = box.left + (box.width * 4.5) / buttons().length;
map.dispatchEvent(new MouseEvent("click", { clientX: middle, clientY: box.top + 3 }));
result.mapped = selected();
const which = document.getElementById("which");
result.maps = [...which.options].map((option, i) => {
  which.selectedIndex = i; which.dispatchEvent(new Event("change"));
  return hover(document.querySelector("#map canvas"), 0, document.querySelector("#map canvas").height);
});
result.overflow = document.documentElement.scrollWidth - document.documentElement.clientWidth;
result.width = innerWidth;
result.dark = matchMedia("(prefers-color-scheme: dark)").matches;
result.paper = getComputedStyle(document.body).backgroundColor;
result.ink = getComputedStyle(document.body).color;
const pre = document.createElement("pre");
pre.id = "result";
pre.textContent = JSON.stringify(result);
document.body.append(pre);
</script></body>"""


PLAY = """<script>
const key = (name) => document.body.dispatchEvent(new KeyboardEvent("keydown", { key: name, bubbles: true }));
const slider = document.getElementById("slider"), button = document.getElementById("play");
const result = { seen: [], errors: window.errors };
const look = () => result.seen.push([Number(slider.value) - 1, button.textContent]);
const wait = (time) => new Promise((done) => setTimeout(done, time));
(async () => {
  key("Home"); look();
  button.click(); await wait(1700); look();
  key("p"); await wait(3000); look();
  key("p"); await wait(1000); key("ArrowRight"); look(); await wait(3000); look();
  key("End"); key("p"); look(); await wait(60000); look();
  const pre = document.createElement("pre");
  pre.id = "result";
  pre.textContent = JSON.stringify(result);
  document.body.append(pre);
})();
</script></body>"""


def drive(trace: MemoryTrace, folder: Path, size: str = "1280,900", *options: str, script: str = DRIVE) -> dict:
    """Open the page of a trace in a headless Chromium, use it, and give what was seen."""
    save_page(folder / "page.html", trace, [])
    text = (folder / "page.html").read_text()
    text = text.replace("<head>", f"<head>{CATCH}", 1).replace("</body>", script, 1)
    (folder / "driven.html").write_text(text)
    command = [str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
    command += [f"--window-size={size}", f"--user-data-dir={folder / 'profile'}", "--enable-logging=stderr"]
    command += [f"--virtual-time-budget={3000 if script == DRIVE else 90000}", *options]
    address = (folder / "driven.html").as_uri()
    done = subprocess.run([*command, "--dump-dom", address], capture_output=True, text=True, timeout=120, check=False)
    found = re.search(r'<pre id="result">(.*?)</pre>', done.stdout, re.S)
    assert found, done.stderr[-2000:]
    assert not re.search(r"CONSOLE.*(rror|refused)", done.stderr), done.stderr[-2000:]
    return json.loads(html.unescape(found[1]))


@browser
@pytest.mark.parametrize(("name", "kind"), [("ntm", "sequence"), ("mann", "stream"), ("snail", "independent")])
def test_in_a_browser_every_step_shows_the_numbers_of_the_trace(name, kind, tmp_path: Path):
    trace = trace_of(name, kind)
    seen = drive(trace, tmp_path)
    assert seen["errors"] == []
    data = page_data(trace, [])
    assert seen["opened"] == data["opens"] == choose_first_step(trace)
    assert seen["map"][0] == seen["reader"] == next(iter(rank_heads(trace)))
    assert set(seen["inUse"]) == {len(data["used"]) or len(data["heads"][0]["names"])}
    assert set(seen["all"]) == {len(data["locations"]) or len(data["heads"][0]["names"])}
    assert seen["names"] == [name for _, name in trace.sample.legend]
    if trace.sample.legend:
        answer = int(trace.sample.labels_test[data["opens"] - trace.start])
        assert f"{answer} = {trace.sample.classes[answer]}" in seen["told"]
    assert seen["spill"] <= 0
    heads = {entry["name"]: unpacked(entry) for entry in data["heads"]}
    assert len(seen["steps"]) == trace.steps
    for t, step in enumerate(seen["steps"]):
        assert (step["selected"], step["slider"], step["tabs"]) == (t, str(t + 1), 1)
        part = "D_train" if t < trace.start else f"D_test, query {t - trace.start + 1}"
        assert step["where"] == f"step {t + 1} of {trace.steps}: {part}"
        columns = {c["name"]: c for c in step["columns"]}
        assert set(heads) <= set(columns)
        for head, values in heads.items():
            told = [float(tip.rsplit(": ", 1)[1]) for tip in columns[head]["tips"]]
            np.testing.assert_allclose(told, values[t], atol=6e-4)
            red = np.array(columns[head]["pixels"]).reshape(-1, 4)[:, 0].astype(float)
            expected = np.interp(values[t], [0, 1], [0, 254])
            assert np.abs(red - expected).max() < 40
            assert red[values[t].argmax()] == red.max()
        shares = trace.sources[t].mean(0)
        told = [float(text or 0) for text in step["shares"]]
        np.testing.assert_allclose(told, np.where(shares >= 0.005, shares, 0), atol=6e-3)
        if t >= trace.start:
            ok = trace.arrays["correct"][t - trace.start]
            assert ("(right)" if ok else "(wrong)") in step["facts"]
            assert f"{trace.arrays['confidence'][t - trace.start]:.3f}" in step["facts"]
    if name == "ntm":
        assert f"{trace.arrays['gate'][0, 0, 0]:.3f}" in seen["steps"][0]["signals"]
        assert seen["steps"][0]["signals"] != seen["steps"][1]["signals"]
    last = trace.steps - 1
    assert (seen["stays"], seen["home"], seen["before"], seen["end"]) == (last, 0, 0, last)
    assert (seen["click"], seen["back"], seen["forward"], seen["slid"], seen["mapped"]) == (2, 1, 2, 3, 4)
    assert all(re.search(r": -?\d+\.\d{3}$", tip) for tip in seen["maps"])


@browser
@pytest.mark.parametrize(("options", "played"), [((), 2), (("--force-prefers-reduced-motion",), 0)])
def test_in_a_browser_it_plays_until_it_is_paused_or_a_step_is_chosen(options, played, tmp_path: Path):
    trace = trace_of("mann", "stream")
    seen, last = drive(trace, tmp_path, "1280,900", *options, script=PLAY), trace.steps - 1
    assert seen["errors"] == []
    home, playing, paused, chosen, still, again, end = seen["seen"]
    assert (home, playing, paused) == ([0, "Play"], [played, "Pause"], [played, "Play"])
    assert chosen == still == [played + (2 if played else 1), "Play"]
    assert (again, end) == ([0, "Pause"], [last, "Play"])


@browser
@pytest.mark.parametrize("name", ["lstm", "mann"])
def test_in_a_browser_it_fits_a_phone_and_the_dark(name, tmp_path: Path):
    torch.manual_seed(0)
    trace = trace_of(name, "independent")
    narrow = drive(trace, tmp_path, "390,800")
    assert narrow["errors"] == []
    assert narrow["width"] <= 500
    assert narrow["overflow"] <= 0
    dark = drive(trace, tmp_path, "1280,900", "--force-dark-mode", "--blink-settings=preferredColorScheme=0")
    assert dark["errors"] == []

    def lightness(colour: str) -> float:
        return sum(int(part) for part in re.findall(r"\d+", colour)[:3]) / 765

    assert lightness(narrow["paper"]) > 0.9 > 0.3 > lightness(narrow["ink"])
    assert dark["dark"]
    assert lightness(dark["paper"]) < 0.2 < 0.8 < lightness(dark["ink"])
