"""A small stand-in for the service: real sockets, keep-alive, operation ids, acknowledgement headers; state in memory.

Run as a process: `python stub_service.py --port N --applied FILE`. It prints its port, then serves until it is killed.
Every applied write is appended to FILE as `<operation id> <digest>`, so that a test can hold a ledger against it.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import itertools
import json
import os
import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, urlsplit

Answer = tuple[int, dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Call:
    """A request by the player `me`."""

    method: str
    path: str
    query: dict[str, list[str]]
    body: dict[str, Any]
    me: int


class Gym:
    """The rules, as far as a load test can tell. Players are known by their tokens: `token-7` is user 7."""

    def __init__(self) -> None:
        self.ids = itertools.count(1000)
        self.users: dict[str, int] = {}
        self.challenges: dict[int, dict[str, Any]] = {}
        self.notifications: dict[int, list[int]] = {}
        self.entries: set[tuple[int, int]] = set()

    def answer(self, call: Call) -> Answer:
        """Status and body of a request."""
        me = call.me
        match [call.method, *call.path.strip("/").split("/")]:
            case ["POST", "users"]:
                return self.sign_up(call.body["name"], call.body["password"])
            case ["POST", "sessions"]:
                user = self.users.get(call.body["name"], me)
                return 201, {"session_id": next(self.ids), "user_id": user, "token": f"token-{user}", "expires_ms": 1}
            case ["GET" | "PATCH", "users", "me"]:
                return 200, {"id": me, "name": f"u{me}", "points": 1000}
            case ["GET", "users", "me", "points"]:
                return 200, {"balance": 1000, "entries": [], "next": None}
            case ["GET", "users", id_]:
                return 200, {"id": int(id_), "name": f"u{id_}"}
            case ["GET", "tournaments"]:
                return 200, {"tournaments": [], "next": None}
            case ["POST", "tournaments"]:
                return 201, {"id": next(self.ids), "state": "draft"}
            case ["POST", "tournaments", id_, "open"] | ["GET", "tournaments", id_]:
                return 200, {"id": int(id_), "state": "open"}
            case ["POST", "tournaments", id_, "entries"]:
                return self.enter(int(id_), me)
            case ["GET", "tournaments", _, "standings"]:
                return 200, {"standings": []}
            case ["POST", "tournaments", _, "matches"]:
                return 201, {"id": next(self.ids)}
            case ["POST", "matches", id_, "events"]:
                assert 1 <= call.body["points"] <= 10, call.body
                assert call.body["side"] in ("home", "away"), call.body
                return 201, {"match_id": int(id_), "event_id": next(self.ids)}
            case _:
                return self.social(call)

    def social(self, call: Call) -> Answer:
        """Challenges and notifications."""
        me = call.me
        match [call.method, *call.path.strip("/").split("/")]:
            case ["POST", "challenges"]:
                return self.challenge(me, call.body["opponent_id"], call.body["stake"])
            case ["GET", "challenges"]:
                mine = [one for one in self.challenges.values() if me in (one["challenger_id"], one["opponent_id"])]
                found = [one for one in mine if [one["state"]] == call.query["state"]]
                return 200, {"challenges": found[:20], "next": None}
            case ["POST", "challenges", id_, "accept"]:
                return self.move(int(id_), "issued", "accepted")
            case ["POST", "challenges", id_, "decline"]:
                return self.move(int(id_), "issued", "declined")
            case ["POST", "challenges", id_, "settle"]:
                return self.move(int(id_), "accepted", "settled")
            case ["GET", "notifications"]:
                return 200, {"notifications": [{"id": id_} for id_ in self.notifications.get(me, [])[:20]]}
            case ["GET", "notifications", "unread-count"]:
                return 200, {"unread": len(self.notifications.get(me, []))}
            case ["POST", "notifications", "read-all"]:
                self.notifications[me] = []
                return 200, {}
            case ["POST", "notifications", id_, "read"]:
                self.notifications[me] = [one for one in self.notifications.get(me, []) if one != int(id_)]
                return 200, {"id": int(id_)}
            case _:
                return 404, {"code": "not-found", "status": 404}

    def sign_up(self, name: str, password: str) -> Answer:
        if not re.fullmatch(r"[a-z0-9_-]{3,40}", name) or not 8 <= len(password) <= 128:
            return 422, {"code": "invalid", "status": 422}
        if name in self.users:
            return 409, {"code": "name-taken", "status": 409}
        self.users[name] = next(self.ids)
        return 201, {"id": self.users[name], "name": name, "points": 1000}

    def enter(self, tournament: int, me: int) -> Answer:
        if (tournament, me) in self.entries:
            return 409, {"code": "already-entered", "status": 409}
        self.entries.add((tournament, me))
        return 201, {"tournament_id": tournament, "user_id": me, "entries": 1}

    def challenge(self, me: int, opponent: int, stake: int) -> Answer:
        assert 1 <= stake <= 5, stake
        assert opponent != me
        id_ = next(self.ids)
        self.challenges[id_] = {"id": id_, "challenger_id": me, "opponent_id": opponent, "state": "issued"}
        self.notifications.setdefault(opponent, []).append(next(self.ids))
        return 201, {"id": id_, "state": "issued", "expires_ms": 1}

    def move(self, id_: int, before: str, after: str) -> Answer:
        challenge = self.challenges.get(id_)
        if challenge is None:
            return 404, {"code": "not-found", "status": 404}
        if challenge["state"] != before:
            return 409, {"code": f"not-{before}", "status": 409}
        challenge["state"] = after
        return 200, {"id": id_, "state": after}


class Server:
    """Speaks HTTP/1.1 for a `Gym`. `spoil`: profiles answer 500, scores break off, challenges never answer."""

    def __init__(self, gym: Gym, applied: int | None, spoil: bool, delay_s: float) -> None:
        self.gym = gym
        self.applied = applied
        self.spoil = spoil
        self.delay_s = delay_s
        self.sequence = itertools.count(1)
        self.stored: dict[str, tuple[int, bytes, list[str]]] = {}

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, request after request, until the client closes it."""
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
                method, target, _ = head[0].split(" ")
                headers = {k.lower(): v for k, _, v in (line.partition(": ") for line in head[1:] if line)}
                body = await reader.readexactly(int(headers.get("content-length", "0")))
                if self.delay_s:
                    await asyncio.sleep(self.delay_s)
                if self.spoil and method == "POST" and target == "/challenges":
                    continue
                data = self.respond(method, target, headers, body)
                cut = self.spoil and target.endswith("/events")
                writer.write(data[:-5] if cut else data)
                await writer.drain()
                if cut:
                    break
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    def respond(self, method: str, target: str, headers: dict[str, str], body: bytes) -> bytes:
        """The response's bytes."""
        split = urlsplit(target)
        me = int(headers.get("authorization", "Bearer token-0").removeprefix("Bearer token-"))
        operation = headers.get("operation-id", "")
        write = method != "GET"
        if write and not operation:
            return self.encode(400, b'{"code":"operation-id-missing"}', [])
        if "idempotency-key" in headers:
            return self.encode(400, b'{"code":"wrong-header"}', [])
        if self.spoil and method == "PATCH":
            return self.encode(500, b'{"code":"internal"}', [])
        if operation in self.stored:
            status, answer, extra = self.stored[operation]
            return self.encode(status, answer, [*extra, "Operation-Replayed: true"])
        status, content = self.gym.answer(
            Call(method, split.path, parse_qs(split.query), json.loads(body or b"{}"), me)
        )
        answer, extra = json.dumps(content).encode(), ["Server-Timing: db;dur=1.5"]
        if write and status < 300:
            digest = hashlib.blake2b(operation.encode(), digest_size=16).hexdigest()
            extra += [
                f"Operation-Id: {operation}",
                f"Commit-Sequence: {next(self.sequence)}",
                f"Effect-Digest: {digest}",
            ]
            self.stored[operation] = status, answer, extra
            if self.applied is not None:
                os.write(self.applied, f"{operation} {digest}\n".encode())
        return self.encode(status, answer, extra)

    def encode(self, status: int, body: bytes, extra: list[str]) -> bytes:
        """A whole response."""
        kind = "application/json" if status < 400 else "application/problem+json"
        lines = [f"HTTP/1.1 {status} X", f"Content-Type: {kind}", f"Content-Length: {len(body)}", *extra]
        return "\r\n".join([*lines, "", ""]).encode() + body


async def main() -> None:
    """Serves until killed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--applied")
    parser.add_argument("--spoil", action="store_true")
    parser.add_argument("--delay-s", type=float, default=0.0)
    options = parser.parse_args()
    applied = os.open(options.applied, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644) if options.applied else None
    service = Server(Gym(), applied, options.spoil, options.delay_s)
    server = await asyncio.start_server(service.serve, "127.0.0.1", options.port, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
