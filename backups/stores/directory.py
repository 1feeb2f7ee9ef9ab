"""A store that is a directory: on another disk, a mounted share, or, for a demonstration, beside the database.

    create:  .staging/put-…/object   write -> fsync -> link to its name -> fsync the directory

`link` instead of `rename`, because it alone refuses a name that exists. Nothing hidden (`.staging`, `.lock`) is an object.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Final

from backups import disk, lock, staging
from backups.errors import NameTaken, ObjectMissing, StoreError, StoreUnusable
from backups.stores.store import Store, StoredObject, checked_name

_SYNC_BYTES: Final = 1 << 20
"""So much is made durable at a time: others who wait for the same disk wait for one of these, and not for a whole object."""


class DirectoryStore:
    """A directory that really syncs. The directory must exist, unless `make` lets the first write make it."""

    def __init__(self, root: Path, *, make: bool = False) -> None:
        root = root.absolute()
        if root.exists() and not root.is_dir():
            raise StoreUnusable(f"The store {root} is a file, and a store is a directory: name another with --store.")
        if not root.exists() and not make:
            raise StoreUnusable(
                f"There is no store at {root}: name the right one with --store, or back up to it first."
            )
        self._root = root
        self._staging = root / ".staging"

    @property
    def address(self) -> str:
        return str(self._root)

    @property
    def local(self) -> Path | None:
        return self._root

    @property
    def copies(self) -> tuple[Store, ...]:
        return (self,)

    @property
    def trouble(self) -> tuple[str, ...]:
        return ()

    def create(self, name: str, chunks: Iterable[bytes]) -> int:
        target = self._path(name)
        with staging.directory(self._staging, "put") as place:
            staged = place / "object"
            with disk.plainly(f"writing {name} to {self._root}"):
                size_bytes = self._write(staged, chunks)
                self._publish(staged, target)
        return size_bytes

    def open(self, name: str) -> BinaryIO:
        with disk.plainly(f"reading {name} from {self._root}"):
            try:
                return self._path(name).open("rb")
            except (FileNotFoundError, NotADirectoryError) as error:
                raise ObjectMissing(f"{name} is not in {self._root}.") from error

    def fetch(self, name: str, offset: int, size: int) -> bytes:
        with self.open(name) as source, disk.plainly(f"reading {name} from {self._root}"):
            source.seek(offset)
            content = source.read(size)
        if len(content) != size:
            raise StoreError(f"{name} in {self._root} is cut short: it has no byte {offset + len(content)}.")
        return content

    def list(self, prefix: str = "") -> tuple[StoredObject, ...]:
        if not self._root.exists():
            return ()
        with disk.plainly(f"listing {self._root}"):
            return tuple(sorted(self._walk(prefix), key=lambda stored: stored.name))

    def size(self, name: str) -> int | None:
        with disk.plainly(f"looking for {name}"):
            path = self._path(name)
            return path.stat().st_size if path.is_file() else None

    def delete(self, name: str) -> None:
        path = self._path(name)
        with disk.plainly(f"deleting {name} from {self._root}"):
            if path.exists():
                disk.remove_durably(path)

    @contextmanager
    def exclusive(self, purpose: str, *, alone: bool = False) -> Iterator[None]:
        with disk.plainly(f"making the store {self._root}"):
            disk.make_directories(self._root)
        with lock.hold(self._root / ".lock", purpose), ExitStack() as readers:
            if alone:
                readers.enter_context(lock.hold(self._root / ".reading", purpose))
            staging.sweep(self._staging)
            yield

    @contextmanager
    def shared(self, purpose: str) -> Iterator[None]:
        with ExitStack() as reading:
            with suppress(StoreError):  # read-only: nobody deletes here either
                reading.enter_context(lock.hold(self._root / ".reading", purpose, shared=True))
            yield

    def scratch(self, purpose: str) -> AbstractContextManager[Path]:
        return staging.directory(self._staging, purpose)

    def _path(self, name: str) -> Path:
        return self._root / checked_name(name)

    def _write(self, staged: Path, chunks: Iterable[bytes]) -> int:
        size_bytes = synced_bytes = 0
        with staged.open("xb") as file:
            for chunk in chunks:
                size_bytes += file.write(chunk)
                if size_bytes - synced_bytes >= _SYNC_BYTES:
                    disk.sync(file)
                    synced_bytes = size_bytes
            disk.sync(file)
        return size_bytes

    def _publish(self, staged: Path, target: Path) -> None:
        disk.make_directories(target.parent)
        try:
            os.link(staged, target)
        except FileExistsError as error:
            raise NameTaken(f"{target} exists already, and what is stored is never overwritten.") from error
        disk.sync_directory(target.parent)

    def _walk(self, prefix: str) -> Iterator[StoredObject]:
        for folder, folders, files in os.walk(self._root, onerror=_unless_gone):
            folders[:] = [name for name in folders if not name.startswith(".")]
            for file in files:
                path = Path(folder, file)
                name = path.relative_to(self._root).as_posix()
                if not name.startswith(prefix) or file.startswith("."):
                    continue
                try:
                    size_bytes = path.stat().st_size
                except FileNotFoundError:  # Deleted since its folder was read.
                    continue
                yield StoredObject(name, size_bytes)


def _unless_gone(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError):
        raise error
