"""compose.yaml keeps its promises before it is started: loopback only, no password of its own, nothing privileged.

Each rule is a function of the parsed file, and is shown to fail on a planted one.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from tests.test_docs import faults_of

ROOT = Path(__file__).parents[1]
DOCKERFILE = (ROOT / "Dockerfile").read_text("utf-8")
TARGETS = set(re.findall(r"^FROM \S+ AS (\S+)$", DOCKERFILE, re.MULTILINE))
Document = dict[str, Any]


def document() -> Document:
    with (ROOT / "compose.yaml").open(encoding="utf-8") as file:
        return dict(YAML(typ="safe").load(file))


def ports_beyond_loopback(document: Document) -> Iterator[str]:
    """Nobody else on the network reaches what is started."""
    for name, service in document["services"].items():
        yield from (f"{name}: {port}" for port in service.get("ports", []) if not port.startswith("127.0.0.1:"))


def passwords_of_its_own(document: Document) -> Iterator[str]:
    """A password comes from whoever starts it, and without one nothing starts."""
    for name, service in document["services"].items():
        for variable, value in service.get("environment", {}).items():
            if "PASSWORD" in variable and not re.fullmatch(r"\$\{GYM_DB_PASSWORD:\?[^}]+\}", value):
                yield f"{name}: {variable}"


def targets_that_are_not_there(document: Document) -> Iterator[str]:
    """What is built is a stage of the Dockerfile."""
    for name, service in document["services"].items():
        if "build" in service and service["build"]["target"] not in TARGETS:
            yield f"{name}: {service['build']['target']}"


def commands_that_cannot_be_typed(document: Document) -> Iterator[str]:
    """What our images are told, the command line knows."""
    for service in document["services"].values():
        if "build" in service:
            yield from faults_of(" ".join(("gymkhana", *service.get("command", ["serve"]))))


def servants_with_privileges(document: Document) -> Iterator[str]:
    """Our own containers hold no capability and write only where they are told to."""
    for name, service in document["services"].items():
        if "build" in service and not (service.get("read_only") and service.get("cap_drop") == ["ALL"]):
            yield name


def volumes_without_a_name(document: Document) -> Iterator[str]:
    """What is kept is found again by its name."""
    for name, service in document["services"].items():
        for volume in service.get("volumes", []):
            if volume.partition(":")[0] not in document["volumes"]:
                yield f"{name}: {volume}"


Rule = Callable[[Document], Iterator[str]]
RULES: tuple[Rule, ...] = (
    ports_beyond_loopback,
    passwords_of_its_own,
    targets_that_are_not_there,
    commands_that_cannot_be_typed,
    servants_with_privileges,
    volumes_without_a_name,
)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_compose_yaml_keeps(rule: Rule) -> None:
    assert list(rule(document())) == []


PLANTED: list[tuple[Rule, str, str, Any]] = [
    (ports_beyond_loopback, "service", "ports", ["8080:8080"]),
    (passwords_of_its_own, "postgres", "environment", {"POSTGRES_PASSWORD": "${GYM_DB_PASSWORD:-gym}"}),
    (targets_that_are_not_there, "service", "build", {"target": "vanished"}),
    (commands_that_cannot_be_typed, "log", "command", ["backup", "vanish"]),
    (servants_with_privileges, "load", "cap_drop", ["NET_RAW"]),
    (volumes_without_a_name, "postgres", "volumes", ["./data:/var/lib/postgresql"]),
]


@pytest.mark.parametrize(("rule", "service", "member", "value"), PLANTED)
def test_a_planted_violation_is_found(rule: Rule, service: str, member: str, value: Any) -> None:
    planted = copy.deepcopy(document())
    planted["services"][service][member] = value
    assert len(list(rule(planted))) == 1


def test_all_of_it_is_in_one_up() -> None:
    """None waits behind a profile."""
    services = document()["services"]
    assert set(services) == {"postgres", "migrate", "service", "log", "backups", "load"}
    assert [name for name, service in services.items() if "profiles" in service] == []


def test_the_versions_of_dockerfile_and_compose_agree() -> None:
    images = set(re.findall(r"\$\{POSTGRES_IMAGE:-(.*?)\}", (ROOT / "compose.yaml").read_text("utf-8")))
    assert images == set(re.findall(r"^ARG POSTGRES_IMAGE=(\S+)$", DOCKERFILE, re.MULTILINE))
