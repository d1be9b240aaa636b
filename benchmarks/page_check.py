"""Open a report in a headless Chromium and use it as a person would: one line a check, exit code 1 if any fails.

    python -m benchmarks.page_check --report build/demo/out/report --shots build/page-check

It needs a Chromium and nothing else. Screenshots and a print as PDF are left for eyes.
"""

from __future__ import annotations

import argparse
import array
import base64
import csv
import io
import json
import sys
import time
import wave
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks.browser import BrowserError, Page, browser

WIDTHS = {1280: 900, 390: 844}
"""Widths to check, each with a height."""

MIN_CONTRAST, MIN_CONTRAST_LARGE = 4.5, 3.0
"""WCAG 2.2, success criterion 1.4.3, for text and for large text."""

FAINT_TEXT = """(() => {
  const parse = (colour) => { const n = colour.match(/[\\d.]+/g).map(Number); return n.length < 4 ? [...n, 1] : n; };
  const light = ([r, g, b]) => [r, g, b].map((v) => v / 255)
    .map((v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const behind = (it) => { for (; it; it = it.parentElement) {
    const colour = parse(getComputedStyle(it).backgroundColor); if (colour[3] > 0.99) return colour; }
    return [255, 255, 255]; };
  const found = new Map();
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walk.nextNode()) {
    const it = walk.currentNode.parentElement;
    if (!walk.currentNode.data.trim() || !it.getClientRects().length) continue;
    if (it.closest("script, svg, select, [hidden]")) continue;
    const style = getComputedStyle(it);
    const [a, b] = [light(parse(style.color)), light(behind(it))].sort((x, y) => y - x);
    const size = parseFloat(style.fontSize);
    const least = size >= 24 || (size >= 18.66 && style.fontWeight >= 700) ? LARGE : SMALL;
    const ratio = (a + 0.05) / (b + 0.05);
    if (ratio < least) found.set(`${it.tagName}.${it.className}`, ratio.toFixed(2));
  }
  return [...found].map(([name, ratio]) => `${name} ${ratio}`);
})()""".replace("LARGE", str(MIN_CONTRAST_LARGE)).replace("SMALL", str(MIN_CONTRAST))

TOO_WIDE = """[...document.querySelectorAll("body *")]
  .filter((it) => it.getClientRects().length && it.getBoundingClientRect().right > innerWidth + 1
    && !it.closest("svg, pre, .scroll, .skip"))
  .map((it) => `${it.tagName}.${it.className}`)"""

PICTURES_SEEN = """[...document.images].every((it) => it.complete || it.getBoundingClientRect().top > innerHeight)"""
HEAT = "document.getElementById('heat').toDataURL() + document.getElementById('heat').hidden"
SECONDS = "Number(document.getElementById('position').value)"
DRAWN = "document.documentElement.classList.contains('drawn-score')"
READY = "document.documentElement.dataset.ready"
STAFF_PIXELS = """(() => { const svg = document.querySelector("#score svg");
  return 8 * 90 * svg.getBoundingClientRect().width / svg.viewBox.baseVal.width; })()"""
LIT_RIGHTLY = """(async () => {
  const packed = JSON.parse(document.getElementById("data").textContent).score;
  const bytes = Uint8Array.from(atob(packed), (letter) => letter.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  const { notes } = JSON.parse(await new Response(stream).text());
  const now = document.getElementById("sound").currentTime;
  const sounds = (margin) => notes.filter(([, start, end]) => start <= now - margin && now + margin < end);
  const sure = (margin) => new Set(sounds(margin).map(([number]) => String(number)));
  const lit = new Set([...document.querySelectorAll("#score .now")].map((it) => it.dataset.n));
  return [...sure(0.1)].every((n) => lit.has(n)) && [...lit].every((n) => sure(-0.1).has(n));
})()"""
LIT_IN_VIEW = """(() => { const lit = document.querySelector("#score .now"), frame = document.getElementById("score");
  if (!lit) return false;
  const box = lit.getBoundingClientRect(), home = frame.getBoundingClientRect();
  return frame.scrollTop > 0 && box.top < home.bottom && box.bottom > home.top; })()"""
