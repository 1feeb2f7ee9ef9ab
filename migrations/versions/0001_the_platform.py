"""The platform: users, points, tournaments, challenges, notifications, and the operations that wrote them.

Revision ID: 0001
Revises: nothing
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.types import TypeEngine

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

ID = sa.Integer().with_variant(sa.BigInteger(), "postgresql")
INTEGER = sa.Integer()
MS = sa.BigInteger()
TEXT = sa.Text()


def upgrade() -> None:
    """Make every table."""
    _operations()
    _users()
    _points()
    _tournaments()
    _challenges()
    _notifications()
    _make("health_beats", _column("id", INTEGER), _column("beat", MS), _column("at_ms", MS))


def downgrade() -> None:
    """Drop every table, children first."""
    for table in (
        "health_beats",
        "notification_deliveries",
        "notifications",
        "notification_outbox",
        "challenge_steps",
        "challenges",
        "match_events",
        "matches",
        "tournament_entries",
        "tournaments",
        "points_transfers",
        "points_accounts",
        "user_sessions",
        "users",
        "activity",
        "operations",
    ):
        op.drop_table(table)


def _operations() -> None:
    _make(
        "operations",
        _column("sequence", ID),
        _column("id", sa.String(120)),
        _column("run", sa.String(120)),
        _column("actor_id", ID, nullable=True),
        _column("job", sa.String(80)),
        _column("fingerprint", sa.String(64)),
        _column("digest", sa.String(32)),
        _column("status", INTEGER),
        _column("response", sa.LargeBinary()),
        _column("at_ms", MS),
        _unique("operations", "id"),
        primary_key="sequence",
        sqlite_autoincrement=True,
    )
    _index("operations", "run")
    _make(
        "activity",
        _column("id", ID),
        _column("kind", sa.String(60)),
        _column("actor_id", ID, nullable=True),
        _column("subject_id", ID, nullable=True),
        _column("data", TEXT),
        _column("at_ms", MS),
        _operation_id(),
    )
    _index("activity", "actor_id", "at_ms", "kind", "operation_id")


def _users() -> None:
    _make(
        "users",
        _column("id", ID),
        _column("name", sa.String(40)),
        _column("bio", sa.String(500)),
        _column("password_hash", sa.String(200)),
        _column("created_ms", MS),
        _operation_id(),
        _unique("users", "name"),
    )
    _index("users", "operation_id")
    _make(
        "user_sessions",
        _column("id", ID),
        _column("user_id", ID),
        _column("token_hash", sa.String(64)),
        _column("created_ms", MS),
        _column("expires_ms", MS),
        _column("revoked_ms", MS, nullable=True),
        _operation_id(),
        _foreign("user_sessions", "user_id", "users.id"),
        _unique("user_sessions", "token_hash"),
    )
    _index("user_sessions", "operation_id", "user_id")


def _points() -> None:
    _make(
        "points_accounts",
        _column("id", ID),
        _column("kind", sa.String(10)),
        _column("owner_id", ID),
        _column("balance", INTEGER),
        _check("points_accounts", "not_overdrawn", "balance >= 0 OR kind = 'mint'"),
        _unique("points_accounts", "kind", "owner_id"),
    )
    _make(
        "points_transfers",
        _column("id", ID),
        _column("from_id", ID),
        _column("to_id", ID),
        _column("amount", INTEGER),
        _column("kind", sa.String(30)),
        _column("reference", ID, nullable=True),
        _column("at_ms", MS),
        _operation_id(),
        _check("points_transfers", "amount_positive", "amount > 0"),
        _foreign("points_transfers", "from_id", "points_accounts.id"),
        _foreign("points_transfers", "to_id", "points_accounts.id"),
    )
    _index("points_transfers", "from_id", "operation_id", "to_id")


def _tournaments() -> None:
    _make(
        "tournaments",
        _column("id", ID),
        _column("name", sa.String(80)),
        _column("organiser_id", ID),
        _column("state", sa.String(10)),
        _column("capacity", INTEGER),
        _column("entries", INTEGER),
        _column("entry_fee", INTEGER),
        _column("winner_id", ID, nullable=True),
        _column("created_ms", MS),
        _operation_id(),
        _check("tournaments", "capacity_positive", "capacity > 0"),
        _check("tournaments", "entries_within_capacity", "entries BETWEEN 0 AND capacity"),
        _check("tournaments", "entry_fee_not_negative", "entry_fee >= 0"),
        _foreign("tournaments", "organiser_id", "users.id"),
        _foreign("tournaments", "winner_id", "users.id"),
    )
    _index("tournaments", "operation_id", "organiser_id", "state")
    _make(
        "tournament_entries",
        _column("id", ID),
        _column("tournament_id", ID),
        _column("user_id", ID),
        _column("at_ms", MS),
        _operation_id(),
        _foreign("tournament_entries", "tournament_id", "tournaments.id"),
        _foreign("tournament_entries", "user_id", "users.id"),
        _unique("tournament_entries", "tournament_id", "user_id"),
    )
    _index("tournament_entries", "operation_id", "user_id")
    _make(
        "matches",
        _column("id", ID),
        _column("tournament_id", ID),
        _column("home_id", ID),
        _column("away_id", ID),
        _column("state", sa.String(10)),
        _column("home_score", INTEGER),
        _column("away_score", INTEGER),
        _column("created_ms", MS),
        _operation_id(),
        _check("matches", "two_players", "home_id <> away_id"),
        _foreign("matches", "tournament_id", "tournaments.id"),
        _foreign("matches", "home_id", "users.id"),
        _foreign("matches", "away_id", "users.id"),
    )
    _index("matches", "operation_id", "tournament_id")
    _make(
        "match_events",
        _column("id", ID),
        _column("match_id", ID),
        _column("side", sa.String(4)),
        _column("points", INTEGER),
        _column("at_ms", MS),
        _operation_id(),
        _check("match_events", "points_positive", "points > 0"),
        _foreign("match_events", "match_id", "matches.id"),
    )
    _index("match_events", "match_id", "operation_id")


def _challenges() -> None:
    _make(
        "challenges",
        _column("id", ID),
        _column("challenger_id", ID),
        _column("opponent_id", ID),
        _column("title", sa.String(120)),
        _column("stake", INTEGER),
        _column("state", sa.String(10)),
        _column("winner_id", ID, nullable=True),
        _column("created_ms", MS),
        _column("expires_ms", MS),
        _operation_id(),
        _check("challenges", "stake_positive", "stake > 0"),
        _check("challenges", "two_users", "challenger_id <> opponent_id"),
        _foreign("challenges", "challenger_id", "users.id"),
        _foreign("challenges", "opponent_id", "users.id"),
        _foreign("challenges", "winner_id", "users.id"),
    )
    _index("challenges", "challenger_id", "expires_ms", "operation_id", "opponent_id", "state")
    _make(
        "challenge_steps",
        _column("id", ID),
        _column("challenge_id", ID),
        _column("state", sa.String(10)),
        _column("actor_id", ID, nullable=True),
        _column("at_ms", MS),
        _operation_id(),
        _foreign("challenge_steps", "challenge_id", "challenges.id"),
        _foreign("challenge_steps", "actor_id", "users.id"),
    )
    _index("challenge_steps", "challenge_id", "operation_id")


def _notifications() -> None:
    _make(
        "notification_outbox",
        _column("id", ID),
        _column("user_id", ID),
        _column("kind", sa.String(40)),
        _column("text", sa.String(300)),
        _column("subject_id", ID, nullable=True),
        _column("state", sa.String(10)),
        _column("attempts", INTEGER),
        _column("next_attempt_ms", MS),
        _column("at_ms", MS),
        _operation_id(),
        _foreign("notification_outbox", "user_id", "users.id"),
        _unique("notification_outbox", "operation_id", "user_id", "kind"),
    )
    _index("notification_outbox", "operation_id")
    op.create_index("ix_notification_outbox_due", "notification_outbox", ["state", "next_attempt_ms"])
    _make(
        "notifications",
        _column("id", ID),
        _column("outbox_id", ID),
        _column("user_id", ID),
        _column("kind", sa.String(40)),
        _column("text", sa.String(300)),
        _column("subject_id", ID, nullable=True),
        _column("at_ms", MS),
        _column("read_ms", MS, nullable=True),
        _foreign("notifications", "outbox_id", "notification_outbox.id"),
        _foreign("notifications", "user_id", "users.id"),
        _unique("notifications", "outbox_id"),
    )
    op.create_index("ix_notifications_inbox", "notifications", ["user_id", "id"])
    _make(
        "notification_deliveries",
        _column("id", ID),
        _column("outbox_id", ID),
        _column("attempt", INTEGER),
        _column("outcome", sa.String(10)),
        _column("error", sa.String(300)),
        _column("at_ms", MS),
        _foreign("notification_deliveries", "outbox_id", "notification_outbox.id"),
    )
    _index("notification_deliveries", "outbox_id")


def _make(table: str, *parts: sa.schema.SchemaItem, primary_key: str = "id", **options: Any) -> None:
    op.create_table(table, *parts, sa.PrimaryKeyConstraint(primary_key, name=op.f(f"pk_{table}")), **options)


def _index(table: str, *columns: str) -> None:
    """An index on each of the columns."""
    for column in columns:
        op.create_index(op.f(f"ix_{table}_{column}"), table, [column])


def _column(name: str, kind: TypeEngine[Any], *, nullable: bool = False) -> sa.Column[Any]:
    return sa.Column(name, kind, nullable=nullable)


def _operation_id() -> sa.Column[Any]:
    return _column("operation_id", sa.String(120))


def _unique(table: str, *columns: str) -> sa.UniqueConstraint:
    return sa.UniqueConstraint(*columns, name=op.f(f"uq_{table}_{'_'.join(columns)}"))


def _check(table: str, name: str, rule: str) -> sa.CheckConstraint:
    return sa.CheckConstraint(rule, name=op.f(f"ck_{table}_{name}"))


def _foreign(table: str, column: str, target: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint([column], [target], name=op.f(f"fk_{table}_{column}"))
