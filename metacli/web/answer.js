/* Asking the server, and showing what it said: probabilities, and which drawings were looked at. */
import { ink } from "./pad.js";
import { drawn, facts, lesson, post, question } from "./state.js";

const $ = (id) => document.getElementById(id);
const SVG = "http://www.w3.org/2000/svg";
const percent = (p) => `${Math.round(100 * p)} %`;
export function make(tag, attributes = {}, ...inner) {
  const node = document.createElement(tag);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  node.append(...inner);
  return node;
}

const PATIENCE = 250; // milliseconds after which the lines follow a pen that never rests
let asking = false, next = null, shown = null, spoken = "", lookedLast = 0;

/* Ask about a state; while an answer is on its way, only the latest of further questions is kept. `settled`: nothing
   is being drawn just now, so the answer is also spoken. */
export async function ask(state, settled) {
  next = { state, settled };
  if (asking) return;
  asking = true;
  while (next) {
    const { state, settled } = next;
    next = null;
    await answer(state, settled);
  }
  asking = false;
}

/* In colours that have changed. */
export const redraw = () => shown?.looked && gallery();

async function answer(state, settled) {
  const classes = drawn(state), names = new Set(classes.map((c) => c.name));
  if (classes.length < 2 || names.size < classes.length || !state.query.strokes.length) return empty(classes);
  try {
    const asked = question(state), began = performance.now();
    const told = await (await post("answer", asked)).json();
    const took = performance.now() - began, before = shown;
    $("trouble").textContent = "";
    shown = { classes, probabilities: told.probabilities[0], told, took };
    const same = before && JSON.stringify(lesson(before.classes)) === JSON.stringify(asked.classes);
    if (same) shown.looked = before.looked; // until the new one is here
    show();
    if (next && performance.now() - lookedLast < PATIENCE) return;
    shown.looked = (await (await post("look", asked)).json()).looked?.[0] ?? null;
    lookedLast = performance.now();
    showLook();
    if (settled) speak();
  } catch (error) {
    empty(classes);
    $("trouble").textContent = error instanceof TypeError ? "metacli draw has ended: start it again." : error.message;
  }
}

/* No answer yet: what is missing. */
function empty(classes) {
  shown = null;
  const missing = Math.max(0, 2 - classes.length), twice = new Set(classes.map((c) => c.name)).size < classes.length;
  const words = twice ? "Two classes have the same name." : missing === 2 ? "Draw two classes or more, then ask."
    : missing ? "One more class, then ask." : "Now draw one of them again, above.";
  $("verdict").replaceChildren(words);
  $("answer").classList.add("waiting");
  $("odds").replaceChildren();
  $("looked").replaceChildren();
  $("looked-note").textContent = $("time").textContent = $("doubts").textContent = "";
  $("keep").hidden = true;
  for (const sheet of document.querySelectorAll("#classes .sheet")) glow(sheet, null);
  threads();
}

function glow(sheet, share) {
  sheet.style.setProperty("--share", share ?? 0);
  sheet.classList.toggle("looked", share !== null);
  sheet.querySelector(".share").textContent = share === null ? "" : percent(share);
}

function show() {
  const { classes, probabilities, told, took } = shown, best = probabilities.indexOf(Math.max(...probabilities));
  $("answer").classList.remove("waiting");
  $("verdict").replaceChildren("It says ", make("b", { class: `hue-${classes[best].hue}` }, classes[best].name));
  const rows = new Map([...$("odds").children].map((row) => [row.dataset.id, row]));
  $("odds").replaceChildren(...classes.map((c, i) => {
    const row = rows.get(c.id) ?? make("li", { "data-id": c.id }, make("span", { class: "name" }),
      make("span", { class: "track" }, make("i")), make("span", { class: "number" }));
    row.className = `hue-${c.hue}${i === best ? " best" : ""}`;
    row.children[0].textContent = c.name;
    row.children[2].textContent = percent(probabilities[i]);
    return row;
  }));
  $("odds").offsetWidth; // rows that are new start from nothing
  probabilities.forEach((p, i) => $("odds").children[i].querySelector("i").style.setProperty("transform", `scaleX(${p})`));
  $("time").replaceChildren("in ", make("b", {}, `${Math.max(1, Math.round(took))} ms`));
  $("time").title = `${took.toFixed(1)} ms from the page and back, of which ${told.milliseconds} ms in the model`;
  $("model").textContent = told.model;
  $("doubts").textContent = told.doubts;
  $("keep").hidden = false;
  showLook();
}

