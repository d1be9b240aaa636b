"""Rows that were put away, in generations of their own: OUT/generations/pruned, pruned-2 and so on."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection

import pyarrow as pa
import pyarrow.compute as pc

from image2music.storage.datasets import read_shards, read_table
from image2music.storage.files import json_bytes, open_place
from image2music.storage.output import OutputStore, open_output

_NOTE, _PRUNED = ".pruning.json", "pruned"


def set_aside(
    output: OutputStore, gone: Collection[str], changed: Collection[str], change: Callable[[pa.Table], pa.Table]
) -> str | None:
    """Move the rows of the pictures `gone` to a generation of their own, and let `change` edit those of `changed`.

    Readers see both in one step; before it, a kill leaves no more than copies of rows in a generation which the next
    call goes on with. Return where the rows lie now, None where none was moved. For the one writer who holds the lock.
    """
    ids, gone_ids = {*gone, *changed}, pa.array(sorted(gone), pa.string())
    touched = [
        shard
        for shard in output.compositions.shards()
        if any(row["image_id"] in ids for row in read_shards([shard], ["image_id"]))
    ]
    note, home = open_place(output.uri) / _NOTE, None
    if gone:
        if not note.is_file():
            note.write(json_bytes({"earlier": output.free_generation(_PRUNED).rpartition("/")[2]}))
        home = (open_place(output.generations) / json.loads(note.read())["earlier"]).uri
        for shard in touched:
            table = read_table(shard)
            moved = table.filter(pc.is_in(table["image_id"], gone_ids))
            if moved.num_rows:
                open_output(home).compositions.append_table(moved, ("image_id",))
    if touched:
        tables = map(read_table, touched)
        stay = (change(table.filter(pc.invert(pc.is_in(table["image_id"], gone_ids)))) for table in tables)
        output.compositions.replace_all(touched, stay, ("image_id",))
    note.remove()
    return home


def pruned_rows(output: OutputStore) -> int:
    """Return the number of pictures whose rows were set aside and that have none again."""
    place = open_place(output.generations)
    names = [name for name in place.folders() if name.split("-")[0] == _PRUNED]
    shards = [shard for name in names for shard in open_output((place / name).uri).compositions.shards()]
    aside = {row["image_id"] for row in read_shards(shards, ["image_id"])}
    return len(aside.difference(row["image_id"] for row in output.compositions.read(["image_id"]))) if aside else 0
