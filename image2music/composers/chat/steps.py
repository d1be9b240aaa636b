"""The steps of the plan protocol as conversations about one picture: what is asked, and what is read from the answers.

Every conversation begins with the picture and what was seen in it, word for word, and a step goes on from the one
before, so that a server's prefix cache serves all of them. Wording: `composers/prompts/plan`. The order (a device that
pays off, the plan from the payoff backwards, melody and bass before the other voices, then edits by a severe reader) is
the one that was judged best among those tried (docs/chat_models.md).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from PIL.Image import Image

from image2music.abc.checker import count_faults
from image2music.abc.diagnostics import Severity
from image2music.abc.parser import parse
from image2music.abc.writer.excerpt import splice_bar
from image2music.composers.base import (
    ComposeRequest,
    EditRequest,
    ExplainRequest,
    Notes,
    RepairRequest,
    opening_abc,
)
from image2music.composers.chat.conversations import MAX_DIAGNOSTICS, Conversation, Message, first_bars
from image2music.composers.chat.manuscript import OpenLine, blank_lines, overview, score_so_far, units_of
from image2music.composers.constrained.forms import JsonForm
from image2music.composers.prompts import fill, in_language
from image2music.errors import AbcError
from image2music.images.scene import Scene
from image2music.music.listen.listener import sheet_text
from image2music.music.planning.constraints import constraint_lines, range_text
from image2music.music.planning.plan import Plan, pitch_name, plan_as_json
from image2music.music.planning.schema import (
    MOST_DECODED_BARS,
    MOST_VOICES,
    PLAN_SCHEMA,
    TIMED,
    decodable_plan_schema,
)
from image2music.music.theory import read_tonality
from image2music.settings import picture_seed
from image2music.types import Description, Edit

_FULL_BARS, _BRIEF_BARS = (24, 32), (16, 20)
_MOST_REFERENCES, _BARS_OF_REFERENCE, _LONGEST_REFERENCE = 2, 4, 420


def looking(image: Image, language: str = "en") -> Conversation:
    """Ask what the picture shows; the language asked for here holds for the whole conversation."""
    return Conversation(image, (Message("user", fill("plan/look") + in_language(language)),))


def seen_in(request: ComposeRequest) -> Conversation:
    """Return the conversation in which the picture was looked at, with the answer that was given, as far as it is kept.

    The next question is appended by `then`.
    """
    description = request.description
    said = description.features if isinstance(description.features, str) else _said(description)
    return looking(request.image, request.language).answered(said)


def _said(description: Description) -> str:
    return description.text if description.scene is None else scene_text(description.scene)


def scene_text(scene: Scene) -> str:
    """Write a scene as the JSON that a model answers; what is unknown is left out."""
    shape: dict[str, Any] = {"subject": scene.subject, "things": [name for name, _ in scene.things]}
    for name in ("people", "place", "far", "middle", "near", "eye_path", "motion", "light", "palette", "mood"):
        if value := getattr(scene, name):
            shape[name] = value
    shape |= {name: value for name in ("valence", "arousal") if (value := getattr(scene, name)) is not None}
    return json.dumps(shape, ensure_ascii=False)


def talk_of(request: ComposeRequest, plan: Plan, notes: Notes) -> Conversation:
    """Return the conversation up to the draft; where none was noted, that of somebody else's plan."""
    if "written" in notes:
        talk: Conversation = notes["written"]
        return talk
    return talk_of_plan(request, plan, notes)


def talk_of_plan(request: ComposeRequest, plan: Plan, notes: Notes) -> Conversation:
    """Return the conversation up to the plan; where none was noted, as if the model had made the one that there is."""
    if "plan" in notes:
        talk: Conversation = notes["plan"][0]
        return talk
    return person_plan(plan, seen_in(request))


def seed_of(request: ComposeRequest, step: str, take: int = 0) -> int:
    """Return the seed of a step; the first take's does not depend on how many there are."""
    return picture_seed(request.seed, f"{step} {take}" if take else step)


def sketching(request: ComposeRequest, so_far: Conversation) -> Conversation:
    """Ask for three devices, and which of them is to be composed."""
    return so_far.asked(fill("plan/sketch", wishes=wishes_said(request)))


