"""The service's own records have tables: requests, errors, deliveries, health, and their rollups.

Revision ID: 0005
Revises: 0004

New tables with their indexes, and nothing else: code that knows nothing of them goes on as it did, and code that does counts
what it could not record where they are missing. Attempts to deliver are logged in `delivery_records` from here on:
`notification_deliveries` cannot be asked for by user, kind or time, and an index made on it would hold its writers up. It
keeps what it has, and is written by the version before, until a later revision drops it. Going back drops the records.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.types import TypeEngine

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

ID = sa.Integer().with_variant(sa.BigInteger(), "postgresql")
BIG = sa.BigInteger()


def upgrade() -> None:
    """Make the tables."""
    _requests()
    _errors()
    _deliveries()
    _health()
    _rollups()


def downgrade() -> None:
    """Drop the tables, and what they hold."""
    for table in (
        "event_rollups",
        "request_rollups",
        "health_records",
        "delivery_records",
        "error_records",
        "request_records",
    ):
        op.drop_table(table)


def _requests() -> None:
    _make(
        "request_records",
        sa.Column("id", ID, sa.Identity(), nullable=False),
        _column("at_ms", BIG),
        _column("user_id", ID, nullable=True),
        _column("kind", sa.String(60)),
        _column("status", BIG),
        _column("took_us", BIG),
        _column("request_id", sa.String(120)),
        _column("operation_id", sa.String(120), nullable=True),
    )
    _index("request_records", "at_ms", "id")
    _index("request_records", "user_id", "at_ms", "id")
    _index("request_records", "kind", "at_ms", "id")
    _only("ix_request_records_refused", "request_records", "status >= 400 AND status < 500")
    _only("ix_request_records_failed", "request_records", "status >= 500")
    _only("ix_request_records_kind_refused", "request_records", "status >= 400 AND status < 500", "kind")
    _only("ix_request_records_kind_failed", "request_records", "status >= 500", "kind")


def _errors() -> None:
    _make(
        "error_records",
        sa.Column("id", ID, sa.Identity(), nullable=False),
        _column("fingerprint", sa.String(16)),
        _column("kind", sa.String(80)),
        _column("code", sa.String(60)),
        _column("place", sa.String(120)),
        _column("status", BIG),
        _column("message", sa.String(300)),
        _column("request_id", sa.String(120)),
        _column("count", BIG),
        _column("first_ms", BIG),
        _column("last_ms", BIG),
        sa.UniqueConstraint("fingerprint", name=op.f("uq_error_records_fingerprint")),
    )
    _index("error_records", "first_ms", "id")
    _index("error_records", "last_ms")


def _deliveries() -> None:
    _make(
        "delivery_records",
        sa.Column("id", ID, sa.Identity(), nullable=False),
        _column("at_ms", BIG),
        _column("user_id", ID),
        _column("kind", sa.String(40)),
        _column("outcome", sa.String(10)),
        _column("attempt", BIG),
        _column("outbox_id", ID),
        _column("error", sa.String(300)),
    )
    _index("delivery_records", "at_ms", "id")
    _index("delivery_records", "user_id", "at_ms", "id")
    _index("delivery_records", "kind", "at_ms", "id")
    _only("ix_delivery_records_failed", "delivery_records", "outcome = 'failed'")


def _health() -> None:
    _make(
        "health_records",
        sa.Column("id", ID, sa.Identity(), nullable=False),
        _column("at_ms", BIG),
        _column("worker", BIG),
        _column("status", sa.String(10)),
        _column("output", sa.Text()),
    )
    _index("health_records", "at_ms", "id")
    _index("health_records", "status", "at_ms", "id")


def _rollups() -> None:
    _make(
        "request_rollups",
        _column("width_s", BIG),
        _column("start_ms", BIG),
        _column("kind", sa.String(60)),
        _column("requests", BIG),
        _column("refused", BIG),
        _column("failed", BIG),
        _column("took_us", BIG),
        *(_column(f"within_{bound}_ms", BIG) for bound in (5, 10, 25, 50, 100, 250, 500, 1000)),
        primary_key=("width_s", "start_ms", "kind"),
    )
    _make(
        "event_rollups",
        _column("width_s", BIG),
        _column("start_ms", BIG),
        _column("name", sa.String(60)),
        _column("happened", BIG),
        _column("amount", BIG),
        primary_key=("width_s", "start_ms", "name"),
    )


def _make(table: str, *parts: sa.schema.SchemaItem, primary_key: tuple[str, ...] = ("id",)) -> None:
    op.create_table(table, *parts, sa.PrimaryKeyConstraint(*primary_key, name=op.f(f"pk_{table}")))


def _column(name: str, kind: TypeEngine[Any], *, nullable: bool = False) -> sa.Column[Any]:
    return sa.Column(name, kind, nullable=nullable)


def _index(table: str, *columns: str) -> None:
    op.create_index(op.f(f"ix_{table}_{'_'.join(columns)}"), table, list(columns))


def _only(name: str, table: str, where: str, *before: str) -> None:
    """An index by time of the few rows that somebody looks for among very many."""
    op.create_index(
        op.f(name), table, [*before, "at_ms", "id"], sqlite_where=sa.text(where), postgresql_where=sa.text(where)
    )
