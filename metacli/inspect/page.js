"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const $ = (id) => document.getElementById(id);
const CIVIDIS = __MAP__;
const ORANGE = [213, 94, 0], BLUE = [0, 114, 178];
let step = 0, shownMap = 0;

/* An array of the trace: 16-bit numbers on a scale from low to high, of the shape [steps, ...]. */
function decode(a) {
  const bytes = Uint8Array.from(atob(a.data), (c) => c.charCodeAt(0));
  const raw = new Uint16Array(bytes.buffer);
  const size = a.shape.slice(1).reduce((x, y) => x * y, 1);
  const scale = (a.high - a.low) / 65535;
  return { ...a, size, at: (t, i) => a.low + raw[t * size + i] * scale };
}
data.heads = data.heads.map(decode);
data.arrays = data.arrays.map(decode).sort((a, b) => (a.axes[0] === "layer") - (b.axes[0] === "layer"));
const sources = data.sources && decode(data.sources);

/* Small helpers for the document. */
function make(tag, attributes = {}, text = "") {
  const node = document.createElement(tag);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  if (text) node.textContent = text;
  return node;
}
const number = (v) => (Math.abs(v) < 100 ? v.toFixed(3) : v.toPrecision(4));
const between = (a, b, f) => a.map((v, i) => Math.round(v + (b[i] - v) * f));
function shade(f) {
  const x = Math.min(1, Math.max(0, f)) * (CIVIDIS.length - 1), i = Math.min(CIVIDIS.length - 2, Math.floor(x));
  return between(CIVIDIS[i], CIVIDIS[i + 1], x - i);
}
function zero() {
  const hex = getComputedStyle(document.documentElement).getPropertyValue("--zero").trim();
  return [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16));
}
function signed(f) {
  return between(zero(), f < 0 ? BLUE : ORANGE, Math.min(1, Math.abs(f)));
}

/* A canvas with one pixel for each cell, stretched by CSS; hovering tells the value. */
function grid(rows, columns, colour, say, label) {
  const canvas = make("canvas", { width: columns, height: rows, role: "img", "aria-label": label });
  const context = canvas.getContext("2d"), image = context.createImageData(columns, rows);
  for (let r = 0; r < rows; r++)
    for (let c = 0; c < columns; c++) image.data.set([...colour(r, c), 255], 4 * (r * columns + c));
  context.putImageData(image, 0, 0);
  const tell = (event) => {
    const box = canvas.getBoundingClientRect();
    const c = Math.min(columns - 1, Math.max(0, Math.floor(((event.clientX - box.left) / box.width) * columns)));
    const r = Math.min(rows - 1, Math.max(0, Math.floor(((event.clientY - box.top) / box.height) * rows)));
    const tip = $("tip");
    tip.textContent = say(r, c);
    tip.hidden = false;
    tip.style.left = Math.max(4, Math.min(event.clientX + 14, innerWidth - tip.offsetWidth - 6)) + "px";
    tip.style.top = Math.max(4, event.clientY - 34) + "px";
  };
  canvas.addEventListener("pointermove", tell);
  canvas.addEventListener("pointerdown", tell);
  canvas.addEventListener("pointerleave", () => ($("tip").hidden = true));
  return canvas;
}

/* The film strip. */
function picture(t) {
  const item = data.items[t];
  if (item.image) return make("img", { src: item.image, alt: "" });
  const column = item.shades;
  const canvas = grid(column.length, 1, (r) => between([255, 255, 255], [27, 31, 36], column[r]),
    (r) => `step ${t}, input ${r}: ${number(item.rows[0][2][r])}`, `input of step ${t}`);
  canvas.style.width = "26px";
  return canvas;
}
function film() {
  data.items.forEach((item, t) => {
    const button = make("button", { type: "button", role: "option", "aria-selected": "false", tabindex: "-1" });
    if (t === data.start && t > 0) button.classList.add("first-question");
    button.append(make("span", {}, `${t}`), picture(t));
    const mark = item.correct === null ? "" : item.correct ? " \u2713" : " \u2717";
    const label = make("span", { class: `mark ${mark ? (item.correct ? "right" : "wrong") : ""}` },
      (item.label || (item.question ? "" : "in")) + (item.question ? "?" : "") + mark);
    const share = make("span", { class: "share" });
    share.append(make("i"));
    share.hidden = !sources;
    button.append(label, share, make("span", { class: "number" }));
    button.addEventListener("click", () => go(t));
    $("film").append(button);
  });
}
function reading(t) {
  if (!sources) return null;
  const [, count, steps] = sources.shape, one = $("reader").selectedIndex - 1;
  const heads = one < 0 ? Array.from({ length: count }, (_, h) => h) : [one];
  return Array.from({ length: steps }, (_, s) =>
    heads.reduce((sum, h) => sum + sources.at(t, h * steps + s), 0) / heads.length);
}

