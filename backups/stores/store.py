"""Where backups are kept: named objects, written once, read whole.

Names are relative, `/`-separated and never hidden (`objects/<id>/database.zst`). Everything that the engine knows about a
kind of storage it knows through this protocol; the contract is tested over every implementation.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO, Protocol

from backups.errors import StoreError


@dataclass(frozen=True, slots=True)
class StoredObject:
    """One object as a listing shows it: its whole name and its size as stored."""

    name: str
    size_bytes: int


class Store(Protocol):
    """What holds of every store.

    An object appears whole or not at all, at once for every reader, and survives a power cut from the moment `create`
    returns. Objects are never changed; a name is never reused by accident.
    """

    @property
    def address(self) -> str:
        """What a person would type to mean this store."""

    @property
    def local(self) -> Path | None:
        """The directory on this machine that holds it, or None when it lives elsewhere."""

    @property
    def copies(self) -> tuple[Store, ...]:
        """The stores that this one is made of; itself alone when it is one."""

    @property
    def trouble(self) -> tuple[str, ...]:
        """A sentence for each store it is made of that is away; a plain store that is away raises instead."""

    def create(self, name: str, chunks: Iterable[bytes]) -> int:
        """Write a new object and return its size in bytes.

        Raises NameTaken when the name exists, NoSpace or StoreError when it cannot be written, and whatever `chunks`
        raises; in every case no object appears and nothing that was there is touched.
        """

    def open(self, name: str) -> BinaryIO:
        """The object's bytes from the start, to be closed by the caller. Raises ObjectMissing."""

    def fetch(self, name: str, offset: int, size: int) -> bytes:
        """That range of the object, whole. Raises ObjectMissing, or StoreError when it is shorter."""

    def list(self, prefix: str = "") -> tuple[StoredObject, ...]:
        """Every object whose name begins with `prefix`, sorted by name; unfinished ones are not among them."""

    def size(self, name: str) -> int | None:
        """The size of the object in bytes, None when there is no such object."""

    def delete(self, name: str) -> None:
        """Remove the object for good; removing what is not there is no error."""

    def exclusive(self, purpose: str, *, alone: bool = False) -> AbstractContextManager[None]:
        """Hold the store against other writers for the block; what dead writers left unfinished is removed first.

        Raises Locked, naming the holder, when somebody has it. `alone` also wants nobody in `shared`: for deleting. Readers,
        and `create` outside the lock, are not held up.
        """

    def shared(self, purpose: str) -> AbstractContextManager[None]:
        """Hold the store against deletion for the block, together with other readers. Raises Locked during a deletion.

        On a store that cannot be written to nothing is held: nobody deletes from it either.
        """

    def scratch(self, purpose: str) -> AbstractContextManager[Path]:
        """An empty local directory for work in progress, removed when the block ends or its owner is found dead."""


def checked_name(name: str) -> str:
    """`name` if it is a lawful object name; ValueError for one that could leave the store or hide in it."""
    parts = PurePosixPath(name).parts
    if not parts or name != "/".join(parts) or any(part.startswith((".", "/")) for part in parts):
        raise ValueError(f"{name!r} is not an object name")
    return name


def read(store: Store, name: str) -> bytes:
    """The whole object. For small ones: manifests and records. Raises ObjectMissing or StoreError."""
    with store.open(name) as source:
        try:
            return source.read()
        except OSError as error:
            raise StoreError(f"{name} in {store.address} cannot be read: {error.strerror}.") from error
