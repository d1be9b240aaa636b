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

  const layer = canvas && new Heat.Layer(canvas, data.colours);

  function paint() {
    if (!canvas) return;
    const map = data.maps[shown];
    for (const button of buttons) button.setAttribute("aria-pressed", String(Number(button.dataset.map) === shown));
    get("ramp").hidden = !map;
    choose(map);
    if (!map) { layer.hide(); get("heat-says").textContent = "Where did the composer look? Choose a part, or play."; return; }
    const raw = get("raw").checked;
    const [low, high] = raw ? map.raw_range : map.relative_range;
    layer.paint(raw ? map.raw : map.relative, map.rows, map.cols);
    canvas.style.opacity = get("strength").value / 100;
    const range = raw ? `${low} to ${high} of the attention a patch`
      : `${low.toFixed(2)} to ${high.toFixed(2)} times the attention that a blank picture draws`;
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
  const NOTES = ".abcjs-note, .abcjs-rest, .abcjs-beam-elem";
  // The title stands above, remarks and the names of voices below; names would push the staves aside.
  const bare = (abc) => abc.replace(/^[NT]:.*\n?/gm, "").replace(/^(V:.*)$/gm, (line) => line.replace(/\s(?:name|nm|subname|snm)="[^"]*"/g, ""));
  function draw(frame, abc) {
    const home = frame.appendChild(document.createElement("div"));
    const room = home.clientWidth;
    // Staves of 700 shrink to fit; on a telephone they would be too small, so lines are broken anew.
    const narrow = room < 560 ? { staffwidth: room, wrap: { minSpacing: 1.4, maxSpacing: 2.6, preferredMeasuresPerLine: 2 } } : {};
    // Visual only: its player would fetch samples.
    ABCJS.renderAbc(home, bare(abc),
      { responsive: "resize", add_classes: true, staffwidth: 700, paddingtop: 0, paddingbottom: 0, paddingleft: 0, paddingright: 0, ...narrow });
  }
  if (window.ABCJS) {
    get("score").hidden = false;
    draw(get("score"), data.abc);
    for (const text of document.querySelectorAll("[data-abc]")) {
      text.parentElement.addEventListener("toggle", () => {
        const frame = document.createElement("div");
        frame.className = "drawn";
        text.before(frame);
        draw(frame, text.textContent);
      }, { once: true });
    }
  }
  const bars = (first, last) => Array.from({ length: last - first + 1 }, (_, i) => `.abcjs-mm${first + i - 1}`);
  function mark(name, where) {
    for (const old of document.querySelectorAll(`#score .${name}`)) old.classList.remove(name);
    if (!where) return;
    for (const note of document.querySelectorAll(`#score :is(${where})`)) if (note.matches(NOTES)) note.classList.add(name);
  }
  function choose(map) {
    if (map && map.bars) return mark("chosen", bars(...map.bars).join());
    const voice = map && map.kind === "voice" && /\d+/.exec(map.segment);
    mark("chosen", voice ? `.abcjs-v${voice[0] - 1}` : "");
  }

  // --- playback
  // Sound that was rendered, else tones that are made here; the page tells the time by whichever plays.
  let player = new Synth.Player(data.playback);
  const sound = get("sound");
  if (sound) player = new Synth.Recording(sound, data.playback.seconds, (at) => {
    player = new Synth.Player(data.playback);
    player.seek(at);
    player.play();
    follow();
  });
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
    get("time").textContent = `${clock(now)} of ${clock(Math.round(player.seconds))}`;
    const cursor = get("cursor");
    if (cursor) { const x = 1000 * now / player.seconds; cursor.setAttribute("x1", x); cursor.setAttribute("x2", x); }
    const here = barAt(now);
    if (here !== bar) { bar = here; enterBar(); }
    get("play").textContent = player.playing ? "❚❚ Pause" : "▶ Play";
    if (player.playing) requestAnimationFrame(follow);
  }
  function enterBar() {
    get("bar-says").textContent = `bar ${bar}`;
    mark("now", bar && (player.playing || player.position) ? `.abcjs-mm${bar - 1}` : "");
    if (!canvas || !get("follow").checked || !player.playing) return;
    const index = data.maps.findIndex((map) => map.bars && map.bars[0] <= bar && bar <= map.bars[1]);
    if (index >= 0 && index !== shown) show(index);
  }
  function toggle() {
    if (player.playing) player.stop(); else { bar = 0; player.play(); }
    follow();
  }
  get("play").addEventListener("click", toggle);
  function seek(seconds) { player.seek(seconds); follow(); }
  get("position").addEventListener("input", (event) => seek(Number(event.target.value)));
  get("roll")?.addEventListener("click", (event) => {
    const box = get("roll").getBoundingClientRect();
    seek(player.seconds * (event.clientX - box.left) / box.width);
  });
  get("score").addEventListener("click", (event) => {
    const found = /abcjs-mm(\d+)/.exec(event.target.closest("[class*=abcjs-mm]")?.getAttribute("class"));
    const start = found && data.playback.bars.find(([, number]) => number === Number(found[1]) + 1);
    if (start) seek(start[0]);
  });
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
