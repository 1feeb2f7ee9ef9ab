"""Stores in the cloud, or in what speaks its language: S3, Google Cloud Storage and Azure Blob Storage, through obstore.

Every object is created with "only if it does not exist", which these services decide for themselves; a large one goes up in
parts and appears with the last. Locks are lease objects (`lease.py`). Credentials come from the environment, and are never
in an address, a message or a log.
"""

from __future__ import annotations

import errno
import io
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, BinaryIO, Final, cast

import obstore
from obstore import exceptions as refusals

from backups import staging
from backups.errors import NameTaken, ObjectMissing, StoreError, StoreUnusable
from backups.stores import lease
from backups.stores.lease import LEASE_S, Seen
from backups.stores.store import Store, StoredObject, checked_name

SINGLE_BYTES: Final = 16 << 20
"""Up to here an object goes up in one piece, held in memory; above, in parts of `PART_BYTES`."""
PART_BYTES: Final = 8 << 20
_READ_BYTES: Final = 1 << 20

CLIENT: Final[Any] = {"timeout": "60s", "connect_timeout": "3s"}
RETRIES: Final[Any] = {
    "max_retries": 4,
    "retry_timeout": timedelta(seconds=15),
    "backoff": {"init_backoff": timedelta(milliseconds=100), "max_backoff": timedelta(seconds=2), "base": 2.0},
}
"""obstore retries what may be retried, and adds jitter; after this a store counts as away."""


class ObjectStore:
    """A store in a bucket. `bucket` is an obstore store whose prefix is ours alone."""

    def __init__(self, address: str, bucket: Any, *, lease_s: float = LEASE_S) -> None:
        self._address = address
        self._bucket = bucket
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
        checked_name(name)
        counted = _Counted(chunks)
        with self._plainly(f"writing {name} to", name):
            whole = counted.up_to(SINGLE_BYTES)
            if whole is not None:
                obstore.put(self._bucket, name, whole, mode="create", use_multipart=False)
            else:
                obstore.put(
                    self._bucket,
                    name,
                    counted,
                    mode="create",
                    use_multipart=True,
                    chunk_size=PART_BYTES,
                    max_concurrency=2,
                )
        return counted.size_bytes

    def open(self, name: str) -> BinaryIO:
        with self._plainly(f"reading {name} from", name):
            found = obstore.get(self._bucket, checked_name(name))
        raw = _Stream(iter(found.stream(min_chunk_size=_READ_BYTES)), f"{name} in {self._address}")
        return cast(BinaryIO, io.BufferedReader(raw, _READ_BYTES))

    def fetch(self, name: str, offset: int, size: int) -> bytes:
        if size == 0:
            return b""
        with self._plainly(f"reading {name} from", name):
            content = bytes(obstore.get_range(self._bucket, checked_name(name), start=offset, length=size))
        if len(content) != size:
            raise StoreError(f"{name} in {self._address} is cut short: it has no byte {offset + len(content)}.")
        return content

    def list(self, prefix: str = "") -> tuple[StoredObject, ...]:
        folder = prefix.rpartition("/")[0]
        with self._plainly("listing", None):
            pages = obstore.list(self._bucket, folder or None, chunk_size=1000)
            found = [StoredObject(one["path"], one["size"]) for page in pages for one in page]
        visible = (one for one in found if one.name.startswith(prefix) and not _hidden(one.name))
        return tuple(sorted(visible, key=lambda one: one.name))

    def size(self, name: str) -> int | None:
        try:
            with self._plainly(f"looking for {name} in", name):
                return int(obstore.head(self._bucket, checked_name(name))["size"])
        except ObjectMissing:
            return None

    def delete(self, name: str) -> None:
        self.remove(checked_name(name))

    def exclusive(self, purpose: str, *, alone: bool = False) -> AbstractContextManager[None]:
        return lease.hold(self, self._address, purpose, alone=alone, lease_s=self._lease_s)

    def shared(self, purpose: str) -> AbstractContextManager[None]:
        return lease.reading(self, purpose, lease_s=self._lease_s)

    @contextmanager
    def scratch(self, purpose: str) -> Iterator[Path]:
        root = Path(tempfile.gettempdir(), "gymkhana-scratch")
        staging.sweep(root)
        with staging.directory(root, purpose) as place:
            yield place

    def look(self, name: str) -> Seen:
        with self._plainly(f"reading {name} from", name):
            found = obstore.get(self._bucket, name)
            return Seen(bytes(found.bytes()), str(found.meta["e_tag"]), found.meta["last_modified"])

    def put_new(self, name: str, content: bytes) -> Seen:
        with self._plainly(f"writing {name} to", name):
            obstore.put(self._bucket, name, content, mode="create", use_multipart=False)
        return self.look(name)

    def replace(self, name: str, content: bytes, version: str) -> Seen:
        with self._plainly(f"writing {name} to", name):
            put = obstore.put(self._bucket, name, content, mode={"e_tag": version}, use_multipart=False)
        return Seen(content, str(put["e_tag"]), self.look(name).written)

    def remove(self, name: str) -> None:
        try:
            with self._plainly(f"deleting {name} from", name):
                obstore.delete(self._bucket, name)
        except ObjectMissing:
            return

    def names(self, prefix: str) -> tuple[str, ...]:
        with self._plainly("listing", None):
            return tuple(one["path"] for page in obstore.list(self._bucket, prefix.rstrip("/")) for one in page)

    @contextmanager
    def _plainly(self, doing: str, name: str | None) -> Iterator[None]:
        """For the block, every refusal of the service is one of ours, in one sentence."""
        try:
            yield
        except (refusals.AlreadyExistsError, refusals.PreconditionError) as error:
            raise NameTaken(
                f"{name} exists already in {self._address}, and what is stored is never overwritten."
            ) from error
        except (FileNotFoundError, refusals.NotFoundError) as error:
            if name is None or "NoSuchBucket" in str(error):
                raise StoreUnusable(f"There is no bucket at {self._address}; make it, or name another.") from error
            raise ObjectMissing(f"{name} is not in {self._address}.") from error
        except (refusals.PermissionDeniedError, refusals.UnauthenticatedError) as error:
            raise self._denied() from error
        except refusals.BaseError as error:
            if any(f"status code: {code}" in str(error) for code in (401, 403)):  # a listing's refusal comes like this
                raise self._denied() from error
            raise StoreError(f"{self._address} failed {doing} it: {_reason(error)}; is it reachable?") from error

    def _denied(self) -> StoreUnusable:
        return StoreUnusable(
            f"{self._address} refuses the credentials that the environment has for it; look at them there."
        )


