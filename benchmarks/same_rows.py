"""Whether the code of two checkouts makes the same of the same inputs: every row, every file, every word.

    python -m benchmarks.same_rows --before CHECKOUT --after CHECKOUT --data DIR

DIR holds the folders abc, images, images_odd, midi_good and midi_odd. Both checkouts run the same commands, each in a
folder of its own, so that all paths they write are equal. What lies between two commands (rows to report on, an index
to update) is that of the checkout before, so the one after must also read what the one before has written. Only
moments, durations and the number of the process are left out. Results of the checkout before are kept in --work by
its commit, and a second run runs the checkout after only.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import lance
import pyarrow as pa
import pyarrow.parquet as pq

TUNES = 500
_TOLD = 4
"""Differences of one step that are printed."""
_MOMENTS = ("seconds", "composed_at", "failed_at", "bound_at", "mtime_ns")
"""Columns that differ from run to run."""
_OF_THE_RUN = ("process", "seconds", "started_at", "finished_at")
"""Fields of run.json that do."""
_KEYS = ("system", "image_id", "tune_id", "stage", "id", "uri", "album", "location")
_ENTRY = re.compile(r"image2music = (\S+):(\w+)")
_FORMATS = "abc,midi,musicxml,wav,heatmap"
_LOOKING = ("--attention", "layers", "--faithfulness")
_HELP = ("index", "compose", "abc", "check", "midi", "report", "export", "score", "ablate", "status")


@dataclass(frozen=True)
class Step:
    """A command line, run in a side's folder, and what it leaves there.

    `left` are Lance tables (*.lance), folders of Parquet rows, JSON records, and other files, told apart by name.
    `needs` are the names of earlier steps. `copied` are files and folders of the side before that are copied first,
    as (there, here).
    """

    name: str
    words: tuple[str, ...]
    left: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    copied: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Done:
    """How a step went, as it is kept beside what the step left."""

    words: list[str]
    code: int
    out: str
    err: str
    seconds: float


@dataclass(frozen=True)
class Side:
    """A checkout, and the folder that its commands run in."""

    name: str
    checkout: Path
    home: Path

    def entry(self) -> tuple[str, str]:
        """Module and function of the command `image2music`."""
        found = _ENTRY.search((self.checkout / "setup.py").read_text(encoding="utf-8"))
        if found is None:
            raise SystemExit(f"{self.checkout}/setup.py names no command image2music")
        return found[1], found[2]

    def python(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run Python with the packages of this checkout."""
        return subprocess.run(
            [sys.executable, *words],
            cwd=self.home,
            env=os.environ | {"PYTHONPATH": str(self.checkout)},
            capture_output=True,
            check=False,
            encoding="utf-8",
            errors="surrogateescape",
        )

    def check(self) -> None:
        """See that it is this checkout that is run, whatever else is installed."""
        module, _ = self.entry()
        lines = f"import {module} as one, image2music, schemas, transforms\n" + "".join(
            f"print({name}.__file__)\n" for name in ("one", "image2music", "schemas", "transforms")
        )
        found = self.python("-c", lines)
        places = [Path(line) for line in found.stdout.splitlines()]
        if found.returncode or not all(place.is_relative_to(self.checkout) for place in places):
            raise SystemExit(f"{self.checkout} is not what runs: {found.stdout}{found.stderr}")

    def run(self, step: Step, before: Side) -> Done:
        """Run the command `image2music` as a step asks."""
        for there, here in step.copied:
            _copy(before.home / there, self.home / here)
        module, function = self.entry()
        begin = time.monotonic()
        ended = self.python("-c", f"import sys\nfrom {module} import {function}\nsys.exit({function}())", *step.words)
        took = time.monotonic() - begin
        texts = (self._normal(ended.stdout), self._normal(ended.stderr))
        return Done([*step.words], ended.returncode, *texts, round(took, 1))

    def _normal(self, text: str) -> str:
        text = text.replace(str(self.home), "HOME").replace(str(self.checkout), "CHECKOUT")
        return text.encode(errors="backslashreplace").decode()


