"""Whether a cluster would take the manifests, each field of theirs included (`python -m ci.kubernetes.check`).

Kubernetes' own kinds are asked of its schemas, strictly: a misspelt field, which a cluster would drop without a word, is
refused. The k6 operator's TestRun has a schema of ours, and what it holds of pods is asked of Kubernetes' as the pods they
become.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

HERE = Path(__file__).parent
TEST_RUN = ("k6.io/v1alpha1", "TestRun")
SCHEMA = HERE / "testrun.schema.json"

Document = dict[str, Any]


class Unusable(Exception):
    """The check itself could not be made."""


def findings(name: str, text: str) -> tuple[str, ...]:
    """What is wrong with the manifests in `text`, a sentence each that begins with `name`, the document and the field.

    Of a document only the first fault is told, as its schema finds it. Raises Unusable.
    """
    try:
        found = documents(text)
    except YAMLError as error:
        return (f"{name}: {' '.join(str(error).split())}",)
    if not found:
        return (f"{name}: there is no manifest in it",)
    return tuple(f"{name}: {said}" for document in found for said in _faults(document))


def documents(text: str) -> list[Any]:
    """The documents of a manifest, empty ones left out. Raises YAMLError."""
    return [one for one in YAML(typ="safe").load_all(text) if one is not None]


def _faults(document: object) -> Iterator[str]:
    if not isinstance(document, dict) or not all(isinstance(document.get(key), str) for key in ("apiVersion", "kind")):
        yield "a document says no apiVersion and kind"
        return
    metadata = document.get("metadata")
    named = f"{document['kind']} {metadata.get('name') if isinstance(metadata, dict) else None}"
    if (document["apiVersion"], document["kind"]) == TEST_RUN:
        said = _fault_of_test_run(document)
    else:
        said = _fault_of_kind(document)
    if said:
        yield f"{named}: {said}"


def _fault_of_kind(document: Document) -> str:
    """Why Kubernetes refuses the document, or nothing."""
    try:
        import kubernetes_validate
    except ImportError as error:
        raise Unusable("kubernetes-validate is not here; `make setup` installs it.") from error
    try:
        kubernetes_validate.validate(document, kubernetes_validate.latest_version(), strict=True)
    except kubernetes_validate.SchemaNotFoundError:
        return f"Kubernetes has no kind {document['kind']} of {document['apiVersion']}"
    except kubernetes_validate.ValidationError as error:
        return _said(error)
    return ""


def _fault_of_test_run(document: Document) -> str:
    """Why the operator would not understand the document, or Kubernetes refuse its pods, or nothing."""
    from jsonschema import Draft202012Validator  # type: ignore[import-untyped]

    validator = Draft202012Validator(json.loads(SCHEMA.read_text("utf-8")))
    for error in validator.iter_errors(document):
        return _said(error)
    for role in ("runner", "starter"):
        if said := _fault_of_kind(pod(document["spec"].get(role, {}))):
            return f"{role} as a pod: {said}"
    return ""


def pod(described: Document) -> Document:
    """The pod that the operator makes of a description (its pkg/resources/jobs)."""
    own = ("env", "resources", "volumeMounts")
    context = {"securityContext": described.get("containerSecurityContext", {})}
    container = {"name": "k6", "image": described.get("image", "k6")} | context
    container |= {field: described[field] for field in own if field in described}
    first = [
        {"name": f"k6-init-{index}"} | one | context for index, one in enumerate(described.get("initContainers", []))
    ]
    spec: Document = {"restartPolicy": "Never", "containers": [container], "initContainers": first}
    spec |= {field: described[field] for field in ("securityContext", "volumes") if field in described}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "k6"}, "spec": spec}


def _said(error: Any) -> str:
    """Where, and what."""
    where = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in error.path).lstrip(".")
    return f"{where}: {error.message}" if where else str(error.message)


def main() -> int:
    """Prints what was found; 0 when nothing was, 1 when something was, 4 when the check could not be made."""
    paths = sorted(HERE.glob("*.yaml"))
    if not paths:
        sys.stderr.write(f"There are no manifests in {HERE}; check out all of the project.\n")
        return 4
    try:
        found = [one for path in paths for one in findings(path.name, path.read_text("utf-8"))]
    except Unusable as error:
        sys.stderr.write(f"{error}\n")
        return 4
    for one in found:
        sys.stdout.write(f"{one}\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
