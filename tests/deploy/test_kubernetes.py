"""deploy/kubernetes keeps to the schemas of Kubernetes and KEDA, and to what the rest of the project says."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest
import yaml  # type: ignore[import-untyped]

from agentvine.domain.worker_types import PROFILES, TaskType
from agentvine.wire import routes
from agentvine.wire.messages import QueueReport
from agentvine.worker.settings import WorkerConfig
from tests.deploy.compose_file import DEPLOY

FOLDER = DEPLOY / "kubernetes"
BASE: dict[str, Any] = yaml.safe_load((FOLDER / "kustomization.yaml").read_text())
DOCUMENTS: list[dict[str, Any]] = [
    document for name in BASE["resources"] for document in yaml.safe_load_all((FOLDER / name).read_text())
]
SCHEMAS = [
    json.loads((Path(__file__).parent / "schemas" / f"{name}.json").read_text()) for name in ("kubernetes", "keda")
]
_UNITS = {"Mi": 1 << 20, "Gi": 1 << 30}


def called(document: dict[str, Any]) -> str:
    return f"{document['kind']} {document['metadata'].get('namespace', '')}/{document['metadata']['name']}"


def of_kind(kind: str, namespace: str | None = None) -> Iterator[dict[str, Any]]:
    for document in DOCUMENTS:
        if document["kind"] == kind and namespace in (None, document["metadata"].get("namespace")):
            yield document


def one(kind: str, name: str) -> dict[str, Any]:
    (found,) = [document for document in of_kind(kind) if document["metadata"]["name"] == name]
    return found


def pod(name: str) -> dict[str, Any]:
    found: dict[str, Any] = one("Deployment", name)["spec"]["template"]["spec"]
    return found


def size(text: str) -> int:
    return int(text[:-2]) * _UNITS[text[-2:]]


def check(document: dict[str, Any]) -> None:
    """Raises ValidationError, or StopIteration for a kind without a schema."""
    kind = document["kind"]
    schema = next(schema for schema in SCHEMAS if kind in schema["kinds"])
    jsonschema.Draft202012Validator({"$ref": f"#/$defs/{schema['kinds'][kind]}", "$defs": schema["$defs"]}).validate(
        document
    )


@pytest.mark.parametrize("document", DOCUMENTS, ids=called)
def test_every_resource_keeps_to_its_schema(document: dict[str, Any]) -> None:
    check(document)
    assert document["apiVersion"]


def test_a_misspelt_field_is_found() -> None:
    wrong = json.loads(json.dumps(one("Deployment", "agentvine-server")))
    wrong["spec"]["template"]["spec"]["containers"][0]["securityContext"]["readOnlyRootFileSystem"] = True
    with pytest.raises(jsonschema.ValidationError, match="readOnlyRootFileSystem"):
        check(wrong)
    scaled = json.loads(json.dumps(next(of_kind("ScaledObject"))))
    scaled["spec"]["triggers"][0]["metadata"]["targetValue"] = 1
    with pytest.raises(jsonschema.ValidationError):
        check(scaled)


def test_the_base_names_every_file_and_the_images() -> None:
    assert BASE.keys() == {"apiVersion", "kind", "resources", "images"}
    assert sorted([*BASE["resources"], "kustomization.yaml"]) == sorted(path.name for path in FOLDER.iterdir())
    used = {
        container["image"]
        for each in of_kind("Deployment")
        for container in each["spec"]["template"]["spec"]["containers"]
    }
    assert used == {image["name"] for image in BASE["images"]}
    names = [called(document) for document in DOCUMENTS]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("deployment", list(of_kind("Deployment")), ids=called)
def test_every_pod_is_confined(deployment: dict[str, Any]) -> None:
    template = deployment["spec"]["template"]["spec"]
    assert template["securityContext"]["runAsNonRoot"] is True
    assert template["securityContext"]["runAsUser"] == 10001
    assert template["automountServiceAccountToken"] is False
    assert template["enableServiceLinks"] is False
    assert not template.keys() & {"hostNetwork", "hostPID", "hostIPC"}
    for container in template["containers"]:
        security = container["securityContext"]
        assert security["allowPrivilegeEscalation"] is False
        assert security["readOnlyRootFilesystem"] is True
        assert security["capabilities"] == {"drop": ["ALL"]}
        assert {"memory"} <= container["resources"]["limits"].keys()
        secrets = [each for each in container["env"] if any(word in each["name"] for word in ("KEY", "URL_FILE"))]
        assert all(each["name"].endswith("_FILE") for each in secrets)
    selected = deployment["spec"]["selector"]["matchLabels"].items()
    assert selected <= deployment["spec"]["template"]["metadata"]["labels"].items()


def test_the_servers_namespace_is_restricted_and_only_workers_are_more() -> None:
    levels = {each["metadata"]["name"]: each["metadata"]["labels"] for each in of_kind("Namespace")}
    assert levels["agentvine"]["pod-security.kubernetes.io/enforce"] == "restricted"
    server = pod("agentvine-server")
    assert server["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert "procMount" not in server["containers"][0]["securityContext"]
    for kind in TaskType:
        worker = pod(f"agentvine-worker-{kind}")
        assert worker["hostUsers"] is False, "procMount: Unmasked is refused without it"
        security = worker["containers"][0]["securityContext"]
        assert security["procMount"] == "Unmasked"
        assert security["seccompProfile"] == {"type": "Localhost", "localhostProfile": "profiles/agentvine-worker.json"}


def test_the_server_is_alone_while_it_migrates() -> None:
    spec = one("Deployment", "agentvine-server")["spec"]
    assert (spec["replicas"], spec["strategy"]["type"]) == (1, "Recreate")
    container = spec["template"]["spec"]["containers"][0]
    assert (
        container["startupProbe"]["httpGet"]["path"]
        == container["readinessProbe"]["httpGet"]["path"]
        == routes.READY.full
    )
    assert container["livenessProbe"]["httpGet"]["path"] == routes.HEALTH.full
    assert container["startupProbe"]["periodSeconds"] * container["startupProbe"]["failureThreshold"] >= 600


@pytest.mark.parametrize("kind", TaskType)
def test_a_worker_takes_its_settings_and_its_pod_holds_what_they_allow(kind: TaskType) -> None:
    template = pod(f"agentvine-worker-{kind}")
    container = template["containers"][0]
    told = {each["name"]: each.get("value", "a-pod") for each in container["env"]}
    files = {name: told.pop(name) for name in list(told) if name.endswith("_FILE")}
    config = WorkerConfig.load({**told, "API_KEY": "k"})
    assert (config.worker_type, config.slots, config.sandbox) == (kind, PROFILES[kind].slots, "bubblewrap")
    assert files.keys() == {"API_KEY_FILE", "REDIS_URL_FILE", "ANTHROPIC_API_KEY_FILE"}
    limits = container["resources"]["limits"]
    assert size(limits["memory"]) >= config.slots * config.limits.memory_bytes + (512 << 20)
    assert size(limits["ephemeral-storage"]) >= config.slots * config.limits.disk_bytes
    assert config.grace_seconds >= config.task_timeout, "a worker that is scaled away finishes what it has"
    assert template["terminationGracePeriodSeconds"] >= config.grace_seconds + 15
    key = template["volumes"][-1]["projected"]["sources"][1]["secret"]
    assert key == {"name": "agentvine-worker-keys", "items": [{"key": kind, "path": "key"}]}


@pytest.mark.parametrize("kind", TaskType)
def test_a_type_is_scaled_by_what_the_server_tells_of_it(kind: TaskType) -> None:
    scaled = one("ScaledObject", f"agentvine-worker-{kind}")["spec"]
    assert scaled["scaleTargetRef"]["name"] == f"agentvine-worker-{kind}"
    assert "replicas" not in one("Deployment", f"agentvine-worker-{kind}")["spec"], "two would set the number"
    (trigger,) = scaled["triggers"]
    service = one("Service", "agentvine")
    address = f"http://agentvine.{service['metadata']['namespace']}.svc:{service['spec']['ports'][0]['port']}"
    assert trigger["metadata"]["url"] == address + routes.QUEUE.full
    field, _, key = trigger["metadata"]["valueLocation"].partition(".")
    told = json.loads(QueueReport(lines=(), totals={}).model_dump_json())
    assert told[field][key] == 0, "a number even when nothing is there: KEDA fails on a value that is missing"
    assert key == kind
    assert int(trigger["metadata"]["targetValue"]) == PROFILES[kind].slots
    assert one("TriggerAuthentication", trigger["authenticationRef"]["name"])
    assert trigger["metadata"]["authMode"] == "bearer"


def test_nothing_is_open_that_no_policy_names() -> None:
    for namespace in ("agentvine", "agentvine-workers"):
        denied = [
            each["spec"] for each in of_kind("NetworkPolicy", namespace) if each["metadata"]["name"] == "default-deny"
        ]
        assert denied == [{"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}]
    worker = one("NetworkPolicy", "worker")["spec"]
    assert "ingress" not in worker
    assert all(rule["to"] and rule["ports"] for rule in worker["egress"])
    ports = {port["port"] for rule in worker["egress"] for port in rule["ports"]}
    assert ports == {53, 8420, 6379, 443, 22}, "not the database"
    blocks = [to["ipBlock"] for rule in worker["egress"] for to in rule["to"] if "ipBlock" in to]
    assert {"10.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16"} <= set(blocks[0]["except"])
    database = one("NetworkPolicy", "database")["spec"]["ingress"]
    assert [rule["from"] for rule in database] == [
        [{"podSelector": {"matchLabels": {"app.kubernetes.io/name": "agentvine-server"}}}]
    ]


def test_a_budget_for_every_deployment() -> None:
    for deployment in of_kind("Deployment"):
        budget = one("PodDisruptionBudget", deployment["metadata"]["name"])
        assert budget["spec"]["selector"] == deployment["spec"]["selector"]
        assert budget["metadata"]["namespace"] == deployment["metadata"]["namespace"]


def test_the_files_of_the_workers_differ_only_in_what_the_type_says() -> None:
    slots = {PROFILES[kind].slots for kind in TaskType}
    for number in slots:
        alike = [kind for kind in TaskType if PROFILES[kind].slots == number]
        contents = [list(yaml.safe_load_all((FOLDER / f"worker-{kind}.yaml").read_text())) for kind in alike]
        texts = [json.dumps(content).replace(kind, "TYPE") for kind, content in zip(alike, contents, strict=True)]
        assert len(set(texts)) == 1, alike
