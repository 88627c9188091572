// A run of files: how far it is, what is at work, what waits, and what became of those that had their turn.

const MOST_WAITING = 5; // that are named

/** Show what the server says of the run. */
export function tellFiles(section, run) {
  section.hidden = false;
  const left = run.seconds_left == null ? "" : `${clock(run.seconds_left)} left`;
  const speed = run.fps == null ? "" : `${run.fps.toFixed(1)} frames/s`;
  section.querySelector(".counts").textContent = [counts(run), speed, left].filter(Boolean).join(" · ");
  section.querySelector("progress").hidden = !run.share;
  section.querySelector("progress").value = run.share;
  const problems = run.folders.filter(({ problem }) => problem).map(({ folder, problem }) => `${folder}: ${problem}`);
  section.querySelector(".problem").hidden = !problems.length;
  section.querySelector(".problem").textContent = problems.join("\n");
  tellRows(section.querySelector("ul"), rows(run));
}

/** Only what has changed is made anew, so that a text can be selected while others change. */
function tellRows(list, wanted) {
  wanted.forEach((content, at) => {
    const key = JSON.stringify(content);
    const before = list.children[at];
    if (before?.dataset.key === key) return;
    const item = row(content);
    item.dataset.key = key;
    if (before) before.replaceWith(item);
    else list.append(item);
  });
  while (list.children.length > wanted.length) list.lastElementChild.remove();
}

/** In words, for the bar at the top. */
export function counts({ running, waiting, done, partial, failed, interrupted, done_before }) {
  const states = { waiting, done, partial, failed, interrupted, "done before": done_before };
  const told = Object.entries(states).filter(([, count]) => count).map(([state, count]) => `${count.toLocaleString("en")} ${state}`);
  return [running.length ? `${running.length} running` : "None running", ...told].join(" · ");
}

/** Frames of a file at work. */
export function count({ frames, expected }) {
  const of = expected ? ` of ${Math.max(expected, frames).toLocaleString("en")}` : "";
  return `${frames.toLocaleString("en")}${of}`;
}

function rows({ running, queue, waiting, ended }) {
  const named = queue.slice(0, MOST_WAITING);
  const more = waiting - named.length;
  return [
    ...running.map((file) => ({ state: "running", name: file.name, what: count(file) })),
    ...named.map((name) => ({ state: "waiting", name, what: "waiting" })),
    ...(more > 0 ? [{ state: "waiting", name: `and ${more.toLocaleString("en")} more`, what: "waiting" }] : []),
    ...ended.map(({ name, state, reason, frames, ended: at }) => ({
      state,
      name,
      what: [state, frames == null ? "" : `${frames.toLocaleString("en")} frames`, time(at)].filter(Boolean).join(" · "),
      reason,
    })),
  ];
}

function row({ state, name, what, reason }) {
  const item = document.createElement("li");
  item.dataset.state = state;
  for (const [kind, text] of Object.entries({ dot: "", file: name, what, reason: reason ?? "" })) {
    item.append(Object.assign(document.createElement("span"), { className: kind, textContent: text }));
  }
  return item;
}

function time(text) {
  return new Date(text).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
}

function clock(seconds) {
  const [hours, minutes, rest] = [seconds / 3600, (seconds / 60) % 60, seconds % 60].map(Math.floor);
  return `${hours}:${String(minutes).padStart(2, "0")}:${String(rest).padStart(2, "0")}`;
}
