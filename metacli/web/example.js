/* An example that draws itself: invented characters, then one of them again in another hand. */
import { ask } from "./answer.js";
import { amend, change, facts, newClass, withStrokes } from "./state.js";

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
let turn = 0, run = null;

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
    return evened(evened(points)).map(([x, y], i) => {
      const wave = 9 * Math.sin(i / 9 + 2 * n + 3 * hand);
      return [a * x + c * y + e + wave, b * x + d * y + f - wave, 1.08 + 0.2 * Math.sin(i / 11 + n)];
    });
  });
}

/* Each point the mean of those around it. */
const evened = (points, reach = 4) => points.map((_, i) => {
  const r = Math.min(reach, i, points.length - 1 - i), some = points.slice(i - r, i + r + 1);
  return [0, 1].map((axis) => some.reduce((sum, p) => sum + p[axis], 0) / some.length);
});

export const playing = () => run !== null;
/* What is being drawn is there at once, whole. */
export function stopExample() {
  run?.finish();
}

export async function playExample(sheet) {
  stopExample();
  const classes = [];
  for (const name of NAMES) classes.push(newClass(classes, name));
  const query = strokes(ORDER[turn++ % ORDER.length], 1 + (turn % 2));
  const whole = {
    classes: classes.map((c) => ({ ...c, drawings: [{ ...c.drawings[0], strokes: strokes(c.name, 0) }] })),
    query: { id: "query", strokes: query },
  };
  const mine = { finish: () => {
    run = null;
    amend(whole);
  } };
  run = mine;
  change({ classes, query: { id: "query", strokes: [] } });
  if (matchMedia("(prefers-reduced-motion: reduce)").matches) return mine.finish();
  const parts = [...whole.classes.map((c) => c.drawings[0]), whole.query];
  for (const part of parts) {
    if (part.id === "query" && matchMedia(NARROW).matches) {
      document.getElementById("ask").scrollIntoView({ block: "start", behavior: "smooth" });
    }
    await draw(mine, sheet(part.id), part);
    if (run !== mine) return;
    amend(withStrokes(part.id, part.strokes));
    await new Promise((done) => setTimeout(done, PAUSE));
    if (run !== mine) return;
  }
  mine.finish();
}

/* Ink a drawing as a hand would; that of the query is asked about as it grows. */
function draw(mine, pad, part) {
  const began = performance.now(), total = part.strokes.reduce((n, s) => n + s.length, 0);
  const span = (total * 18) / SPEED * (part.id === "query" ? 1.6 : 1);
  return new Promise((done) => {
    const frame = (time) => {
      if (run !== mine) return done();
      let left = Math.floor(total * Math.min(1, Math.max(0, time - began) / span));
      if (left >= total) return done();
      const some = [];
      for (const s of part.strokes) {
        if (left > 0) some.push(s.slice(0, left));
        left -= s.length;
      }
      pad.show(some);
      pad.element.classList.toggle("empty", !some.length);
      if (part.id === "query" && some.length) ask(withStrokes("query", some), false);
      requestAnimationFrame(frame);
    };
    requestAnimationFrame(frame);
  });
}