function showLook() {
  const { classes, looked } = shown;
  for (const sheet of document.querySelectorAll("#classes .sheet")) glow(sheet, null);
  looked && classes.forEach((c, i) => c.drawings.forEach((d, j) => {
    const sheet = document.querySelector(`[data-sheet="${d.id}"]`);
    if (sheet) glow(sheet, looked[i][j]);
  }));
  $("looked-note").textContent = looked ? most() : looked === null ? "This model does not tell where it looked." : "";
  gallery();
  threads();
}

/* The drawings that were looked at most, small, for screens where the sheets themselves are out of sight. */
const SMALL = 52, FEW = 5;
function gallery() {
  const { classes, looked } = shown;
  const all = (looked ?? []).flatMap((shares, i) => shares.map((share, j) => ({ share, c: classes[i], d: classes[i].drawings[j] })));
  $("looked").replaceChildren(...all.sort((a, b) => b.share - a.share).slice(0, FEW).map(({ share, c, d }) => {
    const dots = SMALL * devicePixelRatio, canvas = make("canvas", { width: dots, height: dots });
    ink(canvas.getContext("2d"), d.strokes, dots, getComputedStyle($("looked")).color);
    const item = make("li", { class: `hue-${c.hue}` }, canvas, percent(share));
    item.style.setProperty("--share", share);
    return item;
  }));
}

/* Which drawing was looked at most, in words. */
function most() {
  const { classes, looked } = shown;
  const all = looked.flatMap((shares, i) => shares.map((share, j) => ({ share, i, j })));
  const { share, i, j } = all.reduce((a, b) => (b.share > a.share ? b : a));
  const which = classes[i].drawings.length > 1 ? `drawing ${j + 1} of ${classes[i].name}` : `your ${classes[i].name}`;
  return `It looked most at ${which}: ${percent(share)}.`;
}

function speak() {
  const { classes, probabilities, looked } = shown, best = probabilities.indexOf(Math.max(...probabilities));
  const words = `${classes[best].name}, ${percent(probabilities[best])}. ${looked ? most() : ""}`;
  if (words !== spoken) $("spoken").textContent = spoken = words;
}

/* Lines from the drawings through phi to the query, as broad as the shares of what was looked at; dotted before that. */
export function threads() {
  const frame = $("threads").getBoundingClientRect(), target = document.querySelector("#query .sheet");
  if (!frame.width || !target) return;
  const box = target.getBoundingClientRect(), y = box.top + box.height / 2 - frame.top, end = box.left - frame.left;
  const node = [end - 46, y], lines = [];
  const add = (id, hue, share, from, to) => {
    const middle = (from[0] + to[0]) / 2;
    const path = document.getElementById(id) ?? document.createElementNS(SVG, "path");
    const about = { id, d: `M${from} C${middle},${from[1]} ${middle},${to[1]} ${to}`, class: share === null ? "" : `hue-${hue}`,
      "stroke-width": share === null ? 1.5 : 1 + 10 * share, opacity: share === null ? 0.9 : 0.25 + 0.6 * share };
    for (const [key, value] of Object.entries(about)) path.setAttribute(key, value);
    lines.push(path);
  };
  const shares = new Map(shown?.looked
    ? shown.classes.flatMap((c, i) => c.drawings.map((d, j) => [d.id, [c.hue, shown.looked[i][j]]])) : []);
  for (const row of document.querySelectorAll("#classes li")) {
    const sheets = [...row.querySelectorAll(".sheet")];
    for (const sheet of shares.size ? sheets : sheets.slice(-1)) {
      const [hue, share] = shares.get(sheet.dataset.sheet) ?? [0, null], from = sheet.getBoundingClientRect();
      if (shares.size && (share ?? 0) < 0.005) continue;
      add(`thread-${sheet.dataset.sheet}`, hue, share, [from.right - frame.left, from.top + from.height / 2 - frame.top], node);
    }
  }
  if (shown) {
    const p = Math.max(...shown.probabilities);
    add("thread-phi", shown.classes[shown.probabilities.indexOf(p)].hue, p, node, [end + 2, y]);
  } else add("thread-phi", 0, null, node, [end + 2, y]);
  $("phi").setAttribute("transform", `translate(${node})`);
  const old = [...$("lines").children];
  for (const line of old) if (!lines.includes(line)) line.remove();
  for (const line of lines) if (!line.parentNode) $("lines").append(line);
}
$("model").textContent = facts.model;
