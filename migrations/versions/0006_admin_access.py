"""There is room for admin accounts, their sessions and API tokens, and the record of what they did.

Revision ID: 0006
Revises: 0005

Four new tables that nothing before them knows: no other table is touched or locked. There is no account in them; the first
one is made by `gymkhana admin create`. Going back drops them, and with them the record.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

ID = sa.Integer().with_variant(sa.BigInteger(), "postgresql")
MS = sa.BigInteger()


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "admin_accounts",
        sa.Column("id", ID, sa.Identity(), nullable=False),
        sa.Column("name", sa.String(40), nullable=False),
        sa.Column("role", sa.String(20), nullable=False),
        sa.Column("password_hash", sa.String(200), nullable=False),
        sa.Column("created_ms", MS, nullable=False),
        sa.Column("disabled_ms", MS, nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_admin_accounts")),
        sa.UniqueConstraint("name", name=op.f("uq_admin_accounts_name")),
        sa.CheckConstraint("role IN ('viewer', 'operator', 'admin')", name=op.f("ck_admin_accounts_role_known")),
    )
    op.create_table(
        "admin_sessions",
        sa.Column("id", ID, sa.Identity(), nullable=False),
        sa.Column("account_id", ID, nullable=False),
        sa.Column("token_hash", sa.String(64), nullable=False),
        sa.Column("network", sa.String(64), nullable=False),
        sa.Column("agent", sa.String(200), nullable=False),
        sa.Column("created_ms", MS, nullable=False),
        sa.Column("seen_ms", MS, nullable=False),
        sa.Column("expires_ms", MS, nullable=False),
        sa.Column("revoked_ms", MS, nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_admin_sessions")),
        sa.UniqueConstraint("token_hash", name=op.f("uq_admin_sessions_token_hash")),
        sa.ForeignKeyConstraint(["account_id"], ["admin_accounts.id"], name=op.f("fk_admin_sessions_account_id")),
    )
    op.create_index("ix_admin_sessions_account_id_network", "admin_sessions", ["account_id", "network"])
    op.create_table(
        "admin_tokens",
        sa.Column("id", ID, sa.Identity(), nullable=False),
        sa.Column("account_id", ID, nullable=False),
        sa.Column("name", sa.String(80), nullable=False),
        sa.Column("token_hash", sa.String(64), nullable=False),
        sa.Column("scopes", sa.String(200), nullable=False),
        sa.Column("created_ms", MS, nullable=False),
        sa.Column("expires_ms", MS, nullable=False),
        sa.Column("used_ms", MS, nullable=True),
        sa.Column("revoked_ms", MS, nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_admin_tokens")),
        sa.UniqueConstraint("token_hash", name=op.f("uq_admin_tokens_token_hash")),
        sa.ForeignKeyConstraint(["account_id"], ["admin_accounts.id"], name=op.f("fk_admin_tokens_account_id")),
    )
    op.create_index(op.f("ix_admin_tokens_account_id"), "admin_tokens", ["account_id"])
    op.create_table(
        "admin_audit",
        sa.Column("id", ID, sa.Identity(), nullable=False),
        sa.Column("operation_id", sa.String(120), nullable=False),
        sa.Column("at_ms", MS, nullable=False),
        sa.Column("actor", sa.String(80), nullable=False),
        sa.Column("account_id", ID, nullable=True),
        sa.Column("token_id", ID, nullable=True),
        sa.Column("address", sa.String(64), nullable=False),
        sa.Column("action", sa.String(60), nullable=False),
        sa.Column("subject", sa.String(160), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_admin_audit")),
        sa.UniqueConstraint("operation_id", name=op.f("uq_admin_audit_operation_id")),
    )
    for column in ((), ("account_id",), ("action",)):
        key = (*column, "at_ms", "id")
        op.create_index(op.f(f"ix_admin_audit_{'_'.join(key)}"), "admin_audit", list(key))


def downgrade() -> None:
    """Drop the tables, and with them every account and the record of what was done."""
    for table in ("admin_audit", "admin_tokens", "admin_sessions", "admin_accounts"):
        op.drop_table(table)
