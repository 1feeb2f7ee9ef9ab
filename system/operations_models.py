"""Applied operations, and the mark on every row that is the effect of one.

The row in `operations` is written in the same transaction as the effect. Effect rows are immutable in the columns they
name, so that the digest taken when the write was acknowledged can be taken again from the rows years later.
"""

from __future__ import annotations

from typing import ClassVar

from sqlalchemy import BigInteger, Integer, LargeBinary, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from system.database import Base

Id = Integer().with_variant(BigInteger(), "postgresql")


class AppliedOperation(Base):
    """One write that happened: its id, its place in the order of commits, its effect's digest and its answer."""

    __tablename__ = "operations"
    __table_args__ = ({"sqlite_autoincrement": True},)

    sequence: Mapped[int] = mapped_column(Id, primary_key=True)
    id: Mapped[str] = mapped_column(String(120), unique=True)
    run: Mapped[str] = mapped_column(String(120), index=True)
    actor_id: Mapped[int | None] = mapped_column(Id)
    job: Mapped[str] = mapped_column(String(80))
    fingerprint: Mapped[str] = mapped_column(String(64))
    digest: Mapped[str] = mapped_column(String(32))
    status: Mapped[int]
    response: Mapped[bytes] = mapped_column(LargeBinary)
    at_ms: Mapped[int] = mapped_column(BigInteger)


class Effect:
    """Mixin of tables whose rows are effects. `effect_columns` are fixed once written and enter the digest."""

    effect_columns: ClassVar[tuple[str, ...]]

    operation_id: Mapped[str] = mapped_column(String(120), index=True)


class Activity(Effect, Base):
    """What happened, in the platform's own words: exactly one row per applied operation."""

    __tablename__ = "activity"
    effect_columns = ("kind", "actor_id", "subject_id", "data", "at_ms")

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    kind: Mapped[str] = mapped_column(String(60), index=True)
    actor_id: Mapped[int | None] = mapped_column(Id, index=True)
    subject_id: Mapped[int | None] = mapped_column(Id)
    data: Mapped[str] = mapped_column(Text, default="{}")
    at_ms: Mapped[int] = mapped_column(BigInteger, index=True)
