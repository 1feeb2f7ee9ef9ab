"""Faults are made by name, from values or from text, and a wrong word is answered with the right one."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from chaos import parameters
from chaos.connections import KillConnections
from chaos.errors import UsageError
from chaos.fault import FAULTS, kind, make
from chaos.files import CorruptDatabase
from chaos.process import KillWriter


def test_text_is_read_as_the_type_asked_for() -> None:
    made = make("kill-connections", seed=9, rate="0.25", seconds="3", max_hits="none", domains="users, challenges")
    assert made == KillConnections(rate=0.25, seconds=3.0, domains=("users", "challenges"), seed=9)
    assert make("corrupt-database", put_back="true", mode="truncate") == CorruptDatabase(put_back=True, mode="truncate")


def test_a_fault_without_chance_drops_the_seed() -> None:
    assert make("kill-writer", seed=7) == KillWriter()


@pytest.mark.parametrize(
    ("name", "given", "says"),
    [
        ("kill-servce", {}, "There is no fault kill-servce; did you mean kill-service"),
        ("xyz", {}, "There is no fault xyz; there are kill-service, "),
        ("kill-writer", {"seconds": 1}, "kill-writer has no parameter seconds; it has none."),
        ("kill-connections", {"rat": 1}, "no parameter rat; did you mean rate"),
        ("kill-connections", {"rate": "1.5"}, "rate is wrong"),
        ("kill-connections", {"rate": "often"}, "rate is wrong"),
        ("pause-service", {"seconds": -1}, "seconds is wrong"),
        ("corrupt-database", {"mode": "melt"}, "mode is wrong"),
        ("corrupt-database", {"count": 0}, "count is wrong"),
    ],
)
def test_what_makes_no_sense_is_refused(name: str, given: dict[str, Any], says: str) -> None:
    with pytest.raises(UsageError, match=says) as refused:
        make(name, **given)
    assert refused.value.exit_code == 2


@pytest.mark.parametrize("name", FAULTS)
def test_every_parameter_is_described_and_its_default_can_be_given(name: str) -> None:
    described = parameters.describe(kind(name))
    assert [one.name for one in described] == [field.name for field in dataclasses.fields(kind(name))]  # type: ignore[arg-type]
    assert all(one.description.endswith(".") for one in described)
    defaults: dict[str, Any] = {one.name: one.default for one in described}
    assert make(name, **defaults) == make(name)


def test_a_fault_is_a_frozen_value() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        KillConnections().rate = 1.0  # type: ignore[misc]
