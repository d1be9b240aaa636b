"""A row of `OUT/compositions`: one picture and the tune written for it."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from schemas.album import ALBUM_PART
from schemas.fields import FAITHFULNESS, METRICS, column, vector

REFERENCE = pa.struct(
    [
        column("tune_id", pa.string(), "row of the index"),
        column("row_hash", pa.string(), "content of that row when it was retrieved"),
        column("location", pa.string(), "path of the MIDI file under --midi_root"),
        column("caption", pa.string(), "what the data set says about the tune"),
        column("abc", pa.string(), "the whole tune in ABC notation"),
        column(
            "similarity_text",
            pa.float32(),
            "what is seen and wanted to caption; null where that search missed it",
            unit="cosine",
        ),
        column("similarity_image", pa.float32(), "picture to caption; null where that search missed it", unit="cosine"),
        column("matched_by", pa.string(), "which search found it: text, image or both"),
        column("contributes", pa.string(), "what it may lend to the tune: figure, harmony, instruments, rhythm"),
        column("licence", pa.string(), "under which the index has it; null where the index names none"),
        column("source", pa.string(), "where it comes from; null where the index names none"),
    ]
)

TRAINED_ALGORITHMIC_MEDIA = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
"""What IPTC calls media that a model made which learned from examples; the value of `rights.digital_source_type`."""

RIGHTS = pa.struct(
    [
        column("made_by_ai", pa.bool_(), "whether software wrote the tune: always true"),
        column("digital_source_type", pa.string(), "the same for machines, by IPTC's list of digital source types"),
        column("composer", pa.string(), "composer_id, model and revision that wrote the tune"),
        column("composer_licence", pa.string(), "of that model, by its card or by who ran it; null where unknown"),
        column("embedder_licence", pa.string(), "of the model of the embeddings; null where unknown"),
        column(
            "copied_run",
            pa.struct(
                [
                    column("notes", pa.int32(), "how many in a row are the same steps in pitch and time", unit="notes"),
                    column("tune_id", pa.string(), "the reference that has them too"),
                    column("location", pa.string(), "its place under --midi_root"),
                    column("voice", pa.int32(), "which voice has them here, by its place in the tune, from 1"),
                    column("bar", pa.int32(), "bar in which they begin here, from 1"),
                    column("last_bar", pa.int32(), "bar in which they end here"),
                    column("reference_bar", pa.int32(), "bar in which they begin in the reference"),
                ]
            ),
            "longest run that what is sung here shares with a reference, in any key; null where there is none",
        ),
        column(
            "references",
            pa.list_(
                pa.struct(
                    [
                        column("tune_id", pa.string(), "row of the index"),
                        column("location", pa.string(), "its place under --midi_root"),
                        column("licence", pa.string(), "as the index names it; null where it names none"),
                        column("source", pa.string(), "as the index names it; null where it names none"),
                    ]
                )
            ),
            "the tunes that the composer was shown",
        ),
        column("note", pa.string(), "what a person should know who reads only this"),
    ]
)

SCENE = pa.struct(
    [
        column("subject", pa.string(), "what it shows, in one sentence"),
        column(
            "things",
            pa.list_(
                pa.struct(
                    [
                        column("name", pa.string(), "what is seen"),
                        column("confidence", pa.float32(), "how sure", unit="0-1"),
                    ]
                )
            ),
            "surest first",
        ),
        column("people", pa.int32(), "how many; null where nobody looked for them"),
        column("place", pa.string(), "where it is"),
        column("far", pa.string(), "what the far layer shows"),
        column("middle", pa.string(), "what the middle layer shows"),
        column("near", pa.string(), "what the near layer shows"),
        column("focal_point", pa.string(), "what the eye meets first"),
        column("eye_path", pa.list_(pa.string()), "where the eye goes, in order"),
        column("motion", pa.string(), "what moves or holds still"),
        column("light", pa.string(), "how it is lit"),
        column("palette", pa.list_(pa.string()), "its colours"),
        column("mood", pa.string(), "the mood in one word"),
        column("valence", pa.float32(), "sad to happy; null where unknown", unit="-1 to 1"),
        column("arousal", pa.float32(), "still to wild; null where unknown", unit="0-1"),
    ]
)

_PLANNED_VOICE = pa.struct(
    [
        column("id", pa.int32(), "id of the voice, as in the tune's V:"),
        column("name", pa.string(), "its instrument"),
        column("program", pa.int32(), "General MIDI program, from 0"),
        column("low", pa.int32(), "lowest pitch", unit="MIDI pitch"),
        column("high", pa.int32(), "highest pitch", unit="MIDI pitch"),
        column("role", pa.string(), "what it is most of the time; melody for every voice that has the tune"),
        column("derived", pa.bool_(), "whether the arranger writes it by rule"),
    ]
)

_SECTION = pa.struct(
    [
        column("name", pa.string(), "its letter or name"),
        column("first", pa.int32(), "its first bar, from 1"),
        column("last", pa.int32(), "its last bar"),
        column("picture_part", pa.string(), "the part of the picture that it stands for"),
        column("qpm", pa.float64(), "its tempo", unit="quarter notes a minute"),
        column("dynamic", pa.string(), "pp, p, mp, mf, f or ff"),
        column("swell", pa.string(), "none, grow or fade"),
        column("cadence", pa.string(), "full, half, plagal, deceptive or open"),
        column(
            "parts",
            pa.list_(
                pa.struct(
                    [
                        column("voice", pa.int32(), "id of the voice"),
                        column("role", pa.string(), "what it does here"),
                        column("family", pa.string(), "kind of its figure; null without one"),
                        column("degrees", pa.string(), "degrees of the chord that the figure takes"),
                    ]
                )
            ),
            "what each voice does",
        ),
        column("rhythm", pa.string(), "what is new in the melody's rhythm"),
        column("new", pa.string(), "what is new where a tune comes back"),
    ]
)

PLAN = pa.struct(
    [
        column("title", pa.string(), "of the tune"),
        column("idea", pa.string(), "which thing in the picture becomes which thing in the music"),
        column("key", pa.string(), "as in ABC"),
        column("meter", pa.string(), "as in ABC"),
        column("bars", pa.int32(), "how many"),
        column("voices", pa.list_(_PLANNED_VOICE), "highest first"),
        column("sections", pa.list_(_SECTION), "the form"),
        column("harmony", pa.list_(pa.string()), "one or two chord symbols for every bar"),
        column("melody", pa.list_(pa.int32()), "the voice that has the tune, bar by bar; empty: as the sections say"),
        column(
            "motif",
            pa.struct([column("abc", pa.string(), "one or two bars"), column("chords", pa.string(), "under them")]),
            "what the tune is made of",
        ),
        column(
            "device",
            pa.struct(
                [
                    column("what", pa.string(), "the idea in the notes"),
                    column("payoff_bar", pa.int32(), "where it pays off"),
                    column("voices", pa.list_(pa.int32()), "which take part"),
                ]
            ),
            "what the tune is built around",
        ),
        column(
            "surprise",
            pa.struct(
                [
                    column("bar", pa.int32(), "where"),
                    column("what", pa.string(), "what comes"),
                    column("why", pa.string(), "what it stands for"),
                ]
            ),
            "the one event that is not expected",
        ),
        column(
            "climax",
            pa.struct(
                [
                    column("bar", pa.int32(), "where"),
                    column("voice", pa.int32(), "in which voice"),
                    column("pitch", pa.int32(), "the highest note", unit="MIDI pitch"),
                ]
            ),
            "the peak",
        ),
        column(
            "silences",
            pa.list_(
                pa.struct(
                    [
                        column("voice", pa.int32(), "which voice"),
                        column("first", pa.int32(), "from bar"),
                        column("last", pa.int32(), "to bar"),
                    ]
                )
            ),
            "where voices are silent, whatever their section says",
        ),
        column("free_bars", pa.list_(pa.int32()), "where dissonance is meant"),
        column("ending", pa.string(), "what the last bars do"),
        column("style", pa.string(), "the style that was asked for"),
        column("length_s", pa.float64(), "how long it lasts to the sample; null where nobody asked", unit="seconds"),
        column("loop", pa.bool_(), "whether its end leads back into its beginning"),
        column("unmet", pa.list_(pa.string()), "wishes that the plan does not meet"),
    ]
)

FAULT = pa.struct(
    [
        column("kind", pa.string(), "stable word, to count by"),
        column("bar", pa.int32(), "from 1"),
        column("beat", pa.float32(), "from 1, in beats of the meter's denominator"),
        column("voices", pa.list_(pa.int32()), "places of the voices in the tune, from 1"),
        column("message", pa.string(), "one sentence for a person"),
    ]
)

DIAGNOSTIC = pa.struct(
    [
        column("line", pa.int32(), "line in the ABC text, from 1"),
        column("column", pa.int32(), "character in the line, from 1"),
        column("voice", pa.string(), "id of the voice; null outside the music"),
        column("bar", pa.int32(), "bar of the voice, from 1; null outside the music"),
        column("code", pa.string(), "stable word, to count by"),
        column("message", pa.string(), "one sentence for a person"),
    ]
)

ROUND = pa.struct(
    [
        column("purpose", pa.string(), "draft, repair, edit or refine"),
        column("abc", pa.string(), "the tune of this round, after mending"),
        column(
            "diagnostics",
            pa.list_(DIAGNOSTIC),
            "what was mended by rule, then what the checker said of the mended tune",
        ),
        column("faults", pa.list_(FAULT), "what a listener would point at, worst first, at most eight"),
        column("metrics", METRICS, "the eight metrics; null where the tune cannot be played"),
        column("critic", pa.float32(), "musicality, higher is better; null where the tune cannot be played"),
        column("accepted", pa.bool_(), "whether this tune became the one that stands"),
        column("reason", pa.string(), "why it was accepted or not"),
    ]
)

ATTENTION = pa.struct(
    [
        column("segment", pa.string(), "name of the segment"),
        column("kind", pa.string(), "all, voice, bars, motivation: attention; plan: by leaving parts out"),
        column("text", pa.string(), "the segment itself, or the name of a voice"),
        column("rows", pa.int32(), "patches from top to bottom"),
        column("cols", pa.int32(), "patches from left to right"),
        column("weights", pa.list_(pa.float16()), "equation 2, row by row", unit="probability"),
        column("baseline", pa.list_(pa.float16()), "the same for a blank picture", unit="probability"),
        column("layers", pa.list_(pa.float16()), "layer by layer, then row by row; null unless asked for"),
        column("faithfulness", FAITHFULNESS, "how well the map explains the tune; null unless asked"),
    ]
)

WISHES = pa.struct(
    [
        column("mood", pa.string(), "mood words"),
        column("tempo", pa.string(), "a tempo word, a number or a range"),
        column("instruments", pa.string(), "instruments or an ensemble"),
        column("bars", pa.string(), "how many bars"),
        column("style", pa.string(), "a style of music"),
        column("length", pa.string(), "how long it is to last"),
    ]
)

METADATA_FIELDS = {
    "hint": column("hint", pa.string(), "what the catalogue says of the picture; it stands before the description too"),
    "wishes": column("wishes", WISHES, "what the catalogue asks of the tune, in its own words; null where nothing"),
    "asked_plan": column("asked_plan", pa.string(), "the plan that a person wrote for the picture, as JSON"),
    "album_part": column("album_part", ALBUM_PART, "what the plan of its album asked of the tune"),
}
"""Columns that only some runs have: with hints or wishes in a --catalog, with --plans and with --album."""


def composition_schema(dim: int, more: Sequence[pa.Field] = ()) -> pa.Schema:
    """Return the columns of a composition for embeddings of length `dim`; `more` come last."""
    return pa.schema(
        [
            column("image_id", pa.string(), "sha256 of the picture's bytes, hex", nullable=False),
            column("image_uri", pa.string(), "the first place of these bytes, as given", nullable=False),
            column("image_uris", pa.list_(pa.string()), "every place of these bytes", nullable=False),
            column("album", pa.string(), "folder of image_uri", nullable=False),
            column("catalog_id", pa.string(), "id in a catalogue; null where none was given"),
            column("width", pa.int32(), "of the file, turned upright", unit="pixels", nullable=False),
            column("height", pa.int32(), "of the file, turned upright", unit="pixels", nullable=False),
            column("description", pa.string(), "what the composer sees in the picture", nullable=False),
            column("scene", SCENE, "the same as data; null where the composer tells none"),
            column("image_embedding", vector(dim), "of the picture, unit length", nullable=False),
            column(
                "description_embedding",
                vector(dim),
                "of what is seen and the music that suits it, which references are looked for by; in the paper's chain "
                "and without a scene of the description; unit length",
                nullable=False,
            ),
            column("references", pa.list_(REFERENCE), "retrieved tunes, best first", nullable=False),
            column("plan", PLAN, "what the tune was written to; null in the paper's chain"),
            column("abc", pa.string(), "the tune", nullable=False),
            column("title", pa.string(), "ABC field T:", nullable=False),
            column("key", pa.string(), "ABC field K:", nullable=False),
            column("meter", pa.string(), "ABC field M:", nullable=False),
            column("tempo_qpm", pa.float64(), "tempo at the start", unit="quarter notes a minute", nullable=False),
            column(
                "midi",
                pa.binary(),
                "the tune as a standard MIDI file, performed: velocities, lengths, tempo and pedal; no onset is moved",
                nullable=False,
            ),
            column("motivation", pa.string(), "why the tune sounds as it does", nullable=False),
            column("metrics", METRICS, "the eight metrics of the tune", nullable=False),
            column("critic", pa.float32(), "musicality of the tune, higher is better"),
            column("rounds", pa.list_(ROUND), "every draft, repair, edit and refinement in order", nullable=False),
            column(
                "attention",
                pa.list_(ATTENTION),
                "where the composer looked; empty if unknown",
                nullable=False,
            ),
            column(
                "composer_id",
                pa.string(),
                "model and revision that wrote the tune; behind +attention= those of the maps, if others",
                nullable=False,
            ),
            column("embedder_id", pa.string(), "model and revision of the embeddings", nullable=False),
            column("index_uri", pa.string(), "the tune index", nullable=False),
            column("index_version", pa.int64(), "its version", nullable=False),
            column("settings_hash", pa.string(), "sha256 over every setting that can change a row", nullable=False),
            column(
                "seed",
                pa.int64(),
                "seed of the run, or of a further take: one more each; a picture's own is derived from it and image_id",
                nullable=False,
            ),
            column(
                "seconds", pa.float64(), "its share of the time of the model stages", unit="seconds", nullable=False
            ),
            column("composed_at", pa.timestamp("us", tz="UTC"), "when", nullable=False),
            column("rights", RIGHTS, "who made it, of what, under which licences; null in rows of earlier releases"),
            *more,
        ]
    )
