"""The rules of display names hold for every row there is.

Revision ID: 0004
Revises: 0003

PostgreSQL reads the table while everybody goes on writing, then takes the checked rule's word that no display name is null.
SQLite had nothing left to prove: there 0003 rebuilt the table.
"""

from __future__ import annotations

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

NOT_EMPTY = "ck_users_display_name_not_empty"
NOT_NULL = "ck_users_display_name_not_null"


def upgrade() -> None:
    """Prove the rules, and put the column's own word in the place of the second one."""
    if op.get_context().dialect.name == "sqlite":
        return
    op.execute(f"ALTER TABLE users VALIDATE CONSTRAINT {NOT_EMPTY}")
    op.execute(f"ALTER TABLE users VALIDATE CONSTRAINT {NOT_NULL}")
    op.execute("ALTER TABLE users ALTER COLUMN display_name SET NOT NULL")
    # The column itself says from the line above on what this check said.
    op.execute(f"-- squawk-ignore ban-drop-constraint\nALTER TABLE users DROP CONSTRAINT {NOT_NULL}")


def downgrade() -> None:
    """Back to rules for new rows."""
    if op.get_context().dialect.name == "sqlite":
        return
    op.execute(f"ALTER TABLE users ADD CONSTRAINT {NOT_NULL} CHECK (display_name IS NOT NULL) NOT VALID")
    op.execute("ALTER TABLE users ALTER COLUMN display_name DROP NOT NULL")
