"""The job definition in examples/aws_batch, held against AWS's own description of its interface; nothing is sent."""

import json
import os
import subprocess
from pathlib import Path

import botocore.session
from botocore.validate import ParamValidator

ROOT = Path(__file__).parents[2]
DEFINITION = json.loads((ROOT / "examples" / "aws_batch" / "job_definition.json").read_text())


def complaints(definition: dict) -> str:
    batch = botocore.session.get_session().get_service_model("batch")
    return (
        ParamValidator()
        .validate(definition, batch.operation_model("RegisterJobDefinition").input_shape)
        .generate_report()
    )


def test_aws_batch_knows_every_field():
    assert complaints(DEFINITION) == ""


def test_a_wrong_field_is_found():
    assert "retries" in complaints(DEFINITION | {"retries": 3})


def command(index: int, code: int, tmp_path: Path) -> tuple[int, str]:
    """Run the container's command with its parameters filled in, and `image2music` instead of image2music."""
    program = tmp_path / "image2music"
    program.write_text(f'#!/bin/bash\necho "$@"\nexit {code}\n')
    program.chmod(0o755)
    values = {f"Ref::{name}": value for name, value in DEFINITION["parameters"].items()}
    words = [values.get(word, word) for word in DEFINITION["containerProperties"]["command"]]
    more = {"PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}", "AWS_BATCH_JOB_ARRAY_INDEX": str(index)}
    done = subprocess.run(words, env=os.environ | more, capture_output=True, text=True)
    return done.returncode, done.stdout.strip()


def test_the_first_job_of_the_array_has_number_0_and_the_first_slice(tmp_path):
    code, asked = command(0, 0, tmp_path)
    assert code == 0
    assert asked == (
        "compose --images s3://bucket/photos --index s3://bucket/tunes.lance --output s3://bucket/out --slice 1/64"
    )


def test_failed_pictures_within_the_bound_are_no_failed_job(tmp_path):
    assert command(63, 3, tmp_path)[0] == 0
    assert command(63, 1, tmp_path)[0] == 1
