"""A small world: tunes in an index, pictures in folders, and the stand-in models in place of the real ones."""

from __future__ import annotations

from pathlib import Path

import pytest
from fakes import FakeComposer, FakeEmbedder, two_voice_tune
from PIL import Image

from image2music.composers import specs as composer_specs
from image2music.embedders import specs as embedder_specs
from image2music.errors import ConfigError
from image2music.notation.abc_to_midi import abc_to_midi
from pipelines.cli import main

COLOURS = {"red": (220, 20, 20), "green": (20, 220, 20), "blue": (20, 20, 220)}


class OtherEmbedder(FakeEmbedder):
    id = "other-embedder@1"


def load_embedder(spec):
    known = {"fake": FakeEmbedder, "other": OtherEmbedder}
    if spec not in known:
        raise ConfigError(f"--embedder {spec!r} is not known", reason="bad_embedder_spec")
    return known[spec]()


@pytest.fixture(autouse=True)
def stand_ins(monkeypatch):
    """`--composer fake` and `--embedder fake`. Returns the composer, which keeps the sizes of its batches."""
    composer = FakeComposer()
    real = composer_specs.load_composer
    monkeypatch.setattr(composer_specs, "load_composer", lambda spec: composer if spec == "fake" else real(spec))
    monkeypatch.setattr(embedder_specs, "load_embedder", load_embedder)
    return composer


@pytest.fixture
def world(tmp_path, monkeypatch) -> Path:
    """A folder with captions.json, midi/ and pictures/, made the current one."""
    monkeypatch.chdir(tmp_path)
    lines = []
    (tmp_path / "midi").mkdir()
    for seed, colour in enumerate(COLOURS):
        (tmp_path / "midi" / f"{colour}.mid").write_bytes(abc_to_midi(two_voice_tune(seed + 50)))
        lines.append(f'{{"location": "{colour}.mid", "caption": "{colour}", "genre": ["pop"], "mood": []}}')
    (tmp_path / "captions.json").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (tmp_path / "pictures" / "album").mkdir(parents=True)
    for name, colour in COLOURS.items():
        Image.new("RGB", (12, 8), colour).save(tmp_path / "pictures" / f"{name}.png")
    return tmp_path


@pytest.fixture
def indexed(world, capsys) -> Path:
    """The world with its index made."""
    command = "index --captions captions.json --midi_root midi --index tunes.lance --embedder fake"
    assert main(command.split()) == 0
    capsys.readouterr()
    return world
