"""What the backup commands say, and how: rows and tables for people, documents for machines, progress for the patient."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from backups.progress import Progress
    from backups.vault import Kept


def facts_of(entry: Kept) -> dict[str, Any]:
    """One backup as plain values; what an unreadable manifest does not tell, or a repository not know, is null."""
    from backups.clock import rfc3339
    from backups.keeping.catalogue import Entry

    manifest = entry.manifest if isinstance(entry, Entry) else None
    facts = manifest.facts if manifest else None
    unread = isinstance(entry, Entry) and manifest is None
    return {
        "id": entry.id,
        "sequence": entry.sequence,
        "kind": entry.kind,
        "parent": entry.parent,
        "native": manifest.native if manifest else None,
        "why_whole": manifest.why_whole if manifest else "",
        "state": entry.state,
        "level": entry.level if entry.level >= 0 else None,
        "pinned": entry.pinned,
        "fault": entry.fault,
        "taken": manifest.taken if manifest else None if unread else rfc3339(entry.taken),
        "taken_t": manifest.taken_t if manifest else None,
        "seconds": entry.seconds,
        "engine": entry.engine,
        "database": entry.database,
        "size_bytes": entry.size_bytes,
        "stored_bytes": entry.stored_bytes,
        "rows": facts.rows if facts else None,
        "position": facts.position if facts else None,
        "revision": facts.revision if facts else None,
        "sealed_to": list(manifest.envelope.recipients) if manifest and manifest.envelope else [],
        "verified": [look.at for look in entry.verifications if look.ok] if isinstance(entry, Entry) else [],
    }


def row(entry: Kept) -> tuple[str, ...]:
    """The line of one backup in a table: id, kind, taken, size, stored, rows, position, state."""
    told = facts_of(entry)
    return (
        entry.id,
        entry.kind,
        told["taken"] or "-",
        "-" if entry.size_bytes is None else megabytes(entry.size_bytes),
        "-" if entry.stored_bytes is None else megabytes(entry.stored_bytes),
        position_text(told["rows"]),
        position_text(told["position"]),
        entry.state,
    )


def position_text(position: int | None) -> str:
    """How far the application had come, for people; a dash when nobody knows."""
    return "-" if position is None else str(position)


def megabytes(size_bytes: int) -> str:
    """A size for people, in units of a million bytes."""
    return f"{size_bytes / 1e6:.1f} MB"


def say_json(document: dict[str, Any]) -> None:
    """The one document of a command that was asked for JSON."""
    import msgspec

    click.echo(msgspec.json.format(msgspec.json.encode(document)))


def say_rows(*rows: tuple[str, str]) -> None:
    """Names and values, the values in one column."""
    width = max(len(name) for name, _ in rows)
    for name, value in rows:
        click.echo(f"{name:<{width}}  {value}")


def say_table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> None:
    """A head and its rows, each column as wide as its widest cell."""
    widths = [max(len(line[column]) for line in (head, *rows)) for column in range(len(head))]
    for line in (head, *rows):
        click.echo("  ".join(f"{cell:<{width}}" for cell, width in zip(line, widths, strict=True)).rstrip())


@contextmanager
def shown(as_json: bool) -> Iterator[Progress]:
    """Progress on stderr: a moving bar with the time left on a terminal, one line every ten seconds elsewhere.

    For machines a line of JSON every second, on a terminal too.
    """
    from backups.progress import Lines, record

    def write(line: str) -> None:
        click.echo(line, err=True)

    if as_json:
        yield Lines(write, told=record, every_s=1.0)
        return
    if not sys.stderr.isatty():
        yield Lines(write)
        return

    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeRemainingColumn, TransferSpeedColumn
    from rich.progress import Progress as Bar

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=None)
        phase_shown = ""

        def show(done_bytes: int, total_bytes: int, phase: str, /) -> None:
            nonlocal phase_shown
            if phase != phase_shown:
                bar.reset(task, description=phase, total=total_bytes)
                phase_shown = phase
            bar.update(task, completed=done_bytes, total=total_bytes)

        yield show
