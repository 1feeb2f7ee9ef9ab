"""A store on another machine over SFTP, through asyncssh: any account on a server with sshd is one.

An object is written beside the store (`.staging/`), synced where the server offers that, and appears by a hard link, which
refuses a name that is taken; servers without hard links rename, which in version 3 of the protocol refuses it too. What SFTP
cannot do is sync a directory: after a power cut of the server the newest names may be gone, and that is seen, as all of
their backup is gone then, or it is listed as suspect.

Locks are lease objects (`lease.py`). To replace a version of one, its very bytes are claimed by a link that only one can
make; a claimant that died is gone past after `LEASE_S` seconds by the server's clock.
"""

from __future__ import annotations

import io
import secrets
import stat
import tempfile
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO, Final, TypeVar, cast

import asyncssh
from asyncssh import SFTPClient
from blake3 import blake3

from backups import staging
from backups.errors import NameTaken, NoSpace, ObjectMissing, StoreError, StoreUnusable
from backups.stores import lease
from backups.stores.lease import LEASE_S, Seen
from backups.stores.sftp_line import PATIENCE_S, Address, Line
from backups.stores.store import Store, StoredObject, checked_name

T = TypeVar("T")

_PIECE_BYTES: Final = 1 << 20
_STAGING: Final = ".staging"
_STAGED_S: Final = 3600.0
"""What was staged so long ago belongs to nobody any more."""
_LINKS: Final = 3
_CLAIMS: Final = 16
_MISSING: Final = (asyncssh.SFTPNoSuchFile, asyncssh.SFTPNoSuchPath, asyncssh.SFTPNotADirectory)