LEAST_STAFF = 15
"""Pixels from the lowest to the highest line of a staff: less is not read."""
SHOWN = "[...document.querySelectorAll('.card')].filter((card) => !card.hidden).length"


class CheckError(Exception):
    """A check did not hold."""


def expect(holds: object, otherwise: str) -> None:
    """Fail a check.

    Raises:
        CheckError: `holds` is not true.
    """
    if not holds:
        raise CheckError(otherwise)


def quiet(page: Page) -> None:
    """Nothing on the console, nothing asked of a network."""
    far = [url for url in page.requests if not url.startswith(("file:", "data:", "blob:"))]
    expect(not page.complaints, f"console: {page.complaints[:3]}")
    expect(not far, f"requests: {far[:3]}")


def settle(page: Page) -> None:
    """Wait until a change of the heat map is done."""
    page.wait("!document.documentElement.classList.contains('changing')")


def list_is_searched(page: Page, report: Path) -> None:
    """The search finds one title, the filters and the reset button work, the slash key goes to the search."""
    page.open(report / "index.html")
    total = page.run(SHOWN)
    title = page.run("document.querySelector('.card strong').textContent")
    page.press("/")
    for letter in title:
        page.press(letter)
    page.wait(f"{SHOWN} < {total} || {total} === 1", 5)
    expect(page.run(f"document.querySelector('.card:not([hidden]) strong').textContent === {json.dumps(title)}"), title)
    page.click("button[type=reset]")
    page.wait(f"{SHOWN} === {total}", 5)
    for name in page.run("[...document.querySelectorAll('[data-filter]')].map((box) => box.dataset.filter)"):
        box = f"document.querySelector('[data-filter={name}]')"
        page.run(f"{box}.selectedIndex = 1; {box}.dispatchEvent(new Event('input', {{bubbles: true}}))")
        page.wait(f"0 < {SHOWN} && {SHOWN} < {total}", 5)
        page.click("button[type=reset]")
        page.wait(f"{SHOWN} === {total}", 5)
    quiet(page)


def score_is_drawn(page: Page, report: Path) -> None:
    """Every picture's page shows staves that fit, and bars; its picture is there, with an alternative text."""
    for path in pictures(report):
        page.open(path)
        page.wait(DRAWN, 10)
        notes = page.run("document.querySelectorAll('#score svg [data-n]').length")
        staves = page.run("document.querySelectorAll('#score svg [data-bar=\"1\"] > g').length")
        expect(notes >= 8 and staves >= 1, f"{path.name}: {notes} notes on {staves} staves")
        heights = page.run(STAFF_PIXELS)
        expect(heights >= LEAST_STAFF, f"{path.name}: staves are {heights:.0f} px high")
        expect(page.run("document.querySelectorAll('[data-goto]').length"), f"{path.name}: no bars")
        expect(page.run("document.querySelector('#score svg').getAttribute('aria-label').length > 8"), "no label")
        expect(page.run("document.querySelector('img#picture')?.naturalWidth > 0"), f"{path.name}: no picture")
        expect(page.run("document.querySelector('img#picture').alt.length > 10"), f"{path.name}: no alternative text")
        quiet(page)


