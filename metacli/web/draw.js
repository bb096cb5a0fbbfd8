/* The page: the classes and their sheets, the query, the actions. */
import { ask, make, redraw, threads } from "./answer.js";
import { playing, playExample, stopExample } from "./example.js";
import { Pad } from "./pad.js";
import * as state from "./state.js";

const $ = (id) => document.getElementById(id);
const pads = new Map(), rows = new Map();
const { facts } = state;

/* The sheet of a drawing, made once. */
function sheet(id) {
  if (!pads.has(id)) {
    const pad = new Pad({
      changed: (strokes) => state.setStrokes(id, strokes),
      live: (strokes) => ask(state.withStrokes(id, strokes), false),
    });
    const away = make("button", { type: "button", class: "away" }, "×");
    away.addEventListener("click", () => {
      if (id === "query" || alone(id)) {
        state.setStrokes(id, []);
        pad.canvas.focus({ preventScroll: true });
      } else state.removeDrawing(id);
    });
    pad.element = make("div", { class: "sheet", "data-sheet": id }, pad.canvas, make("span", { class: "hint", "aria-hidden": "true" }),
      make("span", { class: "share" }), away);
    pad.away = away;
    pads.set(id, pad);
  }
  return pads.get(id);
}
const alone = (id) => state.now.classes.some((c) => c.drawings.length === 1 && c.drawings[0].id === id);

function fill(d, name, hint, label) {
  const pad = sheet(d.id), empty = !d.strokes.length;
  pad.show(d.strokes);
  pad.element.classList.toggle("empty", empty);
  pad.element.querySelector(".hint").textContent = hint;
  const strokes = empty ? "empty" : `${d.strokes.length} ${d.strokes.length === 1 ? "stroke" : "strokes"}`;
  pad.canvas.setAttribute("aria-label", `${label}, ${strokes}`);
  pad.away.setAttribute("aria-label", `${d.id === "query" || alone(d.id) ? "Clear" : "Remove"} ${label}`);
  pad.away.hidden = empty && (d.id === "query" || alone(d.id));
  return pad.element;
}

/* The row of a class, made once. */
function row(c) {
  if (!rows.has(c.id)) {
    const name = make("input", { type: "text", maxlength: facts.name, spellcheck: "false", autocomplete: "off" });
    name.addEventListener("change", () => {
      const words = name.value.trim();
      if (words && words !== name.dataset.was) state.rename(c.id, words);
      else name.value = name.dataset.was;
    });
    name.addEventListener("keydown", (event) => event.key === "Enter" && name.blur());
    const away = make("button", { type: "button", class: "quiet" }, "remove");
    away.addEventListener("click", () => state.removeClass(c.id));
    const more = make("button", { type: "button", class: "more" }, "+");
    more.addEventListener("click", () => {
      state.change(state.addDrawing(c.id));
      rows.get(c.id).sheets.querySelector(".sheet:last-of-type canvas").focus();
    });
    const sheets = make("div", { class: "sheets" });
    const element = make("li", {}, make("div", { class: "label" }, make("i"), name, away), sheets);
    rows.set(c.id, { element, name, away, more, sheets });
  }
  const parts = rows.get(c.id);
  parts.element.className = `hue-${c.hue}`;
  parts.name.value = parts.name.dataset.was = c.name;
  parts.name.setAttribute("aria-label", `Name of class ${c.name}`);
  parts.away.setAttribute("aria-label", `Remove class ${c.name}`);
  parts.away.hidden = state.now.classes.length <= 2;
  parts.more.setAttribute("aria-label", `Another drawing of ${c.name}`);
  parts.more.title = `Another drawing of ${c.name}`;
  const full = c.drawings.length >= facts.drawings || c.drawings.some((d) => !d.strokes.length);
  const sheets = c.drawings.map((d, i) => fill(d, c.name, `draw ${c.name}`, `drawing ${i + 1} of ${c.name}`));
  place(parts.sheets, full ? sheets : [...sheets, parts.more]);
  return parts.element;
}
/* Children in this order; those that are there already are not touched, so that they keep the focus. */
function place(parent, children) {
  for (const old of [...parent.children]) if (!children.includes(old)) old.remove();
  children.forEach((child, i) => parent.children[i] !== child && parent.insertBefore(child, parent.children[i] ?? null));
}

function show(now) {
  place($("classes"), now.classes.map(row));
  place($("query"), [fill(now.query, "", "draw here", "the query")]);
  const most = Math.max(...now.classes.map((c) => c.drawings.length));
  $("classes").classList.toggle("many", now.classes.length > 3 || most > 3);
  $("add").hidden = now.classes.length >= facts.classes;
  const drawn = state.drawn(now);
  $("undo").disabled = !state.canUndo();
  $("redo").disabled = !state.canRedo();
  $("clear").disabled = !drawn.length && !now.query.strokes.length;
  $("save").disabled = !drawn.length;
  place($("keep"), [$("keep").firstElementChild, ...now.classes
    .filter((c) => c.drawings.length < facts.drawings || c.drawings.some((d) => !d.strokes.length))
    .map((c) => {
      const button = make("button", { type: "button", class: `hue-${c.hue}` }, make("i"), make("b", {}, c.name));
      button.addEventListener("click", () => keep(c.id));
      return button;
    })]);
  ask(now, !playing());
}
/* The query becomes a drawing of a class, and the query's sheet is free again. */
function keep(id) {
  const strokes = state.now.query.strokes;
  state.change({ ...state.addDrawing(id, strokes), query: { id: "query", strokes: [] } });
  sheet("query").canvas.focus({ preventScroll: true });
}

async function save() {
  try {
    const reply = await state.post("folder.zip", { classes: state.lesson(state.drawn(state.now)) });
    const address = URL.createObjectURL(await reply.blob());
    make("a", { href: address, download: "metacli-drawings.zip" }).click();
    setTimeout(() => URL.revokeObjectURL(address), 10000);
    $("trouble").textContent = "";
  } catch (error) {
    $("trouble").textContent = error.message;
  }
}

const actions = { undo: state.undo, redo: state.redo, clear: state.clear, add: state.addClass, save };
for (const [id, act] of Object.entries(actions)) $(id).addEventListener("click", act);
$("example").addEventListener("click", () => playExample((id) => sheet(id)));
document.addEventListener("pointerdown", (event) => event.target.id !== "example" && stopExample(), true);
document.addEventListener("keydown", (event) => {
  if (event.target.id !== "example") stopExample();
  if (!(event.ctrlKey || event.metaKey) || event.altKey || event.target.tagName === "INPUT") return;
  const key = event.key.toLowerCase();
  if (key !== "z" && key !== "y") return;
  event.preventDefault();
  key === "y" || event.shiftKey ? state.redo() : state.undo();
}, true);
addEventListener("resize", threads);
new ResizeObserver(threads).observe(document.querySelector("main"));
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
  pads.forEach((pad) => pad.draw());
  redraw();
});
state.listen(show);
show(state.now);