class SftpStore:
    """A store in a directory of an SFTP server, which is made by the first write when it is missing."""

    def __init__(self, address: str, *, patience_s: float = PATIENCE_S, lease_s: float = LEASE_S) -> None:
        place = Address.read(address)
        self._address = address
        self._root = place.path
        self._line = Line(address, place, patience_s)
        self._lease_s = lease_s

    @property
    def address(self) -> str:
        return self._address

    @property
    def local(self) -> Path | None:
        return None

    @property
    def copies(self) -> tuple[Store, ...]:
        return (self,)

    @property
    def trouble(self) -> tuple[str, ...]:
        return ()

    def create(self, name: str, chunks: Iterable[bytes]) -> int:
        return self._publish(checked_name(name), chunks)

    def open(self, name: str) -> BinaryIO:
        size = self.size(name)
        if size is None:
            raise ObjectMissing(f"{name} is not in {self._address}.")
        raw = _Ranges(lambda offset, count: self.fetch(name, offset, count), size)
        return cast(BinaryIO, io.BufferedReader(raw, _PIECE_BYTES))

    def fetch(self, name: str, offset: int, size: int) -> bytes:
        async def act(client: SFTPClient) -> bytes:
            async with client.open(self._path(name), "rb", encoding=None) as file:
                return cast(bytes, await file.read(size, offset))

        content = self._step(f"reading {name} from", act, name=checked_name(name)) if size else b""
        if len(content) != size:
            raise StoreError(f"{name} in {self._address} is cut short: it has no byte {offset + len(content)}.")
        return content

    def list(self, prefix: str = "") -> tuple[StoredObject, ...]:
        folder = prefix.rpartition("/")[0]
        found = [StoredObject(name, attributes.size or 0) for name, attributes in self._walk(folder)]
        return tuple(sorted((one for one in found if one.name.startswith(prefix)), key=lambda one: one.name))

    def size(self, name: str) -> int | None:
        try:
            found = self._stat(checked_name(name))
        except ObjectMissing:
            return None
        return found.size if stat.S_ISREG(found.permissions or 0) else None

    def delete(self, name: str) -> None:
        self.remove(checked_name(name))

    @contextmanager
    def exclusive(self, purpose: str, *, alone: bool = False) -> Iterator[None]:
        with lease.hold(self, self._address, purpose, alone=alone, lease_s=self._lease_s):
            self._sweep()
            yield

    def shared(self, purpose: str) -> AbstractContextManager[None]:
        return lease.reading(self, purpose, lease_s=self._lease_s)

    @contextmanager
    def scratch(self, purpose: str) -> Iterator[Path]:
        root = Path(tempfile.gettempdir(), "gymkhana-scratch")
        staging.sweep(root)
        with staging.directory(root, purpose) as place:
            yield place

    def look(self, name: str) -> Seen:
        async def act(client: SFTPClient) -> tuple[bytes, int | None]:
            async with client.open(self._path(name), "rb", encoding=None) as file:
                return cast(bytes, await file.read()), (await file.stat()).mtime

        content, written = self._step(f"reading {name} from", act, name=name)
        return Seen(content, blake3(content).hexdigest(), datetime.fromtimestamp(written or 0, UTC))

    def put_new(self, name: str, content: bytes) -> Seen:
        self._publish(name, (content,))
        return self.look(name)

    def replace(self, name: str, content: bytes, version: str) -> Seen:
        claims = self._claim(name, version)
        try:
            there = self.look(name).version
        except ObjectMissing:
            there = ""
        if there == version:
            staged = self._stage((content,))[0]
            self._step(f"writing {name} to", lambda client: client.posix_rename(staged, self._path(name)), name=name)
        for claim in claims:  # That version is gone for good: whoever claims it from now on finds another in its place.
            self.remove(claim)
        if there != version:
            raise NameTaken(f"{name} in {self._address} was replaced or removed meanwhile.")
        return self.look(name)

    def remove(self, name: str) -> None:
        with suppress(ObjectMissing):
            self._step(f"deleting {name} from", lambda client: client.remove(self._path(name)), name=name)

    def names(self, prefix: str) -> tuple[str, ...]:
        return tuple(name for name, _ in self._walk(prefix.rstrip("/"), hidden=True))

    def _claim(self, name: str, version: str) -> Sequence[str]:
        """The claims on that version, ours the last of them. Raises NameTaken when somebody living has one."""
        claims: Sequence[str] = ()
        for number in range(_CLAIMS):
            claims = (*claims, f".claims/{name.lstrip('.').replace('/', '-')}-{version[:32]}-{number}")
            try:
                self._publish(claims[-1], (secrets.token_bytes(8),))
                return claims
            except NameTaken:
                with suppress(ObjectMissing):
                    if (self._now() - self.look(claims[-1]).written).total_seconds() <= self._lease_s:
                        raise
        raise NameTaken(f"{name} in {self._address} is claimed by too many who died; remove {claims[0]} by hand.")

    def _now(self) -> datetime:
        """The server's clock, as it writes it on a file."""
        probe = f".probe/{secrets.token_hex(8)}"
        written = self.put_new(probe, b"what time is it there").written
        self.remove(probe)
        return written

    def _publish(self, name: str, chunks: Iterable[bytes]) -> int:
        staged, size_bytes = self._stage(chunks)
        target = self._path(name)

        async def act(client: SFTPClient) -> None:
            await client.makedirs(target.rpartition("/")[0], exist_ok=True)
            for attempt in range(_LINKS):
                try:
                    await client.link(staged, target)
                    return
                except asyncssh.SFTPOpUnsupported:
                    await client.rename(staged, target)
                    return
                except asyncssh.SFTPFailure as error:
                    if await client.exists(target):
                        raise NameTaken(
                            f"{name} exists already in {self._address}, and what is stored is never overwritten."
                        ) from error
                    if attempt == _LINKS - 1:  # Before that, it may have been there and be gone again.
                        raise

        try:
            self._step(f"writing {name} to", act)
        finally:
            with suppress(StoreError, StoreUnusable):
                self._step("tidying", lambda client: client.remove(staged), name=name)
        return size_bytes

    def _stage(self, chunks: Iterable[bytes]) -> tuple[str, int]:
        """A durable file with those bytes that nobody else knows of, and its size."""
        staged = self._path(f"{_STAGING}/{secrets.token_hex(16)}")

        async def begin(client: SFTPClient) -> Any:
            await client.makedirs(staged.rpartition("/")[0], exist_ok=True)
            return await client.open(staged, "xb", encoding=None)

        async def end(_: SFTPClient) -> None:
            with suppress(asyncssh.SFTPOpUnsupported):
                await file.fsync()
            await file.close()

        doing = "writing to"
        file = self._step(doing, begin)
        size_bytes = 0
        try:
            for piece in _pieces(chunks):
                self._step(doing, lambda _, piece=piece, at=size_bytes: file.write(piece, at))  # type: ignore[misc]
                size_bytes += len(piece)
            self._step(doing, end)
        except BaseException:
            with suppress(StoreError, StoreUnusable):
                self._step("tidying", lambda client: client.remove(staged))
            raise
        return staged, size_bytes

    def _sweep(self) -> None:
        """What dead writers left unfinished is gone, an hour after they began it."""
        now = self._now().timestamp()
        for folder in (_STAGING, ".claims", ".probe"):
            for name, attributes in self._walk(folder, hidden=True):
                if now - (attributes.mtime or now) > _STAGED_S:
                    self.remove(name)

    def _walk(self, folder: str, *, hidden: bool = False) -> Iterator[tuple[str, asyncssh.SFTPAttrs]]:
        async def act(client: SFTPClient) -> Sequence[tuple[str, asyncssh.SFTPAttrs]]:
            try:
                return [(str(one.filename), one.attrs) for one in await client.readdir(self._path(folder))]
            except _MISSING:
                return []

        for name, attributes in self._step("listing", act, again=True):
            if name in (".", "..") or (name.startswith(".") and not hidden):
                continue
            path = f"{folder}/{name}" if folder else name
            if stat.S_ISDIR(attributes.permissions or 0):
                yield from self._walk(path, hidden=hidden)
            else:
                yield path, attributes

    def _stat(self, name: str) -> asyncssh.SFTPAttrs:
        return self._step(f"looking for {name} in", lambda client: client.stat(self._path(name)), name=name)

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}" if name else self._root

    def _step(self, doing: str, act: Callable[[SFTPClient], Awaitable[T]], *, name: str = "", again: bool = False) -> T:
        """One step on the line; every refusal of the server is one of ours, in one sentence."""
        try:
            return self._line.step(act, again=again or doing.startswith(("reading", "looking")))
        except _MISSING as error:
            raise ObjectMissing(f"{name or 'That'} is not in {self._address}.") from error
        except asyncssh.SFTPPermissionDenied as error:
            raise StoreUnusable(f"{self._address} forbids {doing} it; look at who owns that directory.") from error
        except (asyncssh.SFTPNoSpaceOnFilesystem, asyncssh.SFTPQuotaExceeded) as error:
            raise NoSpace(f"{self._address} is full, so {doing} it was given up; free some space there.") from error
        except asyncssh.SFTPError as error:
            if doing.startswith("writing") and self._full():
                raise NoSpace(f"{self._address} is full, so {doing} it was given up; free some space there.") from error
            raise StoreError(f"{self._address} failed {doing} it: {str(error.reason).rstrip('.')}.") from error

    def _full(self) -> bool:
        """Whether the server says that its disk is: version 3 of the protocol has no error of its own for that."""
        try:
            told = self._line.step(lambda client: client.statvfs(self._root))
        except (asyncssh.SFTPError, StoreError, StoreUnusable):
            return False
        return told.bavail * told.frsize < _PIECE_BYTES


class _Ranges(io.RawIOBase):
    """An object read range by range; a failure on the way is an OSError, as with a file."""

    def __init__(self, fetch: Callable[[int, int], bytes], size_bytes: int) -> None:
        self._fetch = fetch
        self._size_bytes = size_bytes
        self._offset = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        count = min(len(buffer), self._size_bytes - self._offset, _PIECE_BYTES)
        if count == 0:
            return 0
        try:
            buffer[:count] = self._fetch(self._offset, count)
        except (StoreError, StoreUnusable) as error:
            raise OSError(5, str(error).rstrip(".")) from error
        self._offset += count
        return count


def _pieces(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """The same bytes in pieces large enough to fill the line."""
    gathered = bytearray()
    for chunk in chunks:
        gathered += chunk
        while len(gathered) >= _PIECE_BYTES:
            yield bytes(gathered[:_PIECE_BYTES])
            del gathered[:_PIECE_BYTES]
    if gathered:
        yield bytes(gathered)
