"""A timeline as people and machines read it: lines to print, or plain values."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from textwrap import wrap
from typing import TYPE_CHECKING, Any

from backups.clock import lasting, rfc3339
from ci.commands.backup.shown import megabytes

if TYPE_CHECKING:
    from backups.log.timeline import Gap, Span, Timeline

_HEAD = ("", "FROM", "UNTIL", "LASTS", "POSITIONS", "COMMITS", "LOG", "BACKUPS")
_WIDTH = 110


def plain(timeline: Timeline, now: datetime) -> dict[str, Any]:
    """The timeline as plain values, oldest first; instants are RFC 3339, what there is not is null."""
    newest = timeline.newest
    return {
        "proved": timeline.proved,
        "newest": newest
        and {
            "reaches": rfc3339(newest.reaches),
            "age_s": max(0.0, (now - newest.reaches).total_seconds()),
            "position": newest.position,
            "backup": newest.backup,
            "cost": newest.cost,
        },
        "spans": [_plain_span(span) for span in timeline.spans],
        "gaps": [
            {
                "after": rfc3339(gap.after),
                "until": gap.until and rfc3339(gap.until),
                "refused_from": gap.refused_from and rfc3339(gap.refused_from),
                "why": gap.why,
            }
            for gap in timeline.gaps
        ],
    }


def _plain_span(span: Span) -> dict[str, Any]:
    return {
        "from": rfc3339(span.begins),
        "until": rfc3339(span.ends),
        "to_time": span.to_time and [rfc3339(instant) for instant in span.to_time],
        "to_position": span.to_position and list(span.to_position),
        "backups": list(span.backups),
        "generation": span.generation,
        "segments": span.segments,
        "commits": span.commits,
        "log_bytes": span.log_bytes,
        "fault": span.fault,
    }


def draw(timeline: Timeline, address: str, now: datetime) -> Iterator[str]:
    """The lines to print: the newest point, then the spans and gaps under it, newest first."""
    yield from _newest(timeline, address, now)
    if not timeline.spans:
        return
    yield ""
    rows = [(_row(span), _gaps_after(span, timeline)) for span in reversed(timeline.spans)]
    widths = [max(len(cells[column]) for cells in (_HEAD, *(row for row, _ in rows))) for column in range(len(_HEAD))]
    widths[0] = 1
    yield _line(_HEAD, widths)
    for cells, gaps in rows:
        for gap in gaps:
            yield from _gap(gap, now)
        yield _line(cells, widths)
    first = timeline.spans[0]
    for gap in timeline.gaps:
        if gap.until is not None and gap.until == first.begins:
            yield from _gap(gap, now)
    if not timeline.proved and any(span.segments for span in timeline.spans):
        yield ""
        yield "As the headers of the log tell it; --check reads every byte."


def _newest(timeline: Timeline, address: str, now: datetime) -> Iterator[str]:
    newest = timeline.newest
    if newest is None and not timeline.spans:
        yield f"{address} holds nothing to restore; make a backup with: gymkhana backup run."
    elif newest is None:
        yield f"The newest state in {address} cannot be restored with the keys at hand: name one with --identity."
    else:
        position = "" if newest.position is None else f", position {newest.position}"
        age = lasting((now - newest.reaches).total_seconds())
        yield f"{address} can be restored to {_instant(newest.reaches)} UTC{position}: {age} ago."
        if newest.cost:
            yield from wrap(newest.cost, _WIDTH)


def _gaps_after(span: Span, timeline: Timeline) -> list[Gap]:
    if span.generation is None:
        return []
    return [gap for gap in timeline.gaps if gap.after == span.ends]


def _row(span: Span) -> tuple[str, ...]:
    more = f" and {len(span.backups) - 1} more" if len(span.backups) > 1 else ""
    backups = f"{span.backups[0]}{more}"
    if span.to_time is None:
        return ("●", _instant(span.taken), "", "", "", "", "", backups)
    positions = "-" if span.to_position is None else f"{span.to_position[0]}–{span.to_position[1]}"
    lasts = lasting((span.ends - span.begins).total_seconds())
    log = (f"{span.commits}", megabytes(span.log_bytes))
    return ("┃", _instant(span.begins), _instant(span.ends), lasts, positions, *log, backups)


def _gap(gap: Gap, now: datetime) -> Iterator[str]:
    until = now if gap.until is None else gap.until
    lost = max(0.0, (until - gap.after).total_seconds())
    told = f"gap of {lasting(lost)}: {gap.why}" if gap.until else f"since then: {gap.why}"
    for line in wrap(told, _WIDTH - 4):
        yield f"╎    {line}"


def _line(cells: tuple[str, ...], widths: list[int]) -> str:
    aligned = [
        f"{cell:>{width}}" if name in ("LASTS", "COMMITS", "LOG") else f"{cell:<{width}}"
        for name, cell, width in zip(_HEAD, cells, widths, strict=True)
    ]
    return "  ".join(aligned).rstrip()


def _instant(instant: datetime) -> str:
    """`2026-11-23 09:00:00.123`, in UTC."""
    return instant.astimezone(UTC).isoformat(sep=" ", timespec="milliseconds").removesuffix("+00:00")
