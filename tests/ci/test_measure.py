"""How long recovery took, how much was lost, how the service did before: each number by hand from a literal run."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ci import measure
from ci.journal import Event
from ci.measure import Sample
from ci.probe import INTERVAL_S
from loadtests.generator import GeneratorSample
from loadtests.ledger import Done, User
from loadtests.measure import Window, observe
from loadtests.scenario import Flow, Load, Scenario, Think
from tests.ci.histories import (
    acked,
    backup,
    bite,
    canary,
    event,
    history,
    read,
    refused,
    reset,
    silent,
    sung,
    unanswered,
    wrong,
)

ORIGIN = 100.0
SCENARIO = Scenario(
    name="two flows",
    seed=1,
    timeout_s=1,
    think=Think(min_s=1, max_s=3),
    load=Load(users=2, ramp_per_s=1, seconds=0),
    flows=(
        Flow(name="profile", weight=1, method="GET", path="/users/me"),
        Flow(name="score", weight=1, method="POST", path="/matches/1/events", write=True, expect=(201, 409)),
    ),
    levels=(),
    samples_min=1,
)


def sample(t: float, **figures: int | float | dict[str, float] | None) -> Sample:
    """A scrape that answered with little."""
    told = {
        "connections": 2, "ready": 1, "database_p95_ms": 1.0, "queue_depth": 0, "requests": 9, "outbox_pending": 0,
    } | figures  # fmt: skip
    memory = {"http": 60 * 2**20, "writer": 40 * 2**20}
    return Sample(t=t, memory=memory, **told)  # type: ignore[arg-type]


# --- recovery -------------------------------------------------------------------------------------------------------


def test_recovery_ends_when_the_first_right_read_back_had_been_read() -> None:
    probes = canary((138.0, 140.0, sung), (140.0, 143.0, silent), (143.0, 146.0, sung))
    rto = measure.recovery([bite(140.0)], probes, ORIGIN)
    assert rto.total_s == pytest.approx(3.01)
    assert (rto.resolution_s, rto.why_unknown) == (INTERVAL_S, "")


def test_recovery_counts_from_the_last_bite_of_several() -> None:
    """The newest backup is damaged first; the outage begins with the second blow."""
    probes = canary((138.0, 141.0, sung), (141.0, 143.0, silent), (143.0, 146.0, sung))
    rto = measure.recovery([bite(139.0, "corrupt-newest-backup"), bite(141.0, "delete-database")], probes, ORIGIN)
    assert rto.total_s == pytest.approx(2.01)


def test_a_service_that_fails_again_has_recovered_the_second_time() -> None:
    probes = canary(
        (138.0, 140.0, sung), (140.0, 142.0, silent), (142.0, 144.0, sung), (144.0, 145.0, silent), (145.0, 148.0, sung)
    )
    rto = measure.recovery([bite(140.0)], probes, ORIGIN)
    assert rto.total_s == pytest.approx(5.01)


def test_one_wrong_read_back_is_a_failure_like_any_other() -> None:
    down, up = (140.0, 142.0, silent), (142.0, 144.0, sung)
    probes = canary((138.0, 140.0, sung), down, up, (144.0, 144.1, wrong), (144.1, 147.0, sung))
    rto = measure.recovery([bite(140.0)], probes, ORIGIN)
    assert rto.total_s == pytest.approx(4.11)


def test_an_unacknowledged_canary_write_is_a_failure_too() -> None:
    failed = reset("R.canary.1", 143.0).done
    assert failed is not None
    probes = [*canary((138.0, 140.0, sung)), failed, *canary((143.2, 146.0, sung))]
    assert measure.recovery([bite(140.0)], probes, ORIGIN).total_s == pytest.approx(3.21)


def test_failures_from_before_the_bite_do_not_count() -> None:
    probes = canary((136.0, 138.0, silent), (138.0, 146.0, sung))
    assert measure.recovery([bite(140.0)], probes, ORIGIN).total_s == pytest.approx(0.01)


def test_a_read_back_begun_before_the_bite_proves_nothing() -> None:
    probes = [*sung(139.995), *canary((142.0, 145.0, sung))]
    assert measure.recovery([bite(140.0)], probes, ORIGIN).total_s == pytest.approx(2.01)


@pytest.mark.parametrize(
    ("probes", "why"),
    [
        (canary((138.0, 140.0, sung), (140.0, 160.0, silent)), "written and read back in the 19.9 s after the fault"),
        (canary((138.0, 140.0, sung), (140.0, 142.0, silent), (142.0, 145.0, sung), (145.0, 146.0, silent)),
         "written and read back in the 5.9 s after the fault"),
        (canary((138.0, 140.0, sung)), "The canary was not kept after the fault."),
        ([], "The canary was not kept after the fault."),
    ],
    ids=["silent", "well in between", "ended", "none"],
)  # fmt: skip
def test_a_service_that_never_recovers_has_no_recovery_time_but_a_reason(probes: list[Done], why: str) -> None:
    rto = measure.recovery([bite(140.0)], probes, ORIGIN)
    assert (rto.total_s, rto.phases) == (None, ())
    assert why in rto.why_unknown


def test_an_acknowledged_canary_that_is_lost_is_a_failure_of_its_instant() -> None:
    """A database that was deleted goes on acknowledging into nothing, and reads its nothing back."""
    probes = canary((138.0, 147.0, sung))
    lost = ["R.canary.140.5", "R.canary.141.9"]
    assert measure.recovery([bite(140.0)], probes, ORIGIN).total_s == pytest.approx(0.01)
    assert measure.recovery([bite(140.0)], probes, ORIGIN, lost).total_s == pytest.approx(2.01)


def test_a_recovery_seen_for_less_than_a_second_is_none() -> None:
    probes = canary((138.0, 140.0, sung), (140.0, 143.0, silent), (143.0, 143.9, sung))
    rto = measure.recovery([bite(140.0)], probes, ORIGIN)
    assert rto.total_s is None
    assert rto.watched_s == pytest.approx(3.81)
    assert rto.why_unknown == "The service was never seen well for 1 s in the 3.8 s after the fault."


@pytest.mark.parametrize(
    "events",
    [[], [event(140.0, "fault.begin")], [bite(140.0), event(141.0, "fault.missed", fault="delete-database")]],
    ids=["no fault", "begun only", "one of two missed"],
)
def test_without_proof_of_every_fault_there_is_no_recovery_time(events: list[Event]) -> None:
    rto = measure.recovery(events, canary((138.0, 150.0, sung)), ORIGIN)
    assert (rto.total_s, rto.why_unknown) == (None, "There is no proof that the fault bit.")


RESTORE = [
    bite(140.0),
    event(140.5, "notice"),
    event(140.7, "fence"),
    event(141.0, "decide"),
    event(141.0, "restore.begin"),
    event(142.0, "restore.end"),
    event(142.2, "replay.end"),
    event(142.5, "verify.end"),
    event(142.8, "serve.ready"),
]
CAME_BACK = canary((138.0, 140.0, sung), (140.0, 143.0, silent), (143.0, 146.0, sung))


def test_a_restore_has_every_phase_in_order() -> None:
    rto = measure.recovery(RESTORE, CAME_BACK, ORIGIN)
    assert [(one.name, round(one.begin_s, 6), round(one.end_s, 6)) for one in rto.phases] == [
        ("detect", 40.0, 40.5),
        ("fence", 40.5, 40.7),
        ("decide", 40.7, 41.0),
        ("restore", 41.0, 42.0),
        ("replay", 42.0, 42.2),
        ("verify", 42.2, 42.5),
        ("serve", 42.5, 43.01),
    ]


def test_a_crash_without_a_restore_is_detected_fenced_and_served() -> None:
    rto = measure.recovery([RESTORE[0], RESTORE[1], RESTORE[2], RESTORE[-1]], CAME_BACK, ORIGIN)
    assert [phase.name for phase in rto.phases] == ["detect", "fence", "serve"]


def test_an_outage_that_ends_by_itself_is_all_serving() -> None:
    rto = measure.recovery([bite(140.0)], CAME_BACK, ORIGIN)
    (serve,) = rto.phases
    assert (serve.name, serve.begin_s, round(serve.end_s, 6)) == ("serve", 40.0, 43.01)


def test_what_happened_before_the_bite_or_after_the_recovery_is_no_phase() -> None:
    events = [event(120.0, "verify.end"), *RESTORE[:3], event(143.5, "verify.end")]
    rto = measure.recovery(events, CAME_BACK, ORIGIN)
    assert [phase.name for phase in rto.phases] == ["detect", "fence", "serve"]


_ENDS = list(measure.PHASE_ENDS)


@given(st.lists(st.floats(140.0, 143.0), min_size=len(_ENDS), max_size=len(_ENDS)), st.permutations(_ENDS))
def test_phases_are_contiguous_ordered_and_add_up_to_the_whole(times: list[float], names: list[str]) -> None:
    events = [bite(140.0), *(event(t, name) for t, name in zip(times, names, strict=True))]
    rto = measure.recovery(events, CAME_BACK, ORIGIN)
    assert rto.total_s is not None
    assert rto.phases[0].begin_s == 40.0
    assert all(phase.begin_s <= phase.end_s for phase in rto.phases)
    assert all(left.end_s == right.begin_s for left, right in zip(rto.phases, rto.phases[1:], strict=False))
    assert sum(phase.end_s - phase.begin_s for phase in rto.phases) == pytest.approx(rto.total_s)


# --- loss -----------------------------------------------------------------------------------------------------------

TOLD = history(
    acked("R.1", 130.0), acked("R.2", 135.0), acked("R.3", 139.0), acked("R.4", 141.0), refused("R.5", 142.0)
)
STRUCK = [backup(133.5, "b1", taken_t=133.0), bite(140.0)]


def test_nothing_lost_is_zero_writes_and_zero_seconds() -> None:
    rpo = measure.loss(TOLD, (), STRUCK, None, "restart", ORIGIN)
    assert (rpo.acked, rpo.lost, rpo.seconds, rpo.lost_writes) == (4, 0, 0.0, ())


def test_nothing_lost_is_zero_seconds_even_without_a_fault() -> None:
    assert measure.loss(TOLD, (), [], None, "none", ORIGIN).seconds == 0.0


def test_seconds_run_from_the_earliest_lost_acknowledgement_to_the_fault() -> None:
    rpo = measure.loss(TOLD, ("R.3", "R.2"), STRUCK, "b1", "restore", ORIGIN)
    assert rpo.seconds == pytest.approx(140.0 - 135.1)


def test_seconds_run_to_the_last_lost_acknowledgement_when_that_is_later_than_the_fault() -> None:
    """A deleted database went on acknowledging for a while."""
    rpo = measure.loss(TOLD, ("R.2", "R.3", "R.4"), STRUCK, "b1", "restore", ORIGIN)
    assert rpo.seconds == pytest.approx(141.1 - 135.1)


INSTANTS = st.integers(1100, 1600).map(lambda tenths: tenths / 10)


@given(st.lists(INSTANTS, max_size=12), st.sets(st.integers(0, 11)), INSTANTS, INSTANTS)
def test_seconds_exceed_their_bound_exactly_when_a_lost_write_is_older_than_the_backup(
    sent: list[float], chosen: set[int], bitten: float, taken: float
) -> None:
    told = history(*(acked(f"R.{n}", t, d=0.0) for n, t in enumerate(sent)))
    gone = {n: t for n, t in enumerate(sent) if n in chosen}
    events = [backup(taken, "b1", taken_t=taken), bite(bitten)]
    rpo = measure.loss(told, [f"R.{n}" for n in gone], events, "b1", "restore", ORIGIN)
    assert (rpo.acked, rpo.lost, len(rpo.lost_writes)) == (len(sent), len(gone), len(gone))
    assert rpo.seconds is not None
    assert rpo.bound_s is not None
    if not gone:
        assert rpo.seconds == 0.0
        return
    assert rpo.seconds == max(bitten, *gone.values()) - min(gone.values()) >= 0.0
    older = min(gone.values()) < taken
    assert (rpo.seconds > rpo.bound_s + 1e-9) == older


def test_lost_writes_are_listed_in_the_order_they_were_acknowledged() -> None:
    rpo = measure.loss(TOLD, ("R.4", "R.2"), STRUCK, "b1", "restore", ORIGIN)
    assert [(one.op, one.flow, round(one.acked_s, 6)) for one in rpo.lost_writes] == [
        ("R.2", "score", 35.1),
        ("R.4", "score", 41.1),
    ]


def test_seconds_of_a_loss_without_a_proved_fault_are_not_known() -> None:
    rpo = measure.loss(TOLD, ("R.2",), [], None, "none", ORIGIN)
    assert (rpo.lost, rpo.seconds) == (1, None)


def test_unanswered_writes_are_not_among_the_acknowledged() -> None:
    told = history(acked("R.1", 130.0), reset("R.2", 131.0), unanswered("R.3", 132.0))
    assert measure.loss(told, (), STRUCK, None, "restart", ORIGIN).acked == 1


@pytest.mark.parametrize(
    ("response", "statements"),
    [("none", (1, None, None)), ("restart", (1, None, None)), ("restore", (None, 1, None))],
)
def test_the_statement_that_applies_is_made_and_no_other(
    response: str, statements: tuple[int | None, int | None, int | None]
) -> None:
    rpo = measure.loss(TOLD, ("R.3",), STRUCK, "b1" if response == "restore" else None, response, ORIGIN)
    assert (rpo.without_restore, rpo.newest_backup, rpo.with_replay) == statements


def test_the_age_of_the_backup_is_from_what_it_holds_for_certain_to_the_fault() -> None:
    events = [backup(121.0, "b0", taken_t=120.0), *STRUCK]
    assert measure.loss(TOLD, (), events, "b1", "restore", ORIGIN).newest_backup_age_s == pytest.approx(7.0)
    assert measure.loss(TOLD, (), events, "b0", "restore", ORIGIN).newest_backup_age_s == pytest.approx(20.0)


def test_the_bound_of_the_loss_is_the_age_of_the_backup_when_the_last_lost_write_was_acknowledged() -> None:
    assert measure.loss(TOLD, ("R.3",), STRUCK, "b1", "restore", ORIGIN).bound_s == pytest.approx(7.0)
    assert measure.loss(TOLD, ("R.3", "R.4"), STRUCK, "b1", "restore", ORIGIN).bound_s == pytest.approx(8.1)
    assert measure.loss(TOLD, ("R.3",), STRUCK, None, "restore", ORIGIN).bound_s is None


@pytest.mark.parametrize("restored", [None, "somebody else's"])
def test_a_backup_that_is_not_of_the_run_has_no_age(restored: str | None) -> None:
    assert measure.loss(TOLD, (), STRUCK, restored, "restore", ORIGIN).newest_backup_age_s is None


def test_a_backup_has_no_age_at_a_fault_that_never_bit() -> None:
    assert measure.loss(TOLD, (), STRUCK[:1], "b1", "restore", ORIGIN).newest_backup_age_s is None


def test_each_backup_is_told_with_its_fate() -> None:
    events = [
        backup(110.5, "b1", taken_t=110.0),
        backup(120.5, "b2", taken_t=120.0),
        backup(130.5, "b3", taken_t=130.0),
    ]
    told = {"backup": "b2", "refused": [{"id": "b3", "why": "block 1 is damaged"}]}
    used = measure.backups(events, told, ORIGIN)
    assert [(one.id, one.taken_s, one.fate, one.why) for one in used] == [
        ("b1", 10.0, "taken", ""),
        ("b2", 20.0, "restored", ""),
        ("b3", 30.0, "refused", "block 1 is damaged"),
    ]
    assert {one.fate for one in measure.backups(events, None, ORIGIN)} == {"taken"}


# --- baseline and series --------------------------------------------------------------------------------------------

UP = tuple(User(user=user, t=101.0, up=True) for user in (1, 2))
WINDOW = [event(110.0, "baseline.begin"), event(120.0, "baseline.end")]


def test_the_baseline_has_the_events_as_its_window() -> None:
    assert measure.window(WINDOW) == Window(110.0, 120.0)


@pytest.mark.parametrize("events", [[], WINDOW[:1], WINDOW[1:]], ids=["neither", "begun only", "ended only"])
def test_a_baseline_that_was_not_taken_has_no_window(events: list[Event]) -> None:
    assert measure.window(events) is None


def test_the_baseline_comes_from_its_window_only() -> None:
    """Outside it everything is worse. Two of its four connections are the harness's own."""
    inside = [read(110.0 + n / 10, d=0.02) for n in range(100)]
    outside = [read(105.0, d=9.0, status=500), read(120.0, d=9.0, status=500)]
    seen = observe(history(reads=[*inside, *outside], users=UP), SCENARIO, Window(110.0, 120.0))
    samples = [
        sample(109.9, connections=1, database_p95_ms=99.0),
        sample(110.0, connections=4, database_p95_ms=4.0),
        sample(119.0, connections=5, database_p95_ms=2.0),
        sample(120.0, connections=1, database_p95_ms=99.0),
    ]
    generator = [GeneratorSample(109.0, 1.0, 1), GeneratorSample(111.0, 0.2, 1), GeneratorSample(119.0, 0.4, 1)]
    base = measure.baseline(seen, samples, generator, users=2)
    assert (base.users, base.connections, base.seconds, base.requests) == (2, 2, 10.0, 100)
    assert (base.rate, base.error_rate, base.database_p95_ms, base.memory_mib) == (10.0, 0.0, 4.0, 100.0)
    assert base.generator_cpu == pytest.approx(0.3)
    assert base.expected_rate == pytest.approx(2 / 2.02)
    assert base.p50_ms == pytest.approx(20.0)
    assert base.p99_ms is None, "100 samples leave one beyond the 99th percentile"


