"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const $ = (id) => document.getElementById(id);
const CIVIDIS = __MAP__;
const ORANGE = [213, 94, 0], BLUE = [0, 114, 178];
let step = 0, shownMap = 0, playing = 0;

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

/* A canvas with one pixel for each cell, stretched by CSS. The tooltip of a cell has its value. */
function grid(rows, columns, colour, describe, label) {
  const canvas = make("canvas", { width: columns, height: rows, role: "img", "aria-label": label });
  const context = canvas.getContext("2d"), image = context.createImageData(columns, rows);
  for (let r = 0; r < rows; r++)
    for (let c = 0; c < columns; c++) image.data.set([...colour(r, c), 255], 4 * (r * columns + c));
  context.putImageData(image, 0, 0);
  const showTip = (event) => {
    const box = canvas.getBoundingClientRect();
    const c = Math.min(columns - 1, Math.max(0, Math.floor(((event.clientX - box.left) / box.width) * columns)));
    const r = Math.min(rows - 1, Math.max(0, Math.floor(((event.clientY - box.top) / box.height) * rows)));
    const tip = $("tip");
    tip.textContent = describe(r, c);
    tip.hidden = false;
    tip.style.left = Math.max(4, Math.min(event.clientX + 14, innerWidth - tip.offsetWidth - 6)) + "px";
    tip.style.top = Math.max(4, event.clientY - 34) + "px";
  };
  canvas.addEventListener("pointermove", showTip);
  canvas.addEventListener("pointerdown", showTip);
  canvas.addEventListener("pointerleave", () => ($("tip").hidden = true));
  return canvas;
}

/* The film strip. */
function picture(t) {
  const item = data.items[t];
  if (item.image) return make("img", { src: item.image, alt: "" });
  const column = item.shades;
  const canvas = grid(column.length, 1, (r) => between([255, 255, 255], [27, 31, 36], column[r]),
    (r) => `step ${t + 1}, input ${r + 1}: ${number(item.rows[0][2][r])}`, `input of step ${t + 1}`);
  canvas.style.width = "26px";
  return canvas;
}
function film() {
  data.items.forEach((item, t) => {
    const button = make("button", { type: "button", role: "option", "aria-selected": "false", tabindex: "-1" });
    if (t === data.start && t > 0) button.classList.add("first-query");
    button.append(make("span", {}, `${t + 1}`), picture(t));
    const mark = item.correct === null ? "" : item.correct ? " \u2713" : " \u2717";
    const label = make("span", { class: `mark ${mark ? (item.correct ? "right" : "wrong") : ""}` },
      (item.label || (item.query ? "" : "in")) + (item.query ? "?" : "") + mark);
    const share = make("span", { class: "share" });
    share.append(make("i"));
    share.hidden = !sources;
    button.append(label, share, make("span", { class: "number" }));
    button.addEventListener("click", () => choose(t));
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
const named = (label) => (data.names[label] ? `${label} = ${data.names[label]}` : label);
function likely(odds, answer) {
  const order = odds.map((p, i) => i);
  if (odds.length <= 10) return order;
  const first = [...order].sort((a, b) => odds[b] - odds[a]).slice(0, 8);
  return order.filter((i) => first.includes(i) || `${i}` === answer);
}
function now() {
  const item = data.items[step], facts = [], shares = reading(step);
  $("shown").replaceChildren(item.image ? make("img", { src: item.image, alt: `input of step ${step + 1}` }) : channels(item));
  if (!item.query) facts.push(["label", named(item.label) || "none"]);
  else {
    if (data.mode === "stream") facts.push(["label of the previous query", named(item.previous) || "none"]);
    if (item.answer) facts.push(["right answer", named(item.answer)]);
    if (item.correct !== null) {
      facts.push(["prediction", `${named(item.prediction)} (${item.correct ? "right" : "wrong"})`], ["confidence", number(item.confidence)]);
    } else if (item.prediction) facts.push(["prediction", item.prediction]);
  }
  $("facts").replaceChildren(...facts.flatMap(([k, v]) => [make("dt", {}, k), make("dd", {}, v)]));
  const odds = item.odds || [];
  $("odds").replaceChildren(...likely(odds, item.answer).map((i) => {
    const row = make("div", { class: "odd" }), bar = make("span"), p = odds[i], name = data.names[i];
    bar.append(make("b", { style: `width:${100 * p}%` }));
    row.append(make("span", {}, `${i}`), bar, make("span", {}, number(p)));
    if (name) row.append(make("small", { title: name }, name));
    return row;
  }));
  let spoken = "";
  if (shares && step > 0) {
    const earlier = shares.slice(0, step), best = earlier.indexOf(Math.max(...earlier));
    const label = data.items[best].label;
    spoken = `Reads most from step ${best + 1}${label ? ` (${named(label)})` : ""}: ${number(earlier[best])}.`;
  }
  $("spoken").textContent = spoken;
  const part = item.query ? `D_test, query ${step - data.start + 1}` : "D_train";
  $("where").textContent = `step ${step + 1} of ${data.items.length}: ${part}`;
  $("slider").value = step + 1;
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
      (r, c) => `${name} ${c + 1}: ${number(values[c])}`, name);
    canvas.style.cssText = `width:${Math.min(190, 22 * shades.length)}px;height:22px;border:1px solid var(--line)`;
    box.append(make("div", { class: "about" }, name), canvas);
  }
  return box;
}
