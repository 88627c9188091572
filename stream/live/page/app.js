// The page: which cameras are shown, what is drawn over them, and the connection to the server.

import { CameraCard } from "./camera.js";
import { counts, tellFiles } from "./files.js";
import { buildLegend, setShares, setSwitches } from "./legend.js";
import { receiveEvents, receivePictures } from "./streams.js";

const byId = (id) => document.getElementById(id);
const look = { opacity: 0.45, style: "fill", classes: [], on: [] };
const cards = new Map(); // by name, in the server's order
let run = null; // of files, if it is one
let ahead_s = 0; // of the server's clock, to ours
let shownBefore = 0.45; // the opacity that key O comes back to
let pictures = new AbortController();
let stopEvents = () => {};

const now = () => Date.now() / 1000 + ahead_s;
const chosen = () => cards.get(decodeURIComponent(location.hash.slice(1))) ?? (cards.size === 1 ? [...cards.values()][0] : null);
const visible = () => (chosen() ? [chosen()] : [...cards.values()]);

function hello({ time, classes, style, cameras, run: files }) {
  document.body.classList.toggle("is-run", Boolean(files));
  byId("files").hidden = !files;
  ahead_s = (Date.parse(time) - Date.now()) / 1000;
  setStyle(stored("style") ?? style);
  const isSame = JSON.stringify(classes) === JSON.stringify(look.classes) && cameras.map(({ camera }) => camera).join("\n") === [...cards.keys()].join("\n");
  if (!isSame) {
    look.classes = classes;
    const off = stored("off") ?? [];
    look.on = classes.map(({ name }) => !off.includes(name));
    buildLegend(byId("legend"), look, recolor);
    cards.clear();
    for (const { camera: name } of cameras) cards.set(name, new CameraCard(name, look, { onSaved, onChosen, onPaused: startPictures }));
    byId("cameras").replaceChildren(...[...cards.values()].map((card) => card.element));
    buildChooser();
    choose();
  }
  for (const camera of cameras) cards.get(camera.camera)?.tell(camera, now());
  tellRun(files);
  summarize();
}

/** How a run of files is, where it is one. */
function tellRun(files) {
  run = files;
  if (!run) return;
  tellFiles(byId("files"), run);
  for (const card of cards.values()) card.tellFile(run);
}

function numbers({ time, cameras, run: files }) {
  ahead_s = (Date.parse(time) - Date.now()) / 1000;
  if (cameras.some(({ camera }) => !cards.has(camera))) start(); // a camera was added: ask for all anew
  for (const camera of cameras) cards.get(camera.camera)?.tell(camera, now());
  tellRun(files);
  summarize();
}

function summarize() {
  const states = [...cards.values()].map(({ state }) => state);
  const running = states.filter((state) => state === "running").length;
  const all = states.length === 1 ? `Camera ${states[0]}` : running === states.length ? `All ${running} cameras running` : `${running} of ${states.length} cameras running`;
  tell(byId("summary").lastElementChild, run ? counts(run) : states.length ? all : "No camera yet");
  const isLost = run?.folders.some(({ problem }) => problem);
  const isWell = run ? !isLost : running === states.length && running;
  byId("summary").dataset.state = isWell ? "running" : "waiting";
  const known = visible().map(({ shares }) => shares).filter(Boolean);
  setShares(byId("legend"), known.length ? look.classes.map((_, id) => known.reduce((sum, shares) => sum + shares[id], 0) / known.length) : null);
  byId("legend-of").textContent = visible().length > 1 ? "Shares are the mean of the pictures shown." : "";
}