def planning(request: ComposeRequest, so_far: Conversation) -> Conversation:
    """Ask for the whole plan: of the device that was chosen, or, by the short steps, at once and in fewer words."""
    is_brief = request.steps == "short"
    usual = _BRIEF_BARS if is_brief else _FULL_BARS
    bars = range_text(next((one.bars for one in request.constraints if one.bars is not None), usual))
    question = fill(
        "plan/brief" if is_brief else "plan/plan",
        wishes=wishes_said(request) if is_brief else "",
        references=_references(request),
        bars=bars,
        voices="three" if is_brief else "three to five",
    )
    return so_far.asked(question)


def planning_again(so_far: Conversation, faults: Sequence[str]) -> Conversation:
    """Ask for what must change in a plan."""
    return so_far.asked(fill("plan/plan_again", faults="\n".join(f"- {fault}" for fault in faults)))


def asking_for_json(so_far: Conversation, why: str) -> Conversation:
    """Ask again, where an answer held no JSON."""
    return so_far.asked(fill("plan/no_json", why=why[:120]))


def patched(shape: Mapping[str, Any], change: Mapping[str, Any]) -> dict[str, Any]:
    """Put the parts of a second answer into a plan: maps are merged, sections and voices replaced by name and id."""
    merged = dict(shape)
    for name, value in change.items():
        before = merged.get(name)
        if name in ("harmony", "melody") and isinstance(before, dict) and isinstance(value, dict):
            merged[name] = {**before, **value}
        elif name in ("sections", "voices") and isinstance(before, list) and isinstance(value, list):
            key = "name" if name == "sections" else "id"
            new = {one.get(key): one for one in value if isinstance(one, dict)}
            kept = [new.pop(one.get(key), one) if isinstance(one, dict) else one for one in before]
            merged[name] = [*kept, *new.values()]
        else:
            merged[name] = value
    return merged


def writing_lines(
    request: ComposeRequest, plan: Plan, so_far: Conversation, lines: Sequence[OpenLine], payoff: str, mended: str
) -> Conversation:
    """Ask for the lines that carry the tune: melody and bass."""
    name = "plan/tune" if request.steps == "short" else "plan/melody"
    places = {} if request.steps == "short" else {"payoff": payoff}
    question = fill(
        name,
        mended=mended,
        bars=overview(plan),
        meter=plan.meter,
        units=str(units_of(plan.meter)),
        key=plan.key,
        climax=_climax(plan),
        opening=_opening(request),
        lines=blank_lines(lines),
        **places,
    )
    return so_far.asked(question)


def writing_others(
    plan: Plan, so_far: Conversation, bars: Mapping[tuple[int, int], str], lines: Sequence[OpenLine], unread: str
) -> Conversation:
    """Ask for the lines of the other voices, given those that stand."""
    voices = sorted({line.voice for line in lines})
    ranges = ", ".join(_range_of(plan, voice) for voice in voices)
    climax = plan.climax
    ceiling = f"No note of any voice reaches {pitch_name(climax.pitch)} but the climax." if climax else ""
    question = fill(
        "plan/write",
        unread=unread,
        score=score_so_far(plan, bars),
        units=str(units_of(plan.meter)),
        ranges=ranges,
        ceiling=ceiling,
        lines=blank_lines(lines),
    )
    return so_far.asked(question)


def _range_of(plan: Plan, place: int) -> str:
    voice = plan.voice(place)
    return f"{place} {pitch_name(voice.low)}-{pitch_name(voice.high)}"


def mending(request: RepairRequest, plan: Plan, so_far: Conversation) -> Conversation:
    """Ask for the bars that must change so that a tune passes the check."""
    errors = [finding for finding in request.diagnostics if finding.severity is Severity.ERROR]
    said = [
        f"- voice {finding.voice}, bar {finding.bar}: {finding.message}" if finding.voice else f"- {finding.message}"
        for finding in errors[:MAX_DIAGNOSTICS]
    ]
    if len(errors) > len(said):
        said.append(f"- and {len(errors) - len(said)} more of these kinds")
    counts = count_faults(request.abc, len(plan.voices), plan.bars)
    shown = {
        (finding.voice, bar)
        for finding in errors[:MAX_DIAGNOSTICS]
        if finding.voice and finding.bar
        for bar in (finding.bar - 1, finding.bar, finding.bar + 1)
    }
    question = fill(
        "plan/mend",
        diagnostics="\n".join([*said, *(f"- {fault}" for fault in counts)]),
        meter=plan.meter,
        units=str(units_of(plan.meter)),
        counts=f", and each voice has {plan.bars} bars",
        bars="\n".join(_bars_of(request.abc, shown)) or request.abc.strip(),
    )
    return so_far.asked(question)


