"""The server's list of what it sent (`backup_manifest`): what is in it, and what of it is given back for an increment."""

from __future__ import annotations

import hashlib
import re
from typing import Any, Final

import msgspec

from backups.errors import Damaged

NAME: Final = "backup_manifest"
_MAP = re.compile(r"(?:INCREMENTAL\.)?\d+_vm(?:\.\d+)?")
"""A file of a visibility map, whole or as an increment."""


def files_in(listing: bytes) -> dict[str, dict[str, Any]]:
    """The entry of each file, by its path. Raises Damaged."""
    return {_path_of(one): one for one in _read(listing)["Files"]}


def without_maps(listing: bytes) -> bytes:
    """The list without the files of visibility maps, so that the server sends those whole. Raises Damaged.

    The log does not say which block of a map changed when a row stopped being visible to all, so the server's summaries
    miss it: an increment would bring back an older map, by which rows that are gone are found again. A file that the list
    does not name is sent as it is, and maps are small: 8 kB to 256 MB of rows.
    """
    read = _read(listing)
    read["Files"] = [one for one in read["Files"] if not _MAP.fullmatch(_path_of(one).rpartition("/")[2])]
    read.pop("Manifest-Checksum", None)
    content = msgspec.json.encode(read).removesuffix(b"}") + b",\n"
    return content + f'"Manifest-Checksum": "{hashlib.sha256(content).hexdigest()}"}}\n'.encode()


def _path_of(one: dict[str, Any]) -> str:
    return str(one.get("Path") or bytes.fromhex(one["Encoded-Path"]).decode("utf-8", "surrogateescape"))


def _read(listing: bytes) -> dict[str, Any]:
    try:
        return msgspec.json.decode(listing, type=dict[str, Any])
    except msgspec.MsgspecError as error:
        raise Damaged(f"{NAME} cannot be read: {error}.") from error
