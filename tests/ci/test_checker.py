"""The checker names each anomaly as exactly what it is, and says "unknown" where it cannot know."""

from __future__ import annotations

from typing import Any, Literal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ci.checker import Asked, Survivor, check
from ci.record import Findings
from loadtests.history import History
from loadtests.ledger import Done, Invoke
from tests.ci.histories import (
    Sent,
    acked,
    canary,
    failed,
    history,
    refused,
    reset,
    silent,
    state,
    sung,
    survivor,
    tournament,
    unanswered,
    wrong,
)

ANOMALIES = (
    "lost", "altered", "phantom", "duplicated", "recovered", "conservation", "capacity", "winners", "orphans",
    "notifications", "misread", "why_unknown",
)  # fmt: skip


def found(findings: Findings) -> dict[str, Any]:
    """What the checker has to say beyond its counts."""
    return {name: value for name in ANOMALIES if (value := getattr(findings, name))}


def singing(probes: list[Done]) -> History:
    """A ledger with nothing in it but the canary."""
    writes = [one for one in probes if one.op and one.write]
    invokes = (Sent(Invoke(op=str(one.op), flow=one.flow, user=0, t=one.t), None) for one in writes)
    return history(*invokes, reads=probes)


def there(probes: list[Done]) -> list[Survivor]:
    """What survives when every acknowledged canary does."""
    return [survivor(one.op) for one in probes if one.op and one.write and one.outcome == "ok"]


def test_nothing_is_found_when_everything_told_is_there() -> None:
    findings = check(history(acked("R.1"), acked("R.2")), [survivor("R.1"), survivor("R.2")], state())
    assert found(findings) == {}
    assert (findings.invoked, findings.acked, findings.refused, findings.unknown) == (2, 2, 0, 0)


def test_writes_are_counted_by_what_their_clients_were_told() -> None:
    told = history(acked("R.1"), refused("R.2"), refused("R.3"), reset("R.4"), unanswered("R.5"), unanswered("R.6"))
    findings = check(told, [survivor("R.1")], state())
    assert (findings.invoked, findings.acked, findings.refused, findings.unknown) == (6, 1, 2, 3)
    assert found(findings) == {}


def test_acknowledged_and_gone_is_lost() -> None:
    findings = check(history(acked("R.1"), acked("R.2")), [survivor("R.1")], state())
    assert found(findings) == {"lost": ("R.2",)}


def test_ten_removed_survivors_are_exactly_ten_lost() -> None:
    told = history(*(acked(f"R.{n}") for n in range(100)))
    findings = check(told, [survivor(f"R.{n}") for n in range(100) if n % 10], state())
    assert found(findings) == {"lost": tuple(f"R.{n}" for n in range(0, 100, 10))}


def test_rows_that_no_longer_have_their_stored_digest_are_altered() -> None:
    told = history(acked("R.1", digest=None), acked("R.2"))
    findings = check(told, [survivor("R.1", digest="bb", stored="aa"), survivor("R.2")], state())
    assert found(findings) == {"altered": ("R.1",)}


def test_another_effect_than_was_acknowledged_is_altered_though_its_rows_agree() -> None:
    findings = check(history(acked("R.1", digest="aa")), [survivor("R.1", digest="bb")], state())
    assert found(findings) == {"altered": ("R.1",)}


def test_an_unanswered_write_with_changed_rows_is_altered_too() -> None:
    told = history(acked("R.1"), reset("R.2"))
    findings = check(told, [survivor("R.1"), survivor("R.2", digest="bb", stored="aa")], state())
    assert found(findings) == {"altered": ("R.2",), "recovered": ("R.2",)}


def test_refused_and_there_is_a_phantom() -> None:
    findings = check(history(acked("R.1"), refused("R.2")), [survivor("R.1"), survivor("R.2")], state())
    assert found(findings) == {"phantom": ("R.2",)}


def test_never_sent_and_there_is_a_phantom() -> None:
    findings = check(history(acked("R.1")), [survivor("R.1"), survivor("R.9")], state())
    assert found(findings) == {"phantom": ("R.9",)}


def test_applied_twice_is_duplicated() -> None:
    findings = check(history(acked("R.1"), acked("R.2")), [survivor("R.1", applied=2), survivor("R.2")], state())
    assert found(findings) == {"duplicated": ("R.1",)}


