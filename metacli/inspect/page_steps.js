/* Moving from step to step, by hand or by playing; and the first view. */

function go(t) {
  step = Math.min(data.items.length - 1, Math.max(0, t));
  now();
  columns();
  interfaceParameters();
  cursor();
  const button = $("film").children[step], strip = $("film");
  strip.scrollLeft = button.offsetLeft - strip.clientWidth / 2 + button.offsetWidth / 2;
  if (strip.contains(document.activeElement)) button.focus({ preventScroll: true });
}

/* Playing ends at the last step, or when the user chooses a step. It is slower with reduced motion. */
const calm = matchMedia("(prefers-reduced-motion: reduce)"), last = data.items.length - 1;
function choose(t) {
  pause();
  go(t);
}
function pause() {
  clearInterval(playing);
  playing = 0;
  $("play").textContent = "Play";
  $("spoken").setAttribute("aria-live", "polite");
}
function play() {
  if (step === last) go(0);
  playing = setInterval(() => (step < last ? go(step + 1) : pause()), calm.matches ? 2000 : 700);
  $("play").textContent = "Pause";
  $("spoken").setAttribute("aria-live", "off");
}
const toggle = () => (playing ? pause() : play());

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.altKey || event.metaKey || ["INPUT", "SELECT"].includes(event.target.tagName)) return;
  const goal = { ArrowLeft: step - 1, ArrowRight: step + 1, Home: 0, End: last }[event.key];
  if (goal === undefined && event.key.toLowerCase() !== "p") return;
  event.preventDefault();
  goal === undefined ? toggle() : choose(goal);
});
$("slider").addEventListener("input", () => choose(Number($("slider").value) - 1));
$("back").addEventListener("click", () => choose(step - 1));
$("forward").addEventListener("click", () => choose(step + 1));
$("play").addEventListener("click", toggle);
$("which").addEventListener("change", () => { shownMap = $("which").selectedIndex; timeMap(); });
for (const id of ["stretch", "all"]) $(id).addEventListener("change", () => { columns(); timeMap(); });
addEventListener("resize", columns);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { go(step); timeMap(); });

$("title").textContent = data.title;
$("score").textContent = data.score;
$("legend").textContent = data.legend;
$("places-title").textContent = data.places;
$("slider").max = last + 1;
$("all-label").hidden = data.used.length === data.locations.length;
$("all-text").textContent = `show all ${data.locations.length} locations, not only the ${data.used.length} in use`;
$("hint").hidden = !sources;
$("reader").append(...["the mean of all heads", ...(data.readers || [])].map((name) => make("option", {}, name)));
$("reader").selectedIndex = 1 + (data.readers || []).indexOf(data.first);
$("reader").addEventListener("change", () => now());
$("which").append(...maps.map((m) => make("option", {}, m.name)));
shownMap = Math.max(0, maps.findIndex((m) => m.name === data.first));
$("which").selectedIndex = shownMap;
film();
timeMap();
go(data.opens);
