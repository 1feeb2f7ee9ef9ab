"""Whether a service that ships its log can already be restored from it."""

from __future__ import annotations

from backups.errors import BackupError
from backups.log import shipped
from ci.stand import Stand


def restorable(stand: Stand) -> bool:
    """Whether what the stand has committed so far is in its store, with a backup to begin at."""
    try:
        return bool(shipped.ask(stand.runtime / "ship.sock", shipped.Asked(status=True))["restorable"])
    except (BackupError, OSError):
        return False
