"""Units for systemd, cron and Kubernetes: accepted by who runs them, without secrets, and the commands work."""

from __future__ import annotations

import io
import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
from click.testing import CliRunner, Result
from cronsim import CronSim
from ruamel.yaml import YAML

from backups.clock import SYSTEM
from backups.errors import UsageError
from ci.cli import gymkhana
from ci.units import systemd
from tests.backups import databases

BUCKET = "s3://bucket/gym?endpoint=http://127.0.0.1:9000&region=e"


def export(*words: str) -> Result:
    return CliRunner().invoke(gymkhana, ["backup", "schedule", "export", *words])


def files(*words: str) -> dict[str, str]:
    result = export(*words)
    assert result.exit_code == 0, result.output
    pieces = re.split(r"^# file: (.*)\n", result.stdout, flags=re.MULTILINE)
    return dict(zip(pieces[1::2], pieces[2::2], strict=True))


def lines(content: str, key: str) -> list[str]:
    return [line.partition("=")[2] for line in content.splitlines() if line.startswith(f"{key}=")]


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("DATABASE_URL", "GYM_STORE", "GYM_STORE_DEMO", "GYM_RECIPIENTS", "GYM_IDENTITY", "GYM_HOST_SECRET"):
        monkeypatch.delenv(name, raising=False)


def test_systemd_gets_a_service_and_a_timer_for_the_backup_and_the_alarm(tmp_path: Path) -> None:
    found = files(
        "systemd", "--store", "/mnt/b", "--store", BUCKET, "--prune", "--rehearse-every", "7d", "--env-file", "/etc/g"
    )
    assert list(found) == [
        f"gymkhana-backup{kind}" for kind in (".service", ".timer", "-alarm.service", "-alarm.timer")
    ]
    service = found["gymkhana-backup.service"]
    verbs = [shlex.split(command)[2] for command in lines(service, "ExecStart")]
    assert verbs == ["run", "verify", "rehearse", "resync", "prune"]
    assert lines(service, "ReadWritePaths") == [f"{tmp_path}/var", "/mnt/b"]
    assert lines(service, "EnvironmentFile") == ["/etc/g"]
    assert lines(found["gymkhana-backup.timer"], "OnCalendar") == ["*-*-* 02:00:00 UTC"]
    assert lines(found["gymkhana-backup.timer"], "Persistent") == ["true"]
    (alarm,) = lines(found["gymkhana-backup-alarm.service"], "ExecStart")
    assert "--max-age 26h --max-unverified 48h --max-unrehearsed 192h" in alarm


def test_the_alarm_leaves_a_weekly_backup_its_week() -> None:
    (alarm,) = lines(
        files("systemd", "--store", "/b", "--cron", "0 3 * * SUN")["gymkhana-backup-alarm.service"], "ExecStart"
    )
    assert "--max-age 170h" in alarm


def test_sealed_backups_keep_the_hosts_secret_where_it_is(tmp_path: Path) -> None:
    service = files("systemd", "--store", "/b", "--recipient", "age1qqq")["gymkhana-backup.service"]
    assert f"--host-secret {tmp_path}/var/host.secret" in service


@pytest.mark.parametrize("word", ["100%", "a b", 'say "x"', "back\\slash", "$HOME", "plain", ""])
def test_a_word_is_one_word_for_systemd(word: str) -> None:
    quoted = systemd.quoted(word)
    assert shlex.split(quoted.replace("%%", "%").replace("$$", "$"), posix=True) == [word]


if systemd.available():

    def test_what_systemd_refuses_is_not_printed(monkeypatch: pytest.MonkeyPatch) -> None:
        real = systemd._timer
        monkeypatch.setattr(systemd, "_timer", lambda *a, **k: real(*a, **k).replace("UTC", "Mars/Olympus"))
        result = export("systemd", "--store", "/b")
        assert isinstance(result.exception, UsageError)
        assert str(result.exception).startswith("systemd refuses the units: gymkhana-backup")
        assert "\n" not in str(result.exception)
        assert result.stdout == ""


def test_cron_gets_lines_that_cron_reads() -> None:
    (content,) = files("cron", "--store", "/mnt/100%", "--cron", "5 1 * * MON-FRI", "--env-file", "/etc/g h").values()
    backup, alarm = [line for line in content.splitlines() if "gymkhana {" in line]
    for line in (backup, alarm):
        CronSim(" ".join(line.split()[:5]), SYSTEM.now())
        command = line.split(None, 6)[6].replace("\\%", "%")
        assert subprocess.run(["sh", "-n", "-c", command], check=False).returncode == 0
        assert ". '/etc/g h'" in command
    assert "/mnt/100\\%" in backup
    assert backup.startswith("5 1 * * MON-FRI gymkhana ")


