"""Files on their way into a store and out of it: compressed with zstd, hashed with BLAKE3 on both sides, as a stream.

Nothing is ever held whole in memory, and nothing that comes out is believed before both hashes and both sizes agree.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import msgspec
from blake3 import blake3

from backups import disk
from backups.errors import Damaged, StoreError
from backups.progress import Progress, silent
from backups.store import Store

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

_CHUNK_BYTES = 1 << 20
_LEVEL = 3
CODEC = "zstd"


class PackedFile(msgspec.Struct, frozen=True, kw_only=True):
    """One file of a backup: the object that holds it, as stored and as it comes out."""

    name: str
    codec: str
    stored_bytes: int
    stored_blake3: str
    size_bytes: int
    content_blake3: str


def pack(store: Store, source: Path, name: str, progress: Progress = silent) -> PackedFile:
    """Compress the file into the new object `name`. On return the object is durable in the store."""
    total_bytes = source.stat().st_size
    content, stored = blake3(), blake3()
    done_bytes = 0

    def chunks() -> Iterator[bytes]:
        nonlocal done_bytes
        compressor = zstd.ZstdCompressor(
            options={
                zstd.CompressionParameter.compression_level: _LEVEL,
                zstd.CompressionParameter.checksum_flag: 1,
            }
        )
        with source.open("rb") as file:
            while chunk := file.read(_CHUNK_BYTES):
                content.update(chunk)
                done_bytes += len(chunk)
                yield _hashed(stored, compressor.compress(chunk))
                progress(min(done_bytes, total_bytes), total_bytes, "store")
        yield _hashed(stored, compressor.flush())

    stored_bytes = store.create(name, chunks())
    return PackedFile(
        name=name,
        codec=CODEC,
        stored_bytes=stored_bytes,
        stored_blake3=stored.hexdigest(),
        size_bytes=done_bytes,
        content_blake3=content.hexdigest(),
    )


def unpack(store: Store, packed: PackedFile, into: Path, progress: Progress = silent) -> None:
    """Write the content of the object to the new file `into` and sync it: on return it is what was packed, bit for bit.

    Raises Damaged when the object is missing, unreadable or anything else than what was packed; NoSpace when it does not
    fit. `into` is then junk.
    """
    if packed.codec != CODEC:
        raise Damaged(f"{packed.name} is packed with {packed.codec}, which this version cannot read.")
    try:
        source = store.open(packed.name)
    except StoreError as error:
        raise Damaged(str(error)) from error
    with source, disk.plainly(f"unpacking {packed.name}"), into.open("xb") as target:
        content = blake3()
        size_bytes = 0
        for chunk in _unpacked(source, packed):
            size_bytes += len(chunk)
            if size_bytes > packed.size_bytes:
                raise Damaged(f"{packed.name} holds more than the {packed.size_bytes} bytes that its manifest says.")
            content.update(chunk)
            target.write(chunk)
            progress(size_bytes, packed.size_bytes, "build")
        disk.sync(target)
    if size_bytes != packed.size_bytes or content.hexdigest() != packed.content_blake3:
        raise Damaged(f"{packed.name} unpacks to other bytes than were packed.")


def _unpacked(source: BinaryIO, packed: PackedFile) -> Iterator[bytes]:
    """The content, in pieces of bounded size; Damaged when what is stored is not what was stored."""
    decompressor = zstd.ZstdDecompressor()
    stored = blake3()
    try:
        while chunk := _read(source, packed):
            stored.update(chunk)
            if decompressor.eof:
                continue  # Junk behind the end: the hash below will say so.
            yield decompressor.decompress(chunk, _CHUNK_BYTES)
            while not decompressor.needs_input and not decompressor.eof:
                yield decompressor.decompress(b"", _CHUNK_BYTES)
    except zstd.ZstdError as error:
        raise Damaged(f"{packed.name} does not decompress: {error}.") from error
    if not decompressor.eof:
        raise Damaged(f"{packed.name} is cut short.")
    if stored.hexdigest() != packed.stored_blake3:
        raise Damaged(f"{packed.name} is not the bytes that were stored: its hash differs.")


def _read(source: BinaryIO, packed: PackedFile) -> bytes:
    try:
        return source.read(_CHUNK_BYTES)
    except OSError as error:
        raise Damaged(f"{packed.name} cannot be read from its store: {error.strerror}.") from error


def _hashed(digest: blake3, chunk: bytes) -> bytes:
    digest.update(chunk)
    return chunk