@pytest.mark.parametrize("write", [reset("R.2"), unanswered("R.2")], ids=["reset", "unanswered"])
def test_unanswered_and_there_is_recovered_and_no_phantom(write: Sent) -> None:
    findings = check(history(acked("R.1"), write), [survivor("R.1"), survivor("R.2")], state())
    assert found(findings) == {"recovered": ("R.2",)}


@pytest.mark.parametrize("write", [refused("R.2"), reset("R.2"), unanswered("R.2")], ids=["refused", "reset", "open"])
def test_a_write_that_was_never_acknowledged_cannot_be_lost(write: Sent) -> None:
    assert found(check(history(acked("R.1"), write), [survivor("R.1")], state())) == {}


@pytest.mark.parametrize(
    ("points", "said"),
    [
        ({"balances": 971}, "1000 points were minted and 1001 are held: +1."),
        ({"balances": 960}, "1000 points were minted and 990 are held: -10."),
        ({"escrow": 0}, "1000 points were minted and 990 are held: -10."),
        ({"pools": 0}, "1000 points were minted and 980 are held: -20."),
        ({"accounts_off": [7, 8]}, "The balances of accounts [7, 8] are not what their transfers add up to."),
        ({"negative": [9]}, "Accounts [9] are overdrawn."),
    ],
)
def test_points_that_are_not_conserved_are_found(points: dict[str, Any], said: str) -> None:
    findings = check(history(acked("R.1")), [survivor("R.1")], state(conservation=points))
    assert found(findings) == {"conservation": said}


def test_five_accounts_are_named_at_most() -> None:
    for points in ({"accounts_off": list(range(9))}, {"negative": list(range(9))}):
        findings = check(history(acked("R.1")), [survivor("R.1")], state(conservation=points))
        assert "[0, 1, 2, 3, 4]" in findings.conservation


def test_a_tournament_over_capacity_is_found_and_a_full_one_is_not() -> None:
    full, over = tournament(id=1, entries=8), tournament(id=2, entries=9)
    findings = check(history(acked("R.1")), [survivor("R.1")], state(full, over))
    assert found(findings) == {"capacity": ("tournament 2: 9 entries for 8 places",)}


FINISHED = {"state": "finished", "winners": 1, "payouts": 1, "pool": 0}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (FINISHED, ()),
        (FINISHED | {"payouts": 0}, ()),
        (FINISHED | {"winners": 0}, ("tournament 1 is finished with 0 winners",)),
        (FINISHED | {"winners": 2}, ("tournament 1 is finished with 2 winners",)),
        (FINISHED | {"payouts": 2}, ("tournament 1 is finished and was paid 2 times",)),
        (FINISHED | {"pool": 20}, ("tournament 1 is finished with 20 points in its pool",)),
        ({"winners": 1}, ("tournament 1 is open with 1 winners",)),
        ({"payouts": 1}, ("tournament 1 is open and was paid 1 times",)),
    ],
)
def test_a_finished_tournament_has_one_winner_paid_once_and_no_other_has_any(
    changes: dict[str, Any], said: tuple[str, ...]
) -> None:
    findings = check(history(acked("R.1")), [survivor("R.1")], state(tournament(**changes)))
    assert findings.winners == said


def test_orphans_are_named_by_their_relation() -> None:
    orphans: dict[str, list[Any]] = {"entries.user_id": [4, 5], "matches.home_id": [6]}
    findings = check(history(acked("R.1")), [survivor("R.1")], state(orphans=orphans))
    assert found(findings) == {"orphans": ("entries.user_id: 4", "entries.user_id: 5", "matches.home_id: 6")}


def test_events_untold_told_twice_and_undelivered_are_found() -> None:
    told = {"missing": ["R.1"], "extra": ["R.2"], "undelivered": 3}
    findings = check(history(acked("R.1")), [survivor("R.1")], state(notifications=told))
    assert found(findings) == {"notifications": ("missing: R.1", "extra: R.2", "3 were never delivered")}


def test_a_ledger_cut_short_is_a_doubt() -> None:
    findings = check(history(acked("R.1"), cut_short="no end line"), [survivor("R.1")], state())
    assert found(findings) == {"why_unknown": ("The ledger was cut short: no end line.",)}


