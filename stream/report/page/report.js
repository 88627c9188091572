// What the page does beyond showing itself: values under the pointer, and one class at a time.

const TOLD = 7; // classes in the tip, the largest first
const SMALLEST = 50; // hundredths of a percent; what covers less is not told

for (const run of document.querySelectorAll(".run")) {
  const values = run.querySelector(".values");
  if (!values) continue;
  const curve = JSON.parse(values.textContent);
  for (const chart of run.querySelectorAll(".chart")) watch(chart, curve);
  for (const button of run.querySelectorAll(".legend button")) button.addEventListener("click", () => choose(run, button));
}

function watch(chart, curve) {
  const plot = chart.querySelector(".plot");
  let at = 0;
  const show = (place) => {
    at = Math.min(Math.max(place, 0), curve.times.length - 1);
    tell(chart, plot, curve, at);
  };
  plot.addEventListener("pointermove", ({ clientX }) => {
    const box = plot.getBoundingClientRect();
    const [first, last] = [curve.times[0], curve.times.at(-1)];
    show(nearest(curve.times, first + ((clientX - box.left) / box.width) * (last - first)));
  });
  plot.addEventListener("pointerleave", () => hide(plot));
  plot.addEventListener("blur", () => hide(plot));
  plot.addEventListener("focus", () => plot.matches(":focus-visible") && show(at));
  plot.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1, PageUp: -20, PageDown: 20, Home: -Infinity, End: Infinity }[event.key];
    if (step === undefined) return;
    event.preventDefault();
    show(at + step);
  });
}

function nearest(times, time) {
  let low = 0;
  let high = times.length - 1;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (times[middle] <= time) low = middle;
    else high = middle;
  }
  return time - times[low] <= times[high] - time ? low : high;
}

function tell(chart, plot, curve, at) {
  const span = curve.times.at(-1) - curve.times[0];
  const place = span ? (curve.times[at] - curve.times[0]) / span : 0.5;
  const cursor = plot.querySelector(".cursor");
  const tip = plot.querySelector(".tip");
  cursor.style.left = `${place * 100}%`;
  tip.replaceChildren(
    element("b", `${clock(curve.times[at])} · frame ${curve.frames[at]}`),
    ...(chart.dataset.kind === "shares" ? shareRows(curve, at) : [element("span", changeOf(curve, at))]),
  );
  cursor.hidden = tip.hidden = false;
  const left = place * plot.clientWidth + (place < 0.5 ? 14 : -14 - tip.offsetWidth);
  tip.style.left = `${Math.min(Math.max(left, 0), Math.max(plot.clientWidth - tip.offsetWidth, 0))}px`;
}

function hide(plot) {
  plot.querySelector(".cursor").hidden = plot.querySelector(".tip").hidden = true;
}

function shareRows(curve, at) {
  return curve.shares[at]
    .map((share, number) => ({ share, number }))
    .filter(({ share }) => share >= SMALLEST)
    .sort((a, b) => b.share - a.share)
    .slice(0, TOLD)
    .map(({ share, number }) => {
      const row = document.createElement("div");
      const swatch = Object.assign(document.createElement("i"), { className: "swatch" });
      swatch.style.background = curve.colors[number];
      row.append(swatch, element("span", curve.names[number]), element("span", percent(share, 1)));
      return row;
    });
}

const changeOf = (curve, at) => (curve.changed[at] === null ? "not known" : `${percent(curve.changed[at], 2)} of the pixels change`);
const percent = (hundredths, digits) => `${(hundredths / 100).toFixed(digits)} %`;
const element = (name, text) => Object.assign(document.createElement(name), { textContent: text });

function clock(ms) {
  const tenths = Math.round(Math.abs(ms) / 100);
  const [hours, minutes] = [Math.floor(tenths / 36000), Math.floor(tenths / 600) % 60];
  const seconds = `${String(Math.floor(tenths / 10) % 60).padStart(2, "0")}.${tenths % 10}`;
  return (ms < 0 ? "-" : "") + (hours ? `${hours}:${String(minutes).padStart(2, "0")}:${seconds}` : `${minutes}:${seconds}`);
}

function choose(run, button) {
  const pressed = button.getAttribute("aria-pressed") !== "true";
  button.setAttribute("aria-pressed", pressed);
  const chosen = new Set([...run.querySelectorAll(".legend button[aria-pressed=true]")].map((one) => one.dataset.class));
  const svg = run.querySelector("[data-kind=shares] svg");
  svg.classList.toggle("has-chosen", chosen.size > 0);
  for (const path of svg.querySelectorAll("path")) path.classList.toggle("is-chosen", chosen.has(path.dataset.class));
}
