"""The manifests in examples/kubernetes, held against the definitions of Kubernetes 1.37 (tests/fixtures/kubernetes)."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
MANIFESTS = sorted((ROOT / "examples" / "kubernetes").glob("*.yaml"))
DEFINITIONS = json.loads((ROOT / "tests" / "fixtures" / "kubernetes" / "definitions.json").read_text())
KINDS = {
    ("batch/v1", "Job"): "io.k8s.api.batch.v1.Job",
    ("apps/v1", "Deployment"): "io.k8s.api.apps.v1.Deployment",
    ("v1", "Service"): "io.k8s.api.core.v1.Service",
    ("networking.k8s.io/v1", "NetworkPolicy"): "io.k8s.api.networking.v1.NetworkPolicy",
}
TYPES = {"string": str, "integer": int, "number": (int, float), "boolean": bool, "array": list, "object": dict}


def objects(manifest: Path) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all(manifest.read_text()))


def complaints(value: Any, schema: dict[str, Any], where: str = "") -> list[str]:
    """What a value has that its definition has not, lacks, or has otherwise. The definitions use no more than this."""
    if "$ref" in schema:
        return complaints(value, DEFINITIONS[schema["$ref"].rpartition("/")[2]], where)
    if "oneOf" in schema:
        return min((complaints(value, one, where) for one in schema["oneOf"]), key=len)
    if "type" in schema:
        names = [schema["type"]] if isinstance(schema["type"], str) else schema["type"]
        known = [TYPES[name] for name in names if name != "null"]
        right = any(isinstance(value, type) and (type is bool or not isinstance(value, bool)) for type in known)
        if not (right or (value is None and "null" in names)):
            return [f"{where} is no {' or '.join(names)}"]
    found = [f"{where} is not among {schema['enum']}"] if value not in schema.get("enum", [value]) else []
    if isinstance(value, list):
        return found + [text for part in value for text in complaints(part, schema.get("items", {}), f"{where}[]")]
    if isinstance(value, dict):
        fields, others = schema.get("properties", {}), schema.get("additionalProperties", {})
        found += [f"{where} lacks {name}" for name in schema.get("required", []) if name not in value]
        for name, part in value.items():
            if name not in fields and others is False:
                found.append(f"{where} knows no {name}")
            else:
                found += complaints(part, fields.get(name, others), f"{where}.{name}")
    return found


@pytest.mark.parametrize("manifest", MANIFESTS, ids=lambda path: path.name)
def test_every_object_is_what_kubernetes_knows(manifest):
    for found in objects(manifest):
        kind = KINDS[found["apiVersion"], found["kind"]]
        assert complaints(found, DEFINITIONS[kind], found["kind"]) == []


def test_a_wrong_name_a_wrong_type_and_a_missing_field_are_found():
    job = {"spec": {"completion": 3, "parallelism": "4", "template": {"spec": {"containers": [{}]}}}}
    assert complaints(job, DEFINITIONS["io.k8s.api.batch.v1.Job"], "Job") == [
        "Job.spec knows no completion",
        "Job.spec.parallelism is no integer or null",
        "Job.spec.template.spec.containers[] lacks name",
    ]


def pods(found: dict[str, Any]) -> list[dict[str, Any]]:
    return [found["spec"]["template"]] if "template" in found["spec"] else []


@pytest.mark.parametrize("manifest", MANIFESTS, ids=lambda path: path.name)
def test_every_container_says_what_memory_it_takes_and_names_no_secret(manifest):
    for found in objects(manifest):
        for pod in pods(found):
            for container in pod["spec"]["containers"]:
                assert container["resources"]["limits"]["memory"]
                assert not [entry for entry in container.get("env", []) if "KEY" in entry["name"]]


def test_selectors_services_and_the_policy_find_the_pods_of_their_own_file():
    found = objects(ROOT / "examples" / "kubernetes" / "dask_cluster.yaml")
    labels = [pod["metadata"]["labels"] for one in found for pod in pods(one)]
    for one in found:
        selector = one["spec"].get("selector") or one["spec"].get("podSelector") or {}
        wanted = selector.get("matchLabels", selector)
        assert any(wanted.items() <= known.items() for known in labels), one["metadata"]["name"]


def test_the_array_job_asks_for_as_many_slices_as_it_has_indexes():
    (job,) = objects(ROOT / "examples" / "kubernetes" / "array_job.yaml")
    (script,) = job["spec"]["template"]["spec"]["containers"][0]["args"]
    assert f"/{job['spec']['completions']}" in script
