"""A record as a stream, CSV or NDJSON: page after page by the key, so that ten million rows take the memory of one page."""

from __future__ import annotations

import csv
import io
from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Any

import msgspec

from system.lanes import Lanes
from system.reporting.listings import Filters, Record, Row, page, place_of

PAGE = 2_000
DOMAIN = "admin"
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def defused(cell: Any) -> Any:
    """The cell as no spreadsheet takes it for a formula; numbers are none."""
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(_FORMULA) else cell


def csv_lines(columns: Sequence[str], rows: Iterable[Row], *, header: bool = False) -> bytes:
    """The rows as RFC 4180 has them."""
    text = io.StringIO(newline="")
    writing = csv.writer(text)
    if header:
        writing.writerow(columns)
    writing.writerows([defused(row[name]) for name in columns] for row in rows)
    return text.getvalue().encode()


def ndjson_lines(_columns: Sequence[str], rows: Iterable[Row], *, header: bool = False) -> bytes:  # noqa: ARG001
    """A JSON object on each line."""
    return b"".join(msgspec.json.encode(row) + b"\n" for row in rows)


FORMS = {"csv": (csv_lines, "text/csv; charset=utf-8"), "ndjson": (ndjson_lines, "application/x-ndjson")}


async def exported(
    lanes: Lanes, record: Record, filters: Filters, form: str, rows_of_page: int = PAGE
) -> AsyncIterator[bytes]:
    """The record's rows, newest first, each once; those that come while it lasts are newer and not among them.

    Raises ServiceError when a page cannot be read: what is cut short must not end like what is whole.
    """
    write, _ = FORMS[form]
    after, header = None, True
    while True:
        rows = await lanes.long_read(DOMAIN, page, record, filters, rows_of_page, after)
        if rows or header:
            yield write(record.columns, rows, header=header)
        if len(rows) < rows_of_page:
            return
        after, header = place_of(record, rows[-1]), False
