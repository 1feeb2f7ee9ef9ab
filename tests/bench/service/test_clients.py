"""The clients count what they see: expected answers, others, and none; each step as it goes over the wire."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

import pytest

from ci.loopback import HOST
from loadtests import scenario_file
from loadtests.population import Match, Player, Population, Tournament
from loadtests.scenario import GYM_DAY
from loadtests.virtual_user import Script, Step
from tests.bench.service.clients import WRITES, Tally, counted, only, play, request, visitor

PEOPLE = Population(
    run="r",
    users=tuple(Player(number, f"u{number}", f"token-{number}") for number in range(1, 5)),
    tournaments=(Tournament(1, 1, True),),
    matches=(Match(1, 1, 2, 1), Match(2, 3, 4, 1)),
    password="password",
)
Reply = Callable[[bytes], bytes]


def script(*flows: str) -> Script:
    scenario = scenario_file.read(GYM_DAY)
    return Script(only(scenario, flows) if flows else scenario, PEOPLE, seed=1, run="r", users=4)


def answered(reply: Reply, played: Script) -> tuple[Tally, list[bytes]]:
    """What three clients saw of a service that answers so, and the first lines it was sent."""
    tally = Tally()
    lines: list[bytes] = []
    serving: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        serving.add(task)
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = next((line for line in head.split(b"\r\n") if line.startswith(b"Content-Length: ")), b": 0")
                await reader.readexactly(int(length.split(b": ")[1]))
                lines.append(head.split(b"\r\n")[0])
                if not (said := reply(head)):
                    break
                writer.write(said)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()

    async def run() -> None:
        server = await asyncio.start_server(serve, HOST, 0)
        async with server:
            await play(HOST, server.sockets[0].getsockname()[1], played, 3, 0.3, 0.0, tally)
            await asyncio.gather(*serving)

    asyncio.run(run())
    return tally, lines


def test_expected_answers_are_counted_by_flow(capsys: pytest.CaptureFixture[str]) -> None:
    tally, lines = answered(lambda _: b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", script("profile", "player"))
    found = counted(tally, 0.3)
    assert found.unexpected == {}
    assert found.requests == sum(found.flows.values()) > 3
    assert set(found.flows) == {"profile", "player"}
    assert 0 < found.p50_ms <= found.p95_ms
    assert all(line.startswith((b"GET /users/me ", b"GET /users/")) for line in lines)
    assert capsys.readouterr().out == "began\nended\n"


def test_an_answer_of_another_status_is_told() -> None:
    tally, _ = answered(lambda _: b"HTTP/1.1 503 Away\r\ncontent-length: 0\r\n\r\n", script("profile"))
    assert set(tally.unexpected) == {"profile 503"}


@pytest.mark.parametrize("said", [b"", b"HTTP/1.1 200 OK\r\n\r\n"])
def test_an_answer_that_never_comes_or_tells_no_length_is_told(said: bytes) -> None:
    tally, _ = answered(lambda _: said, script("profile"))
    assert set(tally.unexpected) == {"profile 0"}


def test_a_write_carries_its_operation_and_a_read_none() -> None:
    flow = {flow.name: flow for flow in scenario_file.read(GYM_DAY).flows}
    write = request(Step(flow["edit-profile"], "/users/me", b'{"bio": ""}', "r.1.1", None), "t", "r", "h:1").decode()
    assert write.startswith(
        "PATCH /users/me HTTP/1.1\r\nHost: h:1\r\nAuthorization: Bearer t\r\nOperation-Id: r.1.1\r\n"
    )
    assert write.endswith('Content-Length: 11\r\n\r\n{"bio": ""}')
    read = request(Step(flow["profile"], "/users/me", b"", None, None), "t", "r", "h:1").decode()
    assert read == "GET /users/me HTTP/1.1\r\nHost: h:1\r\nAuthorization: Bearer t\r\n\r\n"


def test_the_mix_of_writes_holds_nothing_else() -> None:
    users = [visitor(number, script(*WRITES)) for number in range(1, 20)]
    chosen = {user.next_step().flow.name for user in users for _ in range(20) if user.think() >= 0}
    assert chosen == set(WRITES)
