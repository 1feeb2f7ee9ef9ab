"""The obvious version does what ours does: the same answers, the same facts left behind, and no error under load."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ci.cluster import Cluster
from ci.stand import standing
from loadtests import population, scenario_file
from loadtests.scenario import GYM_DAY
from system import audit
from system.database import SessionLocal, engine_for
from tests.bench.service.ground import Ground, Load, Production
from tests.bench.service.walk import Seen, differences, passing, walk

pytestmark = pytest.mark.processes


@pytest.fixture(scope="module", params=["SQLite", "PostgreSQL"])
def ground(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    directory = tmp_path_factory.mktemp("ground") / "stand"
    cluster = Cluster(directory / "pg") if request.param == "PostgreSQL" else None
    with standing(Production(directory, cluster=cluster)) as stand:
        made = Ground(stand, users=40, tournaments=5)
        made.build(history_s=0)
        yield made


def facts(ground: Ground) -> audit.Facts:
    engine = engine_for(ground.stand.database_url)
    try:
        with SessionLocal(bind=engine) as session:
            return audit.facts(session)
    finally:
        engine.dispose()


def sound(found: audit.Facts) -> bool:
    points = found.conservation
    return (
        points.balances + points.escrow + points.pools == points.minted
        and not points.accounts_off
        and not points.negative
        and not any(found.orphans.values())
        and not found.notifications.missing
        and not found.notifications.extra
    )


@pytest.mark.timeout(300)
def test_every_flow_is_answered_as_ours_answers_it_and_leaves_the_same_behind(ground: Ground) -> None:
    people = population.read(ground.stand.population)
    ground.fresh()
    with ground.serving(workers=1):
        ours = walk(ground.stand.port, people)
    ours_left = facts(ground)
    ground.fresh()
    with ground.serving_naive() as (port, _):
        naive = walk(port, people)
    assert differences(ours, naive) == []
    assert facts(ground) == ours_left
    assert sound(ours_left)
    assert {seen.flow for seen in naive} == {flow.name for flow in scenario_file.read(GYM_DAY).flows}


@pytest.mark.timeout(300)
def test_under_load_nothing_is_answered_that_nobody_expects_and_the_facts_hold(ground: Ground) -> None:
    ground.fresh()
    with ground.serving_naive() as (port, pids):
        measured = ground.busy(port, pids, Load(64, 3.0, 0.5))
    assert measured.counted.unexpected == {}
    assert measured.counted.requests > 64
    assert measured.cpu_s > 0
    assert (measured.server_cpu_s > 0) is (ground.server is not None)
    assert sound(facts(ground))


def test_another_status_and_another_shape_are_differences() -> None:
    seen = Seen("profile", 200, passing({"id": 1, "created_ms": 5, "bio": ""}))
    assert differences([seen], [Seen("profile", 200, passing({"id": 1, "created_ms": 6, "bio": ""}))]) == []
    for planted in (
        Seen("profile", 201, seen.body),
        Seen("profile", 200, passing({"id": 1, "created_ms": 5})),
        Seen("profile", 200, passing({"id": 1, "created_ms": "5", "bio": ""})),
        Seen("profile", 200, passing({"id": 2, "created_ms": 5, "bio": ""})),
    ):
        assert len(differences([seen], [planted])) == 1
    assert differences([seen], []) == ["1 answers and 0"]
