"""The shipped log as found in a store: which generations there are, and what they say of themselves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from backups.errors import Damaged, ObjectMissing
from backups.keys.keyring import Envelope
from backups.log import segments
from backups.log.segments import Begin, Stored
from backups.stores import store as stores
from backups.stores.store import Store

_HEAD_BYTES: Final = 1024
"""What most headers fit in."""


@dataclass(frozen=True, slots=True)
class Generation:
    """One generation by its names alone: its sequence, and the size of each segment, in order. It may lack its begin."""

    id: str
    sequence: int
    sizes: Mapping[int, int]
    key_ids: tuple[str, ...]
    stored_bytes: int

    @property
    def indexes(self) -> tuple[int, ...]:
        """The index of every segment there is."""
        return tuple(self.sizes)

    @property
    def last(self) -> int:
        """The highest index, 0 without segments."""
        return max(self.sizes, default=0)


def generations(store: Store) -> tuple[Generation, ...]:
    """Every generation of which anything is stored, oldest first."""
    segment_sizes: dict[str, dict[int, int]] = {}
    keys: dict[str, list[str]] = {}
    sizes: dict[str, int] = {}
    for stored in store.list(segments.PREFIX):
        generation, _, rest = stored.name.removeprefix(segments.PREFIX).partition("/")
        if segments.sequence_of(generation) is None:
            continue
        sizes[generation] = sizes.get(generation, 0) + stored.size_bytes
        place = segments.index_in(stored.name)
        if place is not None:
            segment_sizes.setdefault(generation, {})[place[1]] = stored.size_bytes
        elif rest.startswith("key-"):
            keys.setdefault(generation, []).append(rest.removeprefix("key-").removesuffix(".json"))
    found = [
        Generation(
            one,
            segments.sequence_of(one) or 0,
            dict(sorted(segment_sizes.get(one, {}).items())),
            tuple(keys.get(one, ())),
            size,
        )
        for one, size in sizes.items()
    ]
    return tuple(sorted(found, key=lambda one: one.sequence))


def read_begin(store: Store, generation: str, key: bytes | None = None) -> tuple[Begin, str]:
    """Its begin, and the hash by which its first segment knows it. Raises Damaged, also when it is missing."""
    content = _read(store, segments.begin_name(generation))
    return segments.decode_begin(generation, content, key), segments.hash_of(content)


def read_segment(store: Store, generation: str, index: int, key: bytes | None = None) -> Stored:
    """That segment, its bytes checked when the key is given. Raises Damaged, also when it is missing."""
    return segments.decode(generation, index, _read(store, segments.name_of(generation, index)), key)


def read_head(store: Store, generation: Generation, index: int) -> Stored:
    """That segment by its header alone, nothing of it proved: one small read, whatever its size. Raises Damaged."""
    name = segments.name_of(generation.id, index)
    size = generation.sizes.get(index)
    if size is None:
        raise Damaged(f"{name} is missing.")
    try:
        head = store.fetch(name, 0, min(size, _HEAD_BYTES))
        end = min(size, segments.head_bytes(name, head))
        if end > len(head):
            head += store.fetch(name, len(head), end - len(head))
    except ObjectMissing as error:
        raise Damaged(f"{name} is missing.") from error
    return segments.decode_head(generation.id, index, head)


def envelopes(store: Store, begin: Begin, key_ids: tuple[str, ...], key: bytes | None) -> dict[str, Envelope | None]:
    """The envelope of every data key of the generation by its key id; under "" none, for segments that are not sealed."""
    found: dict[str, Envelope | None] = {begin.envelope.key_id if begin.envelope else "": begin.envelope}
    for key_id in key_ids:
        content = _read(store, segments.key_name(begin.generation, key_id))
        found[key_id] = segments.decode_key(begin.generation, key_id, content, key).envelope
    return found


def _read(store: Store, name: str) -> bytes:
    try:
        return stores.read(store, name)
    except ObjectMissing as error:
        raise Damaged(f"{name} is missing.") from error