def kubernetes(*words: str) -> list[dict[str, Any]]:
    words = ("--database", "sqlite:////data/gym.db", "--store", BUCKET, "--image", "registry/gymkhana:1", *words)
    (content,) = files("kubernetes", *words).values()
    return list(YAML(typ="safe").load_all(io.StringIO(content)))


def test_kubernetes_gets_two_cron_jobs_that_its_schema_takes() -> None:
    documents = kubernetes("--claim", "database", "--namespace", "gym", "--cron", "0 4 * * *")
    for document in documents:
        kubernetes_validate.validate(document, kubernetes_validate.latest_version(), strict=True)
    backup, alarm = documents
    assert (backup["spec"]["schedule"], backup["spec"]["timeZone"]) == ("0 4 * * *", "Etc/UTC")
    assert backup["spec"]["concurrencyPolicy"] == "Forbid"
    pod = backup["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["volumes"][1]["persistentVolumeClaim"] == {"claimName": "database"}
    assert alarm["metadata"] == {**alarm["metadata"], "name": "gymkhana-backup-alarm", "namespace": "gym"}


def test_a_schema_that_is_not_kept_is_noticed() -> None:
    broken = kubernetes()[0]
    broken["spec"]["concurrencyPolicies"] = "Forbid"
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(broken, kubernetes_validate.latest_version(), strict=True)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["systemd", "--store", "/b", "--cron", "0 0 L * *"], "L or #"),
        (["systemd", "--store", "/b", "--name", "My Backup"], "no name of a unit"),
        (["systemd", "--store", "s3://b/x?secret_access_key=hunter2"], "holds a secret"),
        (["cron", "--store", "sftp://me:hunter2@host/b"], "holds a secret"),
        (["systemd", "--store", "/b", "--env-file", "relative"], "not an absolute path"),
        (["systemd", "--store", "/b", "--rehearse-every", "soon"], "not a length of time"),
        (["kubernetes", "--store", BUCKET, "--database", "sqlite:////data/g.db"], "needs an image"),
        (["kubernetes", "--store", BUCKET, "--image", "i"], "below /data"),
        (["kubernetes", "--store", "/b", "--image", "i", "--database", "sqlite:////data/g.db"], "does not see"),
        (["systemd", "--store", "/b", "--out", "/no/such/place"], "There is no directory"),
    ],
)
def test_what_cannot_work_is_refused_and_nothing_is_printed(words: list[str], said: str) -> None:
    result = export(*words)
    told = f"{result.exception} {result.output}"
    assert result.exit_code in (1, 2)
    assert said in told
    assert "hunter2" not in told
    assert result.stdout == "" or "Usage" in result.output


def test_files_are_written_and_none_is_overwritten(tmp_path: Path) -> None:
    out = tmp_path / "units"
    out.mkdir()
    assert export("systemd", "--store", "/b", "--out", str(out)).exit_code == 0
    before = {path.name: path.read_text() for path in out.iterdir()}
    assert len(before) == 4
    again = export("systemd", "--store", "/c", "--out", str(out))
    assert again.exit_code == 2
    assert "nothing is overwritten" in again.output
    assert {path.name: path.read_text() for path in out.iterdir()} == before


@pytest.mark.processes
def test_the_commands_back_up_and_raise_the_alarm(tmp_path: Path) -> None:
    databases.make(tmp_path / "gym.db")
    (tmp_path / "store").mkdir()
    words = ["--database", f"sqlite:///{tmp_path}/gym.db", "--store", str(tmp_path / "store"), "--demo", "--prune"]
    found = files("systemd", *words)
    (alarm,) = lines(found["gymkhana-backup-alarm.service"], "ExecStart")
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}

    def run(command: str) -> int:
        return subprocess.run(
            shlex.split(command), cwd="/", env=environment, capture_output=True, check=False
        ).returncode

    assert run(alarm) == 1
    for command in lines(found["gymkhana-backup.service"], "ExecStart"):
        assert run(command) == 0, command
    assert run(alarm) == 0
    (fragment,) = files("cron", *words).values()
    line = next(line for line in fragment.splitlines() if "backup run" in line)
    command = line.split(None, 6)[6].replace("\\%", "%")
    assert subprocess.run(["sh", "-c", command], cwd="/", env=environment, check=False).returncode == 0
    shutil.rmtree(tmp_path / "store")
    line = next(line for line in fragment.splitlines() if "backup status" in line)
    said = subprocess.run(
        ["sh", "-c", line.split(None, 6)[6]], cwd="/", env=environment, capture_output=True, text=True, check=False
    )
    assert "There is no store" in said.stdout