def test_failures_of_the_baseline_are_counted_and_charged() -> None:
    """As infinitely slow, of which JSON has no number: the percentile is null, and the error rate says why."""
    reads = [read(110.0 + n / 10, status=500 if n % 2 else 200) for n in range(100)]
    base = measure.baseline(observe(history(reads=reads), SCENARIO, Window(110.0, 120.0)), [], [], users=2)
    assert base.error_rate == 0.5
    assert base.p50_ms is None


def test_what_nobody_measured_in_the_baseline_is_null_and_not_zero() -> None:
    dumb = Sample(115.0, {}, None, None, None, None, None, None)
    base = measure.baseline(observe(history(), SCENARIO, Window(110.0, 120.0)), [dumb], [], users=2)
    assert (base.connections, base.memory_mib, base.database_p95_ms, base.generator_cpu) == (None, None, None, None)
    assert (base.requests, base.expected_rate, base.p50_ms, base.p95_ms) == (0, None, None, None)


def test_series_have_a_row_for_every_second_of_the_run() -> None:
    reads = [read(102.0), read(102.5, d=1.0), read(104.0, status=500)]
    told = history(acked("R.1", 102.2), reads=reads)
    rows = measure.series(told, SCENARIO, [sample(102.3), sample(104.0, connections=None)], ORIGIN, 106.5)
    assert rows.t == (0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0)
    assert rows.requests == (0.0, 0.0, 2.0, 1.0, 1.0, 0.0, 0.0)
    assert rows.errors == (0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0)
    assert [ms is None for ms in rows.p95_ms] == [True, True, False, False, True, True, True]
    assert rows.memory_mib[2:5] == (100.0, 100.0, 100.0)
    assert (rows.connections[0], rows.connections[2], rows.connections[4], rows.connections[6]) == (None, 2, None, None)
    lengths = {
        len(rows.t), len(rows.requests), len(rows.errors), len(rows.p50_ms), len(rows.p95_ms), len(rows.database_p95_ms),
        len(rows.memory_mib), len(rows.connections), len(rows.queue_depth), len(rows.shed), len(rows.timing_p95_ms),
        *map(len, rows.memory_by_process.values()), len(rows.generator_cores), len(rows.generator_mib),
    }  # fmt: skip
    assert lengths == {7}


