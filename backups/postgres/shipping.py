"""What has arrived in a receiver's spool, brought to the store: whole segments, and pieces of the one being written."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from backups.clock import SYSTEM, rfc3339
from backups.postgres.archive import HISTORY, SEGMENT, Archive

_PAGE_BYTES: Final = 8192
_PARTIAL: Final = ".partial"


@dataclass(slots=True)
class Shipping:
    """What of the spool is in the store: pieces of the segment being written, and everything before it."""

    spool: Path
    archive: Archive
    _segment: str = ""
    _shipped_bytes: int = 0
    _number: int = 1
    trouble: str = ""
    shipped: str = ""
    _stored: set[str] = field(default_factory=set)

    def ship(self) -> None:
        """Everything that is in the spool now is in the store. Raises BackupError when the store does not take it."""
        names = sorted(path.name for path in self.spool.iterdir())
        read_at = rfc3339(SYSTEM.now())
        for name in names:
            if not (SEGMENT.fullmatch(name) or HISTORY.fullmatch(name)):
                continue
            if name not in self._stored:
                self.archive.put(name, (self.spool / name).read_bytes(), read_at)
                self._stored.add(name)
                self.shipped = name
            # The newest one stays: from its name pg_receivewal knows where to go on.
            if SEGMENT.fullmatch(name) and any(other > name for other in names if other[:24] != name):
                (self.spool / name).unlink()
        for name in names:
            if name.endswith(_PARTIAL):
                self._ship_piece(name, read_at)

    def _ship_piece(self, name: str, read_at: str) -> None:
        segment = name.removesuffix(_PARTIAL)
        if segment != self._segment:
            self._segment, self._shipped_bytes, self._number = segment, 0, self.archive.next_piece(segment)
        try:
            with (self.spool / name).open("rb") as file:
                begin = self._shipped_bytes // _PAGE_BYTES * _PAGE_BYTES
                file.seek(begin)
                content = _written(file.read(), self._shipped_bytes - begin)
        except FileNotFoundError:  # It has become whole since.
            return
        if begin + len(content) > self._shipped_bytes:
            self.archive.put_piece(segment, self._number, begin, content, read_at)
            self._number += 1
            self._shipped_bytes = begin + len(content)


def _written(content: bytes, known: int) -> bytes:
    """The content up to the last byte that is not zero, but no less than what was known: a segment is zeros at first."""
    return content[: max(known, len(content.rstrip(b"\0")))]


def sweep(spool: Path, segment_bytes: int) -> None:
    """No segment lies there that was given up while room was being made for it, while nobody receives into the spool.

    pg_receivewal fills a new one with zeros before it writes any log. When the disk is full it leaves what it has, and later
    refuses to go on because of its size.
    """
    for partial in spool.glob(f"*{_PARTIAL}"):
        if partial.stat().st_size not in (0, segment_bytes) and not partial.read_bytes().strip(b"\0"):
            partial.unlink()
