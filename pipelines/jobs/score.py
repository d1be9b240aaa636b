"""The job `score`: measures of every row, judges and listeners, tables and comparisons."""

from __future__ import annotations

import csv
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import pyarrow as pa
from PIL.Image import Image

from image2music import __version__
from image2music.abc.expression import perform_abc
from image2music.catalog import decoded_table
from image2music.composers import registry as composers
from image2music.composers.chat.conversations import ChatBackend
from image2music.composers.chat.ledger import Totals, Usage, spending_line
from image2music.composers.chat.server import OpenAiBackend
from image2music.embedders import base as embedders
from image2music.errors import ConfigError
from image2music.evaluation.compare import (
    Difference,
    Summary,
    difference_json,
    differences,
    differences_table,
    measures_table,
    metrics_table,
    muspy_table,
    regressions,
    summarise,
    summary_json,
)
from image2music.evaluation.measures import Row, image_tune_similarity, muspy_differences, score_rows
from image2music.evaluation.pieces import ROW_COLUMNS, Imported, Piece, piece_of_failure, piece_of_row, read_import
from image2music.evaluation.questions import (
    ANSWER_COLUMNS,
    ANSWER_TOKENS,
    Cost,
    Item,
    Shown,
    SongEval,
    add_answers,
    answer_key_csv,
    choose_items,
    cost,
    judge_prompts_version,
    mean_spread,
    read_answer_key,
    read_answers,
    render_form,
    without_order_effects,
)
from image2music.evaluation.questions import ask_judge as ask_judge
from image2music.evaluation.votes import (
    VoteCounts,
    answer_table,
    count_votes,
    is_vote_file,
    preferences,
    read_votes,
    tune_mark,
)
from image2music.failures import counted
from image2music.images.features import data_uri, thumbnail
from image2music.images.reading import content_id, read_bytes
from image2music.music.render import SoundRenderer, encode
from image2music.storage.datasets import read_batches
from image2music.storage.files import Folder
from image2music.storage.objects import is_store
from image2music.storage.output import OutputStore, open_output
from pipelines.jobs.report import announced_renderer, find_picture
from pipelines.options.outputs import ScoreOptions
from schemas.score import SCORE_SCHEMA

EXIT_DONE, EXIT_REGRESSION = 0, 1


def score(options: ScoreOptions) -> int:
    """Measure everything that was asked for; return 1 if `--against` found a regression, else 0.

    Raises:
        Image2MusicError: nothing to score, files or models that cannot be used.
    """
    systems = read_systems(options)
    if options.dry_run:
        print(judging_plan(options, systems))
        return EXIT_DONE
    if options.study is not None:
        print(write_listening_test(options.study_folder, systems, options.study, options.seed))
        return EXIT_DONE
    scored = [Scored(system, score_rows(system.name, system.pieces)) for system in systems]
    notes = _look(options.embedder, scored)
    report: dict[str, Any] = {"image2music": __version__, "seed": options.seed}
    compare(options, scored)  # a comparison that cannot be is refused before a judge is paid
    report["songeval"] = songeval(options, scored)
    texts = [(path.name, _text(path)) for path in options.answers]
    ballots = [named for named in texts if is_vote_file(named[1])]
    forms = [named for named in texts if not is_vote_file(named[1])]
    report["listeners"] = read_listening_test(options.study_folder, forms, scored) if forms else None
    votes = add_votes(ballots, scored)
    report["votes"] = votes and asdict(votes)
    report["judge"] = judge_systems(options, scored)
    summaries = [summarise(one.system.name, one.system.pieces, one.rows, options.seed) for one in scored]
    found = compare(options, scored)
    counted = [votes.line] if votes else []
    report["notes"] = counted + notes
    report["systems"] = {summary.system: summary_json(summary) for summary in summaries}
    report["against"] = None if found is None else [difference_json(difference) for difference in found]
    equality = muspy_differences(systems[0].pieces) if options.muspy else []
    if options.muspy:
        report["muspy"] = [asdict(one) for one in equality]
    _write(options.home, scored, report)
    print("\n\n".join([*counted, tables(options, summaries, found, notes)]))
    if options.muspy:
        print(f"\n{muspy_table(equality)}")
    worse = regressions(found or [])
    for difference in worse:
        print(f"image2music: regression: {difference.reason()}", file=sys.stderr)
    return EXIT_REGRESSION if worse else EXIT_DONE


