"""Kinds of models, declared by this project and by packages that are installed beside it."""

import ast
from pathlib import Path

import pytest

from image2music.composers.registry import KINDS as COMPOSERS
from image2music.composers.registry import composer_id, is_remote_composer, load_chat_backend, load_composer
from image2music.embedders.base import KINDS as EMBEDDERS
from image2music.embedders.base import load_embedder
from image2music.errors import ConfigError

ROOT = Path(__file__).parents[2]


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Installs a package that declares a kind of composer."""

    def installed(package, name, value, source=""):
        folder = tmp_path / package
        (folder / f"{package}-1.dist-info").mkdir(parents=True)
        (folder / f"{package}-1.dist-info" / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\n")
        declared = f"[image2music.composers]\n{name} = {value}\n"
        (folder / f"{package}-1.dist-info" / "entry_points.txt").write_text(declared)
        (folder / f"{package}.py").write_text(source)
        monkeypatch.syspath_prepend(folder)

    return installed


def test_an_installed_package_adds_kinds():
    assert load_composer("fake").id == composer_id("fake") == "fake-composer@1"
    assert load_composer("fake") is load_composer("fake")
    assert load_embedder("fake").id == "fake-embedder@1"


def test_an_unknown_kind_is_one_line_that_lists_the_known_ones():
    with pytest.raises(
        ConfigError, match=r"composer 'nonsense' is not one of nano \| transformers:.* \| fake$"
    ) as caught:
        load_composer("nonsense")
    assert caught.value.reason == "bad_composer_spec"
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("spec", ["", "-", ":", "nano:x", "nano:", "transformers:", "transformers", "openai:", "Nano"])
def test_a_spec_of_the_wrong_form_is_refused(spec):
    with pytest.raises(ConfigError):
        composer_id(spec)


def test_our_own_kinds_cannot_be_taken_over(install):
    install("greedy", "nano", "greedy:KIND")
    assert composer_id("nano").startswith("nano-")


def test_two_packages_that_declare_one_name_are_named(install):
    install("one", "theirs", "one:KIND")
    install("two", "theirs", "two:KIND")
    with pytest.raises(ConfigError, match="declared by one:KIND and by two:KIND: uninstall one"):
        load_composer("theirs")


def test_a_package_that_cannot_be_imported_is_named_and_spoils_no_other_kind(install):
    install("broken", "theirs", "broken:KIND", "import nothing_of_that_name")
    with pytest.raises(ConfigError, match="'theirs' cannot be loaded from broken:KIND: No module named"):
        load_composer("theirs")
    assert composer_id("nano")


def test_setup_declares_the_kinds_that_a_checkout_knows_without_metadata():
    tree = ast.parse((ROOT / "setup.py").read_text(encoding="utf-8"))
    declared = next(
        ast.literal_eval(node.value) for node in ast.walk(tree) if getattr(node, "arg", "") == "entry_points"
    )
    for kinds in (COMPOSERS, EMBEDDERS):
        assert declared[kinds.group] == [f"{name} = {value}" for name, value in kinds.own.items()]


def test_only_servers_are_remote():
    assert [is_remote_composer(spec) for spec in ("nano", "transformers:x", "openai:http://h/v1#m")] == [
        False,
        False,
        True,
    ]


def test_a_composer_that_is_no_chat_model_cannot_judge():
    with pytest.raises(ConfigError, match="'nano' is no chat model"):
        load_chat_backend("nano")
