"""Users have a display name, which begins as their name and is never empty.

Revision ID: 0002
Revises: 0001

The column is added and filled before the table is rebuilt with the rules that the filled column must keep. Going back drops
display names and nothing else: 0001 has no place for them.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

ORDER = ("id", "name", "display_name", "bio", "password_hash", "created_ms", "operation_id")
NOT_EMPTY = "ck_users_display_name_not_empty"


def upgrade() -> None:
    """Add the column, fill it, then forbid it to be empty."""
    op.add_column("users", _display_name(nullable=True))
    op.execute("UPDATE users SET display_name = CASE WHEN length(name) > 0 THEN name ELSE 'user ' || id END")
    with op.batch_alter_table(
        "users", copy_from=_users(_display_name(nullable=True)), partial_reordering=[ORDER]
    ) as users:
        users.alter_column("display_name", existing_type=sa.String(80), nullable=False)
        users.create_check_constraint(op.f(NOT_EMPTY), "length(display_name) > 0")


def downgrade() -> None:
    """Drop the column and its rule."""
    rule = sa.CheckConstraint("length(display_name) > 0", name=op.f(NOT_EMPTY))
    with op.batch_alter_table("users", copy_from=_users(_display_name(nullable=False), rule)) as users:
        users.drop_constraint(op.f(NOT_EMPTY), type_="check")
        users.drop_column("display_name")


def _display_name(*, nullable: bool) -> sa.Column[Any]:
    return sa.Column("display_name", sa.String(80), nullable=nullable)


def _users(*parts: sa.schema.SchemaItem) -> sa.Table:
    """The table as 0001 made it and these parts. Written out: what SQLite tells of a table leaves its rules out."""
    return sa.Table(
        "users",
        sa.MetaData(),
        sa.Column("id", sa.Integer().with_variant(sa.BigInteger(), "postgresql"), nullable=False),
        sa.Column("name", sa.String(40), nullable=False),
        sa.Column("bio", sa.String(500), nullable=False),
        sa.Column("password_hash", sa.String(200), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.Column("operation_id", sa.String(120), nullable=False),
        *parts,
        sa.PrimaryKeyConstraint("id", name=op.f("pk_users")),
        sa.UniqueConstraint("name", name=op.f("uq_users_name")),
        sa.Index(op.f("ix_users_operation_id"), "operation_id"),
    )
