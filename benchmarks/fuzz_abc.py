"""Break ABC at random for as long as asked, and stop at the first crash or at a text that takes too long.

    python -m benchmarks.fuzz_abc --seconds 600 [--seed 1] [--corpus DIR]

Starts from generated tunes (and the files of a folder, if one is given), cuts, doubles, swaps and inserts, and runs the
checker, the mender and ABC to MIDI on each result. Only `AbcError` may be raised, and each call must end in a second
for texts up to 64 KB. Findings end the run, and the text is kept.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections import Counter
from pathlib import Path

from benchmarks.generated_tunes import sample_tune
from image2music.abc.autofix.rules import autofix
from image2music.abc.checker import check
from image2music.abc.musicxml import abc_to_music_xml
from image2music.abc.parser import parse
from image2music.abc.playback import abc_to_midi
from image2music.abc.reading_order import voice_notes
from image2music.errors import AbcError

LIMIT_S = 1.0
MAX_CHARS = 65_536
SNIPPETS = [
    "|", ":|", "|:", "::", "|1", ":|2", "[1", "|]", "[", "]", "{", "}", "(", ")", "(3", "(9:0:3", "\"", "!", "!f!", "-",
    ">", "<", "&", "%", "%%MIDI program 5\n", "%%MIDI channel 10\n", "%%abc-include x\n", "\n", "\n\n", "\r", "X:1\n",
    "K:C\n", "M:3/4\n", "L:1/0\n", "Q:1/4=0\n", "V:2\n", "[V:3]", "[K:", "[M:2/4]", "P:A\n", "P:((A9)9)9\n", "Z9", "z",
    "z99999", "C,,,,,,,,", "c''''''''", "^^", "__", "=", "^/", "C/////", "C0", "C4/3", "y", "$", "\\", "\\\n", "```",
    "T:x\n", "w:la la\n", "I:MIDI program 1\n", "+", "*", "\0", "\ufeff", "♯", "𝄞", "Am", "softly", "U:h=!x!\n",
    "s:\n", "+:\n",
]  # fmt: skip


def mutated(text: str, texts: list[str], rng: random.Random) -> str:
    """A text broken in one to eight places."""
    for _ in range(rng.randint(1, 8)):
        at = rng.randint(0, len(text))
        end = min(len(text), at + rng.choice([1, 1, 2, 5, 20, 200]))
        action = rng.random()
        if action < 0.35:
            text = text[:at] + rng.choice(SNIPPETS) + text[at:]
        elif action < 0.55:
            text = text[:at] + text[end:]
        elif action < 0.65:
            text = text[:at] + text[at:end] * rng.choice([2, 3, 50]) + text[end:]
        elif action < 0.75:
            text = text[:at] + rng.choice(SNIPPETS) * rng.choice([2, 20, 2000]) + text[at:]
        elif action < 0.85:
            other = rng.choice(texts)
            start = rng.randint(0, len(other))
            text = text[:at] + other[start : start + rng.randint(1, 400)] + text[at:]
        else:
            text = text[:at] + chr(rng.choice([rng.randrange(32, 127), rng.randrange(0, 0x3000)])) + text[end:]
    return text[:MAX_CHARS]


def run(text: str) -> Counter[str]:
    """All readers on one text; raise what must not be raised."""
    seen: Counter[str] = Counter(finding.code for finding in check(text))
    for tune in parse(text).tunes:
        voice_notes(tune)
    try:
        abc_to_midi(text)
    except AbcError as error:
        seen[error.reason] += 1
    try:
        abc_to_music_xml(text)
    except AbcError as error:
        seen[error.reason] += 1
    try:
        once = autofix(text)
    except AbcError as error:
        seen[error.reason] += 1
        return seen
    check(once.abc)
    return seen


def main() -> int:
    """Run until the time is over; 1 at the first finding, whose text is written to fuzz_abc_finding.abc."""
    arguments = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    arguments.add_argument("--seconds", type=float, default=60)
    arguments.add_argument("--seed", type=int, default=0)
    arguments.add_argument("--corpus", help="a folder of ABC files to start from as well")
    options = arguments.parse_args()
    rng = random.Random(options.seed)
    texts = [sample_tune(seed).abc() for seed in range(100)]
    if options.corpus:
        files = sorted(Path(options.corpus).rglob("*.abc"))
        texts += [file.read_text("latin-1")[:8000] for file in files]
    end = time.monotonic() + options.seconds
    count, slowest, codes = 0, 0.0, Counter[str]()
    while time.monotonic() < end:
        text = mutated(rng.choice(texts), texts, rng)
        # Processor time: a busy machine is no finding.
        start = time.process_time()
        try:
            codes += run(text)
        except Exception:
            Path("fuzz_abc_finding.abc").write_text(text, "utf-8", "surrogatepass", "")
            print(f"raised after {count} texts; the text is in fuzz_abc_finding.abc", file=sys.stderr)
            raise
        taken = time.process_time() - start
        slowest = max(slowest, taken)
        count += 1
        if taken > 5 * LIMIT_S:
            Path("fuzz_abc_finding.abc").write_text(text, "utf-8", "surrogatepass", "")
            print(f"{taken:.1f} s for {len(text)} characters; the text is in fuzz_abc_finding.abc", file=sys.stderr)
            return 1
    print(f"{count} texts, {len(codes)} kinds of findings, slowest {slowest:.2f} s for all readers, no crash")
    return 0


if __name__ == "__main__":
    sys.exit(main())
