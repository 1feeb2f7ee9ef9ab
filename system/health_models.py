"""The one row that readiness writes and reads, to prove that writing and reading work."""

from __future__ import annotations

from sqlalchemy import BigInteger, Integer
from sqlalchemy.orm import Mapped, mapped_column

from system.database import Base


class HealthBeat(Base):
    """The last proof of life: a number that the next read must find again."""

    __tablename__ = "health_beats"

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    beat: Mapped[int] = mapped_column(BigInteger)
    at_ms: Mapped[int] = mapped_column(BigInteger)
