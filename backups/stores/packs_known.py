"""Which bytes every object of a store should have, as the manifests there know it: for copying from one store to another."""

from __future__ import annotations

from blake3 import blake3

from backups.errors import StoreError
from backups.keeping import catalogue as catalogues
from backups.stores.store import Store


def read(store: Store) -> dict[str, str]:
    """The BLAKE3 of each object that a readable manifest names."""
    return {
        pack.name: pack.blake3
        for entry in catalogues.read(store).entries
        if entry.manifest is not None
        for pack in entry.manifest.objects
    }


def matches(store: Store, name: str, known: dict[str, str]) -> bool:
    """Whether that store's object has the bytes it should; one that no manifest names has any that it has."""
    if name not in known:
        return True
    hasher = blake3()
    try:
        with store.open(name) as source:
            while piece := source.read(1 << 20):
                hasher.update(piece)
    except (StoreError, OSError):
        return False
    return str(hasher.hexdigest()) == known[name]
