"""Users may have a display name: a column that nobody has to fill yet.

Revision ID: 0002
Revises: 0001

The expanding half. Code that knows nothing of display names goes on signing users up; code that does shows the name where
there is no display name. Going back drops display names and nothing else: 0001 has no place for them.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column, empty: no row is touched, so the table is locked for an instant only."""
    op.add_column("users", sa.Column("display_name", sa.String(80), nullable=True))


def downgrade() -> None:
    """Drop the column. It holds nothing that 0001 could read."""
    op.drop_column("users", "display_name")
