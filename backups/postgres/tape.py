"""A base backup as a stream of tar: what the server sends is passed on, more files are added, and it is unpacked again.

    pg_basebackup --format=tar ── members ──▶ blocks of whole units ──▶ store          store ──▶ unpack ──▶ data directory
                                  + the log that ends it, + zeros up to a whole unit

The end of the tape that the server writes is held back, so that members can follow. Format: POSIX.1-1988 ustar, as the
server writes it, with GNU's base-256 sizes.
"""

from __future__ import annotations

import io
import os
import struct
import tarfile
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path, PurePosixPath
from typing import Final

from backups.errors import Damaged

UNIT_BYTES: Final = 8192
STATE: Final = "gymkhana.json"
"""The last member: to which state the others come, for whoever has nothing but the tape."""
BLOCK_BYTES: Final = 1 << 20
_RECORD: Final = tarfile.BLOCKSIZE
_COPY_BYTES: Final = 1 << 20
_INCREMENT: Final = "INCREMENTAL."
_HEAD: Final = struct.Struct("<III")
"""Of a file that is an increment: a mark, how many blocks are in it, and how many the whole file has."""
_LARGE_BYTES: Final = 1 << 20
assert BLOCK_BYTES % UNIT_BYTES == 0
assert UNIT_BYTES % _RECORD == 0


class Tape:
    """Follows a stream of tar from member to member, to know what is on it and where it ends."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.whole_bytes = 0
        """How large it is when every increment on it is the whole file again."""
        self.kept: dict[str, bytes] = {}
        self.ended = False
        self._header = bytearray()
        self._rest = 0
        self._keeping = ""
        self._keep: bytearray | None = None
        self._padding = 0
        self._head: bytearray | None = None

    def follow(self, content: bytes, keep: frozenset[str] = frozenset()) -> bytes:
        """The content up to the end of the tape, which is held back. The contents of members named in `keep` are kept."""
        passed = bytearray()
        at = 0
        while at < len(content) and not self.ended:
            if self._rest:
                count = min(self._rest, len(content) - at)
                self._collect(content[at : at + count])
                passed += content[at : at + count]
                self._rest -= count
                at += count
                continue
            count = min(_RECORD - len(self._header), len(content) - at)
            self._header += content[at : at + count]
            at += count
            if len(self._header) == _RECORD:
                header, self._header = bytes(self._header), bytearray()
                self._begin(header, keep)
                if not self.ended:
                    passed += header
        return bytes(passed)

    def _begin(self, header: bytes, keep: frozenset[str]) -> None:
        if not any(header):
            self.ended = True
            return
        info = tarfile.TarInfo.frombuf(header, "utf-8", "surrogateescape")
        name, size = info.name, info.size
        self.names.append(name)
        self._padding = -size % _RECORD
        self._rest = size + self._padding
        self._head = bytearray() if PurePosixPath(name).name.startswith(_INCREMENT) else None
        self.whole_bytes += _RECORD + (self._rest if self._head is None else 0)
        self._keep = bytearray() if name in keep else None
        self._keeping = name
        if self._keep is not None and not self._rest:
            self.kept[name] = b""

    def _collect(self, content: bytes) -> None:
        if self._head is not None:
            self._head += content[: _HEAD.size]
            if len(self._head) >= _HEAD.size:
                self.whole_bytes += _HEAD.unpack_from(self._head)[2] * UNIT_BYTES
                self._head = None
        if self._keep is None:
            return
        self._keep += content
        if len(content) == self._rest:
            self.kept[self._keeping] = bytes(self._keep[: len(self._keep) - self._padding])
            self._keep = None


def member(name: str, content: bytes) -> bytes:
    """One more file for the tape, readable by its owner alone."""
    info = tarfile.TarInfo(name)
    info.size = len(content)
    info.mode = 0o600
    return info.tobuf(tarfile.USTAR_FORMAT) + content + bytes(-len(content) % _RECORD)


def blocks(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """The pieces as blocks of whole units, with the end of the tape and zeros after them."""
    waiting = bytearray()
    for piece in pieces:
        waiting += piece
        while len(waiting) >= BLOCK_BYTES:
            yield bytes(waiting[:BLOCK_BYTES])
            del waiting[:BLOCK_BYTES]
    waiting += bytes(2 * _RECORD)
    waiting += bytes(-len(waiting) % UNIT_BYTES)
    yield bytes(waiting)


def pack(data: Path) -> Iterator[bytes]:
    """The files below the directory, as `unpack` left them, in blocks of whole units; in the same order every time."""

    def members() -> Iterator[bytes]:
        for path in sorted(data.rglob("*")):
            info = tarfile.TarInfo(str(path.relative_to(data)))
            if path.is_dir():
                info.type, info.mode = tarfile.DIRTYPE, 0o700
                yield info.tobuf(tarfile.USTAR_FORMAT)
                continue
            info.size, info.mode = path.stat().st_size, 0o600
            yield info.tobuf(tarfile.USTAR_FORMAT)
            with path.open("rb", buffering=0) as file:
                yield from iter(lambda: file.read(_COPY_BYTES), b"")
            yield bytes(-info.size % _RECORD)

    return blocks(members())


def unpack(pieces: Iterator[bytes | memoryview], into: Path, *, to_stay: bool = False) -> None:
    """The files on the tape, below the empty directory `into`. Raises Damaged for what is no such tape.

    Large files that are to stay are synced while the next ones are unpacked: who keeps them all has to sync the rest in the
    end, and finds little left to do.
    """
    into.mkdir(mode=0o700, parents=True, exist_ok=True)
    into.chmod(0o700)
    synced: list[Future[None]] = []
    try:
        with (
            ThreadPoolExecutor(1, "sync") as syncing,
            tarfile.open(fileobj=_Stream(pieces), mode="r|", bufsize=_COPY_BYTES) as tape,
        ):
            tape.copybufsize = _COPY_BYTES  # type: ignore[attr-defined]  # its constructor takes it, and `open` does not
            # Not a parameter of `extract`, which Debian 12's Python, 3.11.2, does not know; that one filters nothing anyway.
            tape.extraction_filter = lambda info, _path: info
            for info in tape:
                _require_inside(info)
                tape.extract(info, into, set_attrs=False)
                if info.isdir():
                    (into / info.name).chmod(0o700)
                elif info.isfile():
                    (into / info.name).chmod(0o600)
                    if to_stay and info.size >= _LARGE_BYTES:
                        synced.append(syncing.submit(_sync, into / info.name))
    except tarfile.TarError as error:
        raise Damaged(f"What it holds is not a base backup: {error}.") from error
    for one in synced:
        one.result()  # A disk tells of what it could not write only once, so it is listened to here.


def _sync(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _require_inside(info: tarfile.TarInfo) -> None:
    path = Path(info.name)
    if path.is_absolute() or ".." in path.parts or not (info.isdir() or info.isfile()):
        raise Damaged(f"It holds {info.name}, which does not belong into a data directory.")


class _Stream(io.RawIOBase):
    """Pieces as a file that is read once."""

    def __init__(self, pieces: Iterator[bytes | memoryview]) -> None:
        self._pieces = pieces
        self._current = memoryview(b"")

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        parts = []
        while size:
            if not self._current:
                piece = next(self._pieces, None)
                if piece is None:
                    break
                self._current = memoryview(piece)
            part = self._current[:size]
            self._current = self._current[len(part) :]
            parts.append(part)
            size -= len(part)
        return b"".join(parts)
