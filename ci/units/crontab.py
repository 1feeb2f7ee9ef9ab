"""cron: a fragment for /etc/cron.d, with the user in the sixth field."""

from __future__ import annotations

import shlex

from ci.units.job import ALARM_CRON, Files, Job, UnitRefused


def fragment(job: Job, user: str, environment_file: str | None) -> Files:
    """One file. cron mails whatever a line prints, so the alarm is a mail; its times are the machine's, which `CRON_TZ` sets
    where cron knows it."""
    backup = " && ".join(shlex.join(command) for command in job.backup())
    alarm = shlex.join(job.alarm())
    lines = [
        "SHELL=/bin/sh",
        "CRON_TZ=UTC",
        "# Where cron does not know CRON_TZ (Debian's), the machine's clock has to be on UTC.",
        _line(job.cron, user, f"{{ {_sourced(environment_file)}{backup}; }} >/dev/null"),
        _line(ALARM_CRON, user, f"{{ {_sourced(environment_file)}said=$({alarm} 2>&1) || echo \"$said\"; }}"),
    ]  # fmt: skip
    return {job.name: "\n".join(lines) + "\n"}


def _sourced(environment_file: str | None) -> str:
    return f"set -a; . {shlex.quote(environment_file)}; set +a; " if environment_file else ""


def _line(times: str, user: str, command: str) -> str:
    """In crontab(5) a percent sign begins a new line of input, unless it is escaped."""
    if "\n" in command:
        raise UnitRefused("An address holds a line break, which a crontab cannot.")
    return f"{times} {user} {command.replace('%', chr(92) + '%')}"
