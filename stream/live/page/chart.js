// A strip chart: the share of each class over the last minutes, stacked.

const SPAN_S = 300;
const GAP_S = 3; // between samples, after which nothing is drawn: the camera was lost
const AXIS = 18; // CSS pixels below the strip, for the times

/** Draw `samples` [{ time, shares }], oldest first; `now` on their clock. */
export function drawChart(canvas, samples, look, now) {
  const style = getComputedStyle(canvas);
  const width = canvas.clientWidth - parseFloat(style.paddingLeft) - parseFloat(style.paddingRight);
  const height = canvas.clientHeight - parseFloat(style.paddingTop) - parseFloat(style.paddingBottom);
  if (width <= 0 || height <= 0) return;
  const scale = window.devicePixelRatio || 1;
  if (canvas.width !== Math.round(width * scale) || canvas.height !== Math.round(height * scale)) {
    canvas.width = Math.round(width * scale);
    canvas.height = Math.round(height * scale);
  }
  const context = canvas.getContext("2d");
  context.setTransform(scale, 0, 0, scale, 0, 0);
  context.clearRect(0, 0, width, height);
  const strip = height - AXIS;
  const x = (time) => width * (1 - (now - time) / SPAN_S);
  drawAxis(context, width, strip);
  context.save();
  context.beginPath();
  context.roundRect(0, 0, width, strip, 5);
  context.clip();
  for (const run of unbroken(samples)) drawRun(context, run, look, x, strip);
  context.restore();
  canvas.setAttribute("aria-label", describe(samples, look));
}

function drawAxis(context, width, strip) {
  context.fillStyle = "#10161d";
  context.beginPath();
  context.roundRect(0, 0, width, strip, 5);
  context.fill();
  context.fillStyle = "#9aa7b6";
  context.font = "12px -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif";
  context.textAlign = "left";
  context.textBaseline = "bottom";
  const start = "Share of each class, 5 min ago";
  const free = context.measureText(start).width + 30;
  context.fillText(start, 0, strip + AXIS);
  context.textAlign = "center";
  for (let minute = 1; minute < 5; minute++) {
    const at = (width * minute) / 5;
    if (at > free && width > 420) context.fillText(`${5 - minute} min`, at, strip + AXIS);
  }
  context.textAlign = "right";
  context.fillText("now", width, strip + AXIS);
}

function drawRun(context, run, look, x, strip) {
  let floors = run.map(() => strip);
  look.classes.forEach(({ color }, id) => {
    const tops = run.map(({ shares }, at) => floors[at] - shares[id] * strip);
    context.fillStyle = `rgb(${color.join(" ")} / ${look.on[id] ? 1 : 0.25})`;
    context.beginPath();
    // A sample stands for the second that ended with it.
    context.moveTo(x(run[0].time - 1), floors[0]);
    context.lineTo(x(run[0].time - 1), tops[0]);
    run.forEach(({ time }, at) => context.lineTo(x(time), tops[at]));
    for (let at = run.length - 1; at >= 0; at--) context.lineTo(x(run[at].time), floors[at]);
    context.fill();
    context.strokeStyle = "rgb(16 22 29 / 70%)"; // tells dark neighbours apart
    context.lineWidth = 1;
    context.beginPath();
    run.forEach(({ time }, at) => context.lineTo(x(time), tops[at]));
    context.stroke();
    floors = tops;
  });
}

function unbroken(samples) {
  const runs = [];
  for (const sample of samples) {
    const last = runs.at(-1)?.at(-1);
    if (last && sample.time - last.time < GAP_S) runs.at(-1).push(sample);
    else runs.push([sample]);
  }
  return runs;
}

function describe(samples, look) {
  if (!samples.length) return "No shares of classes yet";
  const shares = samples.at(-1).shares.map((share, id) => ({ share, name: look.classes[id].name }));
  const largest = shares.sort((a, b) => b.share - a.share).slice(0, 3);
  return `Share of each class over the last 5 minutes; now ${largest.map(({ name, share }) => `${name} ${Math.round(share * 100)} %`).join(", ")}`;
}

/** `samples` without those that have left the chart. */
export function recent(samples, now) {
  return samples.filter(({ time }) => time > now - SPAN_S - 1);
}
