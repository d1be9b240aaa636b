"""`compose --dry_run`: say what a run would find, do and cost. Nothing is sent, paid or written.

Pictures on this machine are looked at, as far as that is quick. A composer on this machine is measured on a few of
them; a remote one is never asked: its calls are calculated.
"""

from __future__ import annotations

import math
import os
import resource
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

from image2music.album.chapters import natural_order
from image2music.album.plan import ImageSummary, image_summary, themes_of
from image2music.composers import registry as composers
from image2music.composers.chat.batches import SHARE_OF_PRICE
from image2music.composers.chat.engine.loading import free_memory
from image2music.composers.chat.ledger import Usage, read_spending, spending_line
from image2music.composers.chat.server import CHARACTERS_A_TOKEN, PICTURE_TOKENS
from image2music.errors import ModelError, OutputError
from image2music.failures import counted, failure_from
from image2music.images.containers import is_motion_photo
from image2music.images.decode import open_picture
from image2music.images.reading import PictureReader, content_id
from image2music.images.scene import Scene
from image2music.images.sources import in_one_line
from image2music.rows import printable
from image2music.settings import LoopSettings
from image2music.storage.objects import is_store
from image2music.storage.output import open_output
from pipelines.jobs.chain import ComposeRun, compose_pipeline
from pipelines.jobs.compose import cost_of_other_settings, count, look_up
from pipelines.jobs.pictures import pictures_a_slice
from pipelines.jobs.prune import prune_plan
from pipelines.options.compose import AblateOptions, ComposeOptions
from pipelines.runtime.beam_runner import run_here
from pipelines.runtime.environment import EXIT_DONE
from pipelines.runtime.forecast import duration, machine_lines, most_pictures, store_line
from pipelines.runtime.job import catalog_lines

SAMPLE = 8
"""Pictures that a plan composes at most; one in `SHARE_SAMPLED` at most, too, where there are few."""
SHARE_SAMPLED = 3
LOOK_SECONDS = 20.0
_LOOK_SIDE = 128
_MOST_FAILURES = 3
_MB, _GB = 1 << 20, 1 << 30


@dataclass(frozen=True)
class Sample:
    """A few pictures composed for a plan: how many, how many of them failed, seconds and bytes on disk of each."""

    pictures: int
    failed: int
    seconds: float
    bytes: float


def plan_compose(options: ComposeOptions) -> int:
    """Print the plan and do nothing else; returns the exit code.

    Raises:
        Image2MusicError: as `compose` would.
    """
    run = look_up(options)
    todo = waiting(run)
    lines = settings_lines(run) | found_lines(run) | work_lines(run, todo) | core_lines(options.workers)
    if todo:
        lines |= _costs(run, todo)
    print(_text(lines))
    if options.prune != "no":
        print(prune_plan(run))
    return EXIT_DONE


def found_lines(run: ComposeRun, seconds: float = LOOK_SECONDS) -> dict[str, str]:
    """Return what lies there: kinds of pictures, what belongs together, what is left out and why, how rows match.

    Pictures on this machine are opened for at most about so many seconds, in their order.
    """
    listed, look = run.listed, look_over(run.pictures, seconds)
    lines = {"kinds": listed.kinds_line, "pairs": listed.pairs_line, "beside": listed.beside_line}
    lines["left out"] = listed.skipped_line
    if look.pictures:
        lines |= look.lines(len(run.pictures))
    lines["catalogue"] = "; ".join(line.strip() for line in catalog_lines(run.catalog))
    return {name: line for name, line in lines.items() if line}


