// What the page does beyond showing itself: values under the pointer, one class at a time, and pictures large.

const TOLD = 7; // classes in the tip, the largest first
const SMALLEST = 50; // hundredths of a percent; what covers less is not told

for (const run of document.querySelectorAll(".run:has(.plot)")) {
  watch(run.querySelector(".plot"), JSON.parse(run.querySelector(".values").textContent));
  for (const button of run.querySelectorAll("[data-class][aria-pressed]")) button.addEventListener("click", () => choose(run, button));
}

enlarge(document.querySelector(".viewer"));

function watch(plot, curve) {
  let at = 0;
  const show = (column) => {
    at = Math.min(Math.max(column, 0), curve.times.length - 1);
    tell(plot, curve, at);
  };
  const hide = () => (plot.querySelector(".cursor").hidden = plot.querySelector(".tip").hidden = true);
  plot.addEventListener("pointermove", ({ clientX }) => {
    const box = plot.getBoundingClientRect();
    show(Math.floor(((clientX - box.left) / box.width) * curve.times.length));
  });
  plot.addEventListener("pointerleave", hide);
  plot.addEventListener("blur", hide);
  plot.addEventListener("focus", () => plot.matches(":focus-visible") && show(at));
  plot.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1, PageUp: -20, PageDown: 20, Home: -Infinity, End: Infinity }[event.key];
    if (step === undefined) return;
    event.preventDefault();
    show(at + step);
  });
}

function tell(plot, curve, at) {
  const place = (at + 0.5) / curve.times.length;
  const cursor = plot.querySelector(".cursor");
  const tip = plot.querySelector(".tip");
  cursor.style.left = `${place * 100}%`;
  tip.replaceChildren(element("b", `${clock(curve.times[at])} · frame ${curve.frames[at]}`), ...shareRows(curve, at));
  cursor.hidden = tip.hidden = false;
  const left = place * plot.clientWidth + (place < 0.5 ? 14 : -14 - tip.offsetWidth);
  tip.style.left = `${Math.min(Math.max(left, 0), Math.max(plot.clientWidth - tip.offsetWidth, 0))}px`;
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
      row.append(swatch, element("span", curve.names[number]), element("span", `${(share / 100).toFixed(1)} %`));
      return row;
    });
}

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
  const chosen = new Set([...run.querySelectorAll("[aria-pressed=true]")].map((one) => one.dataset.class));
  const svg = run.querySelector(".plot svg");
  svg.classList.toggle("has-chosen", chosen.size > 0);
  for (const path of svg.querySelectorAll("path")) path.classList.toggle("is-chosen", chosen.has(path.dataset.class));
}

function enlarge(viewer) {
  const image = viewer.querySelector("img");
  let pictures = []; // of the run that is looked at
  let at = 0;
  const show = (number) => {
    at = (number + pictures.length) % pictures.length;
    [image.src, image.alt] = [pictures[at].src, pictures[at].alt];
    viewer.querySelector("p").textContent = image.alt;
  };
  for (const button of document.querySelectorAll(".pictures button")) {
    button.addEventListener("click", () => {
      pictures = [...button.closest(".pictures").querySelectorAll("img")];
      show(pictures.indexOf(button.firstElementChild));
      viewer.showModal();
    });
  }
  for (const button of viewer.querySelectorAll("[data-step]")) button.addEventListener("click", () => show(at + Number(button.dataset.step)));
  viewer.addEventListener("click", ({ target }) => [viewer, image].includes(target) && viewer.close());
  viewer.addEventListener("close", () => pictures[at].parentElement.focus());
  viewer.addEventListener("keydown", (event) => {
    const place = { ArrowLeft: at - 1, ArrowRight: at + 1, Home: 0, End: -1 }[event.key];
    if (place === undefined) return;
    event.preventDefault();
    show(place);
  });
}
