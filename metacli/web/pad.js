/* A sheet to draw on: by pointer (mouse, finger, pen) and by keyboard. */
import { facts } from "./state.js";

const PEN = 0.031; // of the sheet's width
const FOLLOW = 0.6, NEAR = 4; // how fast the ink follows the hand; units between two points, at least
const STEP = 40, FINE = 10; // of the keyboard's pen, in units
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
const interpolate = (a, b, f) => a + (b - a) * f;
const clamp = (v, low, high) => Math.min(high, Math.max(low, v));

/* One stroke as it grows: trembling is smoothed, and the ink is broader where the pen is slow or pressed. */
class Stroke {
  constructor(x, y) {
    this.points = [[x, y, 1]];
    this.raw = [x, y];
    this.time = 0;
  }
  add(x, y, pressure, time) {
    const last = this.points.at(-1);
    const [px, py] = this.smooth ?? this.raw;
    this.smooth = [interpolate(px, x, FOLLOW), interpolate(py, y, FOLLOW)];
    const [sx, sy] = this.smooth, distance = Math.hypot(sx - last[0], sy - last[1]);
    const speed = Math.hypot(x - this.raw[0], y - this.raw[1]) / Math.max(1, time - this.time);
    this.raw = [x, y];
    this.time = time;
    if (distance < NEAR) return;
    const targetWidth = pressure === null ? clamp(1.3 - 0.22 * speed, 0.7, 1.3) : clamp(0.55 + 0.9 * pressure, 0.55, 1.45);
    this.points.push([sx, sy, interpolate(last[2], targetWidth, 0.2)]);
  }
  end() {
    const last = this.points.at(-1), [x, y] = this.raw;
    if (Math.hypot(x - last[0], y - last[1]) >= 1) this.points.push([x, y, last[2] * 0.9]);
    return this.points;
  }
}

/* Strokes as smooth ink: curves through the middles between points. */
export function ink(context, strokes, size, colour) {
  const scale = size / facts.side, pen = PEN * size;
  context.lineCap = context.lineJoin = "round";
  context.strokeStyle = context.fillStyle = colour;
  for (const s of strokes) {
    const at = (i) => [s[i][0] * scale, s[i][1] * scale];
    if (s.length === 1) {
      context.beginPath();
      context.arc(...at(0), pen * 0.62, 0, 7);
      context.fill();
      continue;
    }
    let from = at(0);
    for (let i = 1; i < s.length; i++) {
      const p = at(i), q = i + 1 < s.length ? at(i + 1) : p, to = [(p[0] + q[0]) / 2, (p[1] + q[1]) / 2];
      context.lineWidth = pen * s[i][2];
      context.beginPath();
      context.moveTo(...from);
      context.quadraticCurveTo(...p, ...to);
      context.stroke();
      from = to;
    }
  }
}

export class Pad {
  /* changed(strokes): a stroke was finished or removed. live(strokes): a stroke grows. */
  constructor({ changed, live }) {
    Object.assign(this, { changed, live, strokes: [], stroke: null, pen: null, keys: new Set() });
    this.canvas = document.createElement("canvas");
    for (const [k, v] of Object.entries({
      tabindex: 0, role: "application", "aria-roledescription": "sheet to draw on", "aria-describedby": "how",
    })) this.canvas.setAttribute(k, v);
    const on = (name, f) => this.canvas.addEventListener(name, f.bind(this));
    on("pointerdown", this.down);
    on("pointermove", this.move);
    on("pointerup", this.up);
    on("pointercancel", this.up);
    on("keydown", this.key);
    on("keyup", (event) => this.keys.delete(event.key));
    on("blur", () => {
      this.keys.clear();
      this.endStroke();
      this.pen = null;
      this.draw();
    });
    new ResizeObserver(() => this.draw()).observe(this.canvas);
  }
  show(strokes) {
    if (this.strokes === strokes) return;
    this.strokes = strokes;
    this.draw();
  }
  allStrokes() {
    return this.stroke ? [...this.strokes, this.stroke.points] : this.strokes;
  }
  draw() {
    const size = this.canvas.clientWidth, dots = Math.round(size * devicePixelRatio);
    if (!size) return;
    if (this.canvas.width !== dots) this.canvas.width = this.canvas.height = dots;
    const context = this.canvas.getContext("2d"), style = getComputedStyle(this.canvas);
    context.setTransform(dots / size, 0, 0, dots / size, 0, 0);
    context.clearRect(0, 0, size, size);
    ink(context, this.allStrokes(), size, style.color);
    if (!this.pen) return;
    const [x, y] = this.pen.map((v) => (v * size) / facts.side);
    context.strokeStyle = style.getPropertyValue("--accent");
    context.lineWidth = 2;
    context.beginPath();
    context.arc(x, y, this.stroke ? 5 : 8, 0, 7);
    context.stroke();
  }
  notifyGrowth() {
    this.draw();
    this.live(this.allStrokes());
  }
  endStroke() {
    if (!this.stroke) return;
    const points = this.stroke.end();
    this.stroke = null;
    this.changed([...this.strokes, points]);
  }

  toUnits(event) {
    const box = this.canvas.getBoundingClientRect();
    const unit = (v, low, size) => clamp(((v - low) / size) * facts.side, 0, facts.side);
    return [unit(event.clientX, box.left, box.width), unit(event.clientY, box.top, box.height)];
  }
  down(event) {
    if (event.button !== 0 || this.pointer !== undefined) return;
    event.preventDefault();
    this.endStroke();
    this.pen = null;
    this.canvas.focus({ preventScroll: true });
    this.canvas.setPointerCapture(event.pointerId);
    this.pointer = event.pointerId;
    this.stroke = new Stroke(...this.toUnits(event));
    this.stroke.time = event.timeStamp;
    this.notifyGrowth();
  }
  move(event) {
    if (event.pointerId !== this.pointer || !this.stroke) return;
    const events = event.getCoalescedEvents?.() ?? [];
    for (const e of events.length ? events : [event]) {
      this.stroke.add(...this.toUnits(e), e.pointerType === "pen" && e.pressure > 0 ? e.pressure : null, e.timeStamp);
    }
    this.notifyGrowth();
  }
  up(event) {
    if (event.pointerId !== this.pointer) return;
    this.pointer = undefined;
    this.endStroke();
  }

  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const arrow = ARROWS[event.key];
    if (arrow) {
      this.keys.add(event.key);
      this.pen ??= [facts.side / 2, facts.side / 2];
      const step = event.shiftKey ? FINE : STEP;
      for (const [x, y] of [...this.keys].map((k) => ARROWS[k])) {
        this.pen = [clamp(this.pen[0] + step * x, 0, facts.side), clamp(this.pen[1] + step * y, 0, facts.side)];
      }
      if (this.stroke) this.stroke.points.push([...this.pen, 1]);
      if (this.stroke) this.stroke.raw = this.pen;
      this.stroke ? this.notifyGrowth() : this.draw();
    } else if (event.key === " " && !event.repeat) {
      this.pen ??= [facts.side / 2, facts.side / 2];
      if (this.stroke) this.endStroke();
      else this.stroke = new Stroke(...this.pen);
      this.draw();
    } else if (event.key === "Escape") this.endStroke();
    else if (event.key === "Backspace" && (this.stroke || this.strokes.length)) {
      if (this.stroke) this.stroke = null;
      else this.changed(this.strokes.slice(0, -1));
      this.draw();
    } else if (event.key === "Delete" && (this.stroke || this.strokes.length)) {
      this.stroke = null;
      this.changed([]);
    } else if (event.key !== " ") return;
    event.preventDefault();
  }
}