def steps(data: Path, inputs: Path) -> list[Step]:
    """All that is run, in this order."""
    demo, images, midi, odd = inputs / "demo", data / "images", data / "midi_good", data / "midi_odd"

    def index(name: str, captions: Path, root: Path, *options: str, **more: Any) -> Step:
        words = ("index", "--captions", f"{captions}", "--midi_root", f"{root}", "--index", f"{name}.lance", *options)
        return Step(name, words, _index(name), **more)

    def compose(name: str, pictures: Path, *options: str, left: tuple[str, ...] = (), **more: Any) -> Step:
        table = () if "--index" in options else ("--index", "demo.lance")
        words = ("compose", "--images", f"{pictures}", *table, "--output", name, *options)
        kept = tuple(f"{name}/{part}" for part in ("compositions", "failures", "run.json", *left))
        return Step(name, words, kept, **({"needs": ("demo",)} | more))

    def tool(name: str, *words: str, folder: str = "") -> Step:
        return Step(name, words, (folder,) if folder else ())

    updated = tuple((f"demo.lance{ending}", f"updated.lance{ending}") for ending in ("", ".run.json", ".files.parquet"))
    refresh = ("compose", "--refresh", "--index", "updated.lance", "--output", "refreshed")
    rows = (("images", "rows"),)
    return [
        *(tool(f"{name} --help", name, "--help") for name in _HELP),
        index("demo", demo / "captions.json", demo / "midi"),
        index("good", inputs / "good.json", midi),
        index("odd", inputs / "odd.json", odd),
        index("updated", inputs / "changed.json", demo / "midi", "--update", needs=("demo",), copied=updated),
        index("workers", demo / "captions.json", demo / "midi", "--workers", "2"),
        compose("images", images),
        compose("album", images, "--album", left=("albums", "books")),
        compose("where", images, "--where", "tempo_qpm < 100"),
        compose("odd-pictures", data / "images_odd", "--max_failures", "100%"),
        compose("two-workers", demo / "pictures" / "c*.jpg", "--workers", "2", *_LOOKING),
        compose("against-500", demo / "pictures", "--index", "good.lance", "--seed", "7", needs=("good",)),
        Step(
            "refreshed",
            refresh,
            ("refreshed/compositions", "refreshed/failures", "refreshed/run.json"),
            ("images", "updated"),
            (("images", "refreshed"),),
        ),
        tool("check abc", "check", f"{data / 'abc'}"),
        tool("check --json abc", "check", "--json", f"{data / 'abc'}"),
        tool("check --fix abc", "check", "--fix", "fixed", f"{data / 'abc'}", folder="fixed"),
        tool("check midi_odd", "check", f"{odd}"),
        tool("midi abc", "midi", f"{data / 'abc'}", "-o", "midi", folder="midi"),
        tool("midi midi_odd", "midi", f"{odd}", "-o", "midi-odd", folder="midi-odd"),
        *_conversions(midi, "good"),
        *_conversions(odd, "odd"),
        tool("abc abc", "abc", f"{data / 'abc'}", "-o", "no-abc", folder="no-abc"),
        Step("status", ("status", "rows"), (), ("images",), rows),
        Step("report", ("report", "--input", "rows", "--output", "report"), ("report",), ("images",), rows),
        Step(
            "export", ("export", "--input", "rows", "--output", "export", "--formats", _FORMATS), ("export",),
            ("images",), rows,
        ),
        Step(
            "score", ("score", "--input", "rows", "--against", "slower"), ("rows/score.json", "rows/score.parquet"),
            ("images", "where"), (*rows, ("where", "slower")),
        ),
    ]  # fmt: skip


def _index(name: str) -> tuple[str, ...]:
    return tuple(f"{name}.lance{ending}" for ending in ("", ".failures", ".run.json", ".files.parquet"))


def _conversions(midi: Path, name: str) -> Iterator[Step]:
    """MIDI to ABC, whole and in excerpts, and what came of it back to MIDI."""
    yield Step(f"abc midi_{name}", ("abc", f"{midi}", "-o", f"abc-{name}"), (f"abc-{name}",))
    excerpts = f"excerpts-{name}"
    yield Step(f"abc --excerpt midi_{name}", ("abc", "--excerpt", f"{midi}", "-o", excerpts), (excerpts,))
    needs, given = (f"abc midi_{name}",), ((f"abc-{name}", f"given-{name}"),)
    yield Step(f"check of abc midi_{name}", ("check", f"given-{name}"), (), needs, given)
    back = ("midi", f"given-{name}", "-o", f"back-{name}")
    yield Step(f"midi of abc midi_{name}", back, (f"back-{name}",), needs, given)


def make_inputs(side: Side, data: Path, inputs: Path) -> None:
    """The demo's data and files of captions, made once by the checkout before."""
    if (inputs / "odd.json").exists():
        return
    shutil.rmtree(inputs, ignore_errors=True)
    inputs.mkdir(parents=True)
    made = side.python("-m", "image2music.demo", "--output", str(inputs / "demo"))
    if made.returncode:
        raise SystemExit(made.stderr)
    lines = (inputs / "demo" / "captions.json").read_text(encoding="utf-8").splitlines()
    captions = [json.loads(line) for line in lines]
    changed = [row | {"caption": f"{row['caption']} Changed."} if place % 40 == 7 else row
               for place, row in enumerate(captions) if place % 50 != 11]  # fmt: skip
    _write_captions(inputs / "changed.json", changed)
    _write_captions(inputs / "good.json", list(_captions(data / "midi_good"))[:TUNES])
    time.sleep(3)  # a file that changed just before it is indexed is not remembered
    _write_captions(inputs / "odd.json", _captions(data / "midi_odd"))


