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
  let score = null;
  Staves.draw(get("score"), data.score, `Score of ${document.querySelector("h1").textContent}`).then((drawn) => {
    score = drawn;
    if (!score) { document.getElementById("abc-text").open = true; return; }
    document.documentElement.classList.add("drawn-score");
    choose(data.maps[shown]);
    light();
  });
  function choose(map) {
    if (!score) return;
    const voice = map && map.kind === "voice" && /\d+/.exec(map.segment);
    score.mark("chosen", map && map.bars ? score.between(...map.bars) : voice ? score.staves(voice[0] - 1) : []);
  }
  function light() {
    if (!score) return;
    score.light(player.playing || player.position ? player.position : -1);
    if (player.playing && get("follow-score").checked) score.follow();
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
  const strip = [...document.querySelectorAll("[data-goto]")];
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
    light();
    const here = barAt(now);
    if (here !== bar) { bar = here; enterBar(); }
    get("play").textContent = player.playing ? "❚❚ Pause" : "▶ Play";
    if (player.playing) requestAnimationFrame(follow);
  }
  function enterBar() {
    get("bar-says").textContent = `bar ${bar}`;
    for (const button of strip) {
      if (Number(button.dataset.goto) === bar && (player.playing || player.position)) button.setAttribute("aria-current", "true");
      else button.removeAttribute("aria-current");
    }
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
  function seekBar(number) {
    const start = data.playback.bars.find(([, other]) => other === number);
    if (start) seek(start[0]);
  }
  get("score").addEventListener("click", (event) => {
    const place = score && score.clicked(event);
    if (place) place.bar ? seekBar(place.bar) : seek(place.seconds);
  });
  for (const button of strip) button.addEventListener("click", () => {
    seekBar(Number(button.dataset.goto));
    get("bar-told").hidden = false;
    get("bar-told").textContent = button.getAttribute("aria-label");
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
