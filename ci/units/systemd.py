"""systemd: a service and a timer for the backup, and another pair for the alarm, as systemd itself accepts them."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from ci.units.calendar import on_calendar
from ci.units.job import ALARM_CRON, Files, Job, UnitRefused

_ANALYZE: Final = "systemd-analyze"
_BARE: Final = set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./:=@,+?&")


def units(job: Job, user: str, environment_file: str | None, writable: Sequence[str]) -> Files:
    """Four files. `writable` are the directories that the backup may write to, every other one is read-only for it."""
    name = job.name
    return {
        f"{name}.service": _service("Backup by Gymkhana", job.backup(), user, environment_file, writable),
        f"{name}.timer": _timer(f"When {name} runs", on_calendar(job.cron), persistent=True),
        f"{name}-alarm.service": _service("Is a backup missing?", [job.alarm()], user, environment_file, ()),
        f"{name}-alarm.timer": _timer(f"When {name}-alarm looks", on_calendar(ALARM_CRON), persistent=False),
    }


def require_accepted(files: Files) -> None:
    """Returns when systemd finds nothing wrong with the units. Raises UnitRefused with what it says.

    On a machine without systemd nobody can be asked, and that is what the caller is told by `available`.
    """
    with tempfile.TemporaryDirectory(prefix="gymkhana-units-") as place:
        paths = []
        for name, content in files.items():
            path = Path(place, name)
            path.write_text(content, "utf-8")
            paths.append(str(path))
        done = subprocess.run([_ANALYZE, "verify", "--man=no", *paths], capture_output=True, text=True, check=False)
    said = [line.strip() for line in done.stderr.splitlines() if any(f"{name}" in line for name in files)]
    if done.returncode or said:
        reason = (said or done.stderr.strip().splitlines() or ["no reason given"])[0].replace(f"{place}/", "")
        raise UnitRefused(f"systemd refuses the units: {reason.rstrip('.')}.")


def available() -> bool:
    """Whether systemd can be asked here."""
    return shutil.which(_ANALYZE) is not None


def quoted(word: str) -> str:
    """One word of a command line (systemd.service(5), COMMAND LINES): `%` and `$` mean themselves."""
    escaped = word.replace("%", "%%").replace("$", "$$")
    if word and set(word) <= _BARE:
        return escaped
    return '"' + escaped.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _service(
    description: str,
    commands: Sequence[Sequence[str]],
    user: str,
    environment_file: str | None,
    writable: Sequence[str],
) -> str:
    lines = [
        "[Unit]",
        f"Description={description}",
        "Wants=network-online.target",
        "After=network-online.target",
        "",
        "[Service]",
        "Type=oneshot",
        f"User={user}",
        *([f"EnvironmentFile={environment_file}"] if environment_file else []),
        *(f"ExecStart={' '.join(quoted(word) for word in command)}" for command in commands),
        "Nice=10",
        "NoNewPrivileges=yes",
        "PrivateTmp=yes",
        "ProtectSystem=strict",
        "ProtectKernelTunables=yes",
        "ProtectControlGroups=yes",
        "RestrictSUIDSGID=yes",
        *(f"ReadWritePaths={quoted(path)}" for path in writable),
    ]
    return "\n".join(lines) + "\n"


def _timer(description: str, calendar: Sequence[str], *, persistent: bool) -> str:
    lines = [
        "[Unit]",
        f"Description={description}",
        "",
        "[Timer]",
        *(f"OnCalendar={expression}" for expression in calendar),
        "AccuracySec=1s",
        f"Persistent={'true' if persistent else 'false'}",
        "",
        "[Install]",
        "WantedBy=timers.target",
    ]
    return "\n".join(lines) + "\n"
