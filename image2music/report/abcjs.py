"""abcjs, which draws staves in a browser. It is not part of this project; where it is not found, pages do without."""

from __future__ import annotations

import tarfile
from pathlib import Path

from image2music.errors import ConfigError

ABCJS_FILE = "abcjs-basic-min.js"
"""The build of abcjs that pages load (npm package abcjs, MIT)."""

DEFAULT_PLACES = (Path("build/report-assets"),)
"""Where `make report-assets` puts it, from the project's folder."""

_IN_PACKAGE = f"package/dist/{ABCJS_FILE}"


def find_abcjs(given: Path | None) -> bytes | None:
    """The script: from the file or npm package `given`, else from `DEFAULT_PLACES`; None if it is in neither.

    Raises:
        ConfigError: `given` does not hold it (`bad_abcjs`).
    """
    if given is None:
        found = next((place / ABCJS_FILE for place in DEFAULT_PLACES if (place / ABCJS_FILE).is_file()), None)
        return found.read_bytes() if found else None
    try:
        script = _from_package(given) if given.name.endswith(".tgz") else given.read_bytes()
    except (OSError, tarfile.TarError, KeyError) as error:
        raise ConfigError(f"--abcjs {given} cannot be read: {error}", reason="bad_abcjs") from error
    if b"ABCJS" not in script:
        raise ConfigError(f"--abcjs {given} is not {ABCJS_FILE} of the npm package abcjs", reason="bad_abcjs")
    return script


def _from_package(path: Path) -> bytes:
    with tarfile.open(path) as package:
        file = package.extractfile(_IN_PACKAGE)
        return file.read() if file else b""
