"use strict";
// Draws a grid of levels 0-255 smoothly over a picture, and fades from one grid to the next.
const Heat = (() => {
  const CELL = 24, FADE = 350;
  const calm = matchMedia("(prefers-reduced-motion: reduce)");

  // Catmull-Rom through four levels in a row, t from the second to the third.
  const between = (a, b, c, d, t) =>
    b + 0.5 * t * (c - a + t * (2 * a - 5 * b + 4 * c - d + t * (3 * (b - c) + d - a)));

  function stretched(levels, rows, cols) {
    const at = (row, col) => levels[Math.min(rows - 1, Math.max(0, row)) * cols + Math.min(cols - 1, Math.max(0, col))];
    const out = new Float32Array(rows * CELL * cols * CELL);
    const lines = new Float32Array(rows * cols * CELL);
    for (let row = 0; row < rows; row++) for (let x = 0; x < cols * CELL; x++) {
      const place = (x + 0.5) / CELL - 0.5, col = Math.floor(place);
      lines[row * cols * CELL + x] = between(at(row, col - 1), at(row, col), at(row, col + 1), at(row, col + 2), place - col);
    }
    const line = (row, x) => lines[Math.min(rows - 1, Math.max(0, row)) * cols * CELL + x];
    for (let y = 0; y < rows * CELL; y++) {
      const place = (y + 0.5) / CELL - 0.5, row = Math.floor(place);
      for (let x = 0; x < cols * CELL; x++)
        out[y * cols * CELL + x] = between(line(row - 1, x), line(row, x), line(row + 1, x), line(row + 2, x), place - row);
    }
    return out;
  }

  class Layer {
    constructor(canvas, colours) { this.canvas = canvas; this.colours = colours; this.now = null; this.frame = 0; }
    paint(levels, rows, cols) {
      const next = stretched(levels, rows, cols);
      const width = cols * CELL, height = rows * CELL;
      const before = !this.canvas.hidden && this.now && this.now.length === next.length ? this.now : null;
      this.canvas.hidden = false;
      if (this.canvas.width !== width || this.canvas.height !== height) Object.assign(this.canvas, { width, height });
      cancelAnimationFrame(this.frame);
      const root = document.documentElement;
      if (!before || calm.matches) { root.classList.remove("changing"); return this.put(next, width, height); }
      root.classList.add("changing");
      const begun = performance.now();
      const step = (time) => {
        const share = Math.min(1, Math.max(0, time - begun) / FADE);
        this.put(share === 1 ? next : next.map((level, i) => before[i] + share * (level - before[i])), width, height);
        if (share < 1) this.frame = requestAnimationFrame(step); else root.classList.remove("changing");
      };
      this.frame = requestAnimationFrame(step);
    }
    put(levels, width, height) {
      this.now = levels;
      const image = new ImageData(width, height);
      levels.forEach((value, i) => {
        const level = Math.max(0, Math.min(255, Math.round(value)));
        const [red, green, blue] = this.colours[level];
        // What was not looked at stays nearly as it is, a little darker.
        image.data.set([red, green, blue, 50 + level * 0.65], i * 4);
      });
      this.canvas.getContext("2d").putImageData(image, 0, 0);
    }
    hide() { cancelAnimationFrame(this.frame); document.documentElement.classList.remove("changing"); this.canvas.hidden = true; }
  }
  return { Layer };
})();
