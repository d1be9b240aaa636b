"""Imports go one way: pipelines → transforms → image2music → schemas. Read from the source, nothing is run."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ALLOWED = {
    "schemas": {"schemas"},
    "image2music": {"image2music", "schemas"},
    "transforms": {"transforms", "image2music", "schemas"},
    "pipelines": {"pipelines", "transforms", "image2music", "schemas"},
}
FILES = sorted(path for folder in ALLOWED for path in (ROOT / folder).rglob("*.py"))


def imported_packages(source: str) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        if isinstance(node, ast.ImportFrom) and node.level == 0:
            names.add((node.module or "").partition(".")[0])
    return names


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_imports_only_from_its_own_folder_and_those_below(path):
    folder = path.relative_to(ROOT).parts[0]
    ours = imported_packages(path.read_text(encoding="utf-8")) & {*ALLOWED, "benchmarks", "tests"}
    assert ours <= ALLOWED[folder]


@pytest.mark.parametrize("folder", ["image2music", "schemas"])
def test_domain_code_and_schemas_know_nothing_of_beam(folder):
    for path in (ROOT / folder).rglob("*.py"):
        assert "apache_beam" not in imported_packages(path.read_text(encoding="utf-8")), path


def test_the_reader_of_imports_sees_imports_inside_functions():
    assert imported_packages("def f():\n    import apache_beam.io\n    from a.b import c\n") == {"apache_beam", "a"}


def test_setup_lists_every_package():
    tree = ast.parse((ROOT / "setup.py").read_text(encoding="utf-8"))
    listed = next(ast.literal_eval(node.value) for node in ast.walk(tree) if getattr(node, "arg", "") == "packages")
    there = {".".join(path.parent.relative_to(ROOT).parts) for path in FILES if path.name == "__init__.py"}
    assert set(listed) == there
