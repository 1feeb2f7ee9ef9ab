"""The shipped log as found in a store: which generations there are, and what they say of themselves."""

from __future__ import annotations

from dataclasses import dataclass

from backups.errors import Damaged, ObjectMissing
from backups.keys.keyring import Envelope
from backups.log import segments
from backups.log.segments import Begin, Stored
from backups.stores import store as stores
from backups.stores.store import Store


@dataclass(frozen=True, slots=True)
class Generation:
    """One generation by its names alone: its sequence, and the indexes of its segments in order. It may lack its begin."""

    id: str
    sequence: int
    indexes: tuple[int, ...]
    key_ids: tuple[str, ...]
    stored_bytes: int

    @property
    def last(self) -> int:
        """The highest index, 0 without segments."""
        return self.indexes[-1] if self.indexes else 0


def generations(store: Store) -> tuple[Generation, ...]:
    """Every generation of which anything is stored, oldest first."""
    indexes: dict[str, list[int]] = {}
    keys: dict[str, list[str]] = {}
    sizes: dict[str, int] = {}
    for stored in store.list(segments.PREFIX):
        generation, _, rest = stored.name.removeprefix(segments.PREFIX).partition("/")
        if segments.sequence_of(generation) is None:
            continue
        sizes[generation] = sizes.get(generation, 0) + stored.size_bytes
        place = segments.index_in(stored.name)
        if place is not None:
            indexes.setdefault(generation, []).append(place[1])
        elif rest.startswith("key-"):
            keys.setdefault(generation, []).append(rest.removeprefix("key-").removesuffix(".json"))
    found = [
        Generation(
            one, segments.sequence_of(one) or 0, tuple(sorted(indexes.get(one, ()))), tuple(keys.get(one, ())), size
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
