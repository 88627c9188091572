// What the server sends: pictures without end over one response, and events. Both are opened again when they are lost.

const FIRST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 5000;
const SILENCE_MS = 5000; // numbers come once a second, an empty message every 5 s at least
const PICTURE_SILENCE_MS = 12000;

/** Read `url`'s messages (see view_pictures.py) until `signal`; `take` gets { header, jpeg, mask }. */
export async function receivePictures(url, take, signal) {
  let pause = FIRST_PAUSE_MS;
  while (!signal.aborted) {
    const attempt = new AbortController();
    const give_up = () => attempt.abort();
    signal.addEventListener("abort", give_up);
    let watchdog = setTimeout(give_up, PICTURE_SILENCE_MS);
    try {
      const response = await fetch(url, { signal: attempt.signal });
      if (!response.ok) throw new Error(`${response.status}`);
      for await (const message of messages(response.body.getReader())) {
        clearTimeout(watchdog);
        watchdog = setTimeout(give_up, PICTURE_SILENCE_MS);
        pause = FIRST_PAUSE_MS;
        if (message) take(message);
      }
    } catch {
      // Lost, refused or aborted: the page says so by the events, which are lost with it.
    }
    clearTimeout(watchdog);
    signal.removeEventListener("abort", give_up);
    if (!signal.aborted) await new Promise((done) => setTimeout(done, pause));
    pause = Math.min(pause * 2, LONGEST_PAUSE_MS);
  }
}

async function* messages(reader) {
  const take = taker(reader);
  for (;;) {
    const lengths = await take(12);
    if (!lengths) return;
    const view = new DataView(lengths.buffer, lengths.byteOffset);
    const [header, jpeg, mask] = [await take(view.getUint32(0)), await take(view.getUint32(4)), await take(view.getUint32(8))];
    if (!mask) return;
    yield header.length ? { header: JSON.parse(new TextDecoder().decode(header)), jpeg, mask } : null;
  }
}

/** A function that gives the next `count` bytes, or null at the end. */
function taker(reader) {
  let rest = new Uint8Array(0);
  return async (count) => {
    const parts = [];
    let missing = count;
    for (;;) {
      const part = rest.subarray(0, missing);
      rest = rest.subarray(part.length);
      missing -= part.length;
      if (!missing && !parts.length) return part;
      parts.push(part);
      if (!missing) break;
      const { value, done } = await reader.read();
      if (done) return null;
      rest = value;
    }
    const whole = new Uint8Array(count);
    let at = 0;
    for (const part of parts) {
      whole.set(part, at);
      at += part.length;
    }
    return whole;
  };
}

/** Events by name to `handlers`, until the function that this returns is called; `onGone(true)` while there are none. */
export function receiveEvents(url, handlers, onGone) {
  let source = null;
  let timer = 0;
  const expect = (ms) => {
    clearTimeout(timer);
    timer = setTimeout(lost, ms);
  };
  const open = () => {
    source = new EventSource(url);
    source.onerror = lost;
    for (const [name, handle] of Object.entries(handlers)) {
      source.addEventListener(name, (event) => {
        expect(SILENCE_MS);
        onGone(false);
        handle(JSON.parse(event.data));
      });
    }
    expect(SILENCE_MS);
  };
  const lost = () => {
    source.close(); // a browser gives up for good after some answers; we do not
    onGone(true);
    clearTimeout(timer);
    timer = setTimeout(open, 1000);
  };
  open();
  return () => {
    clearTimeout(timer);
    source.close();
  };
}