/* This step. */
function now() {
  const item = data.items[step], facts = [], shares = reading(step);
  $("shown").replaceChildren(item.image ? make("img", { src: item.image, alt: `input of step ${step}` }) : channels(item));
  if (!item.question) facts.push(["label", item.label || "none"]);
  else {
    if (data.mode === "stream") facts.push(["arrived label", item.late || "none"]);
    if (item.answer) facts.push(["right answer", item.answer]);
    if (item.correct !== null) {
      facts.push(["model", `${item.said} (${item.correct ? "right" : "wrong"})`], ["confidence", number(item.confidence)]);
    } else if (item.said) facts.push(["model", item.said]);
  }
  $("facts").replaceChildren(...facts.flatMap(([k, v]) => [make("dt", {}, k), make("dd", {}, v)]));
  $("odds").replaceChildren(...(item.odds || []).map((p, i) => {
    const row = make("div", { class: "odd" }), bar = make("span");
    bar.append(make("b", { style: `width:${100 * p}%` }));
    row.append(make("span", {}, `${i}`), bar, make("span", {}, number(p)));
    return row;
  }));
  let spoken = "";
  if (shares && step > 0) {
    const earlier = shares.slice(0, step), best = earlier.indexOf(Math.max(...earlier));
    const label = data.items[best].label;
    spoken = `Reads most from step ${best}${label ? ` (${label})` : ""}: ${number(earlier[best])}.`;
  }
  $("spoken").textContent = spoken;
  const part = item.question ? `D_test, question ${step - data.start}` : "D_train";
  $("where").textContent = `step ${step} of ${data.items.length - 1}: ${part}`;
  $("slider").value = step;
  [...$("film").children].forEach((button, t) => {
    button.setAttribute("aria-selected", t === step);
    button.tabIndex = t === step ? 0 : -1;
    const share = shares ? shares[t] : 0;
    button.querySelector(".share i").style.width = `${100 * share}%`;
    button.querySelector(".number").textContent = share >= 0.005 ? share.toFixed(2) : "";
  });
}
function channels(item) {
  const box = make("div");
  for (const [name, shades, values] of item.rows) {
    const canvas = grid(1, shades.length, (r, c) => between([255, 255, 255], [27, 31, 36], shades[c]),
      (r, c) => `${name} ${c}: ${number(values[c])}`, name);
    canvas.style.cssText = `width:${Math.min(190, 22 * shades.length)}px;height:22px;border:1px solid var(--line)`;
    box.append(make("div", { class: "about" }, name), canvas);
  }
  return box;
}

/* Weights are on one fixed scale from 0 to 1, unless asked to be stretched to the heaviest of their head. */
const heaviest = data.heads.map((h) => {
  let most = 1e-9;
  for (let t = 0; t < h.shape[0]; t++) for (let r = 0; r < h.size; r++) most = Math.max(most, h.at(t, r));
  return most;
});
const full = (h) => ($("stretch").checked ? heaviest[data.heads.indexOf(h)] : 1);

