"""Photographs that come inside scikit-image and scikit-learn, as JPEG files."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from image2music.errors import ConfigError

# Package, file inside of it, name here.
_PHOTOGRAPHS = (
    ("skimage", "data/astronaut.png", "astronaut"),
    ("skimage", "data/brick.png", "brick"),
    ("skimage", "data/camera.png", "cameraman"),
    ("skimage", "data/chelsea.png", "cat"),
    ("skimage", "data/clock_motion.png", "clock"),
    ("skimage", "data/coffee.png", "coffee"),
    ("skimage", "data/coins.png", "coins"),
    ("skimage", "data/grass.png", "grass"),
    ("skimage", "data/gravel.png", "gravel"),
    ("skimage", "data/hubble_deep_field.jpg", "galaxies"),
    ("skimage", "data/moon.png", "moon"),
    ("skimage", "data/motorcycle_left.png", "motorcycle"),
    ("skimage", "data/rocket.jpg", "rocket"),
    ("sklearn", "datasets/images/china.jpg", "pagoda"),
    ("sklearn", "datasets/images/flower.jpg", "flower"),
)


def write_photographs(folder: Path) -> int:
    """Writes every photograph to `folder`, JPEG files unchanged and PNG files at quality 92; returns how many.

    Raises:
        ConfigError: scikit-image or scikit-learn is not installed.
    """
    from PIL import Image

    folder.mkdir(parents=True)
    for package, inside, name in _PHOTOGRAPHS:
        source = package_folder(package) / inside
        target = folder / f"{name}.jpg"
        if source.suffix == ".jpg":
            target.write_bytes(source.read_bytes())
            continue
        with Image.open(source) as image:
            image.convert("RGB").save(target, "JPEG", quality=92)
    return len(_PHOTOGRAPHS)


def package_folder(package: str) -> Path:
    """Where a package is installed, found without importing it.

    Raises:
        ConfigError: it is not.
    """
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        raise ConfigError(f"install {package}: the demo's data come from it", reason="package_not_installed")
    return Path(spec.origin).parent
