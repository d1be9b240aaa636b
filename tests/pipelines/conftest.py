"""A small world: tunes in an index, pictures in folders, and the stand-in models in place of the real ones."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from fakes import two_voice_tune
from PIL import Image

from image2music.abc.playback import abc_to_midi
from image2music.composers import registry as composer_specs
from image2music.embedders import base as embedder_specs
from pipelines.cli.main import main

COLOURS = {"red": (220, 20, 20), "green": (20, 220, 20), "blue": (20, 20, 220)}


@pytest.fixture(autouse=True)
def stand_ins():
    """The composer behind `--composer fake` in this process, which keeps the sizes of its batches; a new one a test."""
    composer_specs._loaded.cache_clear()
    embedder_specs.load_embedder.cache_clear()
    return composer_specs.load_composer("fake")


@pytest.fixture(scope="session")
def made_once(tmp_path_factory) -> Path:
    """A folder with captions.json, midi/, pictures/ and tunes.lance, for tests to copy."""
    home = tmp_path_factory.mktemp("world")
    lines = []
    (home / "midi").mkdir()
    for seed, colour in enumerate(COLOURS):
        (home / "midi" / f"{colour}.mid").write_bytes(abc_to_midi(two_voice_tune(seed + 50)))
        lines.append(f'{{"location": "{colour}.mid", "caption": "{colour}", "genre": ["pop"], "mood": []}}')
    (home / "captions.json").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (home / "pictures" / "album").mkdir(parents=True)
    for name, colour in COLOURS.items():
        Image.new("RGB", (12, 8), colour).save(home / "pictures" / f"{name}.png")
    command = "index --captions captions.json --midi_root midi --index tunes.lance --embedder fake"
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home)
        assert main(command.split()) == 0
    return home


@pytest.fixture
def indexed(made_once, tmp_path, monkeypatch) -> Path:
    """The world with its index made, as the current folder."""
    home = tmp_path / "world"
    shutil.copytree(made_once, home)
    monkeypatch.chdir(home)
    return home


@pytest.fixture
def world(indexed) -> Path:
    """The world before its index is made."""
    for path in indexed.glob("tunes.lance*"):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    return indexed
