"""Who is told what, and when: new ones at once, the same not twice, an end always, a silence never."""

from __future__ import annotations

import msgspec

from system.alerts import rules as rules_of
from system.alerts.notices import NOWHEN, Notice, Shown, Told, after, due, payload, subject, text
from system.alerts.states import Course, State

RULES = {rule.name: rule for rule in rules_of.read()}
REPEAT_S = 100.0
NOW = 1_790_000_000.0


def alerts(**states: State) -> tuple[Shown, ...]:
    """Warnings in these states, and the others inactive."""
    found = []
    for name in ("Memory", "DiskFilling", "DomainOff"):
        state = states.get(name, "inactive")
        phase = "firing" if state in ("acknowledged", "silenced") else state
        found.append(Shown(RULES[name], Course(name, phase, NOW - 60, NOW - 30, NOW - 1, 1.0), state))  # type: ignore[arg-type]
    return tuple(found)


class Receiver:
    """Somebody who takes every notice, and remembers what it was."""

    def __init__(self) -> None:
        self.told = Told()

    def look(self, now: float, **states: State) -> tuple[list[str], list[str]] | None:
        self.told, notice = due(self.told, alerts(**states), now, REPEAT_S)
        if notice is None:
            return None
        self.told = after(self.told, notice, now)
        return [one.name for one in notice.firing], [one.name for one in notice.resolved]


def test_a_new_one_is_told_and_the_same_is_not_told_twice() -> None:
    receiver = Receiver()
    assert receiver.look(0) is None
    assert receiver.look(1, Memory="pending") is None
    assert receiver.look(2, Memory="firing") == (["Memory"], [])
    assert receiver.look(3, Memory="firing") is None
    assert receiver.look(4, Memory="firing", DiskFilling="firing") == (["Memory", "DiskFilling"], [])
    assert receiver.look(5, Memory="firing", DiskFilling="firing") is None


def test_an_end_is_told_once() -> None:
    receiver = Receiver()
    receiver.look(1, Memory="firing", DiskFilling="firing")
    assert receiver.look(2, Memory="resolved", DiskFilling="firing") == (["DiskFilling"], ["Memory"])
    assert receiver.look(3, Memory="resolved", DiskFilling="firing") is None
    assert receiver.look(4, Memory="resolved", DiskFilling="inactive") == ([], ["DiskFilling"])
    assert receiver.look(5) is None


def test_it_is_told_again_now_and_then_until_it_is_acknowledged() -> None:
    receiver = Receiver()
    receiver.look(0, Memory="firing")
    assert receiver.look(99, Memory="firing") is None
    assert receiver.look(100, Memory="firing") == (["Memory"], [])
    assert receiver.look(300, Memory="acknowledged") is None
    assert receiver.look(301, Memory="resolved") == ([], ["Memory"]), "its end is told all the same"


def test_a_silence_hides_and_its_end_shows() -> None:
    receiver = Receiver()
    assert receiver.look(0, Memory="silenced") is None
    assert receiver.look(500, Memory="silenced") is None
    assert receiver.look(501, Memory="firing") == (["Memory"], [])


def test_what_was_told_before_its_silence_is_told_when_it_ends_or_when_the_silence_does() -> None:
    receiver = Receiver()
    receiver.look(0, Memory="firing", DiskFilling="firing")
    assert receiver.look(1, Memory="silenced", DiskFilling="silenced") is None
    assert receiver.look(2, Memory="resolved", DiskFilling="silenced") == ([], ["Memory"])
    assert receiver.look(3, DiskFilling="firing") == (["DiskFilling"], [])


def test_what_was_never_told_has_no_end_to_tell() -> None:
    receiver = Receiver()
    assert receiver.look(0, Memory="silenced") is None
    assert receiver.look(1, Memory="resolved") is None


def test_the_payload_is_alertmanagers_of_version_4() -> None:
    notice = Notice("warning", alerts(Memory="firing")[:1], alerts(DiskFilling="resolved")[1:2])
    told = payload(notice, "webhook-1", "http://gym", NOW)
    assert msgspec.json.decode(msgspec.json.encode(told)) == told
    assert {key: told[key] for key in ("version", "status", "receiver", "groupKey", "truncatedAlerts", "externalURL")} == {
        "version": "4", "status": "firing", "receiver": "webhook-1", "groupKey": '{}:{severity="warning"}',
        "truncatedAlerts": 0, "externalURL": "http://gym",
    }  # fmt: skip
    assert told["groupLabels"] == told["commonLabels"] == {"severity": "warning"}
    assert told["commonAnnotations"] == {"runbook": "docs/runbooks/slow-or-failing.md"}
    firing, resolved = told["alerts"]
    assert firing["labels"] == {"alertname": "Memory", "severity": "warning"}
    assert firing["annotations"]["runbook"] == RULES["Memory"].runbook
    assert (firing["startsAt"], firing["endsAt"]) == ("2026-09-21T14:12:50.000Z", NOWHEN)
    assert (resolved["status"], resolved["endsAt"]) == ("resolved", "2026-09-21T14:13:19.000Z")
    assert len({firing["fingerprint"], resolved["fingerprint"]}) == 2
    assert len(firing["fingerprint"]) == 16


def test_people_read_why_since_when_and_what_to_do() -> None:
    notice = Notice("warning", alerts(Memory="firing")[:1], alerts(DiskFilling="resolved")[1:2])
    assert subject(notice) == "[FIRING:1] Memory (warning)"
    told = text(notice, "http://gym", NOW)
    for words in (
        "FIRING Memory (warning) since 2026-09-21T14:12:50.000Z", RULES["Memory"].summary, RULES["Memory"].what_to_do,
        "docs/runbooks/slow-or-failing.md", "RESOLVED DiskFilling (warning) since 2026-09-21T14:13:19.000Z",
    ):  # fmt: skip
        assert words in told
    over = Notice("warning", (), alerts(DiskFilling="resolved")[1:2])
    assert subject(over) == "[RESOLVED] DiskFilling (warning)"
