import pytest
from apache_beam.options.pipeline_options import DirectOptions, StandardOptions

from image2music.errors import ConfigError, OutputError
from image2music.storage.files import make_folder
from pipelines.jobs.options import ComposeOptions, IndexOptions
from pipelines.runtime.options import beam_options


def test_the_runner_is_in_process_unless_one_is_named():
    assert beam_options([]).view_as(StandardOptions).runner == "FnApiRunner"
    assert beam_options(["--runner=PortableRunner"]).view_as(StandardOptions).runner == "PortableRunner"


def test_beam_options_pass_through():
    assert beam_options(["--direct_num_workers=2"]).view_as(DirectOptions).direct_num_workers == 2


def test_a_misspelt_option_is_not_swallowed():
    with pytest.raises(ConfigError, match="there is no option --topk 3"):
        beam_options(["--topk", "3"])


@pytest.mark.parametrize(
    "bad", [{"top_k": 0}, {"batch_size": 0}, {"output": "gs://bucket/out"}, {"index": "gs://b/t.lance"}, {"seed": -1}]
)
def test_compose_options_that_cannot_work(bad):
    with pytest.raises(ConfigError):
        ComposeOptions(**{"images": "in", "index": "tunes.lance", "output": "out"} | bad)


def test_an_index_is_a_lance_table():
    with pytest.raises(ConfigError, match=r"must end in \.lance"):
        IndexOptions(captions="c.json", midi_root="midi", index="tunes")


def test_an_output_that_cannot_be_written_is_said_before_anything_runs(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError, match="cannot write to"):
        make_folder(str(tmp_path / "file" / "out"))
