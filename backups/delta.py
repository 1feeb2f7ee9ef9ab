"""Repairing a database in place: only the units that differ from the backup are fetched and overwritten.

    compare --> <db>.restoring (the units that differ) --> evidence: the same units as they were --> (touched) -->
    logs to the evidence --> overwrite --> every unit of the whole file against the table --> forget

All that comes from the store is fetched and checked before the database is touched, and all that will be overwritten is kept
first. From then on the record says `touched`, and the database is neither the old one nor the new one until the repair
ends; killed at any step, it is made good by restoring again, in place or not, from this backup or another.

    <db>.evidence-<stamp>/<db>.units-0001        the old bytes of units, one after another
    <db>.evidence-<stamp>/<db>.units-0001.json   which units those are; written last, so that with it the part is whole
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from backups import disk
from backups import swap as swaps
from backups.build import write_at
from backups.errors import BackupError
from backups.format import units
from backups.format.chain import Table
from backups.format.stored_chain import StoredChain
from backups.format.units import HASH_BYTES
from backups.progress import Progress, silent
from backups.swap import Swap

_BLOCK_BYTES: Final = 1 << 20


class KeptUnits(msgspec.Struct, frozen=True):
    """What one part of the evidence holds: runs of units (first, how many) of a file that had so many bytes."""

    unit_bytes: int
    size_bytes: int
    runs: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Difference:
    """How a file differs from the image of a backup: a flag to each unit of the image, and the size that the file has."""

    flags: bytearray
    size_bytes: int

    @property
    def count(self) -> int:
        return sum(self.flags)


def why_not(database: Path) -> str:
    """Why that file cannot be repaired in place, as a sentence; empty when it can."""
    if not database.exists():
        return f"There is no file {database} to repair."
    if database.stat().st_nlink > 1:
        return f"{database} has another name as well, and what is overwritten in place changes under both."
    return ""


def compare(database: Path, table: Table, key: bytes, progress: Progress = silent) -> Difference:
    """Which units of the image the file does not have. Reads all of it."""
    unit_bytes, total_bytes = table.manifest.unit_bytes, table.units * table.manifest.unit_bytes
    flags = bytearray(b"\1" * table.units)
    unit = 0
    with disk.plainly(f"comparing {database}"), database.open("rb", buffering=0) as file:
        size_bytes = os.fstat(file.fileno()).st_size
        for block in _blocks(file.fileno(), unit_bytes, min(size_bytes, total_bytes)):
            found = units.hashes_of(block, unit_bytes, key)
            count = len(block) // unit_bytes
            at = unit * HASH_BYTES
            if table.hashes[at : at + len(found)] == found:
                flags[unit : unit + count] = bytes(count)
            else:
                for number in range(count):
                    own = number * HASH_BYTES
                    same = table.hashes[at + own : at + own + HASH_BYTES] == found[own : own + HASH_BYTES]
                    flags[unit + number] = not same
            unit += count
            progress(unit * unit_bytes, total_bytes, "compare")
    return Difference(flags, size_bytes)


def stage(chain: StoredChain, difference: Difference, staged: Path, progress: Progress = silent) -> None:
    """Fetch the units that differ into the new file `staged`, in ascending order, each checked.

    Raises Damaged when the backup cannot give them: the database has not been touched then.
    """
    unit_bytes = chain.table.manifest.unit_bytes
    slots = {unit: slot for slot, unit in enumerate(_flagged(difference.flags))}
    total_bytes, done_bytes = len(slots) * unit_bytes, 0
    with disk.plainly(f"fetching units to {staged}"), staged.open("xb", buffering=0) as file:
        for first, content in chain.runs(difference.flags):
            # Units of one run follow each other in the image, and all are wanted: so do their slots.
            write_at(file.fileno(), content, slots[first] * unit_bytes)
            done_bytes += len(content)
            progress(done_bytes, total_bytes, "fetch")


def exchange(
    swap: Swap, table: Table, difference: Difference, after_step: Callable[[str], None] = lambda _: None
) -> None:
    """Overwrite what differs, which `keep` has kept, with the staged units. The record still says `touched` afterwards.

    On return the file has the bytes and the size of the image as far as writing can tell, durably, and none of the old
    logs lies beside it.
    """
    database, staged = Path(swap.database), Path(swap.build)
    swaps.write_down(msgspec.structs.replace(swap, touched=True))
    swaps.keep_logs(swap, after_step)
    try:
        _overwrite(database, staged, table, difference)
    except OSError as error:
        raise BackupError(
            f"The repair of {database} stopped half-way ({error.strerror}), and it is neither the old database nor the new "
            f"one: restore again, on another disk if this one fails. What was overwritten is in {swap.evidence}."
        ) from error
    after_step("overwritten")


def keep(swap: Swap, table: Table, difference: Difference) -> None:
    """Put into the evidence the units that are about to change and are not in it yet, and what will be cut off."""
    database, evidence = Path(swap.database), Path(swap.evidence)
    unit_bytes = table.manifest.unit_bytes
    parts = _parts(database, evidence)
    kept = {
        unit
        for _, said in parts
        if said.unit_bytes == unit_bytes
        for first, count in said.runs
        for unit in range(first, first + count)
    }
    file_units = -(-difference.size_bytes // unit_bytes)
    going = [unit for unit in _flagged(difference.flags) if unit < file_units]
    going += range(table.units, file_units)
    runs = tuple(_runs([unit for unit in going if unit not in kept]))
    if runs:
        part = evidence / f"{database.name}.units-{1 + len(parts):04d}"
        said = KeptUnits(unit_bytes, difference.size_bytes, runs)
        with disk.plainly(f"keeping units of {database}"), _removed_on_failure(part):
            disk.make_directories(evidence)
            _copy_runs(database, part, said)
            disk.write_durably(part.with_name(f"{part.name}.json"), msgspec.json.encode(said) + b"\n")


@contextmanager
def _removed_on_failure(part: Path) -> Iterator[None]:
    try:
        yield
    except BaseException:
        part.unlink(missing_ok=True)
        with suppress(OSError):
            part.parent.rmdir()  # Unless older evidence is in it.
        raise


def _copy_runs(database: Path, part: Path, said: KeptUnits) -> None:
    with database.open("rb") as source, part.open("wb") as target:
        for first, count in said.runs:
            source.seek(first * said.unit_bytes)
            left = count * said.unit_bytes
            while left and (piece := source.read(min(left, _BLOCK_BYTES))):
                target.write(piece)
                left -= len(piece)
        disk.sync(target)


def require_image(database: Path, table: Table, key: bytes, evidence: Path, progress: Progress = silent) -> None:
    """Return when the file is the image of the table, to the last unit. Raises BackupError, saying where it is not."""
    difference = compare(database, table, key, progress)
    wrong = list(_flagged(difference.flags))
    if wrong or difference.size_bytes != table.units * table.manifest.unit_bytes:
        where = f"unit {wrong[0]}" if wrong else "its size"
        raise BackupError(
            f"{database} was repaired in place from {table.manifest.id} and is not its image: {where} differs, so the disk "
            f"does not keep what is written to it. Restore to another disk; what was overwritten is in {evidence}."
        )


def finish(swap: Swap) -> None:
    """The repair is done and checked: the staged units and the record go."""
    Path(swap.build).unlink(missing_ok=True)
    disk.remove_durably(swaps.record_of(Path(swap.database)))


def unrepaired(database: Path, evidence: Path, into: Path) -> None:
    """Put the old file together again: the repaired one with every kept unit back in its place."""
    shutil.copyfile(database, into)
    with into.open("r+b") as target:
        for part, said in reversed(_parts(database, evidence)):
            # The first part knows the oldest bytes, so it is laid last.
            with part.open("rb") as source:
                for first, count in said.runs:
                    target.seek(first * said.unit_bytes)
                    target.write(source.read(count * said.unit_bytes))
            target.truncate(said.size_bytes)


def _overwrite(database: Path, staged: Path, table: Table, difference: Difference) -> None:
    unit_bytes = table.manifest.unit_bytes
    with staged.open("rb") as source, database.open("r+b", buffering=0) as target:
        for first, count in _runs(list(_flagged(difference.flags))):
            for unit in range(first, first + count, max(1, _BLOCK_BYTES // unit_bytes)):
                wanted = min(first + count - unit, max(1, _BLOCK_BYTES // unit_bytes))
                write_at(target.fileno(), source.read(wanted * unit_bytes), unit * unit_bytes)
        target.truncate(table.units * unit_bytes)
        disk.sync(target)


def _parts(database: Path, evidence: Path) -> list[tuple[Path, KeptUnits]]:
    """The whole parts of kept units, oldest first."""
    found = []
    for said in sorted(evidence.glob(f"{database.name}.units-*.json")):
        found.append((said.with_suffix(""), msgspec.json.decode(said.read_bytes(), type=KeptUnits)))
    return found


def _blocks(descriptor: int, unit_bytes: int, wanted_bytes: int) -> Iterator[bytes]:
    """The whole units of the file up to there, many at a time."""
    step = max(1, _BLOCK_BYTES // unit_bytes) * unit_bytes
    offset, end = 0, wanted_bytes - wanted_bytes % unit_bytes
    while offset < end:
        block = os.pread(descriptor, min(step, end - offset), offset)
        block = block[: len(block) - len(block) % unit_bytes]
        if not block:
            return
        yield block
        offset += len(block)


def _flagged(flags: bytearray) -> Iterator[int]:
    unit = flags.find(1)
    while unit >= 0:
        yield unit
        unit = flags.find(1, unit + 1)


def _runs(numbers: list[int]) -> Iterator[tuple[int, int]]:
    """(first, how many) of the numbers that follow each other."""
    begin = 0
    for end in range(1, len(numbers) + 1):
        if end == len(numbers) or numbers[end] != numbers[end - 1] + 1:
            yield numbers[begin], end - begin
            begin = end