@dataclass(frozen=True)
class PicturesSeen:
    """What a look at the first pictures of a run found.

    pictures: how many were looked at. same_bytes: how many of them have the bytes of an earlier one. alike: how many
    are near-duplicates of an earlier one, and of how many. motion: how many hold a film. failures: of those that cannot
    be read, one line each.
    """

    pictures: int
    same_bytes: int
    alike: int
    alike_to: int
    motion: int
    failures: tuple[str, ...]

    def lines(self, of: int) -> dict[str, str]:
        """Return it by the name of each line, where so many pictures were listed."""
        same = counted(self.same_bytes, "has the bytes of another", "have the bytes of another")
        near = f"{counted(self.alike, 'near-duplicate')}, of {self.alike_to} of them (bursts, edits, other sizes)"
        which = "all" if self.pictures == of else f"the first {self.pictures} of"
        first = "; ".join(self.failures[:_MOST_FAILURES])
        more = f"; and {len(self.failures) - _MOST_FAILURES} more" if len(self.failures) > _MOST_FAILURES else ""
        return {
            "looked at": f"{which} {counted(of, 'picture')}",
            "alike": f"{same}, {near}",
            "motion": f"{self.motion} with its film in the same file (motion photo)" if self.motion else "",
            "unreadable": f"{len(self.failures)}: {first}{more}" if self.failures else "",
        }


def look_over(places: Sequence[str], seconds: float) -> PicturesSeen:
    """Open pictures on this machine, small, in their order, until so many seconds are over."""
    read, end = PictureReader(), time.monotonic() + seconds
    looked = same_bytes = motion = 0
    seen: dict[str, ImageSummary] = {}
    failures = []
    for place in sorted((place for place in places if "://" not in place), key=natural_order):
        if time.monotonic() > end:
            break
        looked += 1
        try:
            data = read(place)
            image_id = content_id(data)
            if image_id in seen:
                same_bytes += 1
                continue
            motion += is_motion_photo(data)
            image = open_picture(data, max_side=_LOOK_SIDE).image
        except Exception as error:  # whatever a picture breaks is its own failure
            failure = failure_from(error, stage="look", id=place, uri=place)
            failures.append(f"{in_one_line(place)}: {failure.reason}: {failure.message}")
            continue
        seen[image_id] = image_summary(image_id, place, image, Scene(subject=""))
    themes = Counter(themes_of(list(seen.values())))
    return PicturesSeen(
        looked, same_bytes, len(seen) - len(themes), sum(n > 1 for n in themes.values()), motion, tuple(failures)
    )


def _costs(run: ComposeRun, todo: Sequence[str]) -> dict[str, str]:
    if composers.is_remote_composer(run.options.composer):
        return call_lines(run, len(todo))
    here = [picture for picture in todo if "://" not in picture]
    if not here:
        return {"sample": "none: all pictures are on servers, and a dry run opens none of them"}
    try:
        composers.load_composer(run.options.composer, run.options.sending)
    except ModelError as error:
        return {"sample": f"none: {error}"}
    return cost_lines(run, todo, measure_sample(run, here))


@dataclass(frozen=True)
class UsualRequests:
    """What a server is asked for one picture, as a rule.

    Attributes:
        calls: requests, each with the picture. characters_in: of the prompts, what stands before several questions
        counted once. characters_again: of what is sent again, for every question carries the turns before it; many
        servers keep these, and some bill them for less. characters_out: of the answers.
    """

    calls: int
    characters_in: int
    characters_again: int
    characters_out: int


USUAL_REQUESTS = {
    "full": UsualRequests(7, 16_900, 80_900, 11_000),
    "short": UsualRequests(4, 7_400, 17_500, 4_500),
    "small": UsualRequests(12, 13_100, 21_500, 3_000),
    "paper": UsualRequests(4, 9_700, 13_100, 2_900),
}
"""By the steps of the chain with plans, or the paper's chain.

`full` and `paper` are means of six pictures whose every step a strong model answered, `short` and `small` of two of
them, all without repairs.
"""