def read_systems(options: ScoreOptions) -> list[System]:
    """Return the output, the one it is compared with, and imported ones, in this order; no two have one name."""
    own = read_output(open_output(options.input), _name(options.input)) if options.input else None
    systems = [own] if own else []
    if options.against is not None:
        assert options.input is not None
        name = _name(options.against)
        same = name == _name(options.input)
        systems.append(read_output(open_output(options.against), f"{name} (against)" if same else name))
    if options.imported is not None:
        systems += read_imported(options.imported, own)
    names = [system.name for system in systems]
    repeated = {name for name in names if names.count(name) > 1}
    if repeated:
        raise ConfigError(f"two systems are named {repeated.pop()}: name one anew in --import", reason="bad_import")
    return systems


def compare(options: ScoreOptions, scored: list[Scored]) -> list[Difference] | None:
    """Return what changed against the other output; None without one.

    Raises:
        ConfigError: they have no picture in common (`nothing_to_compare`).
    """
    if options.against is None:
        return None
    here, there = scored[0], scored[1]
    found = differences(here.rows, there.rows, options.seed, options.bounds)
    if not found:
        message = f"{options.input} and {options.against} have no picture in common"
        raise ConfigError(message, reason="nothing_to_compare")
    return found


def tables(options: ScoreOptions, summaries: list[Summary], found: list[Difference] | None, notes: list[str]) -> str:
    """Return everything as Markdown."""
    parts = [measures_table(summaries), "Mean over the pictures, with its 95 % interval."]
    parts += [metrics_table(summaries[0]), "Least, quartiles and greatest; distance in deviations of the references."]
    if found is not None:
        parts += [differences_table(found, summaries[0].system, summaries[1].system), _pairing(summaries, found)]
    return "\n\n".join([*parts, *notes])


def _pairing(summaries: list[Summary], found: list[Difference]) -> str:
    shared = counted(max(difference.change.n for difference in found), "picture")
    here, there = summaries[0].pictures, summaries[1].pictures
    return (
        f"{shared} in both, of {here} here and {there} there; change with its paired 95 % interval. "
        "A regression is a change for the worse that exceeds the bound over the whole interval."
    )


def _name(output: str) -> str:
    return (output.rstrip("/").rpartition("/")[2] if is_store(output) else Path(output).resolve().name) or output


def _look(spec: str | None, scored: list[Scored]) -> list[str]:
    """Fill in `image_tune_similarity`, or say why it is not measured."""
    if spec is None:
        return ["picture_music is not measured: it needs --embedder, another one than that of the index."]
    embedder = embedders.load_embedder(spec)
    if any(embedder.id in one.system.embedder_ids for one in scored):
        return [f"picture_music is not measured: {embedder.id} also retrieved the references, so it is no judge."]
    for one in scored:
        pairs = [(row, piece, open_image(piece)) for row, piece in zip(one.rows, one.system.pieces, strict=True)]
        seen = [(row, piece.score, image) for row, piece, image in pairs if image is not None and piece.score]
        values = image_tune_similarity(embedder, [image for _, _, image in seen], [heard for _, heard, _ in seen])
        for (row, _, _), value in zip(seen, values, strict=True):
            row["picture_music"] = value
    return [f"picture_music by {embedder.id}."]


def _write(home: str, scored: list[Scored], report: dict[str, Any]) -> None:
    rows = [row for one in scored for row in one.rows]
    store = open_output(home)
    store.write_table("score.parquet", pa.Table.from_pylist(rows, schema=SCORE_SCHEMA))
    store.write_json("score.json", report)


NamedText = tuple[str, str]
"""A file's name and its text."""
FORM, KEY = "index.html", "key.csv"
_SIDE = 800


def write_listening_test(folder: Path, systems: Sequence[System], pictures: int, seed: int) -> str:
    """Write the form with its sounds, and beside the folder the key that listeners must not see; return where."""
    items = choose_items({system.name: system.pieces for system in systems}, pictures, seed)
    files = Folder(str(folder))
    files.prepare()
    files.remove("sounds/*.wav")
    for item in items:
        files.write(f"sounds/{item.code}.wav", tune_sound(item.piece))
    files.write(FORM, render_form([_shown(item) for item in items]))
    Folder(str(folder.parent)).write(_key(folder).name, answer_key_csv(items))
    return f"{counted(len(items), 'tune')}: hand out {folder} (open {FORM}); keep {_key(folder)} to yourself"


