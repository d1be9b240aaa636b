"""Open a report in a headless Chromium and use it as a person would: one line a check, exit code 1 if any fails.

    python -m benchmarks.page_check --report build/demo/out/report --shots build/page-check

It needs a Chromium and nothing else. Screenshots and a print as PDF are left for eyes.
"""

from __future__ import annotations

import argparse
import array
import base64
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
    """Every picture's page shows staves, or says how to get them; its picture is there, with an alternative text."""
    for path in pictures(report):
        page.open(path)
        if (report / "assets" / "abcjs-basic-min.js").exists():
            notes = page.run("document.querySelectorAll('#score svg .abcjs-note').length")
            staves = page.run("document.querySelectorAll('#score svg .abcjs-staff').length")
            expect(notes >= 8 and staves >= 1, f"{path.name}: {notes} notes on {staves} staves")
        else:
            expect(page.run("document.querySelectorAll('#roll path').length"), f"{path.name}: no piano roll")
            expect(page.run("document.getElementById('no-staves').offsetHeight"), f"{path.name}: no word about staves")
        expect(page.run("document.querySelector('img#picture')?.naturalWidth > 0"), f"{path.name}: no picture")
        expect(page.run("document.querySelector('img#picture').alt.length > 10"), f"{path.name}: no alternative text")
        quiet(page)


def overlay_changes(page: Page, report: Path) -> None:
    """A voice, bars, a sentence of the motivation and the tune each draw another map; the picture alone has none."""
    page.open(pictures(report)[0])
    before = page.run(HEAT)
    for kind in ("voice", "bars", "motivation", "all"):
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
    page.run("document.querySelector('.sentence').focus()")
    page.press("Enter")
    expect(page.run("document.querySelector('.sentence').ariaPressed") == "true", "Enter did not choose a sentence")
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
    for path in (report / "index.html", pictures(report)[0], report / "failures.html"):
        for scheme in ("light", "dark"):
            page.prefer(scheme)
            page.open(path)
            faint, wide = page.run(FAINT_TEXT), page.run(TOO_WIDE)
            expect(not faint, f"{path.name} {scheme}: faint {faint[:4]}")
            expect(not wide, f"{path.name}: too wide {wide[:4]}")
    page.prefer("light")


CHECKS: tuple[Callable[[Page, Path], None], ...] = (
    list_is_searched, score_is_drawn, overlay_changes, music_plays, wave_file_is_made, keys_work, text_is_legible,
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
            page.screenshot(folder / f"picture-{width}-{scheme}.png", whole=True)
    page.prefer("light")
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
