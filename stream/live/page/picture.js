// Mixes a picture with its mask on a canvas. The ids of the mask never pass through an image decoder or a canvas, so
// they are exact in every browser, also in those that garble what a canvas gives back.

/** What every picture is drawn with: `opacity` 0 to 1, `style`, `classes` [{ name, color }], `on` [whether drawn]. */
export class Picture {
  constructor(canvas) {
    this.canvas = canvas;
    this.header = null; // of the message shown
    this.ids = null; // Uint8Array, a class a pixel
    this.context = canvas.getContext("2d", { alpha: false });
    [this.fill, this.lines] = [0, 1].map(() => document.createElement("canvas").getContext("2d"));
    this.colors = new Uint32Array(256);
    this.next = null;
    this.busy = false;
  }

  /** Show a message as soon as the one before is drawn; of those that come meanwhile, the last. */
  async show(message, look, onShown) {
    this.next = message;
    if (this.busy) return;
    this.busy = true;
    try {
      while (this.next) {
        const { header, jpeg, mask } = this.next;
        this.next = null;
        const [bitmap, ids] = await Promise.all([createImageBitmap(new Blob([jpeg])), unpacked(mask, header.width)]);
        this.bitmap?.close();
        Object.assign(this, { header, bitmap, ids });
        this.color(look);
        onShown(header);
      }
    } finally {
      this.busy = false;
    }
  }

  /** After a switch: color the mask anew, then mix. */
  color(look) {
    if (!this.bitmap) return;
    const { width, height } = this.bitmap;
    if (this.canvas.width !== width || this.canvas.height !== height) {
      [this.canvas, this.fill.canvas, this.lines.canvas].forEach((canvas) => Object.assign(canvas, { width, height }));
      this.pixels = this.fill.createImageData(width, height);
    }
    this.colors.fill(0);
    look.classes.forEach(({ color: [red, green, blue] }, id) => {
      if (look.on[id]) this.colors[id] = (255 << 24) | (blue << 16) | (green << 8) | red; // browsers are little-endian
    });
    const [words, ids, colors] = [new Uint32Array(this.pixels.data.buffer), this.ids, this.colors];
    for (let at = 0; at < ids.length; at++) words[at] = colors[ids[at]];
    this.fill.putImageData(this.pixels, 0, 0);
    if (look.style !== "fill") {
      drawLines(words, ids, colors, width);
      this.lines.putImageData(this.pixels, 0, 0);
    }
    this.mix(look);
  }

  /** After the slider: only this. */
  mix(look) {
    if (!this.bitmap) return;
    this.context.globalAlpha = 1;
    this.context.drawImage(this.bitmap, 0, 0);
    this.context.globalAlpha = look.style === "outline" ? 0 : look.opacity;
    this.context.drawImage(this.fill.canvas, 0, 0);
    this.context.globalAlpha = look.style !== "fill" && look.opacity ? 1 : 0;
    this.context.drawImage(this.lines.canvas, 0, 0);
  }

  /** The class at a point of the window, or undefined. */
  idAt(clientX, clientY) {
    if (!this.ids) return undefined;
    const { left, top, width, height } = this.canvas.getBoundingClientRect();
    const scale = Math.min(width / this.canvas.width, height / this.canvas.height); // object-fit: contain
    const x = Math.floor((clientX - left - width / 2) / scale + this.canvas.width / 2);
    const y = Math.floor((clientY - top - height / 2) / scale + this.canvas.height / 2);
    const isInside = x >= 0 && y >= 0 && x < this.canvas.width && y < this.canvas.height;
    return isInside ? this.ids[y * this.canvas.width + x] : undefined;
  }
}

/** The colors of the pixels that have another class beside, above or below them; nothing elsewhere. */
function drawLines(words, ids, colors, width) {
  words.fill(0);
  const meet = (one, other) => {
    if (ids[one] === ids[other]) return;
    words[one] = colors[ids[one]];
    words[other] = colors[ids[other]];
  };
  for (let at = 0; at < ids.length; at++) {
    if ((at + 1) % width) meet(at, at + 1);
    if (at + width < ids.length) meet(at, at + width);
  }
}

/** The ids of a mask; see pictures.py. */
async function unpacked(mask, width) {
  const inflated = new Blob([mask]).stream().pipeThrough(new DecompressionStream("deflate"));
  const ids = new Uint8Array(await new Response(inflated).arrayBuffer());
  for (let at = width; at < ids.length; at++) ids[at] ^= ids[at - width];
  return ids;
}
