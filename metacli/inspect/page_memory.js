/* The memory at a step, the interface parameters, all steps of one head. */

/* Weights are on one fixed scale from 0 to 1, or, on request, from 0 to the heaviest weight of their head. */
const heaviest = data.heads.map((h) => {
  let most = 1e-9;
  for (let t = 0; t < h.shape[0]; t++) for (let r = 0; r < h.size; r++) most = Math.max(most, h.at(t, r));
  return most;
});
const full = (h) => ($("stretch").checked ? heaviest[data.heads.indexOf(h)] : 1);

/* Memory: each column has a row for each place: attended steps, or the locations in use, or on request all locations. */
const range = (count) => Array.from({ length: count }, (_, i) => i);
const locations = () => ($("all").checked ? range(data.locations.length) : data.used);
const rowsOf = (h) => (h.names ? range(h.shape[1]) : locations());
const placeName = (h, r) => (h.names || data.locations)[r];
function rowNames(box, names, height) {
  const every = Math.max(1, Math.ceil(14 / height)), shown = names.filter((_, i) => i % every === 0);
  box.style.width = `${0.6 * Math.max(8, ...shown.map((name) => name.length))}em`;
  box.replaceChildren(...shown.map((name, i) => make("span", { style: `top:${(i * every + 0.5) * height}px` }, name)));
}
function columns() {
  const box = $("columns"), first = data.heads[0];
  $("places").hidden = !first;
  if (!first) return;
  const rows = rowsOf(first), height = Math.max(4, Math.min(22, 512 / rows.length)), tall = [], wide = [];
  const ticks = make("div", { class: "ticks", style: `height:${rows.length * height}px` });
  rowNames(ticks, rows.map((r) => placeName(first, r).replace("location ", "")), height);
  if (!first.names) ticks.append(make("b", {}, "location"));
  $("scale").textContent = `Weights: dark is 0, yellow is ${$("stretch").checked ? "the heaviest weight of a head" : "1"}.`;
  const add = (list, caption, canvas) => {
    const figure = make("figure");
    canvas.style.height = `${rows.length * height}px`;
    figure.append(make("figcaption", list === tall ? { class: "tall" } : {}, caption), canvas);
    list.push(figure);
  };
  for (const h of data.heads)
    add(tall, h.name, grid(rows.length, 1, (i) => shade(h.at(step, rows[i]) / full(h)),
      (i) => `${h.name}, ${placeName(h, rows[i])}: ${number(h.at(step, rows[i]))}`, `${h.name} at step ${step + 1}`));
  for (const a of data.arrays.filter((a) => a.role === "usage"))
    add(tall, a.name, grid(rows.length, 1, (i) => shade(a.at(step, rows[i]) / (a.high || 1)),
      (i) => `${a.name}, ${data.locations[rows[i]]}: ${number(a.at(step, rows[i]))}`, `${a.name} at step ${step + 1}`));
  for (const a of data.arrays.filter((a) => a.role === "memory")) {
    const width = a.shape[2], most = Math.max(Math.abs(a.low), Math.abs(a.high)) || 1;
    add(wide, "memory", grid(rows.length, width, (i, c) => signed(a.at(step, rows[i] * width + c) / most),
      (i, c) => `memory, ${data.locations[rows[i]]}, column ${c + 1}: ${number(a.at(step, rows[i] * width + c))}`,
      `memory after step ${step + 1}`));
    $("scale").textContent += ` Memory: blue is -${number(most)}, orange is ${number(most)}.`;
  }
  for (const a of data.arrays.filter((a) => a.role === "links")) {
    const width = a.shape[2], link = (i, j) => a.at(step, rows[i] * width + rows[j]);
    add(wide, "links", grid(rows.length, rows.length, (i, j) => shade(link(i, j)),
      (i, j) => `location ${rows[i] + 1} was written after location ${rows[j] + 1}: ${number(link(i, j))}`,
      `temporal links after step ${step + 1}`));
    $("scale").textContent += " Links: a bright cell means that its row was written right after its column.";
  }
  const longest = Math.max(...tall.map((figure) => figure.firstChild.textContent.length));
  box.style.setProperty("--caption", `${Math.max(55, 7 * longest)}px`);
  box.replaceChildren(ticks, ...tall, ...wide);
  const gap = box.clientWidth < 500 ? 4 : 10, room = box.clientWidth - ticks.offsetWidth, least = 140 + gap;
  const thin = Math.max(14, Math.min(wide.length ? 22 : 44, Math.floor((room - least * wide.length) / tall.length) - gap));
  const left = (room - (thin + gap) * tall.length) / (wide.length || 1) - gap;
  box.style.gap = `${gap}px`;
  for (const figure of tall) figure.style.width = figure.lastChild.style.width = `${thin}px`;
  for (const { lastChild: canvas } of wide)
    canvas.style.width = `${Math.min(14 * canvas.width, 330, Math.max(least - gap, Math.floor(left)))}px`;
}