def test_series_hold_the_cores_and_the_memory_of_every_process() -> None:
    """A process that came later has a gap before it came."""
    samples = [sample(100.2, cpu={"http": 0.5}), sample(101.2, cpu={"http": 0.25, "writer": 0.75}), sample(102.2)]
    generator = [GeneratorSample(101.3, 0.2, 2**26)]
    rows = measure.series(history(), SCENARIO, samples, ORIGIN, 103.0, generator)
    assert rows.cpu_by_process == {"http": (0.5, 0.25, None), "writer": (None, 0.75, None)}
    assert rows.memory_by_process == {"http": (60.0, 60.0, 60.0), "writer": (40.0, 40.0, 40.0)}
    assert (rows.generator_cores, rows.generator_mib) == ((None, 0.2, None), (None, 64.0, None))


def test_series_tell_the_requests_shed_in_each_second() -> None:
    """A counter that fell was begun anew by a new service."""
    samples = [sample(100.5, shed=0), sample(101.5, shed=30), sample(102.5, shed=30), sample(103.5, shed=4)]
    rows = measure.series(history(), SCENARIO, samples, ORIGIN, 104.0)
    assert rows.shed == (None, 30.0, 0.0, 4.0)


def test_series_tell_what_the_answers_said_of_the_database() -> None:
    """The p95 of the `db` shares, in the second in which the answers came."""
    told = [msgspec.structs.replace(read(100.9, d=0.2), db=4.0), msgspec.structs.replace(read(101.5), db=4.0)]
    rows = measure.series(history(reads=[*told, read(102.5)]), SCENARIO, [], ORIGIN, 103.0)
    assert rows.timing_p95_ms == (None, 4.0, None)


