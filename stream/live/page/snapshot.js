// Saves what is seen of a camera: by the server at the camera's full size, else what is on the canvas.

/** Resolves to the name of the file, which has the `title` in it; without a `name` it is what is on the canvas. */
export async function saveSnapshot(name, title, picture, look) {
  const blob = (name === null ? null : await fullSize(name, look)) ?? (await onCanvas(picture.canvas));
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = fileName(title, new Date());
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
  return link.download;
}

async function fullSize(name, look) {
  const drawn = look.classes.filter((_, id) => look.on[id]).map((item) => item.name);
  const isPlain = !drawn.length || !look.opacity;
  const query = new URLSearchParams({ alpha: isPlain ? 0 : look.opacity, classes: drawn.join(","), style: isPlain ? "fill" : look.style });
  try {
    const response = await fetch(`cameras/${encodeURIComponent(name)}/snapshot.jpg?${query}`);
    return response.ok ? await response.blob() : null;
  } catch {
    return null; // the server is gone; the picture is still here
  }
}

function onCanvas(canvas) {
  return new Promise((done) => canvas.toBlob(done, "image/jpeg", 0.93));
}

/** `roadmask_front_2026-11-23_06-08-47.jpg`, in the time of who looks. */
export function fileName(name, time) {
  const two = (number) => String(number).padStart(2, "0");
  const day = `${time.getFullYear()}-${two(time.getMonth() + 1)}-${two(time.getDate())}`;
  const clock = [time.getHours(), time.getMinutes(), time.getSeconds()].map(two).join("-");
  return `roadmask_${name.replace(/[^\p{L}\p{N}.-]+/gu, "_")}_${day}_${clock}.jpg`;
}