def test_in_a_ledger_cut_short_a_survivor_it_does_not_mention_is_no_phantom() -> None:
    """Its lines may be what is missing. One that was refused is a phantom all the same."""
    told = history(acked("R.1"), refused("R.2"), cut_short="no end line")
    findings = check(told, [survivor("R.1"), survivor("R.2"), survivor("R.9")], state())
    assert findings.phantom == ("R.2",)


def test_in_a_ledger_cut_short_what_is_lost_is_still_lost() -> None:
    findings = check(history(acked("R.1"), acked("R.2"), cut_short="torn"), [survivor("R.1")], state())
    assert findings.lost == ("R.2",)


@pytest.mark.parametrize("told", [history(), history(refused("R.1"), reset("R.2"))], ids=["empty", "none-acked"])
def test_a_history_without_an_acknowledged_write_is_a_doubt(told: Any) -> None:
    assert found(check(told, [], state())) == {
        "why_unknown": ("No write was acknowledged, so nothing could be lost.",),
    }


def test_a_database_that_cannot_be_read_is_a_doubt_and_no_loss() -> None:
    findings = check(history(acked("R.1")), None, None)
    assert found(findings) == {
        "why_unknown": ("The database could not be read at the end, so nobody knows what survived.",)
    }
    assert (findings.invoked, findings.acked) == (1, 1)


def test_a_state_that_was_never_read_is_a_doubt() -> None:
    """Else points, capacities and winners that nobody looked at would pass."""
    findings = check(history(acked("R.1"), acked("R.2")), [survivor("R.1")], None)
    assert found(findings) == {
        "lost": ("R.2",),
        "why_unknown": ("The database could not be read at the end, so nobody knows what survived.",),
    }


def test_operations_of_another_run_are_none_of_our_business() -> None:
    findings = check(history(acked("R.1")), [survivor("R.1"), survivor("Q.1", run="Q", applied=2)], state())
    assert found(findings) == {}


def test_a_ledger_that_does_not_say_whose_it_is_is_a_doubt() -> None:
    findings = check(history(acked("R.1"), clocks=()), [survivor("R.1")], state())
    assert "The ledger does not say which run it is of." in findings.why_unknown


def test_an_answer_to_a_write_that_was_never_sent_is_a_doubt() -> None:
    """An acknowledged write whose first line is missing would else be nobody's loss."""
    stray = acked("R.2").done
    assert stray is not None
    findings = check(history(acked("R.1"), reads=[stray]), [survivor("R.1")], state())
    assert found(findings) == {
        "why_unknown": ("The ledger holds 1 answers to writes that it does not say were sent.",),
    }


def test_rows_without_the_record_of_their_operation_are_not_recovered() -> None:
    """They are half of something, and no half is fine."""
    findings = check(history(acked("R.1"), reset("R.2")), [survivor("R.1"), survivor("R.2", seq=None)], state())
    assert findings.recovered == ()


def test_what_the_service_failed_and_left_no_trace_of_has_vanished() -> None:
    """A conflict and a broken connection are no rollbacks; what is there after all did not vanish."""
    error = failed("R.3", status=500, outcome="unknown")
    there_after_all = failed("R.4", status=500, outcome="unknown")
    told = history(acked("R.1"), failed("R.2"), error, there_after_all, refused("R.5"), reset("R.6"), unanswered("R.7"))
    findings = check(told, [survivor("R.1"), survivor("R.4")], state())
    assert findings.vanished == 2
    assert found(findings) == {"recovered": ("R.4",)}


@pytest.mark.parametrize(
    ("answer", "there", "unresolved"),
    [
        ("applied", True, ()),
        ("absent", False, ()),
        ("absent", True, ("R.2",)),
        ("applied", False, ("R.2",)),
        ("none", False, ("R.2",)),
        ("none", True, ("R.2",)),
    ],
)
def test_an_unknown_write_is_resolved_when_the_service_says_of_it_what_survived(
    answer: Literal["applied", "absent", "none"], there: bool, unresolved: tuple[str, ...]
) -> None:
    survivors = [survivor("R.1"), *([survivor("R.2")] if there else [])]
    findings = check(history(acked("R.1"), reset("R.2")), survivors, state(), [Asked("R.2", answer)])
    assert (findings.asked, findings.unresolved) == (1, unresolved)


