"""A store in memory, for tests of what is above stores; itself under the store contract."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from backups.errors import Locked, NameTaken, ObjectMissing, StoreError
from backups.stores.store import Store, StoredObject, checked_name


class MemoryStore:
    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self._held_for = ""
        self._deleted_from_for = ""
        self._readers = 0

    @property
    def address(self) -> str:
        return "memory:"

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
        content = b"".join(chunks)
        if checked_name(name) in self.objects:
            raise NameTaken(f"{name} exists already.")
        self.objects[name] = content
        return len(content)

    def open(self, name: str) -> BinaryIO:
        if checked_name(name) not in self.objects:
            raise ObjectMissing(f"{name} is not in {self.address}.")
        return io.BytesIO(self.objects[name])

    def fetch(self, name: str, offset: int, size: int) -> bytes:
        content = self.open(name).read()[offset : offset + size]
        if len(content) != size:
            raise StoreError(f"{name} is cut short.")
        return content

    @contextmanager
    def shared(self, purpose: str) -> Iterator[None]:  # noqa: ARG002
        if self._deleted_from_for:
            raise Locked(f"{self.address} is in use ({self._deleted_from_for}).")
        self._readers += 1
        try:
            yield
        finally:
            self._readers -= 1

    def list(self, prefix: str = "") -> tuple[StoredObject, ...]:
        names = sorted(name for name in self.objects if name.startswith(prefix))
        return tuple(StoredObject(name, len(self.objects[name])) for name in names)

    def size(self, name: str) -> int | None:
        content = self.objects.get(checked_name(name))
        return None if content is None else len(content)

    def delete(self, name: str) -> None:
        self.objects.pop(checked_name(name), None)

    @contextmanager
    def exclusive(self, purpose: str, *, alone: bool = False) -> Iterator[None]:
        if self._held_for or (alone and self._readers):
            raise Locked(f"{self.address} is in use ({self._held_for or 'reading'}).")
        self._held_for = purpose
        self._deleted_from_for = purpose if alone else ""
        try:
            yield
        finally:
            self._held_for = self._deleted_from_for = ""

    @contextmanager
    def scratch(self, purpose: str) -> Iterator[Path]:
        with tempfile.TemporaryDirectory(prefix=purpose) as place:
            yield Path(place)