def notes_light_up(page: Page, report: Path) -> None:
    """While the rendered sound plays, the notes of its second are lit, others go out, and their system is in view."""
    path = next((path for path in pictures(report) if "<audio" in path.read_text(encoding="utf-8")), None)
    expect(path, "no page has a rendered sound")
    assert path is not None
    page.open(path)
    page.wait(DRAWN, 10)
    page.click("#play")
    page.wait(f"{SECONDS} > 0.5", 15)
    expect(page.run("document.getElementById('sound').currentTime > 0.3"), "the sound file does not play")
    expect(page.run("!document.getElementById('sound').paused"), "the sound file is paused")
    seen = set()
    for _ in range(6):
        time.sleep(0.3)
        seen.add(tuple(page.run("[...document.querySelectorAll('#score .now')].map((it) => it.dataset.n)")))
    expect(len(seen - {()}) >= 2, f"the lit notes do not follow: {sorted(seen)[:3]}")
    page.click("#play")
    expect(page.run(LIT_RIGHTLY), "what is lit is not what sounds")
    page.run("document.getElementById('score').scrollTop = 0")
    slider = "document.getElementById('position')"
    page.click("#play")
    page.run(f"{slider}.value = {slider}.max * 0.9; {slider}.dispatchEvent(new Event('input', {{bubbles: true}}))")
    page.wait(LIT_IN_VIEW, 10)
    page.click("#play")
    page.click("[data-goto='2']")
    expect(page.run("document.querySelector('[aria-current=true]').dataset.goto") == "2", "bar 2 is not marked")
    quiet(page)


def votes_are_kept(page: Page, report: Path) -> None:
    """Two tunes play one at a time, names come when asked for, votes outlive the page and are saved as files."""
    page.open(report / "compare.html")
    if page.run("!PAIRS.length"):
        expect(page.run("!document.getElementById('none').hidden"), "no word about missing pairs")
        return
    page.run("localStorage.clear()")
    page.open(report / "compare.html")
    page.wait(READY, 15)
    expect(page.run("document.querySelectorAll('.side svg [data-n]').length") >= 16, "two scores are not drawn")
    expect(page.run("[...document.querySelectorAll('.told')].every((it) => it.hidden)"), "names are shown at once")
    name = page.run("PAIRS[0].a.name")
    expect(name not in page.run("document.getElementById('compare').innerText"), f"{name} can be read")
    for side, other in ("ab", "ba"):
        page.click(f"[data-play={side}]")
        page.wait(f"Number(document.querySelector('#side-{side} input').value) > 0.3", 15)
        expect(page.run(f"document.querySelectorAll('#side-{side} .now').length"), f"no note of {side} is lit")
        expect("Pause" not in page.run(f"document.querySelector('[data-play={other}]').textContent"), "both play")
    page.press("p")
    page.click("#reveal")
    expect(page.run("document.querySelector('#side-a strong').textContent") == name, "the name is not shown")
    page.click("[data-vote=b]")
    page.press("ArrowRight")
    page.wait("location.hash", 5)
    if page.run("PAIRS.length > 1"):
        page.press("9")
    page.open(report / "compare.html")
    page.wait(READY, 15)
    expect(page.run("document.querySelector('[data-vote=b]').ariaPressed") == "true", "the vote was forgotten")
    page.run("document.getElementById('listener').value = 'Ann, \"the ear\"'")
    lines = list(csv.DictReader(io.StringIO(saved(page, "#csv"))))
    asked = page.run("PAIRS.slice(0, 2).map((pair) => [pair.image_id, pair.compared, pair.a.mark, pair.b.mark])")
    found = [[line[name] for name in ("image_id", "compared", "a_tune", "b_tune")] for line in lines]
    expect(sorted(found) == sorted(asked), f"votes.csv: {lines[:2]}")
    expect({line["listener"] for line in lines} == {'Ann, "the ear"'}, "the name is not in the file")
    ids = saved(page, "#ids").split()
    expect(ids == [asked[1][0]] if len(asked) > 1 else not ids, f"again.txt: {ids}")
    page.run("localStorage.clear()")
    quiet(page)


def saved(page: Page, button: str) -> str:
    """The text of the file that a button saves."""
    return str(
        page.run(f"""new Promise((done) => {{
      const was = URL.createObjectURL;
      URL.createObjectURL = (blob) => {{ URL.createObjectURL = was; blob.text().then(done); return "blob:none"; }};
      const click = HTMLAnchorElement.prototype.click;
      HTMLAnchorElement.prototype.click = () => {{ HTMLAnchorElement.prototype.click = click; }};
      document.querySelector({json.dumps(button)}).click();
    }})""")
    )


