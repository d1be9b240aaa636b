"use strict";
// Draws a score that a page carries packed, lights its notes up in time and keeps the playing system in view.
const Staves = (() => {
  const calm = matchMedia("(prefers-reduced-motion: reduce)");

  // Text in base64, compressed by zlib, holding JSON.
  async function unpack(text) {
    const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
    return JSON.parse(await new Response(stream).text());
  }

  class Score {
    constructor(frame, data, label) {
      this.frame = frame;
      frame.innerHTML = data.svg;
      const svg = frame.querySelector("svg");
      svg.setAttribute("role", "img");
      svg.setAttribute("aria-label", label);
      this.notes = data.notes;
      this.heads = [];
      for (const head of svg.querySelectorAll("[data-n]")) this.heads[head.dataset.n] = head;
      this.bars = [...svg.querySelectorAll("[data-bar]")];
      this.on = new Set();
      this.system = null;
    }
    // Light up what sounds at a time; nothing where `seconds` is below 0.
    light(seconds) {
      const now = new Set();
      for (const [number, start, end] of this.notes) {
        if (start > seconds + 0.01) break;
        if (end > seconds + 0.01) now.add(number);
      }
      for (const number of this.on) if (!now.has(number)) this.heads[number]?.classList.remove("now");
      for (const number of now) if (!this.on.has(number)) this.heads[number]?.classList.add("now");
      this.on = now;
    }
    follow() {
      const head = this.heads[this.on.values().next().value];
      const system = head?.closest(".system");
      if (!system || system === this.system) return;
      this.system = system;
      const box = system.getBoundingClientRect(), frame = this.frame.getBoundingClientRect();
      if (box.top >= frame.top && box.bottom <= frame.bottom) return;
      this.frame.scrollTo({ top: this.frame.scrollTop + box.top - frame.top - 12, behavior: calm.matches ? "auto" : "smooth" });
    }
    mark(name, groups) {
      for (const old of this.frame.querySelectorAll(`.${name}`)) old.classList.remove(name);
      for (const group of groups) for (const head of group.querySelectorAll("[data-n]")) head.classList.add(name);
    }
    staves(number) { return this.frame.querySelectorAll(`.v${number}`); }
    between(first, last) { return this.bars.filter((bar) => first <= bar.dataset.bar && bar.dataset.bar <= last); }
    // The second at which a clicked note begins, or the number of a clicked bar.
    clicked(event) {
      const head = event.target.closest("[data-n]");
      const note = head && this.notes.find(([number]) => number === Number(head.dataset.n));
      if (note) return { seconds: note[1] };
      const within = (bar) => {
        const box = bar.getBoundingClientRect();
        return box.left <= event.clientX && event.clientX <= box.right && box.top <= event.clientY && event.clientY <= box.bottom;
      };
      const bar = this.bars.find(within);
      return bar ? { bar: Number(bar.dataset.bar) } : null;
    }
  }

  // Resolves to null where the browser cannot unpack it: the page shows notes over time then.
  async function draw(frame, packed, label) {
    if (!packed || !window.DecompressionStream) return null;
    const score = new Score(frame, await unpack(packed), label);
    frame.hidden = false;
    return score;
  }
  return { draw };
})();