/* Memory: every column of the view has one row for each place. */
const weights = (h) => h.shape[1];
const placeName = (h, r) => (h.names ? h.names[r] : `location ${r}`);
function rowNames(rows, height, name) {
  const every = Math.max(1, Math.ceil(14 / height));
  return Array.from({ length: Math.ceil(rows / every) }, (_, i) =>
    make("span", { style: `top:${(i * every + 0.5) * height}px` }, name(i * every)));
}
function columns() {
  const rows = data.heads.length ? weights(data.heads[0]) : 0, box = $("columns");
  $("places").hidden = !rows;
  if (!rows) return;
  const height = Math.max(4, Math.min(22, 512 / rows)), all = [];
  const ticks = make("div", { class: "ticks", style: `height:${rows * height}px` });
  ticks.append(...rowNames(rows, height, (r) => placeName(data.heads[0], r)));
  all.push(ticks);
  $("scale").textContent = `Weights: dark is 0, yellow is ${$("stretch").checked ? "the heaviest of a head" : "1"}.`;
  const add = (caption, width, canvas, tall) => {
    const figure = make("figure");
    canvas.style.cssText = `width:${width}px;height:${rows * height}px`;
    figure.append(make("figcaption", tall ? { class: "tall" } : {}, caption), canvas);
    all.push(figure);
  };
  for (const h of data.heads)
    add(h.name, 22, grid(rows, 1, (r) => shade(h.at(step, r) / full(h)),
      (r) => `${h.name}, ${placeName(h, r)}: ${number(h.at(step, r))}`, `${h.name} at step ${step}`), true);
  for (const a of data.arrays.filter((a) => a.role === "usage"))
    add(a.name, 22, grid(rows, 1, (r) => shade(a.at(step, r) / (a.high || 1)),
      (r) => `${a.name}, location ${r}: ${number(a.at(step, r))}`, `${a.name} at step ${step}`), true);
  for (const a of data.arrays.filter((a) => a.role === "memory")) {
    const width = a.shape[2], most = Math.max(Math.abs(a.low), Math.abs(a.high)) || 1;
    add("memory", Math.min(330, 14 * width), grid(rows, width, (r, c) => signed(a.at(step, r * width + c) / most),
      (r, c) => `memory, location ${r}, number ${c}: ${number(a.at(step, r * width + c))}`, `memory after step ${step}`));
    $("scale").textContent += ` Memory: blue is -${number(most)}, orange is ${number(most)}.`;
  }
  for (const a of data.arrays.filter((a) => a.role === "links")) {
    const [, high, width] = a.shape;
    add("links", Math.min(330, 14 * width), grid(high, width, (r, c) => shade(a.at(step, r * width + c)),
      (r, c) => `location ${r} was written after location ${c}: ${number(a.at(step, r * width + c))}`,
      `temporal links after step ${step}`));
    $("scale").textContent += " Links: a row was written right after the bright column.";
  }
  box.replaceChildren(...all);
}

/* Interface parameters: numbers and short vectors of each head; long ones as strips. */
function headName(a, i) {
  if (a.axes[0] === "layer") return `layer ${i}`;
  if (a.axes[0] === "write head") return `write${i}`;
  const of = (role) => data.heads.filter((h) => h.role === role).map((h) => h.name);
  const names = [...of("read"), ...of("write")];
  return names.length === a.shape[1] ? names[i] : `head ${i}`;
}
function interfaceParameters() {
  const shown = data.arrays.filter((a) => a.axes.length === 2 && !["memory", "links"].includes(a.role));
  $("interface").hidden = !shown.length;
  $("parameters").replaceChildren(...shown.flatMap((a) => {
    const [, count, size] = a.shape, table = make("table");
    for (let i = 0; i < count; i++) {
      const row = make("tr"), cell = make("td"), value = (j) => a.at(step, i * size + j);
      const list = Array.from({ length: size }, (_, j) => value(j));
      if (a.axes[1] === "location") {
        const best = list.indexOf(Math.max(...list));
        cell.textContent = `location ${best}: ${number(list[best])}`;
      } else if (size <= 7) cell.textContent = list.map(number).join("  ");
      else {
        const most = Math.max(Math.abs(a.low), Math.abs(a.high)) || 1;
        const strip = grid(1, size, (r, c) => signed(value(c) / most),
          (r, c) => `${a.name} of ${headName(a, i)}, ${a.axes[1]} ${c}: ${number(value(c))}`, `${a.name} ${i}`);
        strip.style.cssText = `width:${Math.min(210, 8 * size)}px;height:14px`;
        cell.append(strip);
      }
      row.append(make("th", {}, headName(a, i)), cell);
      table.append(row);
    }
    return [make("h3", {}, a.name), make("p", { class: "about" }, a.text), table];
  }));
}

