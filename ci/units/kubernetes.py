"""Kubernetes: two CronJobs (batch/v1), whose containers run as nobody in particular and write where they must only."""

from __future__ import annotations

import io
import shlex
from collections.abc import Sequence
from typing import Any, Final

from ruamel.yaml import YAML

from ci.units.job import ALARM_CRON, Files, Job

DATA: Final = "/data"
"""Where the volume with the database is mounted."""
_USER: Final = 10_001


def manifests(job: Job, image: str, namespace: str | None, secret: str, claim: str | None) -> Files:
    """One file with two documents. The environment comes from the secret; `claim` is the volume that holds the database."""
    backup = " && ".join(shlex.join(command) for command in job.backup())
    documents = [
        _cron_job(job.name, job.cron, ["/bin/sh", "-c", backup], image, namespace, secret, claim),
        _cron_job(f"{job.name}-alarm", ALARM_CRON, list(job.alarm()), image, namespace, secret, None),
    ]
    text = io.StringIO()
    writer = YAML()
    writer.default_flow_style = False
    writer.indent(mapping=2, sequence=4, offset=2)
    writer.width = 4096
    writer.dump_all(documents, text)
    return {f"{job.name}.yaml": text.getvalue()}


def _cron_job(
    name: str,
    schedule: str,
    command: Sequence[str],
    image: str,
    namespace: str | None,
    secret: str,
    claim: str | None,
) -> dict[str, Any]:
    mounts = [{"name": "tmp", "mountPath": "/tmp"}]  # noqa: S108 - in the container
    volumes: list[dict[str, Any]] = [{"name": "tmp", "emptyDir": {}}]
    if claim:
        mounts.append({"name": "data", "mountPath": DATA})
        volumes.append({"name": "data", "persistentVolumeClaim": {"claimName": claim}})
    labels = {"app.kubernetes.io/name": "gymkhana", "app.kubernetes.io/component": name}
    container = {
        "name": "gymkhana",
        "image": image,
        "command": list(command),
        "envFrom": [{"secretRef": {"name": secret}}],
        "workingDir": "/tmp",  # noqa: S108
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "resources": {"requests": {"cpu": "250m", "memory": "256Mi"}, "limits": {"memory": "1Gi"}},
        "volumeMounts": mounts,
    }
    pod = {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "securityContext": {"runAsNonRoot": True, "runAsUser": _USER, "runAsGroup": _USER, "fsGroup": _USER},
        "containers": [container],
        "volumes": volumes,
    }
    return {
        "apiVersion": "batch/v1",
        "kind": "CronJob",
        "metadata": {"name": name, **({"namespace": namespace} if namespace else {}), "labels": dict(labels)},
        "spec": {
            "schedule": schedule,
            "timeZone": "Etc/UTC",
            "concurrencyPolicy": "Forbid",
            "startingDeadlineSeconds": 3600,
            "successfulJobsHistoryLimit": 3,
            "failedJobsHistoryLimit": 3,
            "jobTemplate": {
                "spec": {"backoffLimit": 2, "template": {"metadata": {"labels": dict(labels)}, "spec": pod}},
            },
        },
    }
