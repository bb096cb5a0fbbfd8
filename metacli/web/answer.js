/* Requests answers from the server, and shows probabilities and the attended drawings. */
import { ink } from "./pad.js";
import { encodeClasses, encodeTask, facts, listDrawnClasses, post } from "./state.js";

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
let isAsking = false, next = null, currentAnswer = null, lastAnnouncement = "", lastAttendedTime = 0;

/* Ask about a state; while an answer is on its way, only the latest of further questions is kept. `settled`: nothing
   is being drawn just now, so the answer is also spoken. */
export async function ask(state, settled) {
  next = { state, settled };
  if (isAsking) return;
  isAsking = true;
  while (next) {
    const { state, settled } = next;
    next = null;
    await requestAnswer(state, settled);
  }
  isAsking = false;
}

/* Redraws the thumbnails after a change of colours. */
export const redraw = () => currentAnswer?.looked && showGallery();

async function requestAnswer(state, settled) {
  const classes = listDrawnClasses(state), names = new Set(classes.map((c) => c.name));
  if (classes.length < 2 || names.size < classes.length || !state.query.strokes.length) return showMissing(classes);
  try {
    const request = encodeTask(state), start = performance.now();
    const result = await (await post("answer", request)).json();
    const elapsed = performance.now() - start, previous = currentAnswer;
    $("trouble").textContent = "";
    currentAnswer = { classes, probabilities: result.probabilities[0], result, elapsed };
    const isSameSupport = previous && JSON.stringify(encodeClasses(previous.classes)) === JSON.stringify(request.classes);
    if (isSameSupport) currentAnswer.looked = previous.looked; // until the new one is here
    showAnswer();
    if (next && performance.now() - lastAttendedTime < PATIENCE) return;
    currentAnswer.looked = (await (await post("look", request)).json()).looked?.[0] ?? null;
    lastAttendedTime = performance.now();
    showAttended();
    if (settled) announceAnswer();
  } catch (error) {
    showMissing(classes);
    $("trouble").textContent = error instanceof TypeError ? "metacli draw has ended: start it again." : error.message;
  }
}

/* Says what is missing before an answer is possible. */
function showMissing(classes) {
  currentAnswer = null;
  const missing = Math.max(0, 2 - classes.length), hasDuplicates = new Set(classes.map((c) => c.name)).size < classes.length;
  const message = hasDuplicates ? "Two classes have the same name." : missing === 2 ? "Draw two classes or more, then ask."
    : missing ? "One more class, then ask." : "Now draw one of them again, above.";
  $("verdict").replaceChildren(message);
  $("answer").classList.add("waiting");
  $("odds").replaceChildren();
  $("looked").replaceChildren();
  $("looked-note").textContent = $("time").textContent = $("doubts").textContent = "";
  $("keep").hidden = true;
  for (const sheet of document.querySelectorAll("#classes .sheet")) setShare(sheet, null);
  drawThreads();
}

function setShare(sheet, share) {
  sheet.style.setProperty("--share", share ?? 0);
  sheet.classList.toggle("looked", share !== null);
  sheet.querySelector(".share").textContent = share === null ? "" : percent(share);
}

function showAnswer() {
  const { classes, probabilities, result, elapsed } = currentAnswer, best = probabilities.indexOf(Math.max(...probabilities));
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
  $("time").replaceChildren("in ", make("b", {}, `${Math.max(1, Math.round(elapsed))} ms`));
  $("time").title = `${elapsed.toFixed(1)} ms from the page and back, of which ${result.milliseconds} ms in the model`;
  $("model").textContent = result.model;
  $("doubts").textContent = result.doubts;
  $("keep").hidden = false;
  showAttended();
}

function showAttended() {
  const { classes, looked } = currentAnswer;
  for (const sheet of document.querySelectorAll("#classes .sheet")) setShare(sheet, null);
  looked && classes.forEach((c, i) => c.drawings.forEach((d, j) => {
    const sheet = document.querySelector(`[data-sheet="${d.id}"]`);
    if (sheet) setShare(sheet, looked[i][j]);
  }));
  $("looked-note").textContent = looked ? describeMostAttended() : looked === null ? "This model does not tell where it looked." : "";
  showGallery();
  drawThreads();
}

