"""The server's list: what is taken out of it for an increment, and that it stays a list that the server believes."""

from __future__ import annotations

import hashlib

import pytest

from backups.errors import Damaged
from backups.postgres.listed import files_in, without_maps

LIST = b"""{ "PostgreSQL-Backup-Manifest-Version": 2,
"System-Identifier": 7712971905050100161,
"Files": [
{ "Path": "base/5/16386", "Size": 8192, "Checksum-Algorithm": "SHA256", "Checksum": "aa" },
{ "Path": "base/5/INCREMENTAL.16386_vm", "Size": 12, "Checksum-Algorithm": "SHA256", "Checksum": "bb" },
{ "Path": "base/5/16387_vm.1", "Size": 8192, "Checksum-Algorithm": "SHA256", "Checksum": "cc" },
{ "Path": "base/5/16386_fsm", "Size": 8192, "Checksum-Algorithm": "SHA256", "Checksum": "dd" },
{ "Encoded-Path": "6e6f7465735f766d", "Size": 1, "Checksum-Algorithm": "SHA256", "Checksum": "ee" },
{ "Path": "base/5/16387_vm", "Size": 8192, "Checksum-Algorithm": "SHA256", "Checksum": "ff" }
],
"WAL-Ranges": [
{ "Timeline": 1, "Start-LSN": "0/9000028", "End-LSN": "0/9000120" }
],
"Manifest-Checksum": "00"}
"""


def test_visibility_maps_are_taken_out_and_nothing_else_is() -> None:
    assert list(files_in(without_maps(LIST))) == ["base/5/16386", "base/5/16386_fsm", "notes_vm"]
    assert files_in(LIST)["base/5/16386"] == files_in(without_maps(LIST))["base/5/16386"]


def test_the_last_line_is_the_checksum_of_those_before() -> None:
    lines = without_maps(LIST).splitlines(keepends=True)
    assert lines[-1] == f'"Manifest-Checksum": "{hashlib.sha256(b"".join(lines[:-1])).hexdigest()}"}}\n'.encode()
    assert b"7712971905050100161" in lines[0]


def test_what_is_no_list_is_damaged() -> None:
    with pytest.raises(Damaged, match="backup_manifest cannot be read"):
        without_maps(b"Dear server,")