def _bars_of(abc: str, wanted: set[tuple[str, int]]) -> list[str]:
    """Return bars of a tune as lines of their own, `7 [V:2] G2 A2 B2 |`."""
    tune = next((tune for tune in parse(abc).tunes if tune.spans), None)
    found: dict[tuple[str, int], str] = {}
    for span in tune.spans if tune else ():
        if (span.voice, span.bar) in wanted:
            text = " ".join(abc[span.start : span.end].split()).replace(f"[V:{span.voice}]", "")
            found[span.voice, span.bar] = found.get((span.voice, span.bar), "") + text.strip(" |]")
    return [f"{bar} [V:{voice}] {text} |" for (voice, bar), text in sorted(found.items(), key=lambda one: one[0])]


def with_bars(abc: str, bars: Mapping[tuple[int, int], str]) -> str:
    """Return a tune with these bars in the place of its own; bars that it does not have are left out."""
    for (voice, bar), text in bars.items():
        try:
            abc = splice_bar(abc, str(voice), bar, text)
        except AbcError:
            continue  # an answer may name bars that are not there; the check says what is still wrong
    return abc


def editing(request: EditRequest, so_far: Conversation) -> Conversation:
    """Show the whole tune and what was heard in it, and ask for better bars."""
    return so_far.asked(fill("plan/edit", abc=request.abc.strip(), sheet=sheet_text(request.sheet)))


def edits_in(shape: Mapping[str, Any]) -> tuple[Edit, ...]:
    """Read the edits of an answer; one without bar, voice or notes is left out."""
    edits = []
    for one in shape.get("edits") or ():
        if not isinstance(one, dict):
            continue
        bar, voice, abc = str(one.get("bar", "")), str(one.get("voice", "")), one.get("abc")
        if bar.isdigit() and voice.strip("V:v ").isdigit() and isinstance(abc, str) and abc.strip():
            edits.append(Edit(int(bar), voice.strip("V:v "), abc.strip(), str(one.get("better", ""))[:80]))
    return tuple(edits)


def explaining(request: ExplainRequest, plan: Plan, so_far: Conversation, edits: Sequence[Edit] | None) -> Conversation:
    """Ask why the tune as it stands suits the picture.

    Say which of the `edits` were taken; without them (None) the model has not seen the tune whole, and it is shown.
    """
    sections = "; ".join(f"{s.name} {s.first}-{s.last} ({s.picture_part})" for s in plan.sections)
    climax = f"Its climax is in bar {plan.climax.bar}." if plan.climax else ""
    abc = request.abc.strip()
    if so_far.messages[-1].text.strip() == abc:
        taken = ""  # by the small steps the model has the whole tune before it
    else:
        taken = f"The score as it stands:\n{abc}\n" if edits is None else _taken(abc, edits)
    length = "three or four" if request.request.steps == "short" else "four to six"
    question = fill("plan/why", taken=taken, title=request.title, sections=sections, climax=climax, length=length)
    return so_far.asked(question)


def _taken(abc: str, edits: Sequence[Edit]) -> str:
    """Say which of the edits stand in the tune."""
    done: list[str] = []
    left: list[str] = []
    for edit in edits:
        try:
            stands = splice_bar(abc, edit.voice, edit.bar, edit.abc) == abc
        except AbcError:
            stands = False
        (done if stands else left).append(f"bar {edit.bar} voice {edit.voice}")
    said = [f"Taken: {', '.join(done)}." if done else "None of these edits was taken: the bars stay as they were."]
    if done and left:
        said.append(f"Not taken, these stay as they were: {', '.join(left)}.")
    return " ".join(said) if edits else "The score stays as it is."


