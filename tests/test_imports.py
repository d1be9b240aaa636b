"""The shape of the house, read from the source; nothing is run. `python -m benchmarks.house` prints its figures."""

import ast
import re
from pathlib import Path

import pytest

from benchmarks.house import Module, cycles, files_by_folder, import_graph, read_modules, repeated_names

ROOT = Path(__file__).parents[1]
MODULES = read_modules(ROOT)
GRAPH = import_graph(MODULES)

ALLOWED = {
    "schemas": {"schemas"},
    "image2music": {"image2music", "schemas"},
    "transforms": {"transforms", "image2music", "schemas"},
    "pipelines": {"pipelines", "transforms", "image2music", "schemas"},
}

FLOORS = (
    {"errors"},
    {"settings", "pretrained", "plugins", "music", "storage"},
    {"abc", "images"},
    {"types"},
    {"failures", "rights", "rows", "catalog"},
    {"embedders"},
    {"index"},
    {"composers"},
    {"loop"},
    {"album", "evaluation"},
    {"report", "film"},
    {"demo"},
)
"""The rooms of image2music from the ground up: a room imports from floors below its own."""

PIPELINE_FLOORS = ({"runtime"}, {"options"}, {"jobs"}, {"cli"})

MOST_FILES_IN_A_FOLDER = 17
MOST_MODULES = 246
MOST_CODE_LINES = 400
SAME_NAME_MAY_STAND_TWICE = {"main", "add_parsers"}

PROGRAMS = {
    "image2music.demo.__main__",
    "image2music.composers.nano.network.train",
    "image2music.composers.nano.mining.__main__",
    "image2music.music.critic.training",
}
"""Modules of image2music that have a command line of their own."""


def room_of(name: str) -> str:
    """The part of a dotted name behind its top-level folder."""
    return name.split(".")[1]


def floor_of(name: str, floors: tuple[set[str], ...]) -> int:
    return next(number for number, rooms in enumerate(floors) if room_of(name) in rooms)


def imported_packages(source: str) -> set[str]:
    names = Module("x", Path("x.py"), source).imported()
    return {name.partition(".")[0] for name in names}


@pytest.mark.parametrize("folder", ALLOWED)
def test_a_module_imports_only_from_its_own_folder_and_those_below(folder):
    for module in MODULES.values():
        if module.path.parts[0] == folder:
            ours = imported_packages(module.source) & {*ALLOWED, "benchmarks", "tests"}
            assert ours <= ALLOWED[folder], module.path


def upward_imports(top: str, floors: tuple[set[str], ...]) -> list[str]:
    inside = [name for name in GRAPH if name.startswith(f"{top}.")]
    return [
        f"{name} imports {other}"
        for name in inside
        for other in GRAPH[name]
        if other.startswith(f"{top}.")
        and room_of(other) != room_of(name)
        and floor_of(other, floors) >= floor_of(name, floors)
    ]


def test_every_room_of_image2music_imports_from_the_floors_below():
    assert upward_imports("image2music", FLOORS) == []


def test_commands_know_jobs_and_jobs_know_the_runtime_not_the_other_way_round():
    assert upward_imports("pipelines", PIPELINE_FLOORS) == []


def test_no_module_imports_itself_through_others_type_checking_included():
    assert cycles(GRAPH) == []


def test_the_finder_of_cycles_finds_one():
    assert cycles({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}) == [["a", "b", "c"]]


def test_a_folder_is_seen_at_one_glance():
    folder, files = files_by_folder(MODULES).most_common(1)[0]
    assert files <= MOST_FILES_IN_A_FOLDER, folder


def test_modules_are_few_and_none_knows_too_much():
    files = [module for module in MODULES.values() if not module.is_package]
    assert len(files) <= MOST_MODULES
    assert [module.name for module in files if module.code_lines > MOST_CODE_LINES] == []


def test_no_public_name_stands_for_two_things():
    assert repeated_names(MODULES).keys() <= SAME_NAME_MAY_STAND_TWICE


def test_every_folder_says_what_belongs_there():
    for module in MODULES.values():
        if module.is_package:
            assert ast.get_docstring(module.tree), module.path


@pytest.mark.parametrize("folder", ["image2music", "schemas"])
def test_domain_code_and_schemas_know_nothing_of_beam(folder):
    for module in MODULES.values():
        if module.path.parts[0] == folder:
            assert "apache_beam" not in imported_packages(module.source), module.path


def named_options(tree: ast.AST) -> list[str]:
    """Options that strings and docstrings name; --help, which every command has, says where to read of the others."""
    texts = [node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)]
    return [name for text in texts for name in re.findall(r"(?<![\w-])--[a-z]\w*", text) if name != "--help"]


def test_domain_code_names_things_not_options():
    domain = {name: module for name, module in MODULES.items() if module.path.parts[0] == "image2music"}
    named = {name: named_options(module.tree) for name, module in domain.items() if name not in PROGRAMS}
    assert {name: options for name, options in named.items() if options} == {}


def test_the_finder_of_options_sees_docstrings_and_messages():
    source = (
        '"""What `--where` does."""\nraise E(f"--catalog {path}: see x --help")\nraise E("a", "b -- c", "| --- |")\n'
    )
    assert named_options(ast.parse(source)) == ["--where", "--catalog"]


def test_the_reader_of_imports_sees_imports_inside_functions():
    assert imported_packages("def f():\n    import apache_beam.io\n    from a.b import c\n") == {"apache_beam", "a"}


def test_setup_lists_every_package():
    tree = ast.parse((ROOT / "setup.py").read_text(encoding="utf-8"))
    listed = next(ast.literal_eval(node.value) for node in ast.walk(tree) if getattr(node, "arg", "") == "packages")
    assert set(listed) == {module.name for module in MODULES.values() if module.is_package}
