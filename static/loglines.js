// The lines of a log that are known here, in blocks, so that a log of any length costs only what was looked at.
export const BLOCK = 500;
const KEEP = 60; // blocks

export class LogLines {
  total = 0;
  #blocks = new Map();

  // put takes lines from number first on. The log has total lines; the last may grow later and be put again.
  put(first, lines, total) {
    this.total = Math.max(this.total, total, first + lines.length);
    lines.forEach((line, i) => {
      const number = first + i;
      const key = Math.floor(number / BLOCK);
      let block = this.#blocks.get(key);
      if (!block) this.#blocks.set(key, (block = new Array(BLOCK)));
      block[number % BLOCK] = line;
    });
  }

  // get returns a line, or undefined when it is not known here.
  get(number) {
    return this.#blocks.get(Math.floor(number / BLOCK))?.[number % BLOCK];
  }

  // missing returns the first numbers of the blocks that must be fetched to show lines from..to (to is left out).
  missing(from, to) {
    const firsts = new Set();
    for (let n = Math.max(0, from); n < Math.min(to, this.total); n++) {
      if (this.get(n) === undefined) {
        firsts.add(Math.floor(n / BLOCK) * BLOCK);
        n = (Math.floor(n / BLOCK) + 1) * BLOCK - 1;
      }
    }
    return [...firsts];
  }

  // forget drops the blocks farthest from a line when there are many.
  forget(near) {
    if (this.#blocks.size <= KEEP) return;
    const key = Math.floor(near / BLOCK);
    const far = [...this.#blocks.keys()].sort((a, b) => Math.abs(b - key) - Math.abs(a - key));
    for (const k of far.slice(0, this.#blocks.size - KEEP)) this.#blocks.delete(k);
  }
}

// place maps a scroll position to a line and back. Browsers cap the height of an element, so a very long log is squeezed:
// one pixel of scrolling is then more than one pixel of log.
export const MAX_HEIGHT = 8_000_000; // px
export class Place {
  constructor(total, rowHeight, viewHeight) {
    this.full = total * rowHeight;
    this.height = Math.min(this.full, MAX_HEIGHT);
    this.rowHeight = rowHeight;
    this.viewHeight = viewHeight;
    const scrollable = Math.max(1, this.height - viewHeight);
    this.factor = Math.max(1, (this.full - viewHeight) / scrollable);
  }
  // offset is how many pixels of the log lie above the view at a scroll position.
  offset(scrollTop) { return scrollTop * this.factor; }
  // scrollTo is the scroll position that shows a line in the middle of the view.
  scrollTo(line) {
    return Math.max(0, (line * this.rowHeight - this.viewHeight / 2) / this.factor);
  }
}