def explaining_again(so_far: Conversation, false: Sequence[str]) -> Conversation:
    """Ask for the motivation again, without what is not true."""
    return so_far.asked(fill("plan/why_again", false="\n".join(f"- {one}" for one in false)))


def replayed(request: ExplainRequest, plan: Plan, why: Conversation, motivation: str) -> Conversation:
    """Return the conversation in which attention is measured: picture, plan, the tune that stands, its motivation.

    The model wrote the tune in parts; here it stands whole, as the answer to its plan.
    """
    compact = json.dumps(plan_as_json(plan), ensure_ascii=False, separators=(",", ":"))
    talk = seen_in(request.request).asked(fill("plan/replay", plan=compact))
    return talk.then(request.abc.strip(), why.messages[-1].text).answered(motivation)


def person_plan(plan: Plan, so_far: Conversation) -> Conversation:
    """Return the conversation as if the model had made a plan that a person gave."""
    return so_far.asked("Plan the whole piece.").answered(json.dumps(plan_as_json(plan), ensure_ascii=False))


# ---------------------------------------------------------------- what is said about a request


def wishes_said(request: ComposeRequest) -> str:
    """Return what is said of the picture, and what the plan must keep; nothing where anything is right."""
    said = list(dict.fromkeys(line for one in request.constraints for line in constraint_lines(one)))
    if request.album is not None:
        said.append(
            f"its first voice with the tune begins with the album's motif: {opening_abc(request.album)} (L:1/8)"
        )
    hint = f"\nWhat is said of the picture by whom it belongs to: {request.hint}\n" if request.hint else ""
    return hint + ("\nIt must keep to this:\n" + "\n".join(f"- {line}" for line in said) + "\n" if said else "")


def _references(request: ComposeRequest) -> str:
    """Return the first bars of the nearest references with what each may lend."""
    said = [
        f"{number}. {' '.join(one.caption.split())[:160]} ({one.contributes})\n{_shortened(one.abc)}"
        for number, one in enumerate(request.references[:_MOST_REFERENCES], 1)
        if one.contributes
    ]
    if not said:
        return ""
    return "Tunes of a library, for their manner alone; copy no bar of theirs:\n" + "\n".join(said) + "\n"


def _shortened(abc: str) -> str:
    return first_bars(abc, _BARS_OF_REFERENCE)[:_LONGEST_REFERENCE].strip()


_SHARPS = "FCGDAEB"


def signs_said(key: str) -> str:
    """Say which letters the key makes sharp or flat; nothing where there are none."""
    tonality = read_tonality(key)
    sharps = tonality.sharps if tonality else 0
    if not sharps:
        return ""
    letters = _SHARPS[:sharps] if sharps > 0 else _SHARPS[::-1][:-sharps]
    return f" In this key every {', '.join(letters)} is {'sharp' if sharps > 0 else 'flat'} without a sign."


def _climax(plan: Plan) -> str:
    return f" ({pitch_name(plan.climax.pitch)} in bar {plan.climax.bar})" if plan.climax else ""


def _opening(request: ComposeRequest) -> str:
    return f"It begins with the album's motif: {opening_abc(request.album)}." if request.album is not None else ""


# ---------------------------------------------------------------- forms of answers

_WORDS = {"type": "string", "maxLength": 240}
_PHRASES = {"type": "array", "items": {"type": "string", "maxLength": 120}, "maxItems": 8}


def _object(properties: Mapping[str, Any], required: Sequence[str] | None = None) -> dict[str, Any]:
    names = list(properties) if required is None else list(required)
    return {"type": "object", "properties": dict(properties), "required": names, "additionalProperties": False}


