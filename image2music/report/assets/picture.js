"use strict";
// One picture's page: heat map, playback, score.
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const get = (id) => document.getElementById(id);
  document.documentElement.classList.add("scripted");

  // --- heat map
  const canvas = get("heat");
  const buttons = [...document.querySelectorAll("[data-map]")];
  let shown = -1, last = data.maps.length ? 0 : -1;

  function paint() {
    if (!canvas) return;
    const map = data.maps[shown];
    canvas.hidden = !map;
    for (const button of buttons) button.setAttribute("aria-pressed", String(Number(button.dataset.map) === shown));
    if (!map) { get("heat-says").textContent = "Where the composer looked: choose a part."; return; }
    const raw = get("raw").checked;
    const levels = raw ? map.raw : map.relative;
    const [low, high] = raw ? map.raw_range : map.relative_range;
    canvas.width = map.cols;
    canvas.height = map.rows;
    const pixels = new ImageData(map.cols, map.rows);
    levels.forEach((level, i) => pixels.data.set([...data.colours[level], 90 + Math.round(level * 0.64)], i * 4));
    canvas.getContext("2d").putImageData(pixels, 0, 0);
    canvas.style.opacity = get("strength").value / 100;
    const range = raw ? `${low} to ${high} of the attention a patch` : `${low} to ${high} times a blank picture's`;
    const name = map.kind === "all" ? "whole tune" : map.segment;
    get("heat-says").textContent = `${name}: ${range}`;
    canvas.setAttribute("aria-label", `Heat map of ${name} over the picture, ${range}`);
  }
  function show(index) {
    if (index >= 0) last = index;
    shown = index;
    paint();
  }
  for (const button of buttons) {
    button.addEventListener("click", () => show(Number(button.dataset.map)));
    // Sentences are spans, since a button cannot break over lines.
    if (button.tagName === "SPAN") button.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" && event.key !== " ") return;
      event.preventDefault();
      button.click();
    });
  }
  if (canvas) for (const id of ["raw", "strength"]) get(id).addEventListener("input", paint);

  // --- score
  if (window.ABCJS) {
    get("score").hidden = false;
    // Visual only: its player would fetch samples.
    ABCJS.renderAbc("score", data.abc.replace(/^N:.*\n?/gm, ""), { responsive: "resize", add_classes: true, staffwidth: 700, paddingtop: 0 });
    for (const text of document.querySelectorAll("[data-abc]")) {
      text.parentElement.addEventListener("toggle", () => {
        const home = document.createElement("div");
        home.className = "drawn";
        text.before(home);
        ABCJS.renderAbc(home, text.textContent, { responsive: "resize", staffwidth: 700 });
      }, { once: true });
    }
  }

  // --- playback
  const player = new Synth.Player(data.playback);
  const clock = (seconds) => `${Math.floor(seconds / 60)}:${String(Math.floor(seconds % 60)).padStart(2, "0")}`;
  let bar = 0;
  function barAt(seconds) {
    let found = 0;
    for (const [start, number] of data.playback.bars) { if (start > seconds + 0.001) break; found = number; }
    return found;
  }
  function follow() {
    const now = player.position;
    get("position").value = now;
    get("time").textContent = `${clock(now)} of ${clock(player.seconds)}`;
    const cursor = get("cursor");
    if (cursor) { const x = 1000 * now / player.seconds; cursor.setAttribute("x1", x); cursor.setAttribute("x2", x); }
    const here = barAt(now);
    if (here !== bar) { bar = here; enterBar(); }
    get("play").textContent = player.playing ? "❚❚ Pause" : "▶ Play";
    if (player.playing) requestAnimationFrame(follow);
  }
  function enterBar() {
    get("bar-says").textContent = `bar ${bar}`;
    for (const old of document.querySelectorAll("#score .now")) old.classList.remove("now");
    for (const note of document.querySelectorAll(`#score .abcjs-mm${bar - 1}`)) note.classList.add("now");
    if (!canvas || !get("follow").checked || !player.playing) return;
    const index = data.maps.findIndex((map) => map.bars && map.bars[0] <= bar && bar <= map.bars[1]);
    if (index >= 0 && index !== shown) show(index);
  }
  function toggle() {
    if (player.playing) player.stop(); else { bar = 0; player.play(); }
    follow();
  }
  get("play").addEventListener("click", toggle);
  get("position").addEventListener("input", (event) => { player.seek(Number(event.target.value)); follow(); });
  get("wav").addEventListener("click", async () => {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(await Synth.wav(data.playback));
    link.download = `${document.querySelector("h1").textContent}.wav`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  });

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.target.matches("input, select, textarea, pre, .scroll")) return;
    const count = data.maps.length;
    const act = {
      p: toggle,
      h: () => show(shown >= 0 ? -1 : last),
      "[": () => count && show(shown < 0 ? count - 1 : shown - 1),
      "]": () => count && show(shown + 1 >= count ? -1 : shown + 1),
      ArrowLeft: () => get("before")?.click(),
      ArrowRight: () => get("after")?.click(),
    }[event.key];
    if (act) { event.preventDefault(); act(); }
  });
  follow();
})();
