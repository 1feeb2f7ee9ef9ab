"""Clients who write without a pause, know what they were told of each operation, and ask again about the rest."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

import httpx2

Outcome = Literal["acknowledged", "refused", "unknown"]
PASSWORD = "correct horse battery"
PATIENCE_S = 5.0


def outcome_of(status: int, said: str | None) -> Outcome:
    """What an answer says of its write: refused means that certainly nothing was written."""
    if 200 <= status < 300:
        return "acknowledged"
    return "refused" if said == "not-applied" or 400 <= status < 500 else "unknown"


@dataclass(slots=True)
class Client:
    """A user of the platform who goes on editing their profile, each time under an operation id of its own."""

    url: str
    name: str
    told: dict[str, Outcome] = field(default_factory=dict)
    _token: str = ""

    def join(self) -> None:
        """They have signed up and logged in."""
        for path, op in (("/users", "up"), ("/sessions", "in")):
            answer = self._send("POST", path, {"name": self.name, "password": PASSWORD}, f"{self.name}.{op}")
            assert answer.status_code == 201, answer.text
        self._token = answer.json()["token"]

    def write(self, op: str) -> Outcome:
        """Sends the operation, for the first time or again; what is known of it then."""
        try:
            answer = self._send("PATCH", "/users/me", {"bio": op}, op)
        except httpx2.RequestError as error:
            return "refused" if isinstance(error, httpx2.ConnectError) else "unknown"
        return outcome_of(answer.status_code, answer.headers.get("outcome"))

    def write_until(self, ended: threading.Event) -> None:
        """Writes, one operation after the other, until the event."""
        number = 0
        while not ended.is_set():
            number += 1
            op = f"{self.name}.{number}"
            self.told[op] = "unknown"
            self.told[op] = self.write(op)
            ended.wait(0.0 if self.told[op] == "acknowledged" else 0.2)

    def _send(self, method: str, path: str, body: dict[str, Any], op: str) -> httpx2.Response:
        headers = {"Operation-Id": op, **({"Authorization": f"Bearer {self._token}"} if self._token else {})}
        return httpx2.request(method, f"{self.url}{path}", json=body, headers=headers, timeout=PATIENCE_S)


@dataclass(slots=True)
class Crowd:
    """Several of them at once."""

    clients: list[Client]

    def ops(self, *outcomes: Outcome) -> set[str]:
        """The operations of which these were told."""
        return {op for client in self.clients for op, told in list(client.told.items()) if told in outcomes}

    def ask_again(self) -> dict[str, Outcome]:
        """What is known of every operation that was not acknowledged, once it was sent again under its own id."""
        return {
            op: client.write(op)
            for client in self.clients
            for op, told in client.told.items()
            if told != "acknowledged"
        }  # fmt: skip


@contextmanager
def writing(url: str, count: int = 4) -> Iterator[Crowd]:
    """So many clients write for the block; afterwards each has been answered, or has given up waiting."""
    crowd = Crowd([Client(url, f"client{number}") for number in range(count)])
    for client in crowd.clients:
        client.join()
    ended = threading.Event()
    threads = [threading.Thread(target=client.write_until, args=(ended,)) for client in crowd.clients]
    for thread in threads:
        thread.start()
    try:
        yield crowd
    finally:
        ended.set()
        for thread in threads:
            thread.join()