/* Thumbnails of the most attended drawings, for screens on which the sheets are out of sight. */
const THUMBNAIL = 52, MAX_SHOWN = 5;
function showGallery() {
  const { classes, looked } = currentAnswer;
  const drawings = (looked ?? []).flatMap((shares, i) => shares.map((share, j) => ({ share, c: classes[i], d: classes[i].drawings[j] })));
  $("looked").replaceChildren(...drawings.sort((a, b) => b.share - a.share).slice(0, MAX_SHOWN).map(({ share, c, d }) => {
    const dots = THUMBNAIL * devicePixelRatio, canvas = make("canvas", { width: dots, height: dots });
    ink(canvas.getContext("2d"), d.strokes, dots, getComputedStyle($("looked")).color);
    const item = make("li", { class: `hue-${c.hue}` }, canvas, percent(share));
    item.style.setProperty("--share", share);
    return item;
  }));
}

/* A sentence about the most attended drawing. */
function describeMostAttended() {
  const { classes, looked } = currentAnswer;
  const drawings = looked.flatMap((shares, i) => shares.map((share, j) => ({ share, i, j })));
  const { share, i, j } = drawings.reduce((a, b) => (b.share > a.share ? b : a));
  const which = classes[i].drawings.length > 1 ? `drawing ${j + 1} of ${classes[i].name}` : `your ${classes[i].name}`;
  return `It looked most at ${which}: ${percent(share)}.`;
}

function announceAnswer() {
  const { classes, probabilities, looked } = currentAnswer, best = probabilities.indexOf(Math.max(...probabilities));
  const message = `${classes[best].name}, ${percent(probabilities[best])}. ${looked ? describeMostAttended() : ""}`;
  if (message !== lastAnnouncement) $("spoken").textContent = lastAnnouncement = message;
}

/* Lines from the drawings through phi to the query, as broad as the shares of what was looked at; dotted before that. */
export function drawThreads() {
  const frame = $("threads").getBoundingClientRect(), target = document.querySelector("#query .sheet");
  if (!frame.width || !target) return;
  const box = target.getBoundingClientRect(), y = box.top + box.height / 2 - frame.top, end = box.left - frame.left;
  const node = [end - 46, y], lines = [];
  const add = (id, hue, share, from, to) => {
    const middle = (from[0] + to[0]) / 2;
    const path = document.getElementById(id) ?? document.createElementNS(SVG, "path");
    const attributes = { id, d: `M${from} C${middle},${from[1]} ${middle},${to[1]} ${to}`, class: share === null ? "" : `hue-${hue}`,
      "stroke-width": share === null ? 1.5 : 1 + 10 * share, opacity: share === null ? 0.9 : 0.25 + 0.6 * share };
    for (const [key, value] of Object.entries(attributes)) path.setAttribute(key, value);
    lines.push(path);
  };
  const shares = new Map(currentAnswer?.looked
    ? currentAnswer.classes.flatMap((c, i) => c.drawings.map((d, j) => [d.id, [c.hue, currentAnswer.looked[i][j]]])) : []);
  for (const row of document.querySelectorAll("#classes li")) {
    const sheets = [...row.querySelectorAll(".sheet")];
    for (const sheet of shares.size ? sheets : sheets.slice(-1)) {
      const [hue, share] = shares.get(sheet.dataset.sheet) ?? [0, null], from = sheet.getBoundingClientRect();
      if (shares.size && (share ?? 0) < 0.005) continue;
      add(`thread-${sheet.dataset.sheet}`, hue, share, [from.right - frame.left, from.top + from.height / 2 - frame.top], node);
    }
  }
  if (currentAnswer) {
    const p = Math.max(...currentAnswer.probabilities);
    add("thread-phi", currentAnswer.classes[currentAnswer.probabilities.indexOf(p)].hue, p, node, [end + 2, y]);
  } else add("thread-phi", 0, null, node, [end + 2, y]);
  $("phi").setAttribute("transform", `translate(${node})`);
  const old = [...$("lines").children];
  for (const line of old) if (!lines.includes(line)) line.remove();
  for (const line of lines) if (!line.parentNode) $("lines").append(line);
}
$("model").textContent = facts.model;
