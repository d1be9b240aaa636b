"""SongEval's five aspects (Yao et al., 2025), for people who have its toolkit and weights.

The toolkit is a folder with `eval.py`; its weights are licensed for research only, so nothing of it comes with this
project. It is run as a program of its own, in its own interpreter, on rendered audio.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from image2music.errors import ConfigError, ModelError

ASPECTS = ("Coherence", "Musicality", "Memorability", "Clarity", "Naturalness")
_RESULT = "result.json"
_SHOWN = 300


@dataclass(frozen=True)
class SongEval:
    """A checkout of the toolkit, and the interpreter that has its packages."""

    folder: Path
    python: str = "python"

    def __post_init__(self) -> None:
        if not (self.folder / "eval.py").is_file():
            raise ConfigError(f"--songeval {self.folder}: there is no eval.py in it", reason="bad_songeval")

    def rate(self, sounds: Mapping[str, bytes]) -> dict[str, dict[str, float]]:
        """Aspects by name of WAV file (without ending) and aspect, each from 1 to 5, all in one run of the toolkit.

        Raises:
            ModelError: the program failed (`songeval_failed`), or left out a file or an aspect (`unusable_answer`).
        """
        with tempfile.TemporaryDirectory() as home:
            sound_folder, out = Path(home) / "sounds", Path(home) / "out"
            sound_folder.mkdir()
            for name, data in sounds.items():
                (sound_folder / f"{name}.wav").write_bytes(data)
            self._run(sound_folder, out)
            return {name: _aspects(found, name) for found in [_result(out)] for name in sounds}

    def _run(self, sounds: Path, out: Path) -> None:
        command = [self.python, "eval.py", "-i", str(sounds), "-o", str(out)]
        try:
            subprocess.run(command, cwd=self.folder, check=True, capture_output=True, env=dict(os.environ))
        except (OSError, subprocess.CalledProcessError) as error:
            said = getattr(error, "stderr", None) or str(error).encode()
            text = " ".join(said.decode("utf-8", "replace").split())[-_SHOWN:]
            raise ModelError(f"SongEval's eval.py failed: {text}", reason="songeval_failed") from error


def _result(out: Path) -> dict[str, dict[str, float]]:
    try:
        content = json.loads((out / _RESULT).read_text(encoding="utf-8"))
        return {Path(name).stem: aspects for name, aspects in content.items()}
    except (OSError, ValueError, AttributeError) as error:
        raise ModelError(f"SongEval's {_RESULT} cannot be read: {error}", reason="unusable_answer") from error


def _aspects(found: Mapping[str, Mapping[str, float]], name: str) -> dict[str, float]:
    try:
        return {aspect: float(found[name][aspect]) for aspect in ASPECTS}
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError(
            f"SongEval's {_RESULT} lacks an aspect of {name}: {error}", reason="unusable_answer"
        ) from error
