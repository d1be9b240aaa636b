"use strict";
// Search and filters: hides the cards that do not fit.
(() => {
  const cards = [...document.querySelectorAll(".card")];
  const search = document.getElementById("search");
  const filters = [...document.querySelectorAll("[data-filter]")];
  const count = document.getElementById("count");
  const nothing = document.getElementById("nothing");
  const fits = (card, words, wanted) =>
    wanted.every(([name, value]) => card.dataset[name] === value) &&
    words.every((word) => card.dataset.words.includes(word));
  function update() {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    const wanted = filters.filter((box) => box.value).map((box) => [box.dataset.filter, box.value]);
    let shown = 0;
    for (const card of cards) {
      card.hidden = !fits(card, words, wanted);
      shown += card.hidden ? 0 : 1;
    }
    const all = `${cards.length} picture${cards.length === 1 ? "" : "s"}`;
    count.textContent = shown === cards.length ? all : `${shown} of ${all}`;
    nothing.hidden = shown > 0;
  }
  let waiting = 0;
  const soon = () => { cancelAnimationFrame(waiting); waiting = requestAnimationFrame(update); };
  const form = document.querySelector(".filters");
  form.addEventListener("input", soon);
  form.addEventListener("reset", () => setTimeout(update));
  form.addEventListener("submit", (event) => event.preventDefault());
  document.addEventListener("keydown", (event) => {
    if (event.key !== "/" || event.target.matches("input, select")) return;
    event.preventDefault();
    search.focus();
  });
  update();
})();