def call_lines(run: ComposeRun, pictures: int) -> dict[str, str]:
    """Return what so many pictures would cost with a remote composer: calls, tokens and money, without asking it."""
    loop, options = run.settings.loop, run.options
    usual = USUAL_REQUESTS["paper" if loop.protocol == "paper" else loop.steps]
    tunes = pictures * loop.candidates
    seen = tunes * usual.calls * PICTURE_TOKENS
    once, again, out = (
        round(tunes * characters / CHARACTERS_A_TOKEN)
        for characters in (usual.characters_in, usual.characters_again, usual.characters_out)
    )
    spent = read_spending(options.sending.ledger).all
    least, most = Usage(once + seen, 0, out), Usage(once + seen + again, 0, out)
    repeated = f"up to {again:,} in again, for turns are repeated"
    return {
        "sample": "none: the composer is behind a server, and a dry run sends nothing there",
        "calls": f"about {tunes * usual.calls:,}, each with its picture",
        "tokens": f"about {least.input_tokens:,} in and {out:,} out, and {repeated}",
        "money": _money(options, pictures, (least, most), spent.cost),
        **({"spent": spending_line(spent)} if spent.requests else {}),
    }


def _money(options: ComposeOptions | AblateOptions, pictures: int, usages: tuple[Usage, Usage], spent: float) -> str:
    if options.price is None:
        return "unknown: --price IN,OUT (dollars a million tokens) makes it money"
    share = SHARE_OF_PRICE if options.sending.batch_api else 1.0
    low, high = (share * usage.cost(options.price) for usage in usages)
    text = f"about ${low:,.2f}, up to ${high:,.2f} where what is sent again costs as much"
    if options.max_cost is None or not high:
        return text
    enough = min(pictures, int(max(0.0, options.max_cost - spent) / high * pictures))
    return f"{text}; --max_cost {options.max_cost:g} is enough for about {enough:,} of {counted(pictures, 'picture')}"


def plan_lines(run: ComposeRun) -> str:
    """Return what a run would do, without what it costs."""
    return _text(settings_lines(run))


def settings_lines(run: ComposeRun) -> dict[str, str]:
    """Return what the run works with and how, by the name of each line."""
    loop = run.options.loop
    return {
        "pictures": counted(len(run.pictures), "file"),
        "finished": f"{counted(run.output.compositions.count(), 'row')} in {run.output}",
        "index": f"{run.index.uri}, version {run.index.version}, {counted(run.index.rows, 'tune')}",
        "embedder": run.settings.embedder_id,
        "composer": run.settings.composer_id,
        "references": f"{run.options.top_k} by description and {run.options.top_k} by picture",
        "where": run.options.where or "all tunes",
        "rounds": _loop_line(loop),
        "seed": str(run.settings.seed),
        "settings": run.settings.hash,
        **composers.composer_memory_report(run.options.composer, run.options.batch_size),
    }


def _loop_line(loop: LoopSettings) -> str:
    last = "one round of edits" if loop.protocol == "plan" else "one refinement"
    drafts = f"{counted(loop.candidates, 'candidate')}, at most {counted(loop.rounds, 'repair')}"
    return f"protocol {loop.protocol}, {drafts}, then {last}"


def waiting(run: ComposeRun) -> list[str]:
    """Return the pictures whose place is in no row that stays. None is read: a replaced one is not noticed."""
    done = {
        uri
        for row in run.output.compositions.read(["image_uris", "settings_hash"])
        if run.options.keep or row["settings_hash"] == run.settings.hash
        for uri in row["image_uris"]
    }
    return [picture for picture in run.pictures if printable(picture) not in done]


def work_lines(run: ComposeRun, todo: Sequence[str]) -> dict[str, str]:
    """Return what would be done, skipped and refused."""
    again = {row["uri"] for row in run.output.failures.read(["uri"])}
    tried = sum(printable(picture) in again for picture in todo)
    failed = f", {tried} of them failed before" if tried else ""
    there = counted(len(run.pictures) - len(todo), "file")
    lines = {"to do": f"{counted(len(todo), 'file')}{failed}", "skipped": f"{there} with a row"}
    try:
        if (cost := cost_of_other_settings(run)) is not None:
            lines["earlier"] = cost
    except OutputError as error:
        lines["refused"] = str(error)
    return lines