LOOK_FORM = JsonForm.of(
    "look",
    _object(
        {
            "subject": _WORDS, "things": _PHRASES, "people": {"type": "integer", "minimum": 0, "maximum": 9999},
            "place": _WORDS, "far": _WORDS, "middle": _WORDS, "near": _WORDS, "eye_path": _PHRASES, "motion": _WORDS,
            "light": _WORDS, "palette": _PHRASES, "mood": {"type": "string", "maxLength": 40},
            "valence": {"type": "number", "minimum": -1, "maximum": 1},
            "arousal": {"type": "number", "minimum": 0, "maximum": 1}, "story": _WORDS,
        }
    ),
)  # fmt: skip
_MOTIF = _object({"chords": {"type": "string", "maxLength": 40}, "abc": {"type": "string", "maxLength": 80}})
SKETCH_FORM = JsonForm.of(
    "sketch",
    _object(
        {
            "devices": {
                "type": "array",
                "items": _object({"what": {**_WORDS, "maxLength": 400}, "payoff": _WORDS}),
                "minItems": 3,
                "maxItems": 3,
            },
            "choice": {"type": "integer", "minimum": 1, "maximum": 3},
            "genre": _WORDS,
            "ensemble": _PHRASES,
            "meter": {"type": "string", "maxLength": 5},
            "qpm": {"type": "number", "minimum": 30, "maximum": 220},
            "motif": _MOTIF,
        }
    ),
)
EDIT_FORM = JsonForm.of(
    "edits",
    _object(
        {
            "weak": {
                "type": "array",
                "maxItems": 3,
                "items": _object({"bars": {"type": "string", "maxLength": 12}, "why": _WORDS, "asks_for": _WORDS}),
            },
            "edits": {
                "type": "array",
                "maxItems": 12,
                "items": _object(
                    {
                        "bar": {"type": "integer", "minimum": 1, "maximum": 999},
                        "voice": {"type": "integer", "minimum": 1, "maximum": 16},
                        "abc": {"type": "string", "maxLength": 120},
                        "better": {"type": "string", "maxLength": 80},
                    }
                ),
            },
        }
    ),
)
_PAYOFF = {
    "type": "object",
    "properties": {str(voice): {"type": "string", "maxLength": 160} for voice in range(1, MOST_VOICES + 1)},
    "required": [],
    "additionalProperties": False,
}
_LEFT_OUT_OF_BRIEF_PLANS = ("style", "melody", "surprise", "silences", "free_bars", "ending")
_LEFT_OUT_OF_BRIEF_SECTIONS = ("swell", "rhythm", "new")


def plan_form(request: ComposeRequest) -> JsonForm:
    """Return what holds a model to a plan while it writes one, with as many bars and voices as are asked for."""
    wanted = next((one.bars for one in request.constraints if one.bars is not None), None)
    players = next((one for one in request.constraints if one.players), None)
    bars = wanted or (_BRIEF_BARS if request.steps == "short" else _FULL_BARS)
    voices = (3, 3) if request.steps == "short" else (3, 5)
    if players is not None:
        seats = min(len(players.players), MOST_VOICES)
        voices = (seats, MOST_VOICES if players.others_may_play else seats)
    schema = decodable_plan_schema((min(bars[0], MOST_DECODED_BARS), min(bars[1], MOST_DECODED_BARS)), voices)
    if request.steps == "short":
        return JsonForm.of("plan", _brief(schema))
    parts = schema["properties"]
    return JsonForm.of("plan", {**schema, "properties": {**parts, "payoff_abc": _PAYOFF}})


def _brief(schema: dict[str, Any]) -> dict[str, Any]:
    """Return the schema without what the short steps do not ask for."""
    section = _without(schema["properties"]["sections"]["items"], _LEFT_OUT_OF_BRIEF_SECTIONS)
    brief = _without(schema, _LEFT_OUT_OF_BRIEF_PLANS)
    return {**brief, "properties": {**brief["properties"], "sections": {**schema["properties"]["sections"],
                                                                        "items": section}}}  # fmt: skip


def _without(schema: dict[str, Any], names: Sequence[str]) -> dict[str, Any]:
    properties = {name: value for name, value in schema["properties"].items() if name not in names}
    return {**schema, "properties": properties, "required": [one for one in schema["required"] if one not in names]}


_PATCHED = {name: schema for name, schema in PLAN_SCHEMA["properties"].items() if name not in TIMED}
PATCH_FORM = JsonForm.of("changes", {**PLAN_SCHEMA, "required": [], "properties": {**_PATCHED, "payoff_abc": _PAYOFF}})
"""What holds a model to the parts of a plan that it changes."""