/** Set a text only where it changes: what is set is read aloud. */
function tell(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

// --- Which cameras

function buildChooser() {
  const names = cards.size > 1 ? ["", ...cards.keys()] : [];
  byId("chooser").hidden = byId("camera-keys").hidden = !names.length;
  byId("chooser").replaceChildren(
    ...names.map((name) => {
      const button = Object.assign(document.createElement("button"), { type: "button", textContent: name || "All" });
      button.dataset.name = name;
      button.addEventListener("click", () => (location.hash = encodeURIComponent(name)));
      return button;
    }),
  );
}

function choose() {
  const shown = visible();
  for (const card of cards.values()) card.element.hidden = !shown.includes(card);
  byId("cameras").dataset.shown = shown.length;
  const name = cards.size > 1 && shown.length === 1 ? shown[0].name : "";
  for (const button of byId("chooser").children) button.setAttribute("aria-pressed", button.dataset.name === name);
  document.title = name ? `${name} · roadmask` : "roadmask";
  for (const card of shown) card.drawChart(now());
  summarize();
  startPictures();
}

// --- The connection

function startPictures() {
  pictures.abort();
  pictures = new AbortController();
  const wanted = visible().filter(({ isPaused }) => !isPaused);
  if (!wanted.length) return; // nothing is encoded or sent
  const query = wanted.length < cards.size ? `?${new URLSearchParams(wanted.map(({ name }) => ["camera", name]))}` : "";
  receivePictures(`pictures${query}`, (message) => cards.get(message.header.camera)?.show(message), pictures.signal);
}

function start() {
  if (!("DecompressionStream" in window)) {
    byId("gone").textContent = "This browser is too old to show pictures here; any of 2023 or later can.";
    byId("gone").hidden = false;
    return;
  }
  stop();
  if (document.hidden) return; // nobody looks: nothing is encoded or sent
  stopEvents = receiveEvents("events", { hello, numbers, camera: (camera) => (cards.get(camera.camera)?.tell(camera, now()), summarize()) }, gone);
  if (cards.size) startPictures(); // else when the cameras are known
}

function stop() {
  stopEvents();
  pictures.abort();
}

function gone(isGone) {
  byId("gone").hidden = !isGone;
  document.body.classList.toggle("is-gone", isGone);
}

// --- What is drawn

function recolor() {
  setSwitches(byId("legend"), look);
  for (const card of visible()) {
    card.picture.color(look);
    card.drawChart(now());
  }
  store("off", look.classes.filter((_, id) => !look.on[id]).map(({ name }) => name));
}

function setOpacity(opacity) {
  look.opacity = opacity;
  byId("opacity").value = Math.round(opacity * 100);
  byId("opacity-value").textContent = `${Math.round(opacity * 100)} %`;
  for (const card of visible()) card.picture.mix(look);
  store("opacity", opacity);
}

function setStyle(style) {
  look.style = style;
  for (const button of byId("style").children) button.setAttribute("aria-pressed", button.value === style);
  for (const card of visible()) card.picture.color(look);
}

function switchAll(isOn) {
  look.on.fill(isOn);
  recolor();
}

const onSaved = (file) => toast(`Saved ${file}`);
const onChosen = (name) => {
  if (cards.size > 1) location.hash = encodeURIComponent(name);
};

function toast(text) {
  byId("toast").textContent = text;
  byId("toast").classList.add("is-shown");
  clearTimeout(toast.timer);
  toast.timer = setTimeout(() => byId("toast").classList.remove("is-shown"), 3500);
}

function store(key, value) {
  try {
    localStorage.setItem(`roadmask.${key}`, JSON.stringify(value));
  } catch {
    // Private windows may refuse; the choice then lasts as long as the page.
  }
}

function stored(key) {
  try {
    return JSON.parse(localStorage.getItem(`roadmask.${key}`));
  } catch {
    return null;
  }
}

function press(event) {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const first = visible()[0];
  const acts = {
    o: () => {
      if (look.opacity) shownBefore = look.opacity;
      setOpacity(look.opacity ? 0 : shownBefore);
    },
    p: () => first?.find(".pause").click(),
    s: () => first?.find(".snapshot").click(),
    f: () => first?.toggleFull(),
    0: () => (location.hash = ""),
    escape: () => (location.hash = ""),
  };
  const key = event.key.toLowerCase();
  const numbered = [...cards.keys()][Number(key) - 1];
  if (acts[key]) acts[key]();
  else if (numbered !== undefined && cards.size > 1) location.hash = encodeURIComponent(numbered);
}

byId("opacity").addEventListener("input", () => setOpacity(byId("opacity").value / 100));
byId("style").addEventListener("click", ({ target: { value } }) => {
  if (!value) return; // between the buttons
  setStyle(value);
  store("style", value);
});
byId("classes-all").addEventListener("click", () => switchAll(true));
byId("classes-none").addEventListener("click", () => switchAll(false));
addEventListener("hashchange", choose);
addEventListener("keydown", press);
addEventListener("resize", () => visible().forEach((card) => card.drawChart(now())));
document.addEventListener("visibilitychange", () => (document.hidden ? stop() : start()));
setInterval(() => cards.forEach((card) => card.tellState()), 1000);
setOpacity(Math.min(Math.max(stored("opacity") ?? 0.45, 0), 1));
start();
