"use strict";
// Two tunes side by side: each is loaded when its pair is shown, votes stay in this browser.
function heard(tune) { document.currentScript.tune = tune; }
(() => {
  const get = (id) => document.getElementById(id);
  const all = (where, home = document) => [...home.querySelectorAll(where)];
  const COLUMNS = JSON.parse(get("columns").textContent);
  document.documentElement.classList.add("scripted");

  // --- votes, by pair
  const PLACE = `image2music votes ${REPORT}`;
  let votes = {}, keeps = true;
  try { votes = JSON.parse(localStorage.getItem(PLACE) || "{}"); } catch (reason) { keeps = false; }
  function keep() {
    try { localStorage.setItem(PLACE, JSON.stringify(votes)); } catch (reason) { keeps = false; }
    if (!keeps) get("kept").textContent = "This browser keeps nothing for pages on a disk: save the file before you leave.";
  }
  const key = (pair) => [pair.image_id, pair.compared, pair.a.mark, pair.b.mark].join(" ");
  function vote(choice) {
    const pair = pairs[at];
    if (!pair) return;
    if (votes[key(pair)]?.vote === choice) delete votes[key(pair)];
    else votes[key(pair)] = { image_id: pair.image_id, catalog_id: pair.catalog_id, compared: pair.compared, a: pair.a.name, a_tune: pair.a.mark,
      b: pair.b.name, b_tune: pair.b.mark, vote: choice, voted_at: new Date().toISOString() };
    keep();
    tell();
  }
  const given = () => Object.values(votes).sort((one, two) => one.voted_at < two.voted_at ? -1 : 1);
  const cell = (text) => /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  // A cell that begins like a formula would be run by a spreadsheet.
  const plain = (text) => /^[=+\-@\t]/.test(text) ? `'${text}` : text;
  const csv = () => [COLUMNS, ...given().map((one) => COLUMNS.map((name) => cell(plain(name === "listener" ? get("listener").value.trim() : one[name] || ""))))]
    .map((line) => line.join(",") + "\n").join("");
  // A vote for tunes that are no longer there has had its new take.
  const again = () => [...new Set(PAIRS.filter((pair) => votes[key(pair)]?.vote === "neither").map((pair) => pair.image_id))].map((id) => id + "\n").join("");
  function save(name, text) {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([text], { type: "text/plain" }));
    link.download = name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  }
  get("csv").addEventListener("click", () => save("votes.csv", csv()));
  get("ids").addEventListener("click", () => save("again.txt", again()));
  get("clear").addEventListener("click", () => { if (confirm("Clear all votes of this report?")) { votes = {}; keep(); tell(); } });
  try { get("listener").value = localStorage.getItem("image2music listener") || ""; } catch (reason) { keeps = false; }
  get("listener").addEventListener("input", () => { try { localStorage.setItem("image2music listener", get("listener").value); } catch (reason) { keeps = false; } });

  // --- one tune on its side
  const clock = (seconds) => `${Math.floor(seconds / 60)}:${String(Math.floor(seconds % 60)).padStart(2, "0")}`;
  class Side {
    constructor(letter) {
      this.letter = letter.toUpperCase();
      this.home = get(`side-${letter}`);
      this.play = this.home.querySelector("[data-play]");
      this.slider = this.home.querySelector("input");
      this.time = this.home.querySelector("output");
      this.frame = this.home.querySelector(".score");
      this.roll = this.home.querySelector(".roll");
      this.play.addEventListener("click", () => this.toggle());
      this.slider.addEventListener("input", () => this.seek(Number(this.slider.value)));
      this.roll.addEventListener("click", (event) => {
        const box = this.roll.getBoundingClientRect();
        this.seek(this.player.seconds * (event.clientX - box.left) / box.width);
      });
      this.frame.addEventListener("click", (event) => {
        const place = this.score && this.score.clicked(event);
        const bar = place?.bar && this.tune.playback.bars.find(([, number]) => number === place.bar);
        if (place) this.seek(bar ? bar[0] : place.seconds ?? this.player.position);
      });
    }
    // A sound is played only where the other side has one too: what plays must not tell them apart.
    async show(tune, sounds) {
      this.stop();
      this.tune = tune;
      this.player = new Synth.Player(tune.playback);
      if (sounds) this.player = new Synth.Recording(new Audio(tune.sound), tune.playback.seconds, (from) => this.fall(from));
      this.slider.max = tune.playback.seconds;
      this.score = null;
      this.frame.hidden = true;
      this.frame.scrollTop = 0;
      this.roll.innerHTML = "";
      for (const [part, path] of tune.roll) {
        const drawn = this.roll.appendChild(document.createElementNS("http://www.w3.org/2000/svg", "path"));
        drawn.setAttribute("class", `part part${part % 4}`);
        drawn.setAttribute("d", path);
      }
      this.follow();
      const score = await Staves.draw(this.frame, tune.score, `Score of ${this.letter}`);
      if (this.tune === tune) this.score = score;
    }
    fall(from) {
      get("tones").hidden = false;
      this.player = new Synth.Player(this.tune.playback);
      this.player.seek(from);
      this.toggle();
    }
    toggle() {
      if (!this.player) return;
      if (this.player.playing) this.player.stop();
      else { for (const side of Object.values(sides)) if (side !== this) side.stop(); this.player.play(); }
      this.follow();
    }
    stop() { if (this.player?.playing) { this.player.stop(); this.follow(); } }
    seek(seconds) { this.player.seek(seconds); this.follow(); }
    follow() {
      const now = this.player.position, playing = this.player.playing;
      this.slider.value = now;
      this.time.textContent = `${clock(now)} of ${clock(Math.round(this.player.seconds))}`;
      this.play.textContent = playing ? `❚❚ Pause ${this.letter}` : `▶ Play ${this.letter}`;
      if (this.score) { this.score.light(playing || now ? now : -1); if (playing) this.score.follow(); }
      cancelAnimationFrame(this.frameId);
      if (playing) this.frameId = requestAnimationFrame(() => this.follow());
    }
  }
  const sides = { a: new Side("a"), b: new Side("b") };

  // --- one pair after the other
  let pairs = [], at = 0, names = false;
  const load = (file) => new Promise((done, fail) => {
    const script = document.createElement("script");
    script.src = `tunes/${file}.js`;
    script.onload = () => { done(script.tune); script.remove(); };
    script.onerror = () => fail(new Error(`tunes/${file}.js cannot be read`));
    document.head.append(script);
  });
  async function show(index) {
    at = Math.max(0, Math.min(pairs.length - 1, index));
    names = false;
    const pair = pairs[at];
    get("none").hidden = Boolean(pair);
    get("compare").classList.toggle("empty", !pair);
    if (!pair) return tell();
    history.replaceState(null, "", `#${pair.page}`);
    get("page").href = `pictures/${pair.page}.html`;
    get("seen").src = `pictures/${pair.page}.jpg`;
    get("seen").alt = `The picture ${pair.file_name}`;
    get("file").textContent = [pair.catalog_id, pair.file_name].filter(Boolean).join(" · ");
    tell();
    const found = await Promise.all(["a", "b"].map((letter) => load(`${pair.page}-${pair[letter].mark}`)));
    if (pairs[at] !== pair) return;
    const both = found.every((tune) => tune.sound);
    get("tones").hidden = both;
    await Promise.all(["a", "b"].map((letter, nth) => sides[letter].show(found[nth], both)));
    document.documentElement.dataset.ready = key(pair);
  }
  function tell() {
    const pair = pairs[at], mine = pair && votes[key(pair)];
    const done = pairs.filter((one) => votes[key(one)]).length;
    get("which").textContent = pair ? `Pair ${at + 1} of ${pairs.length}, ${done} with a vote` : "";
    for (const button of all("[data-vote]")) button.setAttribute("aria-pressed", String(mine?.vote === button.dataset.vote));
    get("reveal").setAttribute("aria-expanded", String(names));
    get("reveal").textContent = names ? "Hide the names" : "Show the names";
    for (const [letter, side] of Object.entries(sides)) {
      const told = side.home.querySelector(".told");
      side.home.querySelector(".vote-is").hidden = mine?.vote !== letter;
      told.hidden = !names || !pair;
      if (told.hidden) continue;
      told.querySelector("strong").textContent = pair[letter].name;
      told.querySelector("ul").replaceChildren(...pair[letter].facts.map((fact) => Object.assign(document.createElement("li"), { textContent: fact })));
    }
    const list = given();
    get("count").textContent = list.length === 1 ? "1 vote." : `${list.length} votes.`;
    get("table").hidden = !list.length;
    get("table").tBodies[0].replaceChildren(...list.map((one) => {
      const line = document.createElement("tr");
      for (const text of [one.catalog_id || one.image_id.slice(0, 8), one.a, one.b, one.vote]) line.appendChild(document.createElement("td")).textContent = text;
      return line;
    }));
  }
  for (const button of all("[data-vote]")) button.addEventListener("click", () => vote(button.dataset.vote));
  get("reveal").addEventListener("click", () => { names = !names; tell(); });
  get("previous").addEventListener("click", () => show(at - 1));
  get("next").addEventListener("click", () => show(at + 1));
  function choose(page) {
    pairs = PAIRS.filter((pair) => !get("kind").value || pair.compared === get("kind").value);
    show(Math.max(0, pairs.findIndex((pair) => pair.page === page)));
  }
  get("kind").addEventListener("input", () => choose(pairs[at]?.page));
  if (new Set(PAIRS.map((pair) => pair.compared)).size < 2) get("kind").parentElement.hidden = true;
  window.addEventListener("hashchange", () => choose(location.hash.slice(1)));
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.matches("input, select")) return;
    const act = {
      a: () => sides.a.toggle(), b: () => sides.b.toggle(), p: () => { sides.a.stop(); sides.b.stop(); },
      1: () => vote("a"), 2: () => vote("b"), 0: () => vote("same"), 9: () => vote("neither"), n: () => get("reveal").click(),
      ArrowLeft: () => show(at - 1), ArrowRight: () => show(at + 1),
    }[event.key];
    if (act && pairs.length) { event.preventDefault(); act(); }
  });
  choose(location.hash.slice(1));
})();
