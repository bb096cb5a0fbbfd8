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

const PATIENCE = 250; // milliseconds between updates of the lines while the pen moves
let isAsking = false, next = null, currentAnswer = null, lastAnnouncement = "", lastAttendedTime = 0;

/* Requests the answer for a state. While a request runs, only the latest of further states is kept. `settled`: nobody
   is drawing at the moment, so the answer is also announced to screen readers. */
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
export const redraw = () => currentAnswer?.attended && showGallery();

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
    if (isSameSupport) currentAnswer.attended = previous.attended; // until the new shares arrive
    showAnswer();
    if (next && performance.now() - lastAttendedTime < PATIENCE) return;
    currentAnswer.attended = (await (await post("attended", request)).json()).most_attended?.[0] ?? null;
    lastAttendedTime = performance.now();
    showAttended();
    if (settled) announceAnswer();
  } catch (error) {
    showMissing(classes);
    $("trouble").textContent = error instanceof TypeError ? "metacli draw has stopped. Start it again." : error.message;
  }
}

/* Shows what is missing for an answer. */
function showMissing(classes) {
  currentAnswer = null;
  const missing = Math.max(0, 2 - classes.length), hasDuplicates = new Set(classes.map((c) => c.name)).size < classes.length;
  const message = hasDuplicates ? "Two classes have the same name." : missing === 2 ? "Draw at least two classes, then a query."
    : missing ? "Draw one more class, then a query." : "Now draw one of the classes again, above.";
  $("verdict").replaceChildren(message);
  $("answer").classList.add("waiting");
  $("odds").replaceChildren();
  $("attended").replaceChildren();
  $("attended-note").textContent = $("time").textContent = $("warnings").textContent = "";
  $("keep").hidden = true;
  for (const sheet of document.querySelectorAll("#classes .sheet")) setShare(sheet, null);
  drawThreads();
}

function setShare(sheet, share) {
  sheet.style.setProperty("--share", share ?? 0);
  sheet.classList.toggle("attended", share !== null);
  sheet.querySelector(".share").textContent = share === null ? "" : percent(share);
}

function showAnswer() {
  const { classes, probabilities, result, elapsed } = currentAnswer, best = probabilities.indexOf(Math.max(...probabilities));
  $("answer").classList.remove("waiting");
  $("verdict").replaceChildren(result.unsure[0] ? "Unsure, perhaps " : "Answer: ", make("b", { class: `hue-${classes[best].hue}` }, classes[best].name));
  const rows = new Map([...$("odds").children].map((row) => [row.dataset.id, row]));
  $("odds").replaceChildren(...classes.map((c, i) => {
    const row = rows.get(c.id) ?? make("li", { "data-id": c.id }, make("span", { class: "name" }),
      make("span", { class: "track" }, make("i")), make("span", { class: "number" }));
    row.className = `hue-${c.hue}${i === best ? " best" : ""}`;
    row.children[0].textContent = c.name;
    row.children[2].textContent = percent(probabilities[i]);
    return row;
  }));
  $("odds").offsetWidth; // forces a layout, so that the bars of new rows grow from zero
  probabilities.forEach((p, i) => $("odds").children[i].querySelector("i").style.setProperty("transform", `scaleX(${p})`));
  $("time").replaceChildren("in ", make("b", {}, `${Math.max(1, Math.round(elapsed))} ms`));
  $("time").title = `${elapsed.toFixed(1)} ms for the request, ${result.milliseconds} ms of it in the model`;
  $("model").textContent = result.model;
  $("warnings").textContent = result.warnings;
  $("keep").hidden = false;
  showAttended();
}

function showAttended() {
  const { classes, attended } = currentAnswer;
  for (const sheet of document.querySelectorAll("#classes .sheet")) setShare(sheet, null);
  attended && classes.forEach((c, i) => c.drawings.forEach((d, j) => {
    const sheet = document.querySelector(`[data-sheet="${d.id}"]`);
    if (sheet) setShare(sheet, attended[i][j]);
  }));
  $("attended-note").textContent = attended ? describeMostAttended() : attended === null ? "This model has no attention or memory to show." : "";
  showGallery();
  drawThreads();
}

/* Thumbnails of the most attended drawings, for screens on which the sheets are out of sight. */
const THUMBNAIL = 52, MAX_SHOWN = 5;
function showGallery() {
  const { classes, attended } = currentAnswer;
  const drawings = (attended ?? []).flatMap((shares, i) => shares.map((share, j) => ({ share, c: classes[i], d: classes[i].drawings[j] })));
  $("attended").replaceChildren(...drawings.sort((a, b) => b.share - a.share).slice(0, MAX_SHOWN).map(({ share, c, d }) => {
    const dots = THUMBNAIL * devicePixelRatio, canvas = make("canvas", { width: dots, height: dots });
    ink(canvas.getContext("2d"), d.strokes, dots, getComputedStyle($("attended")).color);
    const item = make("li", { class: `hue-${c.hue}` }, canvas, percent(share));
    item.style.setProperty("--share", share);
    return item;
  }));
}

/* A sentence about the most attended drawing. */
function describeMostAttended() {
  const { classes, attended } = currentAnswer;
  const drawings = attended.flatMap((shares, i) => shares.map((share, j) => ({ share, i, j })));
  const { share, i, j } = drawings.reduce((a, b) => (b.share > a.share ? b : a));
  const which = classes[i].drawings.length > 1 ? `drawing ${j + 1} of ${classes[i].name}` : `your ${classes[i].name}`;
  return `Most attended: ${which}, ${percent(share)}.`;
}

function announceAnswer() {
  const { classes, probabilities, attended, result } = currentAnswer, best = probabilities.indexOf(Math.max(...probabilities));
  const message = `${result.unsure[0] ? "Unsure, perhaps " : ""}${classes[best].name}, ${percent(probabilities[best])}. ${attended ? describeMostAttended() : ""}`;
  if (message !== lastAnnouncement) $("spoken").textContent = lastAnnouncement = message;
}

/* Lines from the drawings through phi to the query, as broad as the attended shares; dotted before they are known. */
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
  const shares = new Map(currentAnswer?.attended
    ? currentAnswer.classes.flatMap((c, i) => c.drawings.map((d, j) => [d.id, [c.hue, currentAnswer.attended[i][j]]])) : []);
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
