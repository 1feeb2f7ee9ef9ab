"""Backups written out literally, for what is decided on a catalogue alone."""

from __future__ import annotations

from backups.format.facts import Facts, TableFacts
from backups.format.manifest import BackupId, LogSpan, Manifest, Pack
from backups.keeping.catalogue import Entry


def backup(hour: int, sequence: int, position: int | None = None, log: LogSpan | None = None) -> Entry:
    """A full backup of that hour, good as far as anybody knows."""
    backup_id = str(BackupId(f"20261123T{hour:02d}0000Z", sequence, "full", "sqlite", "abcd"))
    manifest = Manifest(
        id=backup_id,
        kind="full",
        engine="sqlite",
        database="/srv/gym.db",
        parent=None,
        previous=None,
        taken=f"2026-11-23T{hour:02d}:00:00.000Z",
        taken_t=3600.0 * hour,
        seconds=1.0,
        boot="b",
        host="h",
        unit_bytes=500,
        units=2,
        stored_units=2,
        root="r",
        chain_length=0,
        packs=(Pack(f"objects/{backup_id}/pack-0000", 200, "p"),),
        index=Pack(f"objects/{backup_id}/index", 100, "i"),
        codec="zstd",
        facts=Facts(
            tables={"notes": TableFacts(rows=7)},
            schema_digest="x",
            revision="0002",
            position=position,
            position_of="operations.sequence",
            page_size=500,
            page_count=2,
            foreign_key_violations=0,
            engine_version="3.53.4",
        ),
        versions={},
        log=log,
    )
    return Entry(backup_id, sequence, "f", manifest)