def test_series_of_a_run_that_saw_nothing_are_null_and_not_zero() -> None:
    rows = measure.series(history(), SCENARIO, [], ORIGIN, 103.0)
    assert (rows.requests, rows.errors) == ((0.0, 0.0, 0.0), (0.0, 0.0, 0.0))
    for column in (rows.p50_ms, rows.p95_ms, rows.database_p95_ms, rows.memory_mib, rows.connections, rows.queue_depth):
        assert column == (None, None, None)


def test_flows_are_told_over_the_whole_run_with_the_scenarios_first() -> None:
    told = history(
        acked("R.1", 101.0), refused("R.2", 102.0), reset("R.3", 103.0), unanswered("R.4", 104.0),
        reads=[read(101.0), read(150.0, status=500), read(120.0, flow="elsewhere")],
    )  # fmt: skip
    assert [(one.name, one.requests, one.failures) for one in measure.flows(told, SCENARIO)] == [
        ("profile", 2, 1),
        ("score", 4, 2),
        ("elsewhere", 1, 0),
    ]


def test_the_speed_of_a_flow_is_of_its_successes_however_many_failed() -> None:
    """An outage is in the failures; how fast the answers were is another question than whether there were any."""
    good = [read(110.0 + n / 100, d=n / 1000) for n in range(1, 1001)]
    bad = [read(130.0 + n / 100, d=9.0, status=500) for n in range(500)]
    (profile,) = measure.flows(history(reads=[*good, *bad]), SCENARIO)
    assert (profile.requests, profile.failures) == (1500, 500)
    assert (profile.p50_ms, profile.p95_ms, profile.p99_ms) == pytest.approx((500.5, 950.05, 990.01))


def test_the_baseline_is_told_at_its_worst() -> None:
    seen = observe(history(reads=[read(115.0)], users=UP), SCENARIO, Window(110.0, 120.0))
    heavy = msgspec.structs.replace(sample(114.0), memory={"http": 200 * 2**20})
    base = measure.baseline(seen, [sample(112.0), heavy, sample(118.0)], [], users=2)
    assert base.memory_mib == 200.0


def test_every_event_is_a_mark_on_the_runs_axis() -> None:
    marks = measure.marks([event(100.0, "run.begin", "It begins."), bite(140.0)], ORIGIN)
    assert [(mark.t, mark.name, mark.text) for mark in marks] == [
        (0.0, "run.begin", "It begins."),
        (40.0, "fault.bite", "kill-service bit."),
    ]