def sample_size(pictures: int) -> int:
    """Return how many of so many pictures a plan composes: it may not take about as long as the run itself."""
    return max(1, min(SAMPLE, pictures // SHARE_SAMPLED))


def measure_sample(run: ComposeRun, todo: Sequence[str]) -> Sample:
    """Compose a few of the pictures, evenly spread, in this process and into a folder that is thrown away."""
    few = sample_size(len(todo))
    chosen = tuple(todo[:: len(todo) // few][:few])
    with tempfile.TemporaryDirectory(prefix="image2music-plan-") as folder:
        sample = replace(run, output=open_output(folder), pictures=chosen)
        result = run_here(partial(compose_pipeline, ticks=None, run=sample, finished=frozenset()))
        size = open_output(folder).compositions.size()
    counts = count(dict(result.counters), places=len(chosen))
    made = max(1, counts["composed"])
    return Sample(counts["pictures"], counts["failed"], sum(result.seconds.values()) / made, size / made)


def cost_lines(run: ComposeRun, todo: Sequence[str], sample: Sample) -> dict[str, str]:
    """Return time, disk and memory for all pictures, extrapolated from the sample; nothing where all of it failed."""
    pictures, workers, slice_size = len(todo), run.options.workers, pictures_a_slice(run.options, len(run.pictures))
    tried = f"{sample.pictures} of {counted(pictures, 'picture')} composed to measure, {sample.failed} failed"
    if sample.failed == sample.pictures:
        return {"sample": tried, "time": "unknown, for none of the sample could be composed"}
    free, needed = run.output.free_bytes(), pictures * sample.bytes
    there = f"{free / _GB:.1f} GB free in {run.output}" if free < math.inf else f"in {run.output}, which is a store"
    short = "; NOT ENOUGH" if needed > free else ""
    lines = {
        "sample": f"{tried}, {sample.seconds:.2f} s each with models loaded",
        "time": time_line(run.options, pictures, slice_size, sample.seconds),
        "disk": f"{needed / _MB:.1f} MB, {there}{short}",
        "process": memory_line(workers, _peak_bytes(), free_memory("cpu")),
        **machine_lines(pictures, slice_size, sample.seconds),
    }
    if is_store(run.output.uri) or is_store(run.index.uri):
        lines["store"] = store_line(pictures, workers, slice_size, sample.seconds, sample.bytes)
    return lines


def time_line(options: ComposeOptions | AblateOptions, pictures: int, slice_size: int, picture_s: float) -> str:
    """Return how long the command takes as it was typed, of so many pictures without a row."""
    if options.part is not None:
        of = options.part.of
        most = duration(most_pictures(pictures, of, slice_size) * picture_s)
        return f"about {most} for each of {counted(of, 'part')}, once its models are loaded"
    if options.cluster or options.is_one_pipeline:
        return f"about {duration(pictures * picture_s)} of one worker, once its models are loaded"
    at_work = min(options.workers, _cores(), math.ceil(pictures / slice_size))
    idle = f", of which {at_work} can work at a time" if at_work < options.workers else ""
    most = duration(most_pictures(pictures, at_work, slice_size) * picture_s)
    return f"about {most} with {counted(options.workers, 'worker')}{idle}, once models are loaded"


def memory_line(workers: int, peak: int, free: int | None) -> str:
    """Return what the workers take, `peak` bytes each, and whether that fits into the bytes that are free."""
    each = f", for each of {workers} workers" if workers > 1 else ""
    line = f"{peak / _GB:.1f} GB of memory by the sample{each}"
    if free is None or workers * peak <= free:
        return line
    return f"{line}; NOT ENOUGH: {free / _GB:.1f} GB are free, which is enough for {free // peak}"


def core_lines(workers: int) -> dict[str, str]:
    """Return a warning where there are more workers than cores that this process may use; else nothing."""
    if workers <= (cores := _cores()):
        return {}
    why = "more workers than cores take memory and gain nothing"
    return {"workers": f"{workers}, TOO MANY for {counted(cores, 'core')}: {why}"}


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _peak_bytes() -> int:
    """Return the most memory that this process has had. Linux counts in KiB, macOS in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def _text(lines: dict[str, str]) -> str:
    return "\n".join(f"{name:12}{value}" for name, value in lines.items())
