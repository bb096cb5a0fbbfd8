/* The drawings as immutable values: undo returns to an earlier value.
   A state: {classes: [{id, name, hue, drawings: [{id, strokes}]}], query: {id, strokes}};
   a stroke: [[x, y, width], ...], x and y from 0 to facts.side, width around 1. */
export const facts = JSON.parse(document.body.dataset.facts);
const STROKES = 80, POINTS = 2800;
const listeners = [];
let past = [], future = [], count = 0;

export const drawing = (strokes = []) => ({ id: `d${count++}`, strokes });
export function newClass(existing, name) {
  const hues = new Set(existing.map((c) => c.hue)), names = new Set(existing.map((c) => c.name));
  const hue = [...Array(facts.classes).keys()].find((h) => !hues.has(h)) ?? 0;
  name ??= [..."ABCDEFGHIJ"].find((n) => !names.has(n));
  return { id: `c${count++}`, name, hue, drawings: [drawing()] };
}
function createEmptyState() {
  const classes = [];
  while (classes.length < Math.min(3, facts.classes)) classes.push(newClass(classes));
  return { classes, query: { id: "query", strokes: [] } };
}

export let now = createEmptyState();
const notifyListeners = () => listeners.forEach((f) => f(now));
export const addListener = (f) => listeners.push(f);
export const canUndo = () => past.length > 0;
export const canRedo = () => future.length > 0;
export function change(next) {
  past.push(now);
  future = [];
  now = next;
  notifyListeners();
}
/* Like `change`, but without an undo step. */
export function replaceState(next) {
  now = next;
  notifyListeners();
}
export function undo() {
  if (!past.length) return;
  future.push(now);
  now = past.pop();
  notifyListeners();
}
export function redo() {
  if (!future.length) return;
  past.push(now);
  now = future.pop();
  notifyListeners();
}
export const clear = () => change(createEmptyState());

const withClass = (id, f) => ({ ...now, classes: now.classes.map((c) => (c.id === id ? f(c) : c)) });
export function withStrokes(id, strokes) {
  if (id === "query") return { ...now, query: { id, strokes } };
  const of = (c) => ({ ...c, drawings: c.drawings.map((d) => (d.id === id ? { id, strokes } : d)) });
  return { ...now, classes: now.classes.map((c) => (c.drawings.some((d) => d.id === id) ? of(c) : c)) };
}
export const setStrokes = (id, strokes) => strokes.length <= STROKES && change(withStrokes(id, strokes));
export const addClass = () => change({ ...now, classes: [...now.classes, newClass(now.classes)] });
export const removeClass = (id) => change({ ...now, classes: now.classes.filter((c) => c.id !== id) });
export const rename = (id, name) => change(withClass(id, (c) => ({ ...c, name })));
export const addDrawing = (id, strokes) => withClass(id, (c) => {
  const empty = strokes && c.drawings.find((d) => !d.strokes.length);
  if (!empty) return { ...c, drawings: [...c.drawings, drawing(strokes)] };
  return { ...c, drawings: c.drawings.map((d) => (d === empty ? { ...d, strokes } : d)) };
});
export const removeDrawing = (id) => change({
  ...now, classes: now.classes.map((c) => ({ ...c, drawings: c.drawings.filter((d) => d.id !== id) })),
});

/* Strokes as the server expects them: integers, and a limited number of points. */
function encodeStrokes(strokes) {
  const totalStep = Math.ceil(strokes.reduce((n, s) => n + s.length, 0) / POINTS) || 1;
  const toInteger = (v) => Math.round(Math.min(facts.side, Math.max(0, v)));
  const strokeStep = Math.ceil(Math.max(...strokes.map((s) => s.length)) / (POINTS / 2));
  const step = Math.max(totalStep, strokeStep);
  return strokes.map((s) => s.filter((_, i) => i % step === 0 || i === s.length - 1).map(([x, y]) => [toInteger(x), toInteger(y)]));
}
/* The classes with at least one drawing, without empty drawings. */
export const listDrawnClasses = (state) => state.classes
  .map((c) => ({ ...c, drawings: c.drawings.filter((d) => d.strokes.length) }))
  .filter((c) => c.drawings.length);
export const encodeClasses = (classes) => classes.map((c) => ({
  name: c.name, drawings: c.drawings.map((d) => encodeStrokes(d.strokes)),
}));
export const encodeTask = (state) => ({
  classes: encodeClasses(listDrawnClasses(state)), queries: [encodeStrokes(state.query.strokes)],
});
export async function post(path, body) {
  const reply = await fetch(path, {
    method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body),
  });
  if (reply.ok) return reply;
  const answer = await reply.json().catch(() => ({}));
  throw new Error(answer.error || `the server answered ${reply.status}`);
}
