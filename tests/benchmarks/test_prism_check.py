import json

import pytest

from benchmarks.prism_check import difference, find_prism, make_sample


def test_prism_is_taken_from_where_the_variable_says(tmp_path, monkeypatch):
    program = tmp_path / "prism"
    program.write_text("")
    program.chmod(0o755)
    monkeypatch.setenv("PRISM", str(program))
    assert find_prism() == str(program)
    monkeypatch.setenv("PRISM", str(tmp_path / "elsewhere"))
    assert find_prism() is None


def test_prism_is_found_on_the_path_and_else_nowhere(tmp_path, monkeypatch):
    monkeypatch.delenv("PRISM", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_prism() is None
    (tmp_path / "prism").write_text("")
    (tmp_path / "prism").chmod(0o755)
    assert find_prism() == str(tmp_path / "prism")


@pytest.mark.parametrize(
    ("found", "said"),
    [
        ([{"image_id": "a", "abc": "C", "critic": float("nan")}], ""),
        ([{"image_id": "a", "abc": "D", "critic": float("nan")}], "unequal: abc"),
        ([{"image_id": "a", "abc": "C"}], "unequal: critic"),
        ([], "1 rows in process"),
    ],
)
def test_what_is_not_as_in_process_is_named(found, said):
    assert difference([{"image_id": "a", "abc": "C", "critic": float("nan")}], found) == said


def test_a_sample_has_two_albums_and_something_that_stands_twice(tmp_path):
    for name in ("midi", "pictures"):
        (tmp_path / "data" / name).mkdir(parents=True)
        for number in range(3):
            (tmp_path / "data" / name / f"{number}").write_text(f"{name} {number}")
    lines = [json.dumps({"location": f"{number}", "caption": "a tune"}) for number in range(3)]
    (tmp_path / "data" / "captions.json").write_text("\n".join(lines))
    make_sample(tmp_path / "data", tmp_path / "home", pictures=3, tunes=2)
    photos = sorted(
        str(path.relative_to(tmp_path / "home" / "photos")) for path in (tmp_path / "home").glob("photos/*/*")
    )
    assert photos == ["album-0/0", "album-0/2", "album-1/1", "album-1/again-0"]
    captions = [json.loads(line) for line in (tmp_path / "home" / "captions.json").read_text().splitlines()]
    assert [line["location"] for line in captions] == ["0", "1", "again.mid"]
