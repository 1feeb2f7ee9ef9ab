"""Unknown outcomes are resolved by asking the running service; open transactions are seen on the running server."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from backups.postgres.server import Server
from ci import aftermath
from ci.checker import Asked
from ci.cluster import Cluster
from ci.loopback import free_ports
from ci.stand import Stand
from loadtests.ledger import Clock, End, Invoke
from tests.e2e.caller import players

pytestmark = pytest.mark.processes


def unanswered(stand: Stand, *ops: str) -> None:
    """Ledgers in the stand's directory in which nobody ever learnt what became of these writes of user 1."""
    clock = Clock(run=stand.run, tool="locust", mono=1.0, wall=1.0, pid=1)
    lines = [clock, *(Invoke(op=op, flow="edit-profile", user=1, t=2.0) for op in ops)]
    lines += [End(invoked=len(ops), done=0, t=3.0)]
    content = b"".join(msgspec.json.encode(line) + b"\n" for line in lines)
    (stand.directory / "ledger.jsonl").write_bytes(content)


def test_whoever_asks_learns_which_unknown_writes_were_applied(gym: Stand) -> None:
    applied = players(gym)[0].write("PATCH", "/users/me", {"bio": "asked for"})
    assert applied.status == 200
    unanswered(gym, applied.operation, f"{gym.run}.never-sent")
    told = (Asked(applied.operation, "applied"), Asked(f"{gym.run}.never-sent", "absent"))
    assert aftermath.ask_again(gym.directory, gym.port) == told
    written = msgspec.json.Decoder(Asked).decode_lines((gym.directory / aftermath.FILE).read_bytes())
    assert tuple(written) == told


def test_a_service_that_does_not_answer_resolves_nothing(fresh: Stand) -> None:
    unanswered(fresh, f"{fresh.run}.1")
    assert aftermath.ask_again(fresh.directory, free_ports(1)[0]) == (Asked(f"{fresh.run}.1", "none"),)


def test_a_run_without_ledgers_has_nobody_to_ask_about(fresh: Stand) -> None:
    assert aftermath.ask_again(fresh.directory, free_ports(1)[0]) == ()


@pytest.fixture
def cluster(postgres: Server, tmp_path: Path) -> Cluster:
    """The shared server, as a stand has one."""
    made = Cluster(tmp_path / "pg")
    made.server = postgres
    return made


def test_a_transaction_that_nobody_ends_is_seen_on_the_server(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(aftermath, "LEFT_OPEN_S", 0.3)
    assert aftermath.look_at(cluster).open == ()
    with (
        cluster.server.connect(application_name="gymkhana-writer") as ours,
        cluster.server.connect(application_name="somebody-else") as theirs,
        ours.transaction(),
        theirs.transaction(),
    ):
        ours.execute("SELECT 1")
        theirs.execute("SELECT 1")
        (left,) = aftermath.look_at(cluster).open
        assert "gymkhana-writer is idle in transaction" in left
    assert aftermath.look_at(cluster).open == ()
