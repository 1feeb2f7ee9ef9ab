"""The page of a load, from a history written out: what it draws, and what it says of what was not measured."""

from __future__ import annotations

from ci import load_page
from ci.measure import Sample
from ci.record import Criterion
from loadtests.assessment import assess
from loadtests.generator import GeneratorSample
from loadtests.history import History
from loadtests.ledger import Clock, Done, User
from loadtests.scenario import ErrorLevel, Flow, Load, Scenario, Think

SCENARIO = Scenario(
    name="short",
    seed=1,
    timeout_s=5,
    think=Think(min_s=0.5, max_s=1.0),
    load=Load(users=1, ramp_per_s=1, seconds=0),
    flows=(Flow(name="profile", weight=1, method="GET", path="/users/me"),),
    levels=(ErrorLevel(gate_share=0),),
    samples_min=1,
)


def done(t: float, status: int = 200) -> Done:
    return Done(
        op=None, flow="profile", user=1, t=t, d=0.01, status=status, outcome="ok" if status == 200 else "unknown",
        write=False, db=2.0,
    )  # fmt: skip


def history(*dones: Done) -> History:
    clock = Clock(run="R", tool="k6", mono=100.0, wall=1_700_000_000.0, pid=1)
    return History((clock,), (), dones, (User(user=1, t=101.0, up=True),), "")


def page(
    told: History,
    samples: list[Sample],
    generator: list[GeneratorSample],
    accounts: tuple[Criterion, ...] = (),
) -> str:
    assessment = assess(told, SCENARIO, generator)
    origin, series, marks = load_page.fold(told, SCENARIO, assessment, samples, generator)
    run = load_page.LoadRun(
        "R",
        "k6",
        1,
        7,
        "gymkhana load --seed 7",
        "2023-11-14T22:13:20Z",
        SCENARIO,
        assessment.verdict,
        assessment,
        accounts,
        series,
        marks,
        20.0,
        origin,
    )
    return load_page.render(run)


STEADY = history(*(done(101.0 + n) for n in range(15)))
SAMPLES = [
    Sample(100.5 + n, {"http": 2**27}, 3, 1, 2.0, 4, n, 0, shed=5 * n, cpu={"http": 0.5}) for n in range(16)
]  # fmt: skip


def test_everything_is_drawn_on_one_axis() -> None:
    drawn = page(STEADY, SAMPLES, [GeneratorSample(100.5 + n, 0.1, 2**26) for n in range(16)])
    for name in (
        "requests", "errors", "p95", "p50", "memory", "http memory", "generator memory", "database p95", "by Server-Timing",
        "http CPU", "generator CPU", "open connections", "queue depth", "requests shed",
    ):  # fmt: skip
        assert f" {name} <small>highest" in drawn, name
    assert "steady 13 s" in drawn
    assert "Every user is up and has paused once." in drawn


def test_the_error_rate_is_drawn_where_there_were_errors() -> None:
    assert "error rate <small>" not in page(STEADY, SAMPLES, [])
    spoilt = history(*(done(101.0 + n, status=500 if n == 5 else 200) for n in range(15)))
    assert "error rate <small>highest 100" in page(spoilt, SAMPLES, [])


def test_raw_and_corrected_stand_side_by_side_and_the_command_repeats_it() -> None:
    drawn = page(STEADY, SAMPLES, [])
    assert '<th scope="row">raw</th>' in drawn
    assert '<th scope="row">corrected</th>' in drawn
    assert "Closed model: with the 0 requests" in drawn
    assert "gymkhana load --seed 7" in drawn


def test_a_service_that_could_not_be_asked_is_not_measured_and_not_0() -> None:
    drawn = page(STEADY, [], [])
    assert 'memory <span class="none">not measured</span>' in drawn
    assert "requests shed" not in drawn


def test_a_load_that_sent_nothing_has_a_page_that_says_so() -> None:
    drawn = page(history(), [], [])
    assert "Nothing was sent." in drawn


def test_what_became_of_the_writes_is_told_where_storage_was_looked_at() -> None:
    lost = Criterion(id="DATA-LOST", title="Writes lost", goal="0", measured="1 of 9", result="fail", why="R.1.7")
    assert "Every write" in page(STEADY, SAMPLES, [], (lost,))
    assert "1 of 9" in page(STEADY, SAMPLES, [], (lost,))
    assert "Every write" not in page(STEADY, SAMPLES, [])