def _captions(folder: Path) -> Iterator[dict[str, Any]]:
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        place = path.relative_to(folder)
        words = " ".join(re.findall(r"[^\W_]+", path.stem))
        yield {
            "location": f"{place}",
            "caption": f"A piece named {words}, one of {place.parent}.",
            "genre": [path.parent.name],
        }


def _write_captions(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


def compare(step: Step, before: Side, after: Side, one: Done, other: Done) -> tuple[list[str], list[str]]:
    """What was compared, and every difference, each as a line."""
    differences = [] if one.code == other.code else [f"exit code {one.code}, then {other.code}"]
    compared = [f"exit code {one.code}"]
    for name in ("out", "err"):
        a, b = getattr(one, name).splitlines(), getattr(other, name).splitlines()
        compared += [f"{len(a)} lines on std{name}"] if a else []
        differences += _unequal_lines(f"std{name}", a, b)
    for left in step.left:
        a, b = before.home / left, after.home / left
        if not a.exists() and not b.exists():
            continue
        if not a.exists() or not b.exists():
            differences.append(f"{left} is only there {'after' if b.exists() else 'before'}")
            continue
        what, found = _compare_left(a, b)
        compared.append(f"{left}: {what}")
        differences += [f"{left}: {line}" for line in found]
    return compared, differences


def _compare_left(a: Path, b: Path) -> tuple[str, list[str]]:
    if a.suffix == ".lance":
        return _compare_indexes(a, b)
    if a.suffix == ".parquet" or (a.is_dir() and any(a.glob("part-*.parquet"))):
        return _compare_tables(pq.read_table(a), pq.read_table(b))
    if a.suffix == ".json":
        return _compare_records(json.loads(a.read_bytes()), json.loads(b.read_bytes()))
    return _compare_files(a, b)


def _compare_indexes(a: Path, b: Path) -> tuple[str, list[str]]:
    one, other = lance.dataset(str(a)), lance.dataset(str(b))
    what, differences = _compare_tables(one.to_table(), other.to_table())
    for name, x, y in (
        ("version", one.version, other.version),
        ("metadata", one.schema.metadata, other.schema.metadata),
        ("tags", sorted(one.tags.list()), sorted(other.tags.list())),
        ("indices", _indices(one), _indices(other)),
    ):
        differences += [] if x == y else [f"{name} {x}, then {y}"]
    return f"{what}, version {one.version}", differences


def _indices(dataset: Any) -> list[tuple[str, ...]]:
    return sorted((found.name, *found.field_names) for found in dataset.describe_indices())


def _compare_tables(a: pa.Table, b: pa.Table) -> tuple[str, list[str]]:
    a, b = (table.drop_columns([name for name in _MOMENTS if name in table.column_names]) for table in (a, b))
    differences = []
    if not a.schema.equals(b.schema, check_metadata=True):
        differences.append("other columns, types, units or metadata")
    one, other = _by_key(a), _by_key(b)
    if len(one) != a.num_rows or len(other) != b.num_rows:
        differences.append("rows with the same key")
    differences += _only_in_one("row", one, other)
    shared = sorted(one.keys() & other.keys())
    for column in a.column_names:
        unequal = [key for key in shared if one[key][column] != other[key].get(column)]
        if unequal:
            first = " ".join(part for part in unequal[0] if part != "None")
            differences.append(f"{column} of {len(unequal)} rows, the first {first[:80]}")
    return f"{a.num_rows} rows of {a.num_columns} columns", differences


def _by_key(table: pa.Table) -> dict[tuple[str, ...], dict[str, str]]:
    """Values as text, in which NaN equals itself and floats are exact."""
    keys = [name for name in _KEYS if name in table.column_names]
    columns = {name: [repr(value) for value in table[name].to_pylist()] for name in table.column_names}
    return {
        tuple(columns[name][place].strip("'") for name in keys): {name: columns[name][place] for name in columns}
        for place in range(table.num_rows)
    }


def _compare_records(a: dict[str, Any], b: dict[str, Any]) -> tuple[str, list[str]]:
    one, other = (dict(_leaves({key: record[key] for key in record if key not in _OF_THE_RUN})) for record in (a, b))
    differences = _only_in_one("field", one, other)
    unequal = [name for name in one if name in other and one[name] != other[name]]
    return f"{len(one)} fields", differences + [f"{name} {one[name]}, then {other[name]}" for name in unequal]


def _leaves(value: Any, above: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from _leaves(inner, f"{above}.{key}" if above else key)
    else:
        yield above, json.dumps(value, ensure_ascii=False)


def _compare_files(a: Path, b: Path) -> tuple[str, list[str]]:
    one, other = _files(a), _files(b)
    unequal = [name for name in sorted(one.keys() & other.keys()) if one[name].read_bytes() != other[name].read_bytes()]
    told = [f"{len(unequal)} files of other bytes, the first {unequal[0]}"] if unequal else []
    return f"{len(one)} files", _only_in_one("file", one, other) + told


def _files(folder: Path) -> dict[str, Path]:
    return {str(path.relative_to(folder)): path for path in folder.rglob("*") if path.is_file()}


def _only_in_one(what: str, one: Iterable[Any], other: Iterable[Any]) -> list[str]:
    lost, new = sorted(set(one) - set(other)), sorted(set(other) - set(one))
    pairs = ((lost, "before"), (new, "after"))
    return [f"{len(names)} {what}s only {side}, the first {names[0]}" for names, side in pairs if names]


def _unequal_lines(name: str, a: list[str], b: list[str]) -> list[str]:
    if a == b:
        return []
    place = next((place for place, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
    x, y = (lines[place] if place < len(lines) else "nothing" for lines in (a, b))
    return [f"{name}, line {place + 1}: {x!r}, then {y!r}"]


def run_kept(side: Side, step: Step) -> Done:
    """A step of the checkout before, run only where it was not yet, with these words and what it needs as it is."""
    kept = _kept(side, step.name)
    if kept.exists() and all(_kept(side, name).stat().st_mtime_ns <= kept.stat().st_mtime_ns for name in step.needs):
        done = Done(**json.loads(kept.read_text(encoding="utf-8")))
        if done.words == [*step.words]:
            return done
    for left in step.left:
        _remove(side.home / left)
    done = side.run(step, side)
    kept.parent.mkdir(exist_ok=True)
    kept.write_text(json.dumps(asdict(done), indent=1), encoding="utf-8")
    return done


def _kept(side: Side, name: str) -> Path:
    return side.home / "done" / f"{name.replace(' ', '_')}.json"


def _copy(source: Path, target: Path) -> None:
    _remove(target)
    if source.is_dir():
        shutil.copytree(source, target)
    elif source.exists():
        shutil.copy2(source, target)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def chosen(all_steps: list[Step], only: list[str]) -> list[Step]:
    """The steps named, and those whose results they need."""
    by_name = {step.name: step for step in all_steps}
    if unknown := [name for name in only if name not in by_name]:
        raise SystemExit(f"no step {unknown[0]!r} among: {', '.join(by_name)}")
    wanted = set(only or by_name)
    for step in reversed(all_steps):  # a step comes after those it needs
        if step.name in wanted:
            wanted.update(step.needs)
    return [step for step in all_steps if step.name in wanted]


def commit_of(checkout: Path) -> str:
    """The commit of a checkout that has no change beside it."""
    git = ["git", "-C", str(checkout)]
    if changes := subprocess.run([*git, "status", "--porcelain"], capture_output=True, text=True, check=True).stdout:
        raise SystemExit(f"{checkout} has changes that are not committed, its results cannot be kept:\n{changes}")
    return subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout.strip()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--before", type=Path, required=True, metavar="CHECKOUT", help="a clean one")
    parser.add_argument("--after", type=Path, required=True, metavar="CHECKOUT")
    parser.add_argument("--data", type=Path, required=True, metavar="DIR")
    parser.add_argument("--work", type=Path, default=Path("build/same_rows"), metavar="DIR")
    parser.add_argument("--only", nargs="+", default=[], metavar="NAME", help="steps, by their names in the table")
    args = parser.parse_args()
    work: Path = args.work.resolve()
    commit = commit_of(args.before)
    before = Side("before", args.before.resolve(), work / f"before-{commit[:12]}")
    after = Side("after", args.after.resolve(), work / "after")
    before.home.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(after.home, ignore_errors=True)
    after.home.mkdir()
    before.check()
    after.check()
    inputs = before.home / "inputs"
    make_inputs(before, args.data.resolve(), inputs)
    print("| step | compared | seconds before, after | differences |\n|---|---|---|---|", flush=True)
    found = 0
    for step in chosen(steps(args.data.resolve(), inputs), args.only):
        one = run_kept(before, step)
        other = after.run(step, before)
        compared, differences = compare(step, before, after, one, other)
        found += len(differences)
        more = [f"and {len(differences) - _TOLD} more"] if len(differences) > _TOLD else []
        told = "; ".join([*differences[:_TOLD], *more]).replace("|", "\\|") or "none"
        print(f"| {step.name} | {', '.join(compared)} | {one.seconds}, {other.seconds} | {told} |", flush=True)
    print(f"\n{found} differences" if found else "\nNo difference.")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
