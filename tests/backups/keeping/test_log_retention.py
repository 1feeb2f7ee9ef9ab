"""Retention of the shipped log: what a kept backup leads into stays, and never goes what is being written. Literal cases."""

from __future__ import annotations

import dataclasses

import pytest

from backups.format.manifest import LogSpan
from backups.keeping.catalogue import Entry
from backups.keeping.log_retention import LogDecision, allowed, decide
from backups.log.expiry import Cut
from backups.log.logbook import Generation
from tests.backups.literal import backup

ONE, TWO, THREE = (
    "000001-20261123T090000Z-aaaaaaaa",
    "000002-20261124T090000Z-bbbbbbbb",
    "000003-20261125T090000Z-cccccccc",
)


def generation(id: str, indexes: range) -> Generation:
    return Generation(id, int(id[:6]), dict.fromkeys(indexes, 100), (), 100 * len(indexes))


LOG = (generation(ONE, range(1, 11)), generation(TWO, range(1, 101)), generation(THREE, range(1, 21)))


ENTRIES = (
    backup(9, 1, log=LogSpan(ONE, 0, 1)),
    backup(10, 2, log=LogSpan(TWO, 0, 2)),
    backup(11, 3, log=LogSpan(TWO, 40, 42)),
    backup(12, 4),
    backup(13, 5, log=LogSpan(THREE, 4, 5)),
)


def told(
    kept: set[int], log: tuple[Generation, ...] = LOG, entries: tuple[Entry, ...] = ENTRIES
) -> list[tuple[str, bool, int]]:
    """What goes and what stays, with the number of its segments, when the backups of these sequences are kept."""
    known = frozenset(entry.id for entry in entries if entry.sequence in kept)
    return [(str(one.cut), one.keep, one.segments) for one in decide(log, entries, known)]


def test_a_generation_stays_whole_while_its_first_backup_is_kept() -> None:
    assert told({1, 2, 3, 5}) == [
        (ONE, True, 10),
        (TWO, True, 100),
        (f"{THREE} below 5", False, 4),
        (THREE, True, 16),
    ]


def test_what_lies_before_the_oldest_kept_backup_of_a_generation_goes() -> None:
    assert told({1, 3, 5})[1:3] == [(f"{TWO} below 41", False, 40), (TWO, True, 60)]


def test_a_generation_that_no_kept_backup_leads_into_goes() -> None:
    assert told({5})[:2] == [(ONE, False, 10), (TWO, False, 100)]


def test_the_live_generation_stays_without_any_backup() -> None:
    assert told({1, 2, 3})[2] == (THREE, True, 20)
    assert told(set())[2] == (THREE, True, 20)


def test_the_last_segment_of_the_live_generation_stays_for_whoever_takes_it_up_again() -> None:
    entries = (backup(13, 5, log=LogSpan(THREE, 20, 20)),)
    assert told({5}, entries=entries)[-2:] == [(f"{THREE} below 20", False, 19), (THREE, True, 1)]


def test_what_came_after_the_newest_backup_stays() -> None:
    assert told({1}, entries=ENTRIES[:1]) == [(ONE, True, 10), (TWO, True, 100), (THREE, True, 20)]
    assert told(set(), entries=ENTRIES[:1])[0] == (ONE, False, 10)
    assert told(set(), entries=(backup(12, 4),))[0] == (ONE, True, 10)


def test_nothing_goes_while_a_manifest_cannot_be_read() -> None:
    unread = dataclasses.replace(ENTRIES[0], manifest=None, flaw="It cannot be read.")
    found = decide(LOG, (unread, *ENTRIES[1:]), frozenset())
    assert all(one.keep and "nobody knows" in one.reason for one in found)


def test_a_backup_that_does_not_know_its_place_keeps_no_log() -> None:
    entries = (backup(9, 1, log=LogSpan(ONE, 3, None)), ENTRIES[-1])
    assert told({1, 5}, entries=entries)[0] == (ONE, False, 10)


def test_every_decision_says_why() -> None:
    reasons = [one.reason for one in decide(LOG, ENTRIES, frozenset({ENTRIES[2].id, ENTRIES[4].id}))]
    assert reasons == [
        "no kept backup leads into it",
        "no kept backup reaches back so far",
        f"{ENTRIES[2].id} leads into it",
        "no kept backup reaches back so far",
        f"{ENTRIES[4].id} leads into it",
    ]


def test_a_store_without_a_log_has_nothing_to_decide() -> None:
    assert decide((), ENTRIES, frozenset()) == ()


@pytest.mark.parametrize(
    ("cut", "leaving", "may"),
    [
        (Cut(ONE), [Cut(ONE)], True),
        (Cut(ONE, 41), [Cut(ONE)], True),
        (Cut(ONE, 41), [Cut(ONE, 41)], True),
        (Cut(ONE, 41), [Cut(ONE, 60)], True),
        (Cut(ONE, 41), [Cut(ONE, 40)], False),
        (Cut(ONE), [Cut(ONE, 60)], False),
        (Cut(ONE), [Cut(TWO)], False),
        (Cut(ONE), [], False),
    ],
)
def test_a_mark_counts_only_while_all_it_stands_for_is_to_go(cut: Cut, leaving: list[Cut], may: bool) -> None:
    assert allowed(cut, leaving) is may


def test_what_stays_and_what_goes_is_every_segment_there_is() -> None:
    found: tuple[LogDecision, ...] = decide(LOG, ENTRIES, frozenset({ENTRIES[2].id, ENTRIES[4].id}))
    assert sum(one.segments for one in found) == 130
    assert sum(one.log_bytes for one in found) == 13_000
