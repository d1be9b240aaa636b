"""The shape of the code, read from its source: `python -m benchmarks.house [CHECKOUT]`.

Prints modules, their lengths, files a folder, import cycles, modules with one importer, and public names that stand
for different things. Imports count wherever they stand: at the top, inside functions, for type checkers.
`tests/test_imports.py` holds the figures to their bounds.
"""

from __future__ import annotations

import argparse
import ast
import statistics
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

TOP = ("pipelines", "transforms", "image2music", "schemas")
"""The four folders whose code this is about, from the top of the house down."""


@dataclass(frozen=True)
class Module:
    """A Python file: its dotted name, where it lies, and its text."""

    name: str
    path: Path
    source: str

    @cached_property
    def tree(self) -> ast.Module:
        """The parsed source."""
        return ast.parse(self.source)

    @property
    def lines(self) -> int:
        """Lines of the file, blank ones and comments included."""
        return len(self.source.splitlines())

    @property
    def code_lines(self) -> int:
        """Lines that hold code: no blank lines, no comments, no docstrings."""
        docs: set[int] = set()
        for node in ast.walk(self.tree):
            if (
                isinstance(node, ast.Expr)
                and isinstance(node.value, ast.Constant)
                and isinstance(node.value.value, str)
            ):
                docs |= set(range(node.lineno, (node.end_lineno or node.lineno) + 1))
        texts = enumerate(self.source.splitlines(), 1)
        return sum(1 for number, text in texts if number not in docs and text.strip() and text.strip()[0] != "#")

    @property
    def is_package(self) -> bool:
        """Whether this is a folder's `__init__.py`."""
        return self.path.name == "__init__.py"

    def imported(self) -> set[str]:
        """Return dotted names of everything imported anywhere in the file; `from a import b` gives `a` and `a.b`."""
        names: set[str] = set()
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                names |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
                names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        return names

    def public_names(self) -> set[str]:
        """Return the functions and classes that other modules may use."""
        kinds = (ast.FunctionDef, ast.ClassDef)
        return {node.name for node in self.tree.body if isinstance(node, kinds) and not node.name.startswith("_")}


def read_modules(root: Path) -> dict[str, Module]:
    """Return every module below the four folders by its dotted name."""
    modules = {}
    for path in sorted(path for folder in TOP for path in (root / folder).rglob("*.py")):
        parts = path.relative_to(root).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        modules[name] = Module(name, path.relative_to(root), path.read_text(encoding="utf-8"))
    return modules


def import_graph(modules: Mapping[str, Module]) -> dict[str, set[str]]:
    """Return for each module those of ours that it imports. A folder counts where its `__init__.py` is named."""
    graph = {}
    for name, module in modules.items():
        found = module.imported() & modules.keys() - {name}
        graph[name] = {one for one in found if not any(other.startswith(f"{one}.") for other in found)}
    return graph


def cycles(graph: Mapping[str, Iterable[str]]) -> list[list[str]]:
    """Return groups of modules that import each other, by Tarjan's strongly connected components."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found = []

    def visit(name: str) -> None:
        index[name] = low[name] = len(index)
        stack.append(name)
        for other in graph[name]:
            if other not in index:
                visit(other)
                low[name] = min(low[name], low[other])
            elif other in stack:
                low[name] = min(low[name], index[other])
        if low[name] == index[name]:
            at = stack.index(name)
            if len(group := stack[at:]) > 1:
                found.append(sorted(group))
            del stack[at:]

    for name in graph:
        if name not in index:
            visit(name)
    return found


def files_by_folder(modules: Mapping[str, Module]) -> Counter[str]:
    """Return the number of Python files that lie directly in each folder."""
    return Counter(str(module.path.parent) for module in modules.values())


def repeated_names(modules: Mapping[str, Module]) -> dict[str, list[str]]:
    """Return public functions and classes that more than one module defines, with those modules."""
    owners = defaultdict(list)
    for module in modules.values():
        for name in module.public_names():
            owners[name].append(module.name)
    return {name: sorted(where) for name, where in sorted(owners.items()) if len(where) > 1}


def figures(modules: Mapping[str, Module]) -> dict[str, object]:
    """Return what the table shows, by row."""
    files = [module for module in modules.values() if not module.is_package]
    lengths = [module.lines for module in files]
    largest = max(files, key=lambda module: module.code_lines)
    folder, most = files_by_folder(modules).most_common(1)[0]
    graph = import_graph(modules)
    importers = Counter(other for others in graph.values() for other in others)
    return {
        "modules (without `__init__.py`)": len(files),
        "median length in lines": round(statistics.median(lengths)),
        "longest in lines": max(lengths),
        "most lines of code in one": f"{largest.code_lines} ({largest.path})",
        "most files in a folder": f"{most} ({folder})",
        "import cycles": len(cycles(graph)),
        "modules with one importer": sum(importers[module.name] == 1 for module in files),
        "public names defined more than once": len(repeated_names(modules)),
    }


def main() -> None:
    """Print the table of one checkout, or of several side by side."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkouts", nargs="*", type=Path, default=[Path()])
    parser.add_argument("--details", action="store_true", help="name the cycles and the repeated names")
    args = parser.parse_args()
    houses = [read_modules(root) for root in args.checkouts]
    tables = [figures(modules) for modules in houses]
    print("| what |" + "".join(f" {root} |" for root in args.checkouts))
    print("|---|" + "---|" * len(tables))
    for row in tables[0]:
        print(f"| {row} |" + "".join(f" {table[row]} |" for table in tables))
    if args.details:
        for modules in houses:
            for group in cycles(import_graph(modules)):
                print("cycle:", " ".join(group))
            for name, owners in repeated_names(modules).items():
                print(f"{name}: {' '.join(owners)}")


if __name__ == "__main__":
    main()