class _Counted:
    """Chunks on their way out, counted. Those taken early for a look are not lost."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = iter(chunks)
        self._early = bytearray()
        self.size_bytes = 0

    def up_to(self, limit_bytes: int) -> bytes | None:
        """Everything, when it is at most so many bytes; else None, and iterating still gives all of it."""
        for chunk in self._chunks:
            self._early += chunk
            if len(self._early) > limit_bytes:
                return None
        self.size_bytes = len(self._early)
        return bytes(self._early)

    def __iter__(self) -> Iterator[bytes]:
        early, self._early = bytes(self._early), bytearray()
        self.size_bytes += len(early)
        yield early
        for chunk in self._chunks:
            self.size_bytes += len(chunk)
            yield chunk


class _Stream(io.RawIOBase):
    """An object as it comes; a failure on the way is an OSError, as with a file."""

    def __init__(self, pieces: Iterator[Any], what: str) -> None:
        self._pieces = pieces
        self._what = what
        self._left = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if not self._left:
            try:
                self._left = memoryview(bytes(next(self._pieces, b"")))
            except refusals.BaseError as error:
                raise OSError(errno.EIO, f"{self._what} broke off: {_reason(error)}") from error
        taken = min(len(buffer), len(self._left))
        buffer[:taken] = self._left[:taken]
        self._left = self._left[taken:]
        return taken


def _hidden(name: str) -> bool:
    return any(part.startswith(".") for part in name.split("/"))


def _reason(error: BaseException) -> str:
    """The first line of what obstore says, without the request that it names."""
    first = str(error).partition("\n")[0]
    return (first.rpartition(" - ")[2] or first).strip().rstrip(".")[:200]
