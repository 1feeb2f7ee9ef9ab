"""Every environment variable the service reads, read once."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

DEFAULT_DATABASE_URL = "sqlite:///var/gym.db"


class Settings(BaseSettings):
    """The service's configuration. Names in capitals are the environment variables; nothing else configures it."""

    model_config = SettingsConfigDict(env_prefix="GYM_", extra="ignore", frozen=True, hide_input_in_errors=True)

    database_url: str = Field(default=DEFAULT_DATABASE_URL, validation_alias="DATABASE_URL")
    env: Literal["dev", "prod"] = "dev"
    host: str = "127.0.0.1"
    port: int = Field(default=8080, ge=0, le=65535)
    server: Literal["granian", "uvicorn"] = "granian"
    workers: int = Field(default=1, ge=1, le=64)
    """HTTP processes that share the port."""
    worker: int = Field(default=1, ge=1)
    """Which of them this is; the first does the service's own jobs."""
    runtime: Path | None = None
    """Directory of `processes.json` and the writer's socket; `<database>.runtime/` when unset, for PostgreSQL in `var/`."""
    failpoints: Path | None = None
    """Directory where failpoints are armed. Unset, as in production, no failpoint exists."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"

    status_dir: Path | None = None
    """Directory where others leave how the backups are and how the last drills went (`status_files.py`)."""
    runs_dir: Path = Path("var/runs")
    """Directory where drills leave their runs (`drill_runs.py`)."""
    alert_rules: Path | None = None
    """File with the alert rules; `alerts/rules.json` when unset."""
    alert_interval_s: float = Field(default=5.0, gt=0)
    """How often the rules are looked at."""
    alert_webhooks: str = Field(default="", repr=False)
    """Addresses that alerts are posted to, separated by spaces."""
    alert_mail: str = Field(default="", repr=False)
    """`smtp://user:password@host:port?to=…&from=…`, or `smtps:`: who gets alerts by mail, and through which server."""
    alert_repeat_s: float = Field(default=4 * 3600.0, gt=0)
    """How long after a notice the same is told again, while nobody has acknowledged it."""
    alert_retry_s: float = Field(default=1.0, gt=0)
    """How long after a failed attempt to tell it the next is made; then twice as long, and so on."""
    alert_url: str = ""
    """Where people look when they are told, in notices; the service's own address when unset."""

    request_places: int = Field(default=1024, ge=1)
    """Requests inside the service and before its door at once; one more is refused. One domain may hold half of them."""
    rate_requests: int = Field(default=0, ge=0)
    """Requests that one client may make within the window; 0, the default, is as many as it likes."""
    rate_window_s: int = Field(default=10, ge=1)
    rate_clients: int = Field(default=10_000, ge=1)
    """Clients whose rate is remembered, in each HTTP process."""
    read_places: int = Field(default=1024, ge=1)
    """Reads under way or waiting, all domains together."""
    write_places: int = Field(default=1024, ge=1)
    """Writes under way or waiting, all domains together. One domain may hold half of them."""
    read_deadline_ms: int = Field(default=2_000, ge=1)
    write_deadline_ms: int = Field(default=3_000, ge=1)
    job_budget_ms: int = Field(default=1_000, ge=1)
    """Longest a single job may hold the database; then it is interrupted, rolled back and refused."""
    batch_jobs: int = Field(default=256, ge=1, le=4096)
    """Most jobs that share one commit."""
    write_sessions: int = Field(default=10, ge=1, le=100)
    """PostgreSQL: connections that write, each running one job at a time."""
    read_sessions: int = Field(default=4, ge=1, le=100)
    """PostgreSQL: connections of each HTTP process that read."""
    lock_timeout_ms: int = Field(default=800, ge=1)
    """PostgreSQL: how long a job waits for a row that another one holds; less than its budget, or it is never run again."""
    idle_timeout_ms: int = Field(default=5_000, ge=1)
    """PostgreSQL: how long a transaction may do nothing before the server ends it."""
    hash_threads: int = Field(default=1, ge=1, le=16)
    hash_places: int = Field(default=64, ge=1)
    """Log-ins and sign-ups waiting for a hashing thread; one more is refused at once."""
    session_hours: int = Field(default=24 * 14, ge=1)
    admin_session_hours: int = Field(default=12, ge=1, le=24 * 7)
    """How long a log-in of the admin part lasts at most."""
    admin_idle_minutes: int = Field(default=30, ge=2)
    """How long it lasts while nobody uses it."""
    trusted_proxies: str = ""
    """Addresses and networks, with commas, whose X-Forwarded-For and X-Forwarded-Proto are believed; none unless named."""
    body_limit_bytes: int = Field(default=64 * 1024, ge=1024)

    records: bool = True
    """Whether requests, errors and health are recorded; deliveries always are."""
    activity_days: int = Field(default=14, ge=1)
    activity_rows: int = Field(default=10_000_000, ge=1_000)
    """How long, and how many, requests are kept on record; whichever comes first."""
    audit_days: int = Field(default=400, ge=1)
    """How long admin actions are."""

    ship: Path | None = None
    """The socket of the process that ships the database's log and checkpoints it; the writer checkpoints when unset."""
    ship_mode: Literal["async", "sync"] = "async"
    """With `sync` a write is answered only after the log that holds it is durable elsewhere, or as unknown."""
    ship_timeout_ms: int = Field(default=5_000, ge=1)
    """How long the writer waits for that."""

    @field_validator("database_url")
    @classmethod
    def _known_engine(cls, url: str) -> str:
        if not url.startswith(("sqlite:", "postgresql:", "postgresql+")):
            raise ValueError("DATABASE_URL must begin with sqlite: or postgresql:")
        return url

    def secrets(self) -> tuple[str, ...]:
        """What of this configuration nobody may read in a log or a record, word for word."""
        from sqlalchemy import make_url

        password = make_url(self.database_url).password
        return (password,) if password else ()

    @field_validator("trusted_proxies")
    @classmethod
    def _networks(cls, text: str) -> str:
        from system.admin.origin import trusted_networks

        trusted_networks(text)
        return text

    def runtime_directory(self) -> Path:
        """Where the processes meet. Not created here."""
        if self.runtime is not None:
            return self.runtime
        from system.database import database_name, is_sqlite, sqlite_path

        if is_sqlite(self.database_url):
            return sqlite_path(self.database_url).with_suffix(".runtime")
        return Path("var", f"{database_name(self.database_url)}.runtime").absolute()


@cache
def settings() -> Settings:
    """The process's settings. Tests that need others build a `Settings` and pass it on."""
    return Settings()
