"""Manifests and the names of backups."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec
import pytest

from backups.errors import Damaged
from backups.format import manifest as manifests
from backups.format.manifest import BackupId
from tests.backups.test_plan import NEW

MADE = NEW.manifest
assert MADE is not None
MANIFEST = manifests.signed(MADE, lambda _: "")


def test_an_id_is_read_back_from_its_text() -> None:
    made = BackupId.new(datetime(2026, 11, 23, 9, 5, tzinfo=UTC), 7, "full", "sqlite", "1f3a")
    assert str(made) == "20261123T090500Z-000007-full-sqlite-1f3a"
    assert BackupId.read(str(made)) == made
    assert made.began_at == datetime(2026, 11, 23, 9, 5, tzinfo=UTC)


@pytest.mark.parametrize(
    "text",
    ["", "notes.txt", "20261123T090500Z-7-full-sqlite-1f3a", "20261123T090500Z-000007-full-sqlite-1f3a.verified-0001"],
)
def test_what_is_no_id_is_no_id(text: str) -> None:
    assert BackupId.read(text) is None


def test_names_of_manifests_lead_back_to_the_backup_and_those_of_records_do_not() -> None:
    name = manifests.name_of(MANIFEST.id)
    assert str(manifests.id_in(name)) == MANIFEST.id
    assert manifests.id_in(name.replace(".json", ".verified-0001.json")) is None


def test_encoding_is_canonical_and_decoding_gives_the_same_manifest() -> None:
    content = manifests.encode(MANIFEST)
    assert manifests.decode(MANIFEST.id, content) == MANIFEST
    assert manifests.encode(manifests.decode(MANIFEST.id, content)) == content
    keys = list(msgspec.json.decode(content))
    assert keys == sorted(keys)


def test_a_field_from_the_future_is_let_through_within_the_format() -> None:
    fields = {**msgspec.to_builtins(MANIFEST), "colour": "green"}
    fields["checksum"] = manifests.fingerprint(manifests.authenticated(msgspec.json.encode(fields)))
    assert manifests.decode(MANIFEST.id, msgspec.json.encode(fields)).root == MANIFEST.root


def test_a_newer_format_is_refused_before_its_fields_are_looked_at() -> None:
    with pytest.raises(Damaged, match="format 99, newer than the 2 that this version reads: use a newer version"):
        manifests.decode(MANIFEST.id, b'{"format": 99}')


@pytest.mark.parametrize("field", ["id", "packs", "index", "root", "facts", "taken"])
def test_a_missing_field_is_named(field: str) -> None:
    fields = msgspec.to_builtins(MANIFEST)
    del fields[field]
    with pytest.raises(Damaged, match=f"is not a manifest: .*{field}"):
        manifests.decode(MANIFEST.id, msgspec.json.encode(fields))


def test_any_change_changes_the_fingerprint() -> None:
    content = manifests.encode(MANIFEST)
    assert manifests.fingerprint(content) != manifests.fingerprint(content.replace(b"7", b"8", 1))


def test_a_native_increment_without_a_server_or_a_parent_contradicts_itself() -> None:
    planted = manifests.signed(msgspec.structs.replace(MANIFEST, native=True), lambda _: "")
    with pytest.raises(Damaged, match="an increment of a server's own, and has no parent, no server"):
        manifests.decode(MANIFEST.id, manifests.encode(planted))


def test_the_list_of_a_server_is_one_of_the_objects_of_its_backup() -> None:
    listing = manifests.Pack(f"objects/{MANIFEST.id}/listing", 50, "l")
    listed = msgspec.structs.replace(MANIFEST, listing=listing)
    assert listed.objects == (*MANIFEST.objects, listing)
    assert listed.stored_bytes == MANIFEST.stored_bytes + 50
