"""Several stores as one: three copies, two kinds of places, one elsewhere.

    create   goes to every store that answers     open, fetch   come from the first store that has the object and gives it
    list     is what any of them has              delete        wants all of them

A store that fails is away from then on: what it has missed may leave gaps in the middle of a backup, so no manifest is
published there either. `trouble` says so. Once it is back, `level` copies what it missed, and `rejoin` counts it in again
where a process lives for long. One store is enough to go on.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, BinaryIO, Final, TypeVar

from backups.errors import BackupError, Locked, NameTaken, NoSpace, ObjectMissing, StoreError, StoreUnusable
from backups.format import manifest as manifests
from backups.stores import packs_known
from backups.stores.store import Store, StoredObject

T = TypeVar("T")

_SPOOL_BYTES: Final = 32 << 20
_CHUNK_BYTES: Final = 1 << 20
_AWAY: Final = (StoreError, StoreUnusable, NoSpace)
"""What takes a store out; a name that is taken, an object that is missing and a lock that is held do not."""


@dataclass(frozen=True, slots=True)
class Absent:
    """A store that could not even be opened, and why."""

    address: str
    why: str


class MirroredStore:
    """One store made of several, the preferred one first. Raises StoreError when none of them answers."""

    def __init__(self, stores: Sequence[Store | Absent]) -> None:
        self._stores = tuple(store for store in stores if not isinstance(store, Absent))
        self._away = {store.address: store.why for store in stores if isinstance(store, Absent)}
        self._addresses = tuple(store.address for store in stores)

    @property
    def address(self) -> str:
        return " and ".join(self._addresses)

    @property
    def local(self) -> Path | None:
        return None

    @property
    def copies(self) -> tuple[Store, ...]:
        return tuple(self._answering())

    @property
    def trouble(self) -> tuple[str, ...]:
        """A sentence for each store that is away: it holds nothing of what was written since."""
        return tuple(why if address in why else f"{address}: {why}" for address, why in self._away.items())

    def create(self, name: str, chunks: Iterable[bytes]) -> int:
        with tempfile.SpooledTemporaryFile(max_size=_SPOOL_BYTES) as spool:
            size_bytes = sum(spool.write(chunk) for chunk in chunks)
            if any(self._each(lambda store: store.size(name) is not None)):
                raise NameTaken(f"{name} exists already, and what is stored is never overwritten.")
            self._each(lambda store: store.create(name, _pieces(spool)))
        return size_bytes

    def open(self, name: str) -> BinaryIO:
        return self._first(lambda store: store.open(name))

    def fetch(self, name: str, offset: int, size: int) -> bytes:
        return self._first(lambda store: store.fetch(name, offset, size))

    def list(self, prefix: str = "") -> tuple[StoredObject, ...]:
        """Of copies of different sizes the longest is listed: the others were cut short."""
        found: dict[str, StoredObject] = {}
        for listed in self._each(lambda store: store.list(prefix)):
            for stored in listed:
                if stored.name not in found or found[stored.name].size_bytes < stored.size_bytes:
                    found[stored.name] = stored
        return tuple(sorted(found.values(), key=lambda stored: stored.name))

    def size(self, name: str) -> int | None:
        return next((size for size in self._each(lambda store: store.size(name)) if size is not None), None)

    def delete(self, name: str) -> None:
        self._each(lambda store: store.delete(name))

    @contextmanager
    def exclusive(self, purpose: str, *, alone: bool = False) -> Iterator[None]:
        with self._held(lambda store: store.exclusive(purpose, alone=alone)):
            yield

    @contextmanager
    def shared(self, purpose: str) -> Iterator[None]:
        with self._held(lambda store: store.shared(purpose)):
            yield

    def scratch(self, purpose: str) -> AbstractContextManager[Path]:
        local = [store for store in self._answering() if store.local is not None]
        return (local or self._answering())[0].scratch(purpose)

    def level(self, only: Container[str] | None = None) -> tuple[str, ...]:
        """Copy to each store that answers what it lacks and another one has, manifests last; the names copied.

        Under every lock. What a manifest knows and its copy does not match is not copied. `only` are the addresses of the
        stores to copy to. Raises StoreError when one that was to be brought level is away.
        """
        copied = []
        with self.exclusive("bringing stores level"):
            there = {store.address: {one.name for one in store.list()} for store in self._answering()}
            known = packs_known.read(self)
            for name in sorted(
                set().union(*there.values()), key=lambda name: (name.startswith(manifests.PREFIX), name)
            ):
                for store in self._answering():
                    if name not in there[store.address] and (only is None or store.address in only):
                        source = self._source(name, there, known)
                        if source is not None:
                            store.create(name, _content(source, name))
                            copied.append(name)
        if any(only is None or address in only for address in self._away):
            raise StoreError(" ".join(self.trouble))
        return tuple(copied)

    @property
    def away(self) -> tuple[str, ...]:
        """The addresses of the stores that are away."""
        return tuple(self._away)

    def set_aside_behind(self, prefix: str) -> None:
        """A store that lacks an object below `prefix` that another one has is away: what comes next would leave a gap."""
        there = dict(self._each(lambda store: (store.address, {one.name for one in store.list(prefix)})))
        everything = set().union(*there.values())
        for address, names in there.items():
            if lacking := len(everything - names):
                self._away[address] = f"{address} lacks {lacking} objects below {prefix} that another store has."

    def rejoin(self, opened: MirroredStore, prefix: str) -> tuple[str, ...]:
        """Count those in again that are away here and answer in `opened`; their addresses.

        Each has every object below `prefix` then. For the one process that creates objects there, between two of them.
        """
        back = []
        for store in opened._answering():
            if store.address in self._away and self._catches_up(store, prefix):
                known = {one.address: one for one in (*self._stores, store)}
                self._stores = tuple(known[address] for address in self._addresses if address in known)
                del self._away[store.address]
                back.append(store.address)
        return tuple(back)

    def _catches_up(self, store: Store, prefix: str) -> bool:
        try:
            there = {one.name for one in store.list(prefix)}
            for one in self.list(prefix):
                if one.name not in there:
                    store.create(one.name, _content(self, one.name))
        except _AWAY as error:
            self._away[store.address] = str(error)
            return False
        return True

    def _source(self, name: str, there: dict[str, set[str]], known: dict[str, str]) -> Store | None:
        """A store whose copy of the object is the one that its manifest knows."""
        having = (store for store in self._answering() if name in there[store.address])
        return next((store for store in having if packs_known.matches(store, name, known)), None)

    def _answering(self) -> Sequence[Store]:
        answering = [store for store in self._stores if store.address not in self._away]
        if not answering:
            raise StoreError(f"None of the {len(self._addresses)} stores answers. {' '.join(self.trouble)}")
        return answering

    def _each(self, act: Callable[[Store], T]) -> Sequence[T]:
        """What each answering store gives; one that fails is away from now on. Raises StoreError when none is left."""
        given = []
        for store in self._answering():
            try:
                given.append(act(store))
            except (NameTaken, ObjectMissing):
                raise
            except _AWAY as error:
                self._away[store.address] = str(error)
        self._answering()
        return given

    def _first(self, act: Callable[[Store], T]) -> T:
        """What the first store that can gives. Raises ObjectMissing when none has it, else what the last one said."""
        refusal: BackupError | None = None
        for store in self._answering():
            try:
                return act(store)
            except (StoreError, StoreUnusable) as error:
                if refusal is None or not isinstance(error, ObjectMissing):
                    refusal = error
        assert refusal is not None
        raise refusal

    @contextmanager
    def _held(self, hold: Callable[[Store], AbstractContextManager[None]]) -> Iterator[None]:
        """Every answering store held, in one order everywhere, so that two that want them all never wait for each other."""
        with ExitStack() as stack:
            for store in sorted(self._answering(), key=lambda store: store.address):
                try:
                    stack.enter_context(hold(store))
                except Locked:
                    raise
                except _AWAY as error:
                    self._away[store.address] = str(error)
            self._answering()
            yield


def _pieces(spool: IO[bytes]) -> Iterator[bytes]:
    spool.seek(0)
    while piece := spool.read(_CHUNK_BYTES):
        yield piece


def _content(store: Store, name: str) -> Iterator[bytes]:
    with store.open(name) as source:
        while piece := source.read(_CHUNK_BYTES):
            yield piece
