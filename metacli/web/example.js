/* An example that draws itself: invented characters, then one of them again in another hand. */
import { ask } from "./answer.js";
import { change, facts, newClass, replaceState, withStrokes } from "./state.js";

/* Knots of each stroke; a smooth curve goes through them. */
const CHARACTERS = {
  Kesh: [[[260, 240], [420, 170], [620, 190], [740, 290], [690, 430], [520, 500], [400, 600], [420, 760], [570, 840], [730, 780]],
    [[200, 540], [420, 520], [640, 560], [810, 540]]],
  Oru: [[[570, 175], [410, 190], [275, 290], [230, 450], [300, 610], [460, 680], [640, 615], [720, 450], [670, 285], [540, 185], [430, 175]],
    [[470, 430], [600, 560], [700, 710], [820, 840]]],
  Tavi: [[[250, 180], [250, 400], [300, 560], [470, 620], [650, 570], [720, 420], [730, 190]],
    [[490, 200], [490, 480], [485, 680], [490, 860]]],
  Lumo: [[[220, 260], [480, 240], [780, 250]], [[770, 255], [560, 460], [330, 650], [230, 790]],
    [[235, 785], [500, 770], [690, 790], [800, 720]]],
  Nim: [[[240, 800], [235, 520], [330, 290], [500, 210], [670, 290], [765, 520], [750, 680], [660, 780], [560, 700], [600, 590]],
    [[400, 430], [440, 520], [420, 640]]],
};
const NAMES = Object.keys(CHARACTERS).slice(0, facts.classes);
const HANDS = [[1, 0, 0, 1, 0, 0], [0.93, 0.09, -0.07, 0.96, 40, -20], [1.02, -0.1, 0.08, 0.9, -30, 60]];
const ORDER = ["Oru", "Kesh", "Nim", "Lumo", "Tavi"].filter((name) => NAMES.includes(name));
const NARROW = "(max-width: 800px)"; // as in draw.css: the query lies below the classes
const PAUSE = 180, SPEED = 3; // milliseconds between drawings; units a millisecond
let exampleCount = 0, run = null;

/* Catmull-Rom through the knots, moved by a hand, with a little wave. */
function strokes(name, hand) {
  const [a, b, c, d, e, f] = HANDS[hand];
  return CHARACTERS[name].map((knots, n) => {
    const points = [], k = (i) => knots[Math.min(knots.length - 1, Math.max(0, i))];
    for (let i = 0; i + 1 < knots.length; i++) {
      for (let t = 0; t < 1; t += 1 / 14) {
        const [x, y] = [0, 1].map((axis) => {
          const [p, q, r, s] = [k(i - 1)[axis], k(i)[axis], k(i + 1)[axis], k(i + 2)[axis]];
          return q + 0.5 * t * (r - p + t * (2 * p - 5 * q + 4 * r - s + t * (3 * (q - r) + s - p)));
        });
        points.push([x, y]);
      }
    }
    points.push(knots.at(-1));
    return smoothPoints(smoothPoints(points)).map(([x, y], i) => {
      const wave = 9 * Math.sin(i / 9 + 2 * n + 3 * hand);
      return [a * x + c * y + e + wave, b * x + d * y + f - wave, 1.08 + 0.2 * Math.sin(i / 11 + n)];
    });
  });
}

/* Replaces each point by the mean of its neighbours. */
const smoothPoints = (points, radius = 4) => points.map((_, i) => {
  const r = Math.min(radius, i, points.length - 1 - i), nearby = points.slice(i - r, i + r + 1);
  return [0, 1].map((axis) => nearby.reduce((sum, p) => sum + p[axis], 0) / nearby.length);
});

export const isPlaying = () => run !== null;
/* Ends the animation and shows the finished example. */
export function stopExample() {
  run?.finish();
}

export async function playExample(getSheet) {
  stopExample();
  const classes = [];
  for (const name of NAMES) classes.push(newClass(classes, name));
  const query = strokes(ORDER[exampleCount++ % ORDER.length], 1 + (exampleCount % 2));
  const finalState = {
    classes: classes.map((c) => ({ ...c, drawings: [{ ...c.drawings[0], strokes: strokes(c.name, 0) }] })),
    query: { id: "query", strokes: query },
  };
  const thisRun = { finish: () => {
    run = null;
    replaceState(finalState);
  } };
  run = thisRun;
  change({ classes, query: { id: "query", strokes: [] } });
  if (matchMedia("(prefers-reduced-motion: reduce)").matches) return thisRun.finish();
  const steps = [...finalState.classes.map((c) => c.drawings[0]), finalState.query];
  for (const step of steps) {
    if (step.id === "query" && matchMedia(NARROW).matches) {
      document.getElementById("ask").scrollIntoView({ block: "start", behavior: "smooth" });
    }
    await animateDrawing(thisRun, getSheet(step.id), step);
    if (run !== thisRun) return;
    replaceState(withStrokes(step.id, step.strokes));
    await new Promise((done) => setTimeout(done, PAUSE));
    if (run !== thisRun) return;
  }
  thisRun.finish();
}

/* Animates a drawing; while the query grows, answers are requested. */
function animateDrawing(thisRun, pad, step) {
  const start = performance.now(), total = step.strokes.reduce((n, s) => n + s.length, 0);
  const duration = (total * 18) / SPEED * (step.id === "query" ? 1.6 : 1);
  return new Promise((done) => {
    const frame = (time) => {
      if (run !== thisRun) return done();
      let left = Math.floor(total * Math.min(1, Math.max(0, time - start) / duration));
      if (left >= total) return done();
      const visible = [];
      for (const s of step.strokes) {
        if (left > 0) visible.push(s.slice(0, left));
        left -= s.length;
      }
      pad.show(visible);
      pad.element.classList.toggle("empty", !visible.length);
      if (step.id === "query" && visible.length) ask(withStrokes("query", visible), false);
      requestAnimationFrame(frame);
    };
    requestAnimationFrame(frame);
  });
}
