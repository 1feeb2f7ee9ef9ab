"""What Alembic runs for each command: on the connection that `revisions.py` hands over, or into text when there is none.

The transaction is the caller's. Alembic would open one of its own, but on SQLite only after it has read at which revision
the database is, and by then another migrator may have moved it.
"""

from __future__ import annotations

from typing import Any

from alembic import context

from system.models import metadata

options: dict[str, Any] = {"target_metadata": metadata, "transactional_ddl": True, "transaction_per_migration": True}
connection = context.config.attributes.get("connection")
if connection is None:
    options |= {"dialect_name": context.config.attributes["dialect"], "literal_binds": True}
else:
    options |= {"connection": connection}
context.configure(**options)
with context.begin_transaction():
    context.run_migrations()
