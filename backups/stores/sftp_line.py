"""One SFTP connection for code that waits: an event loop in a thread, opened when first used, and again after it broke.

Host keys are always checked. Whatever a server does, nobody waits for one step longer than the line's patience.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final, TypeVar
from urllib.parse import parse_qsl, unquote, urlsplit

import asyncssh
from asyncssh import SFTPClient

from backups.errors import StoreError, StoreUnusable

T = TypeVar("T")

PASSWORD: Final = "GYM_SFTP_PASSWORD"  # noqa: S105 - the variables' names
PASSPHRASE: Final = "GYM_SFTP_PASSPHRASE"  # noqa: S105
CONNECT_S: Final = 5.0
PATIENCE_S: Final = 30.0
_BROKEN: Final = (asyncssh.SFTPConnectionLost, asyncssh.SFTPNoConnection, asyncssh.ConnectionLost, ConnectionError)


@dataclass(frozen=True, slots=True)
class Address:
    """`sftp://user@host:port/absolute/path?key=FILE&known_hosts=FILE`; what is left out is as in ~/.ssh."""

    host: str
    port: int
    path: str
    user: str | None
    key: str | None
    known_hosts: str | None

    @classmethod
    def read(cls, text: str) -> Address:
        """The address, taken apart. Raises StoreUnusable, without repeating a secret that should not be in it."""
        parts = urlsplit(text)
        options = dict(parse_qsl(parts.query, keep_blank_values=True))
        known = {name: options.pop(name, None) for name in ("key", "known_hosts")}
        if parts.password is not None or {"password", "passphrase"} & options.keys():
            raise StoreUnusable(
                f"The address of the store at {parts.hostname} holds a secret; put it into {PASSWORD}, or use a key instead."
            )
        if options:
            raise StoreUnusable(f"{text} says {', '.join(sorted(options))}, and only key and known_hosts are known.")
        try:
            port = parts.port or 22
        except ValueError as error:
            raise StoreUnusable(f"{text} has no port that is a number from 1 to 65535.") from error
        if not parts.hostname or parts.path in ("", "/"):
            raise StoreUnusable(f"{text} is not an SFTP store; write sftp://user@host/absolute/path.")
        user = unquote(parts.username) if parts.username else None
        return cls(parts.hostname, port, unquote(parts.path).rstrip("/"), user, known["key"], known["known_hosts"])


class Line:
    """The connection to one server. To be used from any thread; steps of several threads go on at once."""

    def __init__(self, shown: str, address: Address, patience_s: float = PATIENCE_S) -> None:
        self._shown = shown
        self._address = address
        self._patience_s = patience_s
        self._opening = asyncio.Lock()
        self._client: SFTPClient | None = None
        self._connection: asyncssh.SSHClientConnection | None = None
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, name="sftp", daemon=True).start()

    def step(self, act: Callable[[SFTPClient], Awaitable[T]], *, again: bool = False) -> T:
        """What the act gives, within the line's patience; `again` allows a second try on a new connection.

        Raises StoreError when the server is away, StoreUnusable when it does not let us in, and the server's own SFTPError.
        """
        try:
            return asyncio.run_coroutine_threadsafe(self._step(act), self._loop).result()
        except _BROKEN as error:
            if again:
                return self.step(act)
            raise self._away(f"the connection broke ({_reason(error)})") from error
        except TimeoutError as error:
            raise self._away(f"it did not answer within {self._patience_s:g} s") from error

    async def _step(self, act: Callable[[SFTPClient], Awaitable[T]]) -> T:
        client = await self._opened()
        try:
            async with asyncio.timeout(self._patience_s):
                return await act(client)
        except (*_BROKEN, TimeoutError):
            self._hang_up(client)
            raise

    async def _opened(self) -> SFTPClient:
        async with self._opening:
            if self._client is None:
                self._connection, self._client = await self._connect()
            return self._client

    async def _connect(self) -> tuple[asyncssh.SSHClientConnection, SFTPClient]:
        address = self._address
        options: dict[str, Any] = {
            "username": address.user,
            "client_keys": [address.key] if address.key else None,
            "known_hosts": address.known_hosts,
            "password": os.environ.get(PASSWORD),
            "passphrase": os.environ.get(PASSPHRASE),
        }
        given = {name: value for name, value in options.items() if value is not None}
        if address.key:
            given["agent_path"] = None
        try:
            async with asyncio.timeout(min(CONNECT_S, self._patience_s)):
                connection = await asyncssh.connect(
                    address.host, address.port, keepalive_interval=10, keepalive_count_max=3, config=[], **given
                )
                return connection, await connection.start_sftp_client()
        except asyncssh.HostKeyNotVerifiable as error:
            raise StoreUnusable(
                f"The host key of {self._shown} is not the one that is known for it: find out why before going on, then put "
                "the right one into known_hosts."
            ) from error
        except asyncssh.PermissionDenied as error:
            raise StoreUnusable(
                f"{self._shown} does not let us in: look at the user, the key and its rights."
            ) from error
        except (asyncssh.KeyImportError, asyncssh.KeyEncryptionError) as error:
            raise StoreUnusable(
                f"The key for {self._shown} cannot be used ({_reason(error)}); its passphrase goes into {PASSPHRASE}."
            ) from error
        except TimeoutError as error:
            raise self._away("it did not answer") from error
        except (OSError, asyncssh.Error) as error:
            raise self._away(_reason(error)) from error

    def _hang_up(self, client: SFTPClient) -> None:
        """That connection is not used again; nobody waits for its end."""
        if self._client is client:
            if self._connection is not None:
                self._connection.abort()
            self._client = self._connection = None

    def _away(self, why: str) -> StoreError:
        return StoreError(f"{self._shown} failed: {why}; is it reachable?")


def _reason(error: BaseException) -> str:
    """The first line of what went wrong."""
    said = str(error).strip() or type(error).__name__
    return said.splitlines()[0].rstrip(".")[:200]
