"""What the HTTP process and the writer process say to each other: length-prefixed MessagePack over a Unix socket."""

from __future__ import annotations

import struct
import time
from pathlib import Path
from typing import Any

import msgspec

from system.errors import DATABASE_FENCED
from system.jobs import Caller, Operation

_LENGTH = struct.Struct(">I")


class Ask(msgspec.Struct, frozen=True, array_like=True):
    """A write job to run. `deadline` is on the monotonic clock, which all processes of a host share.

    With a `caller` the operation does not say yet who its actor is, nor its fingerprint.
    """

    number: int
    job: str
    args: tuple[Any, ...]
    operation: Operation
    deadline: float
    caller: Caller | None = None


class Answer(msgspec.Struct, frozen=True, array_like=True):
    """How a job ended.

    Applied: `kind` is empty, `status`, `body`, `digest` and `sequence` are what was stored. Otherwise `kind`, `code` and
    `message` are those of the `ServiceError`, and nothing was applied unless `kind` is `outcome-unknown`.
    `database_ms` is the time from the job's start to the end of the commit that held it, or to its refusal (0 when the
    database was not asked), `shipped_ms` that from there until the commit was durable elsewhere too, 0 when nobody waits
    for that. `cause` says what broke a job that failed: its type, place and message, and `actor_id` is whose operation it
    was, for the service's records.
    """

    number: int
    kind: str = ""
    code: str = ""
    message: str = ""
    status: int = 0
    body: bytes = b""
    digest: str = ""
    sequence: int = 0
    replayed: bool = False
    database_ms: float = 0.0
    batch: int = 0
    shipped_ms: float = 0.0
    cause: tuple[str, str, str] | None = None
    actor_id: int | None = None

    def timed(self, began: float) -> Answer:
        """Itself with the time since then, on the monotonic clock, unless it tells its own or the database was not asked."""
        if self.database_ms or self.code == DATABASE_FENCED:
            return self
        return msgspec.structs.replace(self, database_ms=(time.monotonic() - began) * 1000)


_encode = msgspec.msgpack.Encoder().encode
_ask = msgspec.msgpack.Decoder(Ask).decode
_answer = msgspec.msgpack.Decoder(Answer).decode


def socket_path(runtime: Path) -> Path:
    """Where the writer listens: its Unix socket in the runtime directory."""
    return runtime / "writer.sock"


def pack(message: Ask | Answer) -> bytes:
    """The message as one frame."""
    data = _encode(message)
    return _LENGTH.pack(len(data)) + data


class Frames:
    """Cuts a byte stream back into frames. A frame may arrive in any number of pieces."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """The frames completed by `data`, in order."""
        self._buffer += data
        frames = []
        while len(self._buffer) >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(self._buffer)
            end = _LENGTH.size + length
            if len(self._buffer) < end:
                break
            frames.append(bytes(self._buffer[_LENGTH.size : end]))
            del self._buffer[:end]
        return frames


def ask(frame: bytes) -> Ask:
    """The frame as an Ask. Raises `msgspec.DecodeError` when it is none."""
    return _ask(frame)


def answer(frame: bytes) -> Answer:
    """The frame as an Answer. Raises `msgspec.DecodeError` when it is none."""
    return _answer(frame)