def test_an_unknown_write_that_nobody_asked_about_is_not_resolved() -> None:
    told = history(acked("R.1"), reset("R.2"))
    assert check(told, [survivor("R.1")], state(), []).unresolved == ("R.2",)
    assert check(told, [survivor("R.1")], state()).asked is None


def test_a_canary_read_back_wrong_is_misread() -> None:
    probes = canary((130.0, 131.0, sung), (131.0, 131.1, wrong), (131.1, 133.0, sung))
    findings = check(singing(probes), there(probes), state())
    assert found(findings) == {"misread": ("R.canary.131.0",)}


def test_a_canary_whose_write_was_lost_could_not_be_read_back() -> None:
    probes = canary((130.0, 131.0, sung), (131.0, 131.1, wrong), (131.1, 133.0, sung))
    left = [one for one in there(probes) if one.op != "R.canary.131.0"]
    assert found(check(singing(probes), left, state())) == {"lost": ("R.canary.131.0",)}


def test_steady_is_how_long_every_canary_was_right_up_to_the_end() -> None:
    probes = canary((130.0, 131.0, sung), (131.0, 132.0, silent), (132.0, 134.0, sung))
    assert check(singing(probes), there(probes), state()).steady_s == pytest.approx(1.9)


def test_a_canary_that_ends_in_silence_was_not_steady_at_all() -> None:
    probes = canary((130.0, 131.0, sung), (131.0, 132.0, silent))
    assert check(singing(probes), there(probes), state()).steady_s == 0.0


def test_without_a_canary_nobody_knows_whether_it_was_steady() -> None:
    assert check(history(acked("R.1")), [survivor("R.1")], state()).steady_s is None


def test_a_checker_that_crashes_is_a_doubt_and_the_others_still_answer() -> None:
    broken = msgspec.structs.replace(state(tournament(entries=9)), conservation=None)
    findings = check(history(acked("R.1"), acked("R.2")), [survivor("R.1")], broken)
    assert (findings.lost, findings.capacity) == (("R.2",), ("tournament 1: 9 entries for 8 places",))
    assert len(findings.why_unknown) == 1
    assert findings.why_unknown[0].startswith("The conservation checker crashed: AttributeError(")


def test_a_crash_while_looking_for_losses_is_a_doubt_and_no_loss() -> None:
    broken = msgspec.structs.replace(survivor("R.1"), applied=None)
    findings = check(history(acked("R.1"), acked("R.2")), [broken], state(tournament(entries=9)))
    assert findings.lost == ()
    assert findings.capacity == ("tournament 1: 9 entries for 8 places",)
    assert len(findings.why_unknown) == 1
    assert findings.why_unknown[0].startswith("The survival checker crashed: TypeError(")


OPS = st.sets(st.integers(0, 30).map("R.{}".format), max_size=20)


@given(OPS, OPS, OPS, OPS)
def test_lost_recovered_and_phantom_are_set_algebra(
    ok: set[str], no: set[str], maybe: set[str], there: set[str]
) -> None:
    no, maybe = no - ok, maybe - ok - no
    told = history(*map(acked, sorted(ok)), *map(refused, sorted(no)), *map(reset, sorted(maybe)))
    findings = check(told, [survivor(op) for op in sorted(there)], state())
    assert set(findings.lost) == ok - there
    assert set(findings.recovered) == maybe & there
    assert set(findings.phantom) == there - (ok | maybe)
    assert not findings.altered
    assert not findings.duplicated
    assert bool(findings.why_unknown) == (not ok)


@given(OPS, st.randoms(use_true_random=False))
def test_the_order_of_lines_and_rows_does_not_matter(ops: set[str], chance: Any) -> None:
    writes = [acked(op) for op in sorted(ops)]
    there = [survivor(op) for op in sorted(ops)[::2]]
    straight = check(history(*writes), there, state())
    chance.shuffle(writes)
    chance.shuffle(there)
    shuffled = check(history(*writes), there, state())
    assert sorted(straight.lost) == sorted(shuffled.lost)
    assert msgspec.structs.replace(straight, lost=()) == msgspec.structs.replace(shuffled, lost=())