def overlay_changes(page: Page, report: Path) -> None:
    """Maps of every kind that there are each draw another one; the picture alone has none."""
    page.open(pictures(report)[0])
    before = page.run(HEAT)
    kinds = page.run("[...new Set([...document.querySelectorAll('[data-kind]')].map((it) => it.dataset.kind))]")
    expect({"all", "bars"} <= set(kinds), f"maps of {kinds} alone")
    for kind in (kind for kind in ("voice", "bars", "motivation", "plan", "all") if kind in kinds):
        button = f"[data-kind={kind}]"
        page.click(button)
        settle(page)
        now = page.run(HEAT)
        expect(now != before, f"{kind} changed nothing")
        expect(page.run(f"document.querySelector('{button}').ariaPressed") == "true", f"{kind} is not marked")
        before = now
    page.click("[data-map='-1']")
    expect(page.run("document.getElementById('heat').hidden"), "picture only still shows a map")
    quiet(page)


def music_plays(page: Page, report: Path) -> None:
    """Play advances the time and moves the map, pause holds it, the slider and the arrow keys move it."""
    page.open(pictures(report)[0])
    page.click("#play")
    page.wait(f"{SECONDS} > 0.5", 15)
    expect(page.run("!document.getElementById('heat').hidden"), "no map while playing")
    page.click("#play")
    held = page.run(SECONDS)
    time.sleep(0.4)
    expect(page.run(SECONDS) == held, "pause did not hold")
    slider = "document.getElementById('position')"
    page.run(f"{slider}.value = 10; {slider}.dispatchEvent(new Event('input', {{bubbles: true}}))")
    expect(page.run("document.getElementById('time').textContent").startswith("0:10"), "the slider did not seek")
    page.run(f"{slider}.focus()")
    page.press("ArrowRight")
    expect(page.run(SECONDS) > 10, "the arrow key did not seek")
    page.click("#play")
    page.wait(f"{SECONDS} > 10.5", 15)
    quiet(page)


def wave_file_is_made(page: Page, report: Path) -> None:
    """The WAV file that the page makes lasts as long as the tune and its echo, is heard and is not clipped."""
    page.open(pictures(report)[0])
    made = page.run("""(async () => {
      const tune = JSON.parse(document.getElementById("data").textContent).playback;
      const url = await new Promise(async (done) => { const reader = new FileReader();
        reader.onload = () => done(reader.result); reader.readAsDataURL(await Synth.wav(tune)); });
      return [tune.seconds, url.split(",")[1]];
    })()""")
    with wave.open(io.BytesIO(base64.b64decode(made[1]))) as sound:
        seconds = sound.getnframes() / sound.getframerate()
        samples = array.array("h", sound.readframes(sound.getnframes()))
    loudest = max(map(abs, samples))
    expect(0 < seconds - made[0] < 2, f"{seconds:.1f} s for {made[0]:.1f} s of music")
    expect(3000 < loudest < 32767, f"its loudest sample is {loudest}")
    quiet(page)


def keys_work(page: Page, report: Path) -> None:
    """P plays, ] goes through the maps, Enter chooses a sentence, Tab shows where it is."""
    page.open(pictures(report)[0])
    page.press("p")
    page.wait(f"{SECONDS} > 0.2", 15)
    page.press("p")
    page.press("h")
    page.press("]")
    settle(page)
    expect(page.run("!document.getElementById('heat').hidden"), "no map after ]")
    if page.run("document.querySelector('.sentence') !== null"):
        page.run("document.querySelector('.sentence').focus()")
        page.press("Enter")
        expect(page.run("document.querySelector('.sentence').ariaPressed") == "true", "Enter did not choose a sentence")
    page.run("document.querySelector('[data-goto=\"3\"]').focus()")
    page.press("Enter")
    expect(page.run("document.querySelector('[aria-current=true]').dataset.goto") == "3", "Enter did not go to bar 3")
    page.press("Tab")
    seen = "document.activeElement.matches(':focus-visible') && getComputedStyle(document.activeElement).outlineStyle"
    expect(page.run(seen) == "solid", "Tab shows no outline")
    page.run("document.activeElement.blur()")
    page.press("ArrowRight")
    page.wait(
        f"!location.href.endsWith({json.dumps(pictures(report)[0].name)}) || !document.getElementById('after')", 5
    )
    quiet(page)


