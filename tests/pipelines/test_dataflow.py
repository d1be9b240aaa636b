"""Whole jobs are translated to what a remote runner, and Dataflow in particular, is given. Nothing leaves this machine.

The description of a Dataflow job is made by Beam's own client, which needs Google's packages; where they are not
installed the portable form alone is held against what every runner knows.
"""

import json

import apache_beam as beam
import pytest
from apache_beam.internal import pickler
from apache_beam.options.pipeline_options import GoogleCloudOptions
from apache_beam.portability import common_urns, python_urns
from apache_beam.portability.api import beam_runner_api_pb2
from apache_beam.transforms.environments import DockerEnvironment

from pipelines.cli.main import main

IMAGE = "registry.example/image2music-worker:0.1.0"
INDEX = ["index", "--captions", "{home}/captions.json", "--midi_root", "{home}/midi", "--index", "{home}/new.lance"]
COMPOSE = ["compose", "--images", "{home}/pictures", "--index", "{home}/tunes.lance", "--output", "{home}/out"]
JOBS = {
    "index": [*INDEX, "--embedder", "fake"],
    "compose": [*COMPOSE, "--composer", "fake"],
    "album": [*COMPOSE, "--composer", "fake", "--album", "--log_json", "-"],
}
DATAFLOW = ["--runner=DataflowRunner", "--project=a-project", "--region=europe-west4", "--temp_location=gs://bucket/t"]


@pytest.fixture(autouse=True)
def no_bucket(monkeypatch):
    """Beam would ask Google about the bucket, only to warn of a setting of it."""
    monkeypatch.setattr(GoogleCloudOptions, "_warn_if_soft_delete_policy_enabled", lambda options, name: None)


def words_of(job, home):
    return [word.format(home=home) for word in JOBS[job]]


def portable_form(job, home):
    """The pipeline of a job as every portable runner gets it."""
    found = []

    def translate(pipeline, *args, **options):
        found.append(pipeline.to_runner_api(default_environment=DockerEnvironment(container_image=IMAGE)))
        raise RuntimeError("not run")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(beam.Pipeline, "run", translate)
        assert main([*words_of(job, home), *DATAFLOW]) == 1
    (proto,) = found
    return proto


def known_urns():
    """What the specifications of Beam and its Python SDK name."""
    sources = [value for name in dir(common_urns) if not name.startswith("_") for value in [getattr(common_urns, name)]]
    members = [getattr(source, name) for source in sources for name in dir(source) if not name.startswith("_")]
    named = {getattr(member, "urn", None) for member in members}
    return named | {value for name, value in vars(python_urns).items() if name.isupper()}


@pytest.mark.parametrize("job", JOBS)
def test_every_step_is_one_that_portable_runners_know(indexed, job):
    transforms = portable_form(job, indexed).components.transforms.values()
    primitive = [one for one in transforms if not one.subtransforms and one.spec.urn]
    unknown = {one.spec.urn for one in primitive} - known_urns()
    assert len(primitive) > 10
    assert unknown == set()


@pytest.mark.parametrize("job", JOBS)
def test_every_function_can_be_taken_out_of_the_description(indexed, job):
    transforms = portable_form(job, indexed).components.transforms.values()
    pardos = [one for one in transforms if one.spec.urn == common_urns.primitives.PAR_DO.urn]
    for one in pardos:
        payload = beam_runner_api_pb2.ParDoPayload.FromString(one.spec.payload)
        assert payload.do_fn.urn == python_urns.PICKLED_DOFN_INFO
        do_fn = pickler.loads(payload.do_fn.payload)[0]
        assert isinstance(do_fn, beam.DoFn), one.unique_name


@pytest.mark.parametrize("job", JOBS)
def test_every_step_runs_in_the_image_that_is_named(indexed, job):
    environments = portable_form(job, indexed).components.environments.values()
    images = {
        beam_runner_api_pb2.DockerPayload.FromString(one.payload).container_image
        for one in environments
        if one.urn == common_urns.environments.DOCKER.urn
    }
    assert images == {IMAGE}


@pytest.mark.parametrize("job", JOBS)
def test_beams_own_client_makes_the_description_of_a_dataflow_job(indexed, job):
    client = pytest.importorskip("apache_beam.runners.dataflow.internal.apiclient", exc_type=ImportError)
    staged, described = {}, {}

    def stage_file(self, folder, name, stream, *args, **options):
        staged[name] = stream.read()

    def submit(self, job):
        described.update(json.loads(str(job)))
        raise RuntimeError("not sent")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(client.DataflowApplicationClient, "stage_file", stage_file)
        patch.setattr(client.DataflowApplicationClient, "submit_job_description", submit)
        options = ["--no_auth", "--experiments=use_runner_v2"]
        image = [f"--sdk_container_image={IMAGE}", "--sdk_location=container"]
        assert main([*words_of(job, indexed), *DATAFLOW, *options, *image]) == 1
    assert described["type"] == "JOB_TYPE_BATCH"
    assert IMAGE in json.dumps(described["environment"])
    pipeline = beam_runner_api_pb2.Pipeline.FromString(staged["pipeline.pb"])
    assert len(pipeline.components.transforms) > 30


def test_what_a_runner_misses_is_one_line(indexed, capsys):
    assert main([*words_of("index", indexed), *DATAFLOW[:1], *DATAFLOW[2:]]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "Missing required option: project" in line


@pytest.mark.parametrize("job", JOBS)
def test_relative_paths_are_refused_in_one_line(indexed, job, capsys):
    relative = [word.replace("{home}/", "") for word in JOBS[job]]
    assert main([*relative, *DATAFLOW]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "is relative, and workers of DataflowRunner run elsewhere: write the whole path" in line