def read_listening_test(folder: Path, answers: Sequence[NamedText], scored: Sequence[Scored]) -> dict[str, Any]:
    """Put listeners' answers into the rows.

    Raises:
        ConfigError: there is no form that they could be answers to (`no_study`), or a file cannot be read
            (`bad_answers`).
    """
    for name, text in answers:
        if "item" not in (answer_table(text, ANSWER_COLUMNS)[0].fieldnames or ()):
            message = (
                f"{name} has no columns vote, a_tune and b_tune as votes of a report, and no item as answers to a form"
            )
            raise ConfigError(message, reason="bad_answers")
    try:
        key = read_answer_key(_key(folder).read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(
            f"there is no {_key(folder)}: write the form with --study first", reason="no_study"
        ) from error
    places = {(one.system.name, row["image_id"]): (one, at) for one in scored for at, row in enumerate(one.rows)}
    heard = [entry for name, text in answers for entry in read_answers(text, key, name)]
    for one in scored:
        own = [(e, places[key[e.code]]) for e in heard if key[e.code] in places]
        add_answers(one.rows, "listeners", [(at, e.question, e.points) for e, (who, at) in own if who is one])
    return {
        "answers": len(heard),
        "listeners": len({entry.listener for entry in heard}),
        "spread": {one.system.name: mean_spread(one.rows, "listeners") for one in scored},
    }


def add_votes(ballots: Sequence[NamedText], scored: Sequence[Scored]) -> VoteCounts | None:
    """Put votes from the report's page into the rows of the tunes that were heard; None without a file.

    Raises:
        ConfigError: a file cannot be read (`bad_answers`).
    """
    votes = [vote for name, text in ballots for vote in read_votes(text, name)]
    marks = [{piece.image_id: tune_mark(piece.abc) for piece in one.system.pieces if piece.abc} for one in scored]
    for one, own in zip(scored, marks, strict=True):
        places = {row["image_id"]: at for at, row in enumerate(one.rows)}
        shares = preferences(votes, own)
        add_answers(one.rows, "listeners", [(places[id], question, share) for id, question, share in shares])
    known = frozenset(mark for own in marks for mark in own.values())
    return count_votes(votes, known) if ballots else None


def tune_sound(piece: Piece) -> bytes:
    """Return the tune as the bytes of a WAV file, performed and played with the sound font that is found."""
    return encode(_renderer().render(perform_abc(piece.abc)), "wav")


@cache
def _renderer() -> SoundRenderer:
    return announced_renderer(None)


def _shown(item: Item) -> Shown:
    image = open_image(item.piece)
    picture = data_uri(thumbnail(image, _SIDE)) if image is not None else ""
    return Shown(item.code, picture, item.piece.motivation)


def _key(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}-{KEY}")


def _text(path: Path) -> str:
    try:
        return decoded_table(path.read_bytes())[0]
    except (OSError, ValueError) as error:
        raise ConfigError(f"--answers {path}: {error}", reason="bad_answers") from error


_PICTURES_KEPT = 64


def judging_plan(options: ScoreOptions, systems: Sequence[System]) -> str:
    """Return what would be measured, and what a judge would cost."""
    lines = [f"{system.name}: {counted(len(system.pieces), 'picture')}" for system in systems]
    if options.judge is None:
        return "\n".join([*lines, "no judge: nothing is sent anywhere, nothing costs anything"])
    found = cost([piece for system in systems for piece in system.pieces], options.judging)
    each = f"each tune {counted(options.judging.times, 'time')}"
    return "\n".join([*lines, f"judge {options.judge}, {each}: {_told(found, options)}"])


def judge_systems(options: ScoreOptions, scored: Sequence[Scored]) -> dict[str, Any] | None:
    """Put the judge's answers into the rows; None without one. What it costs is said on stderr first.

    Raises:
        ConfigError: the spec names no chat model (`bad_judge`).
    """
    if options.judge is None:
        return None
    backend = _backend(options.judge)
    pieces = [piece for one in scored for piece in one.system.pieces]
    print(f"image2music: judge {backend.id}: {_told(cost(pieces, options.judging), options)}", file=sys.stderr)
    opened = lru_cache(maxsize=_PICTURES_KEPT)(lambda at: open_image(pieces[at]))
    places = {id(piece): at for at, piece in enumerate(pieces)}

    def picture_of(piece: Piece) -> Image | None:
        return opened(places[id(piece)])

    verdicts = ask_judge(backend, pieces, picture_of, options.judging)
    used = _used(backend, options)
    if used is not None and used.requests:
        print(f"image2music: judge {backend.id}: {spending_line(used)}", file=sys.stderr)
    rows = [row for one in scored for row in one.rows]
    add_answers(
        rows,
        "judge",
        ((answer.subject[0], answer.subject[1], answer.points) for answer in without_order_effects(verdicts.answers)),
    )
    return {
        "id": backend.id,
        "prompts": judge_prompts_version(),
        "times": options.judging.times,
        "conversations": verdicts.asked,
        "malformed": verdicts.malformed,
        "failed": verdicts.failed,
        "used": None if used is None else asdict(used),
        "spread": {one.system.name: mean_spread(one.rows, "judge") for one in scored},
    }


def songeval(options: ScoreOptions, scored: Sequence[Scored]) -> dict[str, Any] | None:
    """Put SongEval's aspects into the rows; None where its toolkit is not given."""
    if options.songeval is None:
        return None
    toolkit = SongEval(options.songeval)
    rows = [row for one in scored for row in one.rows]
    pieces = [piece for one in scored for piece in one.system.pieces]
    sounds = {str(at): tune_sound(piece) for at, piece in enumerate(pieces) if piece.score}
    rated = toolkit.rate(sounds)
    given = [(int(at), aspect.lower(), points) for at, aspects in rated.items() for aspect, points in aspects.items()]
    add_answers(rows, "songeval", given)
    return {"folder": str(options.songeval), "tunes": len(rated)}


def _told(found: Cost, options: ScoreOptions) -> str:
    text = (
        f"{counted(found.conversations, 'conversation')}, about {found.tokens_in:,} tokens in and at most "
        f"{found.tokens_out:,} out ({ANSWER_TOKENS} an answer)"
    )
    if options.price is None:
        return f"{text}; --price IN,OUT (dollars a million tokens) makes it money"
    return f"{text}, at most ${found.dollars(*options.price):,.2f}"


def _used(backend: ChatBackend, options: ScoreOptions) -> Totals | None:
    """Return what the judge's requests came to; None where it runs here."""
    if not isinstance(backend, OpenAiBackend):
        return None
    found = backend.ledger.totals().all
    cost = Usage(found.input_tokens, found.cached_tokens, found.output_tokens).cost(options.price)
    return replace(found, cost=cost)


def _backend(spec: str) -> ChatBackend:
    try:
        return composers.load_chat_backend(spec)
    except ConfigError as error:
        message = f"--judge takes openai:BASE_URL#MODEL or transformers:ID_OR_PATH: {error}"
        raise ConfigError(message, reason="bad_judge") from error


_ROWS_AT_ONCE = 32
_FAILURE_COLUMNS = ["stage", "id", "uri"]


@dataclass(frozen=True)
class System:
    """The tunes of one system, one for each picture. `embedder_ids` are those that retrieved its references."""

    name: str
    pieces: list[Piece]
    embedder_ids: frozenset[str] = frozenset()


def read_output(output: OutputStore, name: str) -> System:
    """Read the rows of an output, and the pictures that its composer failed on.

    Raises:
        ConfigError: nothing is there (`no_rows`).
    """
    pieces: dict[str, Piece] = {}
    embedders: set[str] = set()
    for rows in read_batches(output.compositions.shards(), ROW_COLUMNS, _ROWS_AT_ONCE):
        pieces.update({row["image_id"]: piece_of_row(row) for row in rows})
        embedders.update(row["embedder_id"] for row in rows)
    for failure in output.failures.read(_FAILURE_COLUMNS):
        failed = piece_of_failure(failure)
        if failed:
            pieces.setdefault(failed.image_id, failed)
    if not pieces:
        raise ConfigError(f"{output} holds no compositions: name the --output of compose", reason="no_rows")
    return System(name, [pieces[image_id] for image_id in sorted(pieces)], frozenset(embedders))


def read_imported(path: Path, known: System | None) -> list[System]:
    """Read the systems of a CSV file; their pictures are identified by content.

    A picture that `known` has too takes description and references from there, so that all are measured alike.

    Raises:
        ConfigError: the file, or one that it names, cannot be used.
    """
    try:
        text = path.read_text(encoding="utf-8")
        lines = read_import(text, lambda name: read_bytes(str(path.parent / name)))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ConfigError(f"--import {path}: {error}", reason="bad_import") from error
    there = {piece.image_id: piece for piece in known.pieces} if known else {}
    systems: dict[str, dict[str, Piece]] = {}
    for line in lines:
        piece = _imported(line, path.parent, there)
        systems.setdefault(line.system, {})[piece.image_id] = piece
    return [System(name, list(pieces.values())) for name, pieces in systems.items()]


def _imported(line: Imported, folder: Path, there: dict[str, Piece]) -> Piece:
    place = str(folder / line.picture)
    try:
        image_id = content_id(read_bytes(place))
    except OSError as error:
        raise ConfigError(f"--import: the picture {place}: {error}", reason="bad_import_file") from error
    own = there.get(image_id)
    return Piece(
        image_id=image_id,
        image_uri=place,
        abc=line.abc,
        description=line.description or (own.description if own else ""),
        references=own.references if own else (),
    )


def open_image(piece: Piece) -> Image | None:
    """Return the picture of a piece, from the first of its places that still holds the same bytes; else None."""
    places = piece.places
    return find_picture({"image_id": piece.image_id, "image_uri": places[0], "image_uris": places})


@dataclass
class Scored:
    """A system with its rows."""

    system: System
    rows: list[Row]