def text_is_legible(page: Page, report: Path) -> None:
    """Contrast as WCAG asks for it, light and dark, and nothing runs out of the window."""
    for path in (report / "index.html", pictures(report)[0], report / "compare.html", report / "failures.html"):
        for scheme in ("light", "dark"):
            page.prefer(scheme)
            page.open(path)
            faint, wide = page.run(FAINT_TEXT), page.run(TOO_WIDE)
            expect(not faint, f"{path.name} {scheme}: faint {faint[:4]}")
            expect(not wide, f"{path.name}: too wide {wide[:4]}")
    page.prefer("light")


CHECKS: tuple[Callable[[Page, Path], None], ...] = (
    list_is_searched, score_is_drawn, overlay_changes, music_plays, notes_light_up, votes_are_kept, wave_file_is_made,
    keys_work, text_is_legible,
)  # fmt: skip


def pictures(report: Path) -> list[Path]:
    """The pages of pictures, by name."""
    return sorted((report / "pictures").glob("*.html"))


def run_checks(page: Page, report: Path, width: int) -> Iterator[tuple[str, str]]:
    """(name of a check, what went wrong or "") at one width."""
    page.resize(width, WIDTHS[width])
    for check in CHECKS:
        try:
            check(page, report)
        except (CheckError, BrowserError) as error:
            yield check.__name__, str(error)
        else:
            yield check.__name__, ""


def play_a_while(page: Page) -> None:
    """Play until some notes of the third bar or later are lit."""
    page.run("scrollTo(0, 0)")
    page.run("document.getElementById('play').click()")
    page.wait("document.getElementById('bar-says').textContent.match(/[0-9]+/)?.[0] >= 3", 40)
    page.wait("document.querySelectorAll('#score .now').length > 1", 10)
    time.sleep(0.5)


def take_shots(page: Page, report: Path, folder: Path) -> None:
    """Screenshots of the list and of one picture at each width, light and dark, and a print."""
    folder.mkdir(parents=True, exist_ok=True)
    for width, height in WIDTHS.items():
        page.resize(width, height)
        for scheme in ("light", "dark"):
            page.prefer(scheme)
            page.open(report / "index.html")
            page.wait(PICTURES_SEEN)
            time.sleep(0.3)  # until they are decoded and painted, which no event tells
            page.screenshot(folder / f"list-{width}-{scheme}.png")
            page.open(pictures(report)[0])
            page.wait(DRAWN)
            page.screenshot(folder / f"picture-{width}-{scheme}.png", whole=True)
            if scheme == "light":
                play_a_while(page)
                page.screenshot(folder / f"playing-{width}.png")
            page.open(report / "compare.html")
            page.wait(f"{READY} || !PAIRS.length")
            page.screenshot(folder / f"compare-{width}-{scheme}.png", whole=True)
    page.prefer("light")
    page.open(pictures(report)[0])
    page.wait(DRAWN)
    page.print_to(folder / "picture.pdf")


def main() -> int:
    """Check one report at both widths."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--report", type=Path, default=Path("build/demo/out/report"))
    parser.add_argument("--shots", type=Path, metavar="DIR", help="folder for screenshots and a print")
    args = parser.parse_args()
    if not pictures(args.report):
        print(f"{args.report} is no report: write one by `image2music report`", file=sys.stderr)
        return 1
    failed = 0
    try:
        with browser() as running:
            page = running.page()
            for width in WIDTHS:
                for name, wrong in run_checks(page, args.report, width):
                    failed += bool(wrong)
                    print(
                        f"{width:>5} px  {'FAILED' if wrong else 'ok    '}  {name.replace('_', ' ')}  {wrong}".rstrip()
                    )
            if args.shots:
                take_shots(page, args.report, args.shots)
    except BrowserError as error:
        print(f"page check: {error}", file=sys.stderr)
        return 1
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
