"""What a number and a text may be when they come in: what the database can hold and a page can show."""

from __future__ import annotations

from typing import Annotated

from fastapi import Path, Query
from msgspec import Meta

ID_MAX = 2**63 - 1

PathId = Annotated[int, Path(ge=1, le=ID_MAX)]
BodyId = Annotated[int, Meta(ge=1, le=ID_MAX)]

Limit = Annotated[int, Query(ge=1, le=100)]
"""Most items of one page of a listing."""
Before = Annotated[int, Query(ge=1, le=ID_MAX)]
"""A listing that goes backwards goes on below this id: `next` of the page before."""
After = Annotated[int, Query(ge=0, le=ID_MAX)]
"""A listing that goes forwards goes on above this id: `next` of the page before."""

UserName = Annotated[str, Meta(min_length=3, max_length=40, pattern=r"^[a-z0-9_-]+\Z")]
Password = Annotated[str, Meta(min_length=8, max_length=128)]

_LINE = r"^(?=.*\S)[^\x00-\x1f\x7f]*\Z"
"""One line with something to see on it. A NUL would end the text early for some engines and be refused by others."""

ShortLine = Annotated[str, Meta(min_length=1, max_length=80, pattern=_LINE)]
Line = Annotated[str, Meta(min_length=1, max_length=120, pattern=_LINE)]
Prose = Annotated[str, Meta(max_length=500, pattern=r"^[^\x00]*\Z")]
