"""What the command line asks of `index`: as in `options`, every option with its type, default, help and check."""

from __future__ import annotations

from dataclasses import dataclass

from image2music.errors import ConfigError
from image2music.storage.files import open_place
from image2music.storage.tar import ENDINGS, is_tar
from pipelines.runtime.options import JobOptions, at_least, option, reachable


@dataclass(frozen=True)
class IndexOptions(JobOptions):
    """What `index` is asked to do. `embedder` None means `conse`, in an update the one that made the index."""

    captions: str = option("", help="MidiCaps' train.json: one JSON object a line")
    midi_root: str = option("", help="folder, or .tar or .tar.gz file, that the captions' locations lie in")
    index: str = option(help="the table to write, DIR/NAME.lance; also s3://BUCKET/NAME.lance and the like")
    embedder: str | None = option(
        None,
        help="conse (the default) | open_clip:... | transformers:...; without --captions, and with --update: embed the "
        "table again by it, and read no MIDI file",
    )
    batch_size: int = option(512, check=at_least(1), help="captions in one call of the model")
    update: bool = option(False, exclusive=True, help="make only what is new or changed since the last run")
    history: bool = option(False, exclusive=True, help="list the versions of the index, and do nothing")
    restore: str | None = option(None, exclusive=True, metavar="TAG", help="go back to a version, by its tag or number")
    stats: bool = option(False, exclusive=True, help="say what is in the index, and do nothing")
    remove: tuple[str, ...] = option(
        (),
        exclusive=True,
        nargs="+",
        metavar="TUNE",
        help="take tunes down, and keep updates from making them again: tune_ids, 8 digits of each, locations, @FILE",
    )
    bring_back: tuple[str, ...] = option(
        (), exclusive=True, nargs="+", metavar="TUNE", help="let the next --update make removed tunes again"
    )
    purge: bool = option(
        False, help="with --remove: delete earlier versions and the bytes of removed rows too; nothing can be restored"
    )
    rehash: bool = option(False, help="with --update: read every file, whatever its time says")
    keep_removed: bool = option(
        False, help="with --update: keep rows that lost their line, or whose file cannot be read"
    )

    @property
    def makes_nothing(self) -> bool:
        """Whether the command is only about the table that is there already."""
        return bool(self.history or self.restore or self.stats or self.remove or self.bring_back)

    @property
    def embeds_again(self) -> bool:
        """Whether the table that is there is embedded by another embedder, before it is updated or alone."""
        return self.embedder is not None and (self.update or not self.captions)

    @property
    def embeds_alone(self) -> bool:
        """Whether nothing else is done than to embed the table again: no captions are read."""
        return self.embeds_again and not self.update

    def __post_init__(self) -> None:
        if self.purge and not self.remove:
            raise ConfigError("--purge goes with --remove", reason="bad_purge")
        if self.makes_nothing:
            return
        if self.part is not None:
            raise ConfigError("--slice is for compose: an index is committed once, by one command", reason="bad_slice")
        if not self.embeds_alone and not (self.captions and self.midi_root):
            message = "index needs --captions and --midi_root; see: image2music index --help"
            raise ConfigError(message, reason="bad_arguments")
        super().__post_init__()
        paths = {"--captions": self.captions, "--midi_root": self.midi_root, "--index": self.index}
        for flag, path in paths.items():
            reachable(flag, path)
        self.check_reachable(paths)
        if not self.index.rstrip("/").endswith(".lance"):
            raise ConfigError(f"--index must end in .lance, not {self.index!r}", reason="bad_index_name")
        if (self.rehash or self.keep_removed) and not self.update:
            raise ConfigError("--rehash and --keep_removed go with --update", reason="not_an_update")

    def check_sources(self) -> None:
        """Check that captions and MIDI files are there.

        Raises:
            ConfigError: they are not (`captions_missing`, `midi_root_missing`).
        """
        if not self.embeds_alone and not open_place(self.captions).is_file():
            raise ConfigError(f"--captions: there is no file {self.captions}", reason="captions_missing")
        root, endings = self.midi_root, ", ".join(ENDINGS)
        if self.embeds_alone and not root:
            return
        place = open_place(root)
        if not is_tar(root) and (place.is_file() or not place.exists()):
            message = f"--midi_root: {root} is neither a folder nor a file with the ending {endings}"
            raise ConfigError(message, reason="midi_root_missing")