/* All steps of one head, or of the states of a model without heads. */
const maps = [
  ...data.heads.map((h) => ({ name: h.name, text: h.text, rows: weights(h), row: (r) => placeName(h, r),
    value: (t, r) => h.at(t, r), colour: (v) => shade(v / full(h)) })),
  ...data.arrays.filter((a) => a.role === "usage").map((a) => ({ name: a.name, text: a.text, rows: a.shape[1],
    row: (r) => `location ${r}`, value: (t, r) => a.at(t, r), colour: (v) => shade(v / (a.high || 1)) })),
  ...data.arrays.filter((a) => a.axes[0] === "layer").flatMap((a) => {
    const most = Math.max(Math.abs(a.low), Math.abs(a.high)) || 1, [, layers, units] = a.shape;
    return Array.from({ length: layers }, (_, l) => ({ name: `${a.name}, layer ${l}`, text: a.text, rows: units,
      row: (r) => `unit ${r}`, value: (t, r) => a.at(t, l * units + r), colour: (v) => signed(v / most) }));
  }),
];
function timeMap() {
  $("time").hidden = !maps.length;
  if (!maps.length) return;
  const m = maps[shownMap], total = data.items.length;
  $("which-text").textContent = `${m.text}. Steps from left to right; a click chooses one.`;
  const canvas = grid(m.rows, total, (r, t) => m.colour(m.value(t, r)),
    (r, t) => `${m.name}, ${m.row(r)}, step ${t}: ${number(m.value(t, r))}`, `${m.name} over all steps`);
  const height = Math.max(120, Math.min(520, m.rows * 9));
  canvas.style.height = `${height}px`;
  $("map-names").replaceChildren(...rowNames(m.rows, height / m.rows, m.row));
  canvas.addEventListener("click", (event) => {
    const box = canvas.getBoundingClientRect();
    go(Math.floor(((event.clientX - box.left) / box.width) * total));
  });
  const parts = [canvas, make("div", { class: "cursor" })];
  if (data.start > 0) parts.push(make("div", { class: "edge", style: `left:${(100 * data.start) / total}%` }));
  $("map").replaceChildren(...parts);
  cursor();
}
function cursor() {
  const total = data.items.length, mark = $("map").querySelector(".cursor");
  if (!mark) return;
  mark.style.left = `${(100 * step) / total}%`;
  mark.style.width = `${100 / total}%`;
}

function go(t) {
  step = Math.min(data.items.length - 1, Math.max(0, t));
  now();
  columns();
  interfaceParameters();
  cursor();
  const button = $("film").children[step], strip = $("film");
  strip.scrollLeft = button.offsetLeft - strip.clientWidth / 2 + button.offsetWidth / 2;
  if (strip.contains(document.activeElement)) button.focus({ preventScroll: true });
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.altKey || event.metaKey || ["INPUT", "SELECT"].includes(event.target.tagName)) return;
  const goal = { ArrowLeft: step - 1, ArrowRight: step + 1, Home: 0, End: data.items.length - 1 }[event.key];
  if (goal === undefined) return;
  event.preventDefault();
  go(goal);
});
$("slider").addEventListener("input", () => go(Number($("slider").value)));
$("back").addEventListener("click", () => go(step - 1));
$("forward").addEventListener("click", () => go(step + 1));
$("which").addEventListener("change", () => { shownMap = $("which").selectedIndex; timeMap(); });
$("stretch").addEventListener("change", () => { columns(); timeMap(); });
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { go(step); timeMap(); });

$("title").textContent = data.title;
$("score").textContent = data.score;
$("legend").textContent = data.legend;
$("places-title").textContent = data.places;
$("slider").max = data.items.length - 1;
$("hint").hidden = !sources;
$("reader").append(...["all heads, on average", ...(data.readers || [])].map((name) => make("option", {}, name)));
$("reader").addEventListener("change", () => now());
$("which").append(...maps.map((m) => make("option", {}, m.name)));
film();
timeMap();
go(0);
