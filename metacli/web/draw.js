/* The page: the classes and their sheets, the query, the actions. */
import { ask, drawThreads, make, redraw } from "./answer.js";
import { isPlaying, playExample, stopExample } from "./example.js";
import { Pad } from "./pad.js";
import * as state from "./state.js";

const $ = (id) => document.getElementById(id);
const pads = new Map(), rows = new Map();
const { facts } = state;

/* Returns the sheet of a drawing, created once. */
function getSheet(id) {
  if (!pads.has(id)) {
    const pad = new Pad({
      changed: (strokes) => state.setStrokes(id, strokes),
      live: (strokes) => ask(state.withStrokes(id, strokes), false),
    });
    const removeButton = make("button", { type: "button", class: "away" }, "×");
    removeButton.addEventListener("click", () => {
      if (id === "query" || isOnlyDrawing(id)) {
        state.setStrokes(id, []);
        pad.canvas.focus({ preventScroll: true });
      } else state.removeDrawing(id);
    });
    pad.element = make("div", { class: "sheet", "data-sheet": id }, pad.canvas, make("span", { class: "hint", "aria-hidden": "true" }),
      make("span", { class: "share" }), removeButton);
    pad.removeButton = removeButton;
    pads.set(id, pad);
  }
  return pads.get(id);
}
const isOnlyDrawing = (id) => state.now.classes.some((c) => c.drawings.length === 1 && c.drawings[0].id === id);

function updateSheet(d, name, hint, label) {
  const pad = getSheet(d.id), empty = !d.strokes.length;
  pad.show(d.strokes);
  pad.element.classList.toggle("empty", empty);
  pad.element.querySelector(".hint").textContent = hint;
  const strokes = empty ? "empty" : `${d.strokes.length} ${d.strokes.length === 1 ? "stroke" : "strokes"}`;
  pad.canvas.setAttribute("aria-label", `${label}, ${strokes}`);
  pad.removeButton.setAttribute("aria-label", `${d.id === "query" || isOnlyDrawing(d.id) ? "Clear" : "Remove"} ${label}`);
  pad.removeButton.hidden = empty && (d.id === "query" || isOnlyDrawing(d.id));
  return pad.element;
}

/* Creates the row of a class once, and updates it. */
function updateRow(c) {
  if (!rows.has(c.id)) {
    const name = make("input", { type: "text", maxlength: facts.name, spellcheck: "false", autocomplete: "off" });
    name.addEventListener("change", () => {
      const newName = name.value.trim();
      if (newName && newName !== name.dataset.was) state.rename(c.id, newName);
      else name.value = name.dataset.was;
    });
    name.addEventListener("keydown", (event) => event.key === "Enter" && name.blur());
    const removeButton = make("button", { type: "button", class: "quiet" }, "remove");
    removeButton.addEventListener("click", () => state.removeClass(c.id));
    const addButton = make("button", { type: "button", class: "more" }, "+");
    addButton.addEventListener("click", () => {
      state.change(state.addDrawing(c.id));
      rows.get(c.id).sheets.querySelector(".sheet:last-of-type canvas").focus();
    });
    const sheets = make("div", { class: "sheets" });
    const element = make("li", {}, make("div", { class: "label" }, make("i"), name, removeButton), sheets);
    rows.set(c.id, { element, name, removeButton, addButton, sheets });
  }
  const parts = rows.get(c.id);
  parts.element.className = `hue-${c.hue}`;
  parts.name.value = parts.name.dataset.was = c.name;
  parts.name.setAttribute("aria-label", `Name of class ${c.name}`);
  parts.removeButton.setAttribute("aria-label", `Remove class ${c.name}`);
  parts.removeButton.hidden = state.now.classes.length <= 2;
  parts.addButton.setAttribute("aria-label", `Another drawing of ${c.name}`);
  parts.addButton.title = `Another drawing of ${c.name}`;
  const full = c.drawings.length >= facts.drawings || c.drawings.some((d) => !d.strokes.length);
  const sheets = c.drawings.map((d, i) => updateSheet(d, c.name, `draw ${c.name}`, `drawing ${i + 1} of ${c.name}`));
  setChildren(parts.sheets, full ? sheets : [...sheets, parts.addButton]);
  return parts.element;
}
/* Sets the children of an element. Existing children are not moved needlessly, so that they keep the focus. */
function setChildren(parent, children) {
  for (const old of [...parent.children]) if (!children.includes(old)) old.remove();
  children.forEach((child, i) => parent.children[i] !== child && parent.insertBefore(child, parent.children[i] ?? null));
}

function showState(now) {
  setChildren($("classes"), now.classes.map(updateRow));
  setChildren($("query"), [updateSheet(now.query, "", "draw here", "the query")]);
  const most = Math.max(...now.classes.map((c) => c.drawings.length));
  $("classes").classList.toggle("many", now.classes.length > 3 || most > 3);
  $("add").hidden = now.classes.length >= facts.classes;
  const drawnClasses = state.listDrawnClasses(now);
  $("undo").disabled = !state.canUndo();
  $("redo").disabled = !state.canRedo();
  $("clear").disabled = !drawnClasses.length && !now.query.strokes.length;
  $("save").disabled = !drawnClasses.length;
  setChildren($("keep"), [$("keep").firstElementChild, ...now.classes
    .filter((c) => c.drawings.length < facts.drawings || c.drawings.some((d) => !d.strokes.length))
    .map((c) => {
      const button = make("button", { type: "button", class: `hue-${c.hue}` }, make("i"), make("b", {}, c.name));
      button.addEventListener("click", () => addQueryToClass(c.id));
      return button;
    })]);
  ask(now, !isPlaying());
}
/* Adds the query to a class as a drawing, and clears the query's sheet. */
function addQueryToClass(id) {
  const strokes = state.now.query.strokes;
  state.change({ ...state.addDrawing(id, strokes), query: { id: "query", strokes: [] } });
  getSheet("query").canvas.focus({ preventScroll: true });
}

async function save() {
  try {
    const reply = await state.post("folder.zip", { classes: state.encodeClasses(state.listDrawnClasses(state.now)) });
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
$("example").addEventListener("click", () => playExample((id) => getSheet(id)));
document.addEventListener("pointerdown", (event) => event.target.id !== "example" && stopExample(), true);
document.addEventListener("keydown", (event) => {
  if (event.target.id !== "example") stopExample();
  if (!(event.ctrlKey || event.metaKey) || event.altKey || event.target.tagName === "INPUT") return;
  const key = event.key.toLowerCase();
  if (key !== "z" && key !== "y") return;
  event.preventDefault();
  key === "y" || event.shiftKey ? state.redo() : state.undo();
}, true);
addEventListener("resize", drawThreads);
new ResizeObserver(drawThreads).observe(document.querySelector("main"));
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
  pads.forEach((pad) => pad.draw());
  redraw();
});
state.addListener(showState);
showState(state.now);
