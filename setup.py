"""Packaging. Also what a remote Beam runner installs, by `--setup_file ./setup.py`."""

from __future__ import annotations

import re
from pathlib import Path

from setuptools import setup

HERE = Path(__file__).parent


def requirements(name: str) -> list[str]:
    """The lines of requirements/NAME.in, without comments."""
    lines = (HERE / "requirements" / f"{name}.in").read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def version() -> str:
    """`__version__`, read without importing the package: its dependencies may not be there yet."""
    text = (HERE / "image2music" / "__init__.py").read_text(encoding="utf-8")
    found = re.search(r'^__version__ = "(.+)"$', text, re.MULTILINE)
    if found is None:
        raise RuntimeError("image2music/__init__.py names no __version__")
    return found.group(1)


setup(
    name="image2music",
    version=version(),
    description="Looks at pictures and writes music for them, in batches, on Apache Beam",
    license="Apache-2.0",
    license_files=["LICENSE"],
    python_requires=">=3.11,<3.13",
    # Listed one by one, so that a stray folder never ships.
    packages=[
        "image2music",
        "image2music.abc",
        "image2music.abc.autofix",
        "image2music.abc.repairs",
        "image2music.abc.writer",
        "image2music.album",
        "image2music.composers",
        "image2music.composers.chat",
        "image2music.composers.chat.engine",
        "image2music.composers.constrained",
        "image2music.composers.nano",
        "image2music.composers.nano.search",
        "image2music.composers.nano.network",
        "image2music.composers.nano.mining",
        "image2music.composers.prompts",
        "image2music.demo",
        "image2music.embedders",
        "image2music.evaluation",
        "image2music.film",
        "image2music.images",
        "image2music.index",
        "image2music.loop",
        "image2music.music",
        "image2music.music.arrange",
        "image2music.music.critic",
        "image2music.music.listen",
        "image2music.music.planning",
        "image2music.report",
        "image2music.storage",
        "pipelines",
        "pipelines.cli",
        "pipelines.jobs",
        "pipelines.options",
        "pipelines.runtime",
        "schemas",
        "transforms",
    ],
    package_data={
        "image2music.composers.prompts": ["*/*.txt"],
        "image2music.report": ["templates/*.html", "assets/*.css", "assets/*.js"],
        "image2music.evaluation": ["templates/*.html"],
        "image2music.images": ["*.npz", "*.txt"],
        "image2music.music.critic": ["weights/*.npz", "*.md"],
        "image2music.composers.nano": ["tables/*"],
        "image2music.music.arrange": ["*.txt"],
        "image2music.composers.nano.network": ["weights/*.safetensors", "weights/*.json*", "weights/*.md"],
    },
    install_requires=requirements("base"),
    extras_require={
        "demo": requirements("demo"),
        "train": requirements("demo"),
        "bench": requirements("bench") + requirements("demo"),
        "served": requirements("served"),
        "film": requirements("film"),
        "dev": requirements("dev")
        + requirements("bench")
        + requirements("demo")
        + requirements("served")
        + requirements("film"),
    },
    # Other packages declare models of their own in the two groups; image2music/plugins.py finds them.
    entry_points={
        "console_scripts": ["image2music = pipelines.cli.main:main"],
        "image2music.composers": [
            "nano = image2music.composers.registry:NANO",
            "transformers = image2music.composers.registry:TRANSFORMERS",
            "openai = image2music.composers.registry:OPENAI",
        ],
        "image2music.embedders": [
            "conse = image2music.embedders.conse:CONSE",
            "open_clip = image2music.embedders.clip:OPEN_CLIP",
            "transformers = image2music.embedders.clip:TRANSFORMERS",
        ],
    },
)
