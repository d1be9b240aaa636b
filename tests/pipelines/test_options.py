import pytest
from apache_beam.options.pipeline_options import DirectOptions, StandardOptions

from image2music.errors import ConfigError, OutputError
from image2music.storage.files import make_folder
from pipelines.cli.main import main
from pipelines.jobs.pictures import pictures_a_slice
from pipelines.options.compose import ComposeOptions
from pipelines.options.index import IndexOptions
from pipelines.runtime.options import RunnerFlags, beam_options


def test_the_runner_is_in_process_unless_one_is_named():
    assert beam_options([]).view_as(StandardOptions).runner == "FnApiRunner"
    assert beam_options(["--runner=PortableRunner"]).view_as(StandardOptions).runner == "PortableRunner"


def test_beam_options_pass_through():
    assert beam_options(["--direct_num_workers=2"]).view_as(DirectOptions).direct_num_workers == 2


def test_a_misspelt_option_is_not_swallowed():
    with pytest.raises(ConfigError, match="there is no option --topk 3"):
        beam_options(["--topk", "3"])


@pytest.mark.parametrize(
    "bad", [{"top_k": 0}, {"batch_size": 0}, {"output": "ftp://host/out"}, {"index": "ftp://h/t.lance"}, {"seed": -1}]
)
def test_compose_options_that_cannot_work(bad):
    with pytest.raises(ConfigError):
        ComposeOptions(**{"images": "in", "index": "tunes.lance", "output": "out"} | bad)


@pytest.mark.parametrize("runner", [["--runner=DataflowRunner"], ["--runner", "DataflowRunner"]], ids=" ".join)
def test_a_relative_place_is_refused_where_workers_run_elsewhere_however_the_runner_is_written(runner, capsys):
    assert main(["compose", "--images", "in", "--index", "/t.lance", "--output", "/out", *runner]) == 1
    expected = "--images in is relative, and workers of DataflowRunner run elsewhere: write the whole path"
    assert capsys.readouterr().err == f"image2music: {expected}\n"


@pytest.mark.parametrize("runner", ["FnApiRunner", "fnapirunner", "Direct", "apache_beam.runners.DirectRunner"])
def test_a_runner_of_this_machine_is_known_in_every_form_that_beam_takes(runner):
    assert RunnerFlags.parse(["--runner", runner]).runs_here


@pytest.mark.parametrize("mode", ["compose --images in --output out", "index --captions c --midi_root m"])
@pytest.mark.parametrize("flag", [["--direct_num_workers=two"], ["--direct_num_workers"]], ids=" ".join)
def test_a_number_of_workers_that_is_none_is_one_line(mode, flag, capsys):
    assert main([*mode.split(), "--index", "t.lance", *flag]) == 1
    err = capsys.readouterr().err
    assert err.startswith("image2music: argument --direct_num_workers: ")
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    "mode",
    [
        "compose --images in --output out",
        "compose --images in --output out --plan",
        "compose --output out --refresh",
        "compose --output out --refresh --plan",
        "ablate --images in --output out",
        "ablate --images in --output out --plan",
        "index --captions captions.json --midi_root midi",
        "index --captions captions.json --midi_root midi --update",
        "index --history",
        "index --stats",
        "index --restore 1",
    ],
)
def test_a_slip_is_refused_in_every_mode_before_anything_is_opened(mode, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "midi").mkdir()
    (tmp_path / "captions.json").touch()
    assert main([*mode.split(), "--index", "t.lance", "--max_failure", "3"]) == 1
    assert capsys.readouterr().err == "image2music: there is no option --max_failure 3\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["captions.json", "midi"]


def test_an_index_is_a_lance_table():
    with pytest.raises(ConfigError, match=r"must end in \.lance"):
        IndexOptions(captions="c.json", midi_root="midi", index="tunes")


def test_an_output_that_cannot_be_written_is_said_before_anything_runs(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError, match="cannot write to"):
        make_folder(str(tmp_path / "file" / "out"))


def test_few_pictures_are_cut_so_that_every_worker_here_has_some():
    known = {"images": "pictures", "index": "tunes.lance", "output": "out"}
    cut = [
        pictures_a_slice(ComposeOptions(**known, **more), pictures)
        for more, pictures in (
            ({"workers": 2}, 40),
            ({"workers": 2}, 3),
            ({"workers": 2}, 10_000),
            ({"workers": 2, "slice_size": 7}, 40),
            ({}, 40),
        )
    ]
    assert cut == [5, 1, 64, 7, 64]
