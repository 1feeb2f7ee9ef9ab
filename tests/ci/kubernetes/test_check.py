"""The gate on the manifests: a misspelt field in any of them is refused by it, and the real ones are not."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

from ci.kubernetes import check

MISSPELT = [
    ("load.yaml", "ConfigMap gymkhana-load", "\ndata:", "\ndatum:"),
    ("load.yaml", "PersistentVolumeClaim gymkhana-runs", "accessModes:", "accessMode:"),
    ("service.yaml", "Service gymkhana", "targetPort:", "targetport:"),
    ("service.yaml", "Deployment gymkhana", "readinessProbe:", "readynessProbe:"),
    ("service.yaml", "Deployment gymkhana", "secretKeyRef:", "secretKeyReference:"),
    ("service.yaml", "Deployment gymkhana", "readOnlyRootFilesystem:", "readOnlyRootFileSystem:"),
    ("locust.yaml", "Service gymkhana-locust", "targetPort:", "targetport:"),
    ("locust.yaml", "Job gymkhana-locust-master", "backoffLimit:", "backOffLimit:"),
    ("locust.yaml", "Job gymkhana-locust-worker", "completionMode:", "completionsMode:"),
    ("backups.yaml", "CronJob gymkhana-backup", "concurrencyPolicy:", "concurrencyPolicies:"),
    ("k6.yaml", "Job gymkhana-k6-prepare", "claimName:", "claimname:"),
    ("k6.yaml", "TestRun gymkhana-k6", "parallelism:", "paralellism:"),
    ("k6.yaml", "TestRun gymkhana-k6", "configMap: {name", "configMaps: {name"),
    ("k6.yaml", "TestRun gymkhana-k6", "  arguments:", "  argument:"),
    ("k6.yaml", "TestRun gymkhana-k6", "containerSecurityContext:", "securityContainerContext:"),
    ("k6.yaml", "TestRun gymkhana-k6", "configMapKeyRef:", "configMapKeyReference:"),
    ("k6.yaml", "TestRun gymkhana-k6", "fieldRef:", "fieldReference:"),
    ("k6.yaml", "TestRun gymkhana-k6", "      requests: {cpu: \"2\"", "      request: {cpu: \"2\""),
    ("k6.yaml", "TestRun gymkhana-k6", "\n  starter:", "\n  starters:"),
    ("k6.yaml", "TestRun gymkhana-k6", 'automountServiceAccountToken: "false"', "automountServiceAccountToken: false"),
]  # fmt: skip
"""In which manifest, in which of its documents, which words, and what is put there instead."""


@pytest.fixture
def planted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the manifests, in which something can be misspelt."""
    for path in check.HERE.glob("*.yaml"):
        shutil.copy(path, tmp_path)
    monkeypatch.setattr(check, "HERE", tmp_path)
    return tmp_path


def test_the_manifests_are_taken(capsys: pytest.CaptureFixture[str]) -> None:
    assert check.main() == 0
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(("name", "document", "right", "wrong"), MISSPELT)
def test_a_misspelt_field_is_refused(name: str, document: str, right: str, wrong: str) -> None:
    kind, of = document.split()
    (text,) = [
        one
        for one in (check.HERE / name).read_text("utf-8").split("\n---\n")
        if f"kind: {kind}\nmetadata:\n  name: {of}\n" in one
    ]
    assert right in text
    spoilt = text.replace(right, wrong, 1)
    (said,) = check.findings(name, spoilt)
    assert said.startswith(f"{name}: {document}: ")


def test_each_document_of_each_manifest_has_been_misspelt_once() -> None:
    there = {
        (path.name, f"{document['kind']} {document['metadata']['name']}")
        for path in check.HERE.glob("*.yaml")
        for document in check.documents(path.read_text("utf-8"))
    }
    alike = {("backups.yaml", "CronJob gymkhana-backup-alarm"), ("k6.yaml", "Job gymkhana-k6-collect"),
             ("service.yaml", "ConfigMap gymkhana")}  # fmt: skip
    assert {(name, document) for name, document, _, _ in MISSPELT} == there - alike


def test_the_gate_says_where_and_fails(planted: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = planted / "service.yaml"
    path.write_text(path.read_text("utf-8").replace("livenessProbe:", "lifenessProbe:"))
    assert check.main() == 1
    (said,) = capsys.readouterr().out.splitlines()
    assert said.startswith("service.yaml: Deployment gymkhana: spec.template.spec.containers[0]: ")
    assert "'lifenessProbe' was unexpected" in said


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "m.yaml: there is no manifest in it"),
        ("- 1\n", "m.yaml: a document says no apiVersion and kind"),
        ("kind: Pod\n", "m.yaml: a document says no apiVersion and kind"),
        ("apiVersion: v1\nkind: Pot\n", "m.yaml: Pot None: Kubernetes has no kind Pot of v1"),
        ("apiVersion: k6.io/v1\nkind: TestRun\n", "m.yaml: TestRun None: Kubernetes has no kind TestRun of k6.io/v1"),
    ],
)
def test_what_is_no_manifest_is_refused(text: str, said: str) -> None:
    assert check.findings("m.yaml", text) == (said,)


@pytest.mark.parametrize("text", ["kind: [\n", "kind: Pod\nkind: Pod\n"])
def test_what_is_no_yaml_is_refused(text: str) -> None:
    (said,) = check.findings("m.yaml", text)
    assert said.startswith("m.yaml: while ")


def test_a_place_without_manifests_is_no_pass(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(check, "HERE", tmp_path)
    assert check.main() == 4
    assert "There are no manifests" in capsys.readouterr().err


def test_a_check_that_cannot_be_made_is_no_pass(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "kubernetes_validate", None)
    assert check.main() == 4
    assert "make setup" in capsys.readouterr().err
