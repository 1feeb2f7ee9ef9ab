"""The records over HTTP: nobody reads them without a token for it, and what is read is the table without a secret."""

from __future__ import annotations

import csv
import io
import itertools
import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from system.reporting import exports, retention
from system.reporting.exports import csv_lines, defused
from system.reporting.listings import RECORDS
from system.reporting.retention import Bound
from tests.system.admin.visitors import let_in, stamp
from tests.system.conftest import ENGINES
from tests.system.front import PASSWORD, Front
from tests.system.gym import PostgresGym

TOKEN = "gymadm_the-token-of-those-who-look"
_NUMBERS = itertools.count(1)


@pytest.fixture(scope="module", params=ENGINES)
def front(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    """A platform whose records may be read, on which something has happened."""
    with platform(request, tmp_path_factory.mktemp("records")) as front:
        yield front


@pytest.fixture(params=ENGINES)
def own(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Front]:
    """The same for one test alone, which takes records away."""
    with platform(request, tmp_path) as front:
        yield front


@contextmanager
def platform(request: pytest.FixtureRequest, directory: Path) -> Iterator[Front]:
    """A platform in that directory, on the engine that the request names."""
    with ExitStack() as stack:
        url = f"sqlite:///{directory / 'gym.db'}"
        if request.param == "postgres":
            gym = PostgresGym(request.getfixturevalue("postgres_templates"), f"records_{next(_NUMBERS)}", "empty")
            stack.callback(gym.close)
            url = gym.url
        front = stack.enter_context(Front(directory, url))
        happen(front)
        yield front


def happen(front: Front) -> None:
    """Two users, a challenge and what it tells them, reads, refusals."""
    stamp(front)
    let_in(front.config.database_url, TOKEN, ["read:records"])
    ann, ann_token = front.join("ann")
    bob, bob_token = front.join("bob")
    issued = front.call("POST", "/challenges", {"opponent_id": bob, "stake": 1, "title": "Row"}, token=ann_token)
    assert issued.status_code == 201, issued.text
    for _ in range(5):
        assert front.call("GET", "/users/me", token=bob_token).status_code == 200
    assert front.call("GET", "/users/me", token="planted-" + "t" * 40).status_code == 401
    assert front.call("POST", "/sessions", {"name": "ann", "password": "planted wrong one"}).status_code == 401
    front.until(lambda: len(listed(front, "deliveries")) >= 1)
    front.until(lambda: len(listed(front, "activity", "&status=4xx")) >= 2)
    assert ann != bob


def listed(front: Front, record: str, query: str = "") -> list[dict[str, Any]]:
    """The newest page."""
    reply = front.call("GET", f"/admin/api/{record}?limit=1000{query}", token=TOKEN)
    assert reply.status_code == 200, reply.text
    rows: list[dict[str, Any]] = reply.json()[record]
    return rows


def exported(front: Front, record: str, form: str, query: str = "") -> str:
    reply = front.call("GET", f"/admin/api/{record}.{form}{query}", token=TOKEN)
    assert reply.status_code == 200, reply.text
    assert f'filename="{record}.{form}"' in reply.headers["content-disposition"]
    return str(reply.text)


EVERYTHING = [*RECORDS, *(f"{record}.{form}" for record in RECORDS for form in exports.FORMS), "rollups"]


@pytest.mark.parametrize("place", EVERYTHING)
def test_only_the_token_lets_anybody_in(front: Front, place: str) -> None:
    assert front.call("GET", f"/admin/api/{place}").status_code == 401
    assert front.call("GET", f"/admin/api/{place}", token=TOKEN[:-1]).status_code == 401
    assert front.call("GET", f"/admin/api/{place}", token=front.regular()).status_code == 401
    assert front.call("GET", f"/admin/api/{place}", token=TOKEN).status_code == 200


def test_a_request_is_recorded_with_who_what_and_how(front: Front) -> None:
    ann = next(row["user_id"] for row in listed(front, "activity", "&kind=challenges.issue"))
    mine = listed(front, "activity", f"&user={ann}")
    issued = next(row for row in mine if row["kind"] == "challenges.issue")
    assert (issued["status"], issued["operation_id"].startswith("front.")) == (201, True)
    assert issued["took_us"] > 0
    assert issued["request_id"]
    assert {row["kind"] for row in mine} >= {"users.log_in", "challenges.issue"}
    assert {row["status"] for row in listed(front, "activity", "&kind=users.me&status=4xx")} == {401}
    assert len(listed(front, "activity", "&kind=users.me&status=2xx")) == 5
    assert all(not row["kind"].startswith("health") for row in listed(front, "activity"))


def test_deliveries_say_to_whom_and_of_what(front: Front) -> None:
    (told, *_) = listed(front, "deliveries", "&status=delivered")
    assert (told["kind"], told["outcome"], told["attempt"], told["error"]) == ("challenge-issued", "delivered", 1, "")
    assert listed(front, "deliveries", f"&user={told['user_id']}")
    assert listed(front, "deliveries", "&status=failed") == []


def test_health_has_a_history(front: Front) -> None:
    front.until(lambda: bool(listed(front, "health", "&status=pass")))
    assert listed(front, "health", "&status=fail") == []


def test_rollups_count_what_was_asked(front: Front) -> None:
    def kinds() -> dict[str, Any]:
        reply = front.call("GET", "/admin/api/rollups", token=TOKEN)
        return {one["kind"]: one for one in reply.json()["kinds"]}

    front.until(lambda: kinds().get("users.me", {}).get("requests", 0) >= 6)
    me = kinds()["users.me"]
    assert (me["requests"], me["refused"], me["failed"]) == (6, 1, 0)
    assert sum(value for name, value in me.items() if name.startswith("within_")) == 6


@pytest.mark.parametrize(
    "query",
    ["after=x", "after=AAAA", "limit=0", "limit=1001", "status=777", "from=yesterday", "user=nobody"],
)
def test_what_cannot_be_asked_is_a_problem(front: Front, query: str) -> None:
    reply = front.call("GET", f"/admin/api/activity?{query}", token=TOKEN)
    assert (reply.status_code, reply.headers["content-type"]) == (400, "application/problem+json")


def test_a_cursor_goes_on_and_a_changed_one_is_refused(front: Front) -> None:
    first = front.call("GET", "/admin/api/activity?limit=2", token=TOKEN).json()
    then = front.call("GET", f"/admin/api/activity?limit=2&after={first['next']}", token=TOKEN).json()
    assert not {row["id"] for row in first["activity"]} & {row["id"] for row in then["activity"]}
    changed = ("B" if first["next"].startswith("A") else "A") + first["next"][1:]
    for query in (f"after={first['next'][:-1]}", f"after={first['next']}&user=1", f"after={changed}"):
        reply = front.call("GET", f"/admin/api/activity?limit=2&{query}", token=TOKEN)
        assert (reply.status_code, reply.json()["code"]) == (400, "cursor-invalid")


@pytest.mark.parametrize("record", RECORDS)
def test_an_export_is_the_table(front: Front, record: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """In pages of three, so that there are many; what is recorded meanwhile is newer, and left out by an end."""
    monkeypatch.setattr(exports.exported, "__defaults__", (3,))
    rows = listed(front, record)
    end = "?to=2100-01-01T00:00:00Z"
    lines = [json.loads(line) for line in exported(front, record, "ndjson", end).splitlines()]
    known = {row["id"] for row in rows}
    assert [line for line in lines if line["id"] in known] == rows
    table = list(csv.DictReader(io.StringIO(exported(front, record, "csv", end))))
    shown = {name: "" if value is None else str(defused(value)) for name, value in rows[-1].items()} if rows else {}
    assert [row for row in table if int(row["id"]) in known][-1:] == ([shown] if rows else [])
    assert len({row["id"] for row in table}) == len(table) >= len(rows)


def test_no_secret_is_in_any_record(front: Front) -> None:
    secrets = (PASSWORD, "planted wrong one", "planted-" + "t" * 40, TOKEN, front.regular())
    for record in RECORDS:
        told = exported(front, record, "ndjson")
        assert [secret for secret in secrets if secret in told] == []


def test_cells_that_a_spreadsheet_would_run_are_defused() -> None:
    cells = ["=1+1", "+1", "-1", "@x", "\tx", "\rx", "plain", "", 7, -7, None]
    assert [defused(cell) for cell in cells] == [
        "'=1+1", "'+1", "'-1", "'@x", "'\tx", "'\rx", "plain", "", 7, -7, None,
    ]  # fmt: skip
    text = csv_lines(("a", "b"), [{"a": '=x,"y"', "b": 1}], header=True).decode()
    assert text == 'a,b\r\n"\'=x,""y""",1\r\n'


def test_where_nobody_made_a_token_none_opens_anything(tmp_path: Any) -> None:
    with Front(tmp_path, f"sqlite:///{tmp_path / 'gym.db'}") as front:
        for place in EVERYTHING:
            reply = front.call("GET", f"/admin/api/{place}", token=TOKEN)
            assert (reply.status_code, reply.json()["code"]) == (401, "log-in-required")


def test_the_service_prunes_what_is_too_much(own: Front) -> None:
    for _ in range(20):
        own.call("GET", "/users/me")
    own.until(lambda: len(listed(own, "activity")) > 20)
    rows = listed(own, "activity")
    own.run(retention.prune_rows_of(own.app.state.lanes, "activity", Bound(days=36_500, rows=5)))
    left = listed(own, "activity")
    assert len(left) < len(rows) - 10
    assert min(row["id"] for row in left) > rows[5]["id"]


def test_the_service_leaves_sums_that_are_not_old(front: Front) -> None:
    def kinds() -> list[str]:
        return [one["kind"] for one in front.call("GET", "/admin/api/rollups", token=TOKEN).json()["kinds"]]

    front.until(lambda: bool(kinds()))
    before = kinds()
    front.run(retention.prune_rollups_of(front.app.state.lanes, 60))
    assert set(before) <= set(kinds())
