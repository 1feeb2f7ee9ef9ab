"""Points in time: an instant has a zone, or it is none."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from backups.errors import UsageError
from backups.log.points import AtPosition, AtTime, Newest, at_time


@pytest.mark.parametrize("text", ["2026-11-23T09:00:00Z", "2026-11-23T10:00:00+01:00", "2026-11-23T04:00:00-05:00"])
def test_an_instant_is_the_same_in_every_zone(text: str) -> None:
    assert at_time(text).instant == datetime(2026, 11, 23, 9, tzinfo=UTC)


def test_an_instant_without_a_zone_is_refused() -> None:
    with pytest.raises(UsageError, match="does not say in which zone"):
        at_time("2026-11-23T09:00:00")
    with pytest.raises(UsageError, match="does not say in which zone"):
        AtTime(datetime(2026, 11, 23, 9))


@pytest.mark.parametrize("text", ["yesterday", "", "2026-13-01T00:00:00Z"])
def test_what_is_no_instant_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="is no instant"):
        at_time(text)


def test_points_say_what_they_are() -> None:
    assert [str(point) for point in (Newest(), AtPosition(7), at_time("2026-11-23T09:00:00Z"))] == [
        "the newest state",
        "the state at position 7",
        "the state of 2026-11-23T09:00:00+00:00",
    ]
