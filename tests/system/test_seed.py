"""The seed: a population that can play at once, and a database an audit finds nothing wrong with."""

from __future__ import annotations

import asyncio
import hashlib
import json
import stat
from pathlib import Path
from typing import Any

import msgspec
import pysqlite3.dbapi2 as sqlite
import pytest

from ci import cli
from system import challenge_service, match_service, operations_service, tournament_service, user_service
from system.database import SCHEMA_REVISION, engine_for
from system.passwords import HashingPool
from system.seed import Population, SeedTrouble, seed, write_population
from tests.system.gym import Gym, SqliteGym, faults


def sow(gym: Gym, *, users: int = 12, tournaments: int = 3, matches: int = 12, number: int = 1) -> Population:
    engine = engine_for(gym.url, writer=True)
    try:
        return seed(
            engine,
            users_count=users,
            tournaments_count=tournaments,
            matches_count=matches,
            run="r",
            seed=number,
            now_ms=gym.now_ms,
        )
    finally:
        engine.dispose()


def test_an_audit_of_a_seeded_database_finds_nothing(gym: Gym) -> None:
    sow(gym)
    facts = gym.facts()
    assert faults(facts) == []
    assert facts.conservation.minted == 12_000
    with gym.session() as session:
        survivors = list(operations_service.survivors(session, "seed"))
    assert len(survivors) > 12
    assert all((found.digest, found.applied) == (found.stored, 1) for found in survivors)


def test_tokens_open_sessions_and_the_password_logs_in(gym: Gym) -> None:
    population = sow(gym)
    assert len({player.token for player in population.users}) == 12
    for player in population.users:
        hashed = hashlib.sha256(player.token.encode()).hexdigest()
        assert gym.read(user_service.session_user, hashed, gym.now_ms) == player.id
    known = gym.read(user_service.credentials, population.users[-1].name)
    assert known is not None
    pool = HashingPool(threads=1, places=1)
    assert asyncio.run(pool.verify(known[1], population.password))
    assert not asyncio.run(pool.verify(known[1], "another password"))
    pool.close()


def test_players_are_named_by_number_and_have_a_thousand_points(gym: Gym) -> None:
    population = sow(gym)
    assert [player.name for player in population.users[:2]] == ["u0001", "u0002"]
    assert [gym.points(player.id) for player in population.users] == [1000] * 12


def test_everything_in_the_population_can_be_played(gym: Gym) -> None:
    """Scored, closed, joined, paired, challenged: under the rules that the services keep."""
    population = sow(gym)
    for match in population.matches:
        assert match.home_id != match.away_id
        gym.apply(match_service.score, match.id, "home", 1, actor=match.home_id)
        gym.apply(match_service.score, match.id, "away", 1, actor=match.away_id)
    organiser = {one.id: one.organiser for one in population.tournaments}
    gym.apply(match_service.close, 1, actor=organiser[population.matches[0].tournament_id])
    entered = {(one.tournament_id, player) for one in population.matches for player in (one.home_id, one.away_id)}
    cup, newcomer = next(
        (cup.id, player.id)
        for cup in population.tournaments
        for player in population.users
        if (cup.id, player.id) not in entered
    )
    gym.apply(tournament_service.join, cup, actor=newcomer)
    assert 995 <= gym.points(newcomer) <= 999
    gym.apply(challenge_service.issue, 2, 5, "Rowing", actor=1)
    assert faults(gym.facts()) == []


def test_everybody_has_a_match_before_anybody_has_two(gym: Gym) -> None:
    population = sow(gym, users=5, matches=7)
    assert [match.home_id for match in population.matches] == [1, 2, 3, 4, 5, 1, 2]


def test_a_seed_repeats_every_choice_but_the_secrets(gym: Gym, tmp_path: Path) -> None:
    other = SqliteGym(tmp_path / "other.db")
    one, same = sow(gym, number=5), sow(other, number=5)
    other.close()
    assert (one.matches, one.tournaments) == (same.matches, same.tournaments)
    assert one.password != same.password
    assert {player.token for player in one.users}.isdisjoint(player.token for player in same.users)


def test_another_seed_makes_other_choices(gym: Gym, tmp_path: Path) -> None:
    other = SqliteGym(tmp_path / "other.db")
    one, another = sow(gym, number=5), sow(other, number=6)
    other.close()
    assert one.matches != another.matches


def test_two_players_and_nothing_to_play_is_a_population(gym: Gym) -> None:
    population = sow(gym, users=2, tournaments=1, matches=0)
    assert (len(population.users), population.matches) == (2, [])
    assert faults(gym.facts()) == []


