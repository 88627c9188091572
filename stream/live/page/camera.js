// One camera on the page: its picture, state, numbers and chart; or a file at work, in the place that it has.

import { drawChart, recent } from "./chart.js";
import { count } from "./files.js";
import { Picture } from "./picture.js";
import { saveSnapshot } from "./snapshot.js";

const FILE_STATES = { connecting: "Opening", running: "Running", ended: "Waiting for the next file" };
const STATES = {
  connecting: "Connecting",
  running: "Running",
  stalled: "No pictures",
  reconnecting: "Reconnecting",
  ended: "Ended",
};

export class CameraCard {
  constructor(name, look, { onSaved, onChosen, onPaused }) {
    this.name = name;
    this.look = look;
    this.samples = [];
    this.state = "connecting";
    this.isPaused = false;
    this.element = document.getElementById("camera").content.firstElementChild.cloneNode(true);
    this.element.classList.add("is-empty");
    this.picture = new Picture(this.find(".picture"));
    this.states = STATES;
    this.call(name);
    this.button(".pause", `Pause ${name}`, () => this.togglePause(onPaused));
    this.button(".snapshot", `Save a snapshot of ${name}`, () => this.save(onSaved));
    this.button(".full", `Show ${name} on the full screen`, () => this.toggleFull());
    this.find(".full").hidden = !document.fullscreenEnabled; // not on every phone
    this.find(".picture").addEventListener("click", () => onChosen(name)); // for the keyboard there are the names above
    this.find(".screen").addEventListener("pointermove", (event) => this.tellUnder(event));
    this.find(".screen").addEventListener("pointerleave", () => (this.find(".under").hidden = true));
  }

  /** Give it a title: a camera's name, or that of the file that is in its place now. */
  call(title) {
    if (this.title === title) return;
    this.title = title;
    this.find("h2").textContent = title;
    this.element.setAttribute("aria-label", title);
    this.find(".picture").setAttribute("aria-label", `What ${title} sees`);
  }

  find(selector) {
    return this.element.querySelector(selector);
  }

  button(selector, label, act) {
    const button = this.find(selector);
    button.title = label;
    button.setAttribute("aria-label", label);
    button.addEventListener("click", act);
  }

  show(message) {
    if (this.isPaused) return; // it was under way
    this.picture.show(message, this.look, ({ index }) => {
      if (this.element.classList.contains("is-empty")) performance.mark("first picture"); // for measurements
      this.element.classList.remove("is-empty");
      this.element.dataset.index = index;
    });
  }

  /** A camera's state and numbers, of any event that has them. */
  tell(camera, now) {
    this.state = camera.state;
    this.reason = camera.reason;
    this.retryAt = camera.retry_s == null ? null : performance.now() + camera.retry_s * 1000;
    if (camera.history) this.samples = camera.history.map(sampleOf);
    if (camera.sample) this.samples.push(sampleOf(camera.sample));
    if (camera.fps !== undefined) this.tellNumbers(camera);
    this.tellState();
    this.drawChart(now);
  }

  /** The file at work in this place, if there is one; of a run, not of cameras. */
  tellFile({ running }) {
    const file = running.find(({ place }) => place === this.name);
    this.states = FILE_STATES;
    if (file || this.reason) this.call(file?.name ?? this.reason);
    this.find(".frames").textContent = file ? count(file) : "–";
    this.find(".share-done").value = file ? Math.min(file.frames / (file.expected || Infinity), 1) : 0;
    this.tellState();
  }

  tellNumbers({ fps, received_fps, latency_s, dropped, received, reconnects, undecodable, damaged }) {
    const runs = this.state === "running"; // what was until it was lost says nothing of now
    this.find(".fps").textContent = runs ? rate(fps) : "–";
    this.find(".of").textContent = runs && dropped && received_fps ? ` of ${rate(received_fps)}` : "";
    this.find(".latency").textContent = runs && latency_s != null ? `${Math.round(latency_s * 1000)} ms` : "–";
    this.find(".dropped").textContent = dropped.toLocaleString("en");
    this.find(".reconnects").textContent = reconnects.toLocaleString("en");
    this.find(".numbers").title = `${received} frames received, ${damaged} damaged, ${undecodable} undecodable`;
  }

  tellState() {
    this.element.dataset.state = this.state;
    const retry_s = this.retryAt == null ? null : Math.ceil((this.retryAt - performance.now()) / 1000);
    const next = retry_s == null ? "" : retry_s > 0 ? `next try in ${retry_s} s` : "trying now";
    const why = [this.reason === this.title ? "" : this.reason, next].filter(Boolean).join(" · ");
    const title = this.states[this.state] ?? this.state;
    this.find(".state").textContent = this.isPaused ? "Paused" : title;
    this.find(".notice strong").textContent = this.state === "running" ? "Waiting for the first picture" : title;
    this.find(".notice span").textContent = why;
  }

  drawChart(now) {
    this.samples = recent(this.samples, now);
    drawChart(this.find(".chart"), this.samples, this.look, now);
  }

  /** Of the newest sample, where the camera runs. */
  get shares() {
    return this.state === "running" ? this.samples.at(-1)?.shares : undefined;
  }

  tellUnder(event) {
    const id = event.pointerType === "mouse" ? this.picture.idAt(event.clientX, event.clientY) : undefined;
    const item = this.look.classes[id];
    this.find(".under").hidden = !item;
    if (!item) return;
    this.find(".under span").textContent = item.name;
    this.find(".under").style.setProperty("--color", `rgb(${item.color.join(" ")})`);
  }

  async save(onSaved) {
    if (this.picture.header) onSaved(await saveSnapshot(this.isPaused ? null : this.name, this.title, this.picture, this.look));
  }

  /** Hold the picture, for this viewer alone; its numbers go on. */
  togglePause(onPaused) {
    this.isPaused = !this.isPaused;
    this.element.classList.toggle("is-paused", this.isPaused);
    this.find(".pause").setAttribute("aria-pressed", this.isPaused);
    this.tellState();
    onPaused();
  }

  toggleFull() {
    if (document.fullscreenElement) document.exitFullscreen();
    else this.find(".screen").requestFullscreen?.();
  }
}

/** Its time as a number of seconds, as `now` is. */
function sampleOf({ time, shares }) {
  return { time: Date.parse(time) / 1000, shares };
}

function rate(fps) {
  return fps >= 1 || !fps ? fps.toFixed(1) : fps.toPrecision(2);
}
