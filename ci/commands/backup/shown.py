"""What the backup commands say, and how: rows and tables for people, documents for machines, progress for the patient."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from backups.keeping.catalogue import Entry
    from backups.progress import Progress


def facts_of(entry: Entry) -> dict[str, Any]:
    """One backup as plain values; what an unreadable manifest does not tell is null."""
    manifest, facts = entry.manifest, entry.manifest.facts if entry.manifest else None
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
        "taken": manifest.taken if manifest else None,
        "taken_t": manifest.taken_t if manifest else None,
        "seconds": manifest.seconds if manifest else None,
        "engine": manifest.engine if manifest else None,
        "database": manifest.database if manifest else None,
        "size_bytes": manifest.size_bytes if manifest else None,
        "stored_bytes": manifest.stored_bytes if manifest else None,
        "rows": facts.rows if facts else None,
        "position": facts.position if facts else None,
        "revision": facts.revision if facts else None,
        "sealed_to": list(manifest.envelope.recipients) if manifest and manifest.envelope else [],
        "verified": [look.at for look in entry.verifications if look.ok],
    }


def row(entry: Entry) -> tuple[str, ...]:
    """The line of one backup in a table: id, kind, taken, size, stored, rows, position, state."""
    manifest = entry.manifest
    if manifest is None:
        return (entry.id, entry.kind, "-", "-", "-", "-", "-", entry.state)
    return (
        entry.id,
        entry.kind,
        manifest.taken,
        megabytes(manifest.size_bytes),
        megabytes(manifest.stored_bytes),
        str(manifest.facts.rows),
        position_text(manifest.facts.position),
        entry.state,
    )


def position_text(position: int | None) -> str:
    """How far the application had come, for people."""
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