def test_a_database_with_users_is_refused_and_left_alone(gym: Gym) -> None:
    gym.user("ann")
    with pytest.raises(SeedTrouble, match="users already"):
        sow(gym)
    assert gym.rows("SELECT name FROM users") == [("ann",)]


def test_a_database_that_is_being_written_is_refused_and_left_alone(gym: Gym, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("system.database.BUSY_TIMEOUT_MS", 1)
    if not isinstance(gym, SqliteGym):
        return  # On PostgreSQL nobody is kept from writing by somebody who writes.
    holder = sqlite.connect(gym.path, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    with pytest.raises(SeedTrouble, match="takes no writes now"):
        sow(gym)
    holder.close()
    assert gym.rows("SELECT count(*) FROM users") == [(0,)]


POPULATION = Population("r", "secret", [], [], [])


def test_a_population_file_is_its_owners_alone(tmp_path: Path) -> None:
    path = tmp_path / "population.json"
    write_population(POPULATION, path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert msgspec.json.decode(path.read_bytes(), type=Population) == POPULATION


def test_a_population_file_that_others_could_read_is_replaced_not_filled(tmp_path: Path) -> None:
    """Whoever has the old file open sees nothing of the new one."""
    path = tmp_path / "population.json"
    path.write_text("old")
    path.chmod(0o644)
    with path.open() as old:
        write_population(POPULATION, path)
        assert old.read() == "old"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_population_file_left_half_written_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "population.json.partial").write_text("{")
    write_population(POPULATION, tmp_path / "population.json")
    assert [path.name for path in tmp_path.iterdir()] == ["population.json"]


@pytest.fixture
def migrated(gym: Gym) -> Gym:
    """A gym that says of itself which schema it has."""
    gym.tamper(
        "CREATE TABLE alembic_version (version_num TEXT)", f"INSERT INTO alembic_version VALUES ('{SCHEMA_REVISION}')"
    )
    return gym


def sown(gym: Gym, *more: str) -> int:
    return cli.run(["seed", "--database", gym.url, "--users", "4", "--tournaments", "2", "--matches", "3", *more])


def test_the_command_writes_the_file_the_load_tools_read(
    migrated: Gym, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "population.json"
    assert sown(migrated, "--population", str(path), "--run", "r1", "--json") == 0
    assert json.loads(capsys.readouterr().out) == {
        "users": 4, "tournaments": 2, "matches": 3, "population": str(path),
    }  # fmt: skip
    written: dict[str, Any] = json.loads(path.read_bytes())
    assert set(written) == {"run", "password", "users", "tournaments", "matches"}
    assert written["run"] == "r1"
    assert set(written["users"][0]) == {"id", "name", "token"}
    assert set(written["tournaments"][0]) == {"id", "organiser", "open"}
    assert set(written["matches"][0]) == {"id", "home_id", "away_id", "tournament_id"}
    assert len(migrated.rows("SELECT 1 FROM users")) == 4


def test_the_command_shows_no_secret(migrated: Gym, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert sown(migrated, "--population", str(tmp_path / "p.json")) == 0
    said = capsys.readouterr()
    written = json.loads((tmp_path / "p.json").read_bytes())
    for secret in (written["password"], written["users"][0]["token"]):
        assert secret not in said.out + said.err


def test_the_command_says_in_one_sentence_why_not(
    migrated: Gym, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    there, nowhere = str(tmp_path / "p.json"), str(tmp_path / "nowhere" / "p.json")
    assert sown(migrated, "--population", nowhere) == 2
    assert "There is no directory" in capsys.readouterr().err
    assert migrated.rows("SELECT count(*) FROM users") == [(0,)]
    assert sown(migrated, "--population", there) == 0
    capsys.readouterr()
    assert sown(migrated, "--population", there) == 2
    assert capsys.readouterr().err.startswith("The database has users already;")
    assert cli.run(["seed", "--database", "postgresql://127.0.0.1:1/x", "--population", there]) == 2
    assert "cannot be reached" in capsys.readouterr().err
    assert cli.run(["seed", "--database", f"sqlite:///{tmp_path}/none.db", "--population", there]) == 2
    assert "gymkhana migrate up" in capsys.readouterr().err
    assert not (tmp_path / "none.db").exists()


def test_the_command_refuses_a_database_without_a_schema(
    gym: Gym, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert sown(gym, "--population", str(tmp_path / "p.json")) == 2
    assert "gymkhana migrate up" in capsys.readouterr().err
    assert not (tmp_path / "p.json").exists()
