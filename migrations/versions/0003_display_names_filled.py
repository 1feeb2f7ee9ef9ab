"""Every user has a display name, which begins as their name and is never empty.

Revision ID: 0003
Revises: 0002

The contracting half, for when all code that serves writes display names itself. PostgreSQL holds new rows to the rules from
here on and looks at the old ones in 0004: done at once, everybody would wait for that look. SQLite rebuilds the table.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

ORDER = ("id", "name", "display_name", "bio", "password_hash", "created_ms", "operation_id")
NOT_EMPTY = "ck_users_display_name_not_empty"
NOT_NULL = "ck_users_display_name_not_null"
"""PostgreSQL's own way to a column that is never null: 0004 believes this check instead of reading the table again."""

_FILL = "UPDATE users SET display_name = CASE WHEN length(name) > 0 THEN name ELSE 'user ' || id END"
BACKFILL = (
    f"{_FILL} WHERE display_name IS NULL AND id IN "
    "(SELECT id FROM users WHERE display_name IS NULL ORDER BY id LIMIT 1000)"
)
"""Run again and again before the revision, each time a transaction of its own, until it finds nothing."""


def upgrade() -> None:
    """Fill what was written since the last batch, then forbid it to be empty."""
    op.execute(f"{_FILL} WHERE display_name IS NULL")
    if op.get_context().dialect.name == "sqlite":
        with op.batch_alter_table("users", copy_from=_users(nullable=True), partial_reordering=[ORDER]) as users:
            users.alter_column("display_name", existing_type=sa.String(80), nullable=False)
            users.create_check_constraint(op.f(NOT_EMPTY), "length(display_name) > 0")
        return
    for name, rule in ((NOT_EMPTY, "length(display_name) > 0"), (NOT_NULL, "display_name IS NOT NULL")):
        # There before only where an earlier 0002 was applied that did all of this at once; the same rule comes next.
        op.execute(f"-- squawk-ignore ban-drop-constraint\nALTER TABLE users DROP CONSTRAINT IF EXISTS {name}")
        op.execute(f"ALTER TABLE users ADD CONSTRAINT {name} CHECK ({rule}) NOT VALID")


def downgrade() -> None:
    """Drop the rules; what was filled stays."""
    if op.get_context().dialect.name == "sqlite":
        rule = sa.CheckConstraint("length(display_name) > 0", name=op.f(NOT_EMPTY))
        with op.batch_alter_table("users", copy_from=_users(rule, nullable=False)) as users:
            users.drop_constraint(op.f(NOT_EMPTY), type_="check")
            users.alter_column("display_name", existing_type=sa.String(80), nullable=True)
        return
    for name in (NOT_EMPTY, NOT_NULL):
        op.execute(f"ALTER TABLE users DROP CONSTRAINT {name}")


def _users(*parts: sa.schema.SchemaItem, nullable: bool) -> sa.Table:
    """The table as it is around this revision. Written out: what SQLite tells of a table leaves its rules out."""
    columns: list[sa.Column[Any]] = [
        sa.Column("id", sa.Integer().with_variant(sa.BigInteger(), "postgresql"), nullable=False),
        sa.Column("name", sa.String(40), nullable=False),
        sa.Column("display_name", sa.String(80), nullable=nullable),
        sa.Column("bio", sa.String(500), nullable=False),
        sa.Column("password_hash", sa.String(200), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.Column("operation_id", sa.String(120), nullable=False),
    ]
    return sa.Table(
        "users",
        sa.MetaData(),
        *columns,
        *parts,
        sa.PrimaryKeyConstraint("id", name=op.f("pk_users")),
        sa.UniqueConstraint("name", name=op.f("uq_users_name")),
        sa.Index(op.f("ix_users_operation_id"), "operation_id"),
    )
