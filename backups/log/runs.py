"""How far the shipped log can be used: segments read one after another, each proved, up to the first that is not good."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final

from backups.errors import Damaged
from backups.format.manifest import LogSpan
from backups.keys.keyring import Keyring
from backups.keys.sealing import Sealer
from backups.log import logbook, segments
from backups.log.logbook import Generation
from backups.log.segments import Begin, Header, Stored
from backups.stores.store import Store

_EVER: Final = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Run:
    """The good segments of one generation from a certain one on, in order.

    `fault` is why it goes no further, in a sentence; empty at the end of the log. `lost` are the segments behind the fault,
    the faulty one included, which nothing can be built on.
    """

    generation: str
    headers: tuple[Header, ...]
    fault: str
    lost: int

    @property
    def last_commit(self) -> tuple[int, int, int] | None:
        """(segment, frame, units) of the last whole commit."""
        for header in reversed(self.headers):
            if header.commits:
                return (header.index, *header.commits[-1])
        return None


@dataclass(frozen=True, slots=True)
class Following:
    """A generation that came after another; from `since` on it is the one that tells. Of those between nothing is left."""

    generation: str
    since: datetime


class Runs:
    """The generations of a store, read on demand and each segment once.

    That the end of a log is missing shows only if something speaks of it: a later generation, or one of `spans`. Without
    `proving` the headers of segments are believed and their bodies not looked at, which is quick, and finds what is missing
    or does not follow, but no damage; who then has no keyring is not asked for one.
    """

    def __init__(
        self, store: Store, keyring: Keyring | None, spans: Sequence[LogSpan] = (), *, proving: bool = True
    ) -> None:
        self._store = store
        self._keyring = keyring
        self._proving = proving
        self._generations = {one.id: one for one in logbook.generations(store)}
        self._known_until: dict[str, int] = {}
        for span in spans:
            self._speaks(span.generation, max(span.before, span.after or 0))
        self._why: dict[str, str] = {}
        for generation in self._generations:
            with suppress(Damaged):
                begin, _ = logbook.read_begin(store, generation)
                self._speaks(begin.previous or "", begin.shipped or 0)
                self._why[generation] = begin.why
        self._opened: dict[str, tuple[Begin, str, bytes | None]] = {}
        self._read: dict[tuple[str, int], Stored | str] = {}
        self._runs: dict[str, list[tuple[int, Run]]] = {}

    @property
    def generations(self) -> tuple[Generation, ...]:
        """Every generation of which anything is stored, oldest first."""
        return tuple(self._generations.values())

    def why(self, generation: str) -> str:
        """Why that generation was begun, in a sentence; empty when its beginning cannot be read."""
        return self._why.get(generation, "")

    def following(self, generation: str) -> Following | None:
        """The generation after that one, None for the newest."""
        sequence = segments.sequence_of(generation) or 0
        later = next((one for one in self.generations if one.sequence > sequence), None)
        if later is None:
            return None
        deleted = later.sequence > sequence + 1
        return Following(later.id, _EVER if deleted else segments.began_at(later.id))

    def run(self, generation: str, first: int) -> Run:
        """The segments of the generation from `first` on. Never raises Damaged: that is then the fault."""
        longer = self._runs.setdefault(generation, [])
        for begun, run in longer:
            if begun <= first < begun + len(run.headers):
                return replace(run, headers=run.headers[first - begun :])
        longer.append((first, self._followed(generation, first)))
        return longer[-1][1]

    def _followed(self, generation: str, first: int) -> Run:
        known = self._generations.get(generation)
        if known is None:
            return Run(generation, (), f"No log of {generation} is in the store.", 0)
        last = max(known.last, self._known_until.get(generation, 0))
        headers: list[Header] = []
        before: Stored | None = None
        for expected in range(first, last + 1):
            stored = self._segment(known, expected)
            fault = stored if isinstance(stored, str) else self._misfit(known, before, stored)
            if fault:
                return Run(generation, tuple(headers), fault, last - expected + 1)
            assert isinstance(stored, Stored)
            headers.append(stored.header)
            before = stored
        return Run(generation, tuple(headers), "", 0)

    def stored(self, generation: str, index: int) -> Stored:
        """That segment, body included, proved anew. Raises Damaged."""
        return logbook.read_segment(self._store, generation, index, self._open(self._generations[generation])[2])

    def sealers(self, generation: str) -> dict[str, Sealer]:
        """What opens the bodies of its segments, by key id. Raises an error about keys, or Damaged."""
        assert self._keyring is not None, "asked for by whoever reads bodies"
        known = self._generations[generation]
        begin, _, key = self._open(known)
        envelopes = logbook.envelopes(self._store, begin, known.key_ids, key)
        others = [envelope for envelope in envelopes.values() if envelope is not None]
        return {key_id: self._keyring.open(envelope, others=others) for key_id, envelope in envelopes.items()}

    def _speaks(self, generation: str, until: int) -> None:
        self._known_until[generation] = max(until, self._known_until.get(generation, 0))

    def _segment(self, known: Generation, index: int) -> Stored | str:
        place = (known.id, index)
        if place not in self._read:
            try:
                # The body is not kept: a long log would fill the memory.
                self._read[place] = replace(self._looked_at(known, index), body=b"")
            except Damaged as error:
                self._read[place] = str(error)
        return self._read[place]

    def _looked_at(self, known: Generation, index: int) -> Stored:
        if self._proving:
            return self.stored(known.id, index)
        self._open(known)
        return logbook.read_head(self._store, known, index)

    def _misfit(self, known: Generation, before: Stored | None, stored: Stored) -> str:
        if stored.header.index == 1 and stored.header.previous != self._open(known)[1]:
            return f"{segments.name_of(known.id, 1)} does not follow on the begin of its generation."
        return segments.follows(before, stored)

    def _open(self, known: Generation) -> tuple[Begin, str, bytes | None]:
        if known.id not in self._opened:
            begin, hashed = logbook.read_begin(self._store, known.id)
            key = None
            if self._keyring is not None:
                key = self._keyring.keys_of(begin.envelope).hash_key
                begin, hashed = logbook.read_begin(self._store, known.id, key)
            self._opened[known.id] = begin, hashed, key
        return self._opened[known.id]
