"""The manifests fit together and fit the project: names, commands, paths, and what no pod of ours may do."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from ci.cli import gymkhana
from ci.kubernetes import check, k6_pods
from system import health

Document = dict[str, Any]

ALL = {path.name: check.documents(path.read_text("utf-8")) for path in check.HERE.glob("*.yaml")}
BY_HAND = {("Secret", "gymkhana"), ("ConfigMap", "gymkhana-k6")}
"""What nobody can write down for others; the manifests say how it is made."""


def named(name: str, kind: str, of: str) -> Document:
    (found,) = [one for one in ALL[name] if (one["kind"], one["metadata"]["name"]) == (kind, of)]
    return dict(found)


def template(document: Document) -> Document | None:
    """The pod template of a document that has one; the metadata and the spec."""
    spec = document.get("spec", {})
    if document["kind"] == "CronJob":
        spec = spec["jobTemplate"]["spec"]
    found: Document | None = check.pod(spec["runner"]) if document["kind"] == "TestRun" else spec.get("template")
    return found


PODS = [
    pytest.param(found["spec"], id=f"{name}-{document['kind']}-{document['metadata']['name']}")
    for name, documents in sorted(ALL.items())
    for document in documents
    if (found := template(document)) is not None
]


def containers(pod: Document) -> list[Document]:
    return [*pod.get("initContainers", []), *pod["containers"]]


def test_there_is_what_a_cluster_needs() -> None:
    kinds = sorted((name, document["kind"]) for name, documents in ALL.items() for document in documents)
    assert kinds == [
        ("backups.yaml", "CronJob"), ("backups.yaml", "CronJob"),
        ("k6.yaml", "Job"), ("k6.yaml", "Job"), ("k6.yaml", "TestRun"),
        ("load.yaml", "ConfigMap"), ("load.yaml", "PersistentVolumeClaim"),
        ("locust.yaml", "Job"), ("locust.yaml", "Job"), ("locust.yaml", "Service"),
        ("service.yaml", "ConfigMap"), ("service.yaml", "Deployment"), ("service.yaml", "Service"),
    ]  # fmt: skip


def test_no_document_says_a_namespace() -> None:
    assert [one for documents in ALL.values() for one in documents if "namespace" in one["metadata"]] == []


@pytest.mark.parametrize("pod", PODS)
def test_a_pod_may_only_what_it_must(pod: Document) -> None:
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] == 10001
    for container in containers(pod):
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert container["resources"]["requests"]
        assert "memory" in container["resources"]["limits"]


@pytest.mark.parametrize("pod", PODS)
def test_what_is_mounted_is_there(pod: Document) -> None:
    volumes = {volume["name"] for volume in pod.get("volumes", [])}
    mounted = {mount["name"] for container in containers(pod) for mount in container.get("volumeMounts", [])}
    assert mounted == volumes


def references(node: Any) -> Iterator[tuple[str, str]]:
    """What a document names that must be there: kind and name."""
    kinds = {
        "configMapRef": "ConfigMap", "configMapKeyRef": "ConfigMap", "configMap": "ConfigMap",
        "secretRef": "Secret", "secretKeyRef": "Secret",
    }  # fmt: skip
    if isinstance(node, dict):
        for key, value in node.items():
            if key in kinds:
                yield kinds[key], value["name"]
            elif key == "persistentVolumeClaim":
                yield "PersistentVolumeClaim", value["claimName"]
            yield from references(value)
    elif isinstance(node, list):
        for one in node:
            yield from references(one)


def test_what_is_named_is_there() -> None:
    there = {(one["kind"], one["metadata"]["name"]) for documents in ALL.values() for one in documents}
    wanted = {one for documents in ALL.values() for document in documents for one in references(document)}
    assert wanted - there == BY_HAND
    for kind, name in BY_HAND:
        assert any(f"create {kind.lower()}" in text and name in text for text in texts()), (kind, name)


def texts() -> list[str]:
    return [path.read_text("utf-8") for path in check.HERE.glob("*.yaml")]


@pytest.mark.parametrize(
    ("name", "service", "kind", "of"),
    [
        ("service.yaml", "gymkhana", "Deployment", "gymkhana"),
        ("locust.yaml", "gymkhana-locust", "Job", "gymkhana-locust-master"),
    ],
)
def test_a_service_leads_to_its_pods(name: str, service: str, kind: str, of: str) -> None:
    asked = named(name, "Service", service)["spec"]
    found = template(named(name, kind, of))
    assert found is not None
    assert asked["selector"].items() <= found["metadata"]["labels"].items()
    ports = {port["name"] for port in found["spec"]["containers"][0]["ports"]}
    assert {port["targetPort"] for port in asked["ports"]} <= ports


def test_the_probes_ask_what_the_service_answers() -> None:
    container = named("service.yaml", "Deployment", "gymkhana")["spec"]["template"]["spec"]["containers"][0]
    asked = {probe: container[f"{probe}Probe"]["httpGet"]["path"] for probe in ("startup", "readiness", "liveness")}
    assert asked == {"startup": "/health/startup", "readiness": "/health/ready", "liveness": "/health/live"}
    assert set(asked.values()) <= {getattr(route, "path", None) for route in health.router.routes}


def faults_of(words: list[str]) -> list[str]:
    """What the command line does not know of the words."""
    command: click.Command = gymkhana
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        found = command.get_command(click.Context(command), words[0])
        if found is None:
            break
        command, words = found, words[1:]
    known = {option for parameter in command.params for option in parameter.opts}
    said = [word.partition("=")[0] for word in words if word.startswith("--")]
    return [f"{command.name}: {word}" for word in said if word not in known] + (
        [f"there is no {words[0]}"] if isinstance(command, click.Group) and words else []
    )


def test_the_service_is_migrated_and_served_by_verbs_that_there_are() -> None:
    pod = named("service.yaml", "Deployment", "gymkhana")["spec"]["template"]["spec"]
    commands = [container["command"] for container in containers(pod)]
    assert commands == [["gymkhana", "migrate", "up"], ["gymkhana", "serve"]]
    assert [fault for program, *words in commands for fault in faults_of(words) if program] == []
    assert faults_of(["migrate", "sideways"]) == ["there is no sideways"]
    assert faults_of(["serve", "--backwards"]) == ["serve: --backwards"]


def test_the_backups_are_as_the_export_writes_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """The command stands at the head of the file; what follows is its output, to the letter."""
    for name in ("DATABASE_URL", "GYM_STORE", "GYM_STORE_DEMO", "GYM_RECIPIENTS", "GYM_HOST_SECRET"):
        monkeypatch.delenv(name, raising=False)
    lines = (check.HERE / "backups.yaml").read_text("utf-8").splitlines()
    (command,) = [line.lstrip("# ") for line in lines if line.startswith("#   gymkhana ")]
    result = CliRunner().invoke(gymkhana, shlex.split(command)[1:])
    assert result.exit_code == 0, result.output
    written = [line for line in result.stdout.splitlines() if line and not line.startswith("#")]
    assert [line for line in lines if not line.startswith("#")] == written


def test_the_backups_are_of_the_services_database_into_its_store() -> None:
    told = named("service.yaml", "ConfigMap", "gymkhana")["data"]
    command = named("backups.yaml", "CronJob", "gymkhana-backup")["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    words = command["containers"][0]["command"][-1]
    assert f"--database {told['DATABASE_URL']} --store {told['GYM_STORE']} " in words


def test_as_many_workers_come_as_the_master_waits_for() -> None:
    workers = named("locust.yaml", "Job", "gymkhana-locust-worker")["spec"]
    args = named("locust.yaml", "Job", "gymkhana-locust-master")["spec"]["template"]["spec"]["containers"][0]["args"]
    assert workers["completions"] == workers["parallelism"]
    assert f"--workers={workers['completions']}" in args


def test_the_ledger_of_every_pod_of_k6_is_collected() -> None:
    run = named("k6.yaml", "TestRun", "gymkhana-k6")
    collect = named("k6.yaml", "Job", "gymkhana-k6-collect")["spec"]["template"]["spec"]["containers"][0]
    pods = [f"{run['metadata']['name']}-{index}" for index in range(1, run["spec"]["parallelism"] + 1)]
    assert [word for word in collect["args"][1:] if not word.startswith("-")] == pods


@pytest.mark.parametrize("job", ["prepare", "collect"])
def test_the_jobs_around_k6_are_commands_that_there_are(job: str) -> None:
    container = named("k6.yaml", "Job", f"gymkhana-k6-{job}")["spec"]["template"]["spec"]["containers"][0]
    assert container["command"] == ["python3", "-m", k6_pods.__name__, job]
    known = {option for parameter in k6_pods.command.commands[job].params for option in parameter.opts}
    assert {word.partition("=")[0] for word in container["args"] if word.startswith("--")} <= known


def test_the_schema_names_its_source() -> None:
    schema = json.loads(Path(check.SCHEMA).read_text("utf-8"))
    assert "k6.io_testruns.yaml of grafana/k6-operator v1.6.0" in schema["$comment"]