/* Interface parameters: numbers and short vectors of each head; long ones as strips. */
function headName(a, i) {
  if (a.names) return a.names[i];
  if (a.axes[0] === "layer") return `layer ${i + 1}`;
  if (a.axes[0] === "write head") return `write${i}`;
  const of = (role) => data.heads.filter((h) => h.role === role).map((h) => h.name);
  const names = [...of("read"), ...of("write")];
  return names.length === a.shape[1] ? names[i] : `head ${i}`;
}
function interfaceParameters() {
  const shown = data.arrays.filter((a) => a.axes.length === 2 && !["memory", "links"].includes(a.role));
  $("interface").hidden = !shown.length;
  $("parameters").replaceChildren(...shown.flatMap((a) => {
    const [, count, size] = a.shape, table = make("table");
    for (let i = 0; i < count; i++) {
      const row = make("tr"), cell = make("td"), value = (j) => a.at(step, i * size + j);
      const list = Array.from({ length: size }, (_, j) => value(j));
      if (a.axes[1] === "location") {
        const best = list.indexOf(Math.max(...list));
        cell.textContent = `location ${best + 1}: ${number(list[best])}`;
      } else if (size <= 7) cell.textContent = list.map(number).join("  ");
      else {
        const most = Math.max(Math.abs(a.low), Math.abs(a.high)) || 1;
        const strip = grid(1, size, (r, c) => signed(value(c) / most),
          (r, c) => `${a.name} of ${headName(a, i)}, ${a.axes[1]} ${c + 1}: ${number(value(c))}`, `${a.name} of ${headName(a, i)}`);
        strip.style.cssText = `width:${Math.min(210, 8 * size)}px;height:14px`;
        cell.append(strip);
      }
      row.append(make("th", {}, headName(a, i)), cell);
      table.append(row);
    }
    return [make("h3", {}, a.name), make("p", { class: "about" }, a.text), table];
  }));
}

/* All steps of one head, or of the states of a model without heads. */
const maps = [
  ...data.heads.map((h) => ({ name: h.name, text: h.text, rows: () => rowsOf(h), row: (r) => placeName(h, r),
    value: (t, r) => h.at(t, r), colour: (v) => shade(v / full(h)) })),
  ...data.arrays.filter((a) => a.role === "usage").map((a) => ({ name: a.name, text: a.text, rows: locations,
    row: (r) => data.locations[r], value: (t, r) => a.at(t, r), colour: (v) => shade(v / (a.high || 1)) })),
  ...data.arrays.filter((a) => a.axes[0] === "layer").flatMap((a) => {
    const most = Math.max(Math.abs(a.low), Math.abs(a.high)) || 1, [, layers, units] = a.shape;
    return Array.from({ length: layers }, (_, l) => ({ name: `${a.name}, layer ${l + 1}`, text: a.text,
      rows: () => range(units), row: (r) => `unit ${r + 1}`, value: (t, r) => a.at(t, l * units + r), colour: (v) => signed(v / most) }));
  }),
];
function timeMap() {
  $("time").hidden = !maps.length;
  if (!maps.length) return;
  const m = maps[shownMap], total = data.items.length;
  $("which-text").textContent = `${m.text}. Steps from left to right; click to choose one.`;
  const rows = m.rows(), height = Math.max(120, Math.min(520, rows.length * (rows.length > 60 ? 9 : 16)));
  const canvas = grid(rows.length, total, (i, t) => m.colour(m.value(t, rows[i])),
    (i, t) => `${m.name}, ${m.row(rows[i])}, step ${t + 1}: ${number(m.value(t, rows[i]))}`, `${m.name} over all steps`);
  canvas.style.height = `${height}px`;
  rowNames($("map-names"), rows.map(m.row), height / rows.length);
  canvas.addEventListener("click", (event) => {
    const box = canvas.getBoundingClientRect();
    choose(Math.floor(((event.clientX - box.left) / box.width) * total));
  });
  const parts = [canvas, make("div", { class: "cursor" })];
  if (data.start > 0) parts.push(make("div", { class: "edge", style: `left:${(100 * data.start) / total}%` }));
  $("map").replaceChildren(...parts);
  cursor();
}
function cursor() {
  const total = data.items.length, mark = $("map").querySelector(".cursor");
  if (!mark) return;
  mark.style.left = `${(100 * step) / total}%`;
  mark.style.width = `${100 / total}%`;
}
