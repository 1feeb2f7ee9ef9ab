"""Everything of the host is gone. What is left: the store, the key in a drawer, and the page that says what to type."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ci.loopback import free_ports
from ci.stand import Stand, standing
from tests.backups.databases import ROOT, wait_until
from tests.e2e.caller import Caller, players
from tests.e2e.shipping import restorable

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

MADE = shutil.ignore_patterns(".venv", "var", ".git", "__pycache__", ".*_cache", ".hypothesis", ".benchmarks")
FROM_OUTSIDE = re.compile(r"PATH|.*_CERT.*|PIP_.*|UV_.*|.*_(?:proxy|PROXY)")
"""What a machine brings along to reach a package index."""


def commands() -> list[str]:
    """What the page says to type, line by line."""
    page = (ROOT / "README.md").read_text("utf-8")
    block = page.partition("<!-- elsewhere:begin -->")[2].partition("<!-- elsewhere:end -->")[0]
    return [line for line in block.strip().strip("`").splitlines() if line]


def test_the_service_comes_back_on_another_machine_from_the_store_the_key_and_the_page(
    built: Stand, tmp_path: Path
) -> None:
    key, store = tmp_path / "drawer" / "recovery.key", tmp_path / "elsewhere"
    key.parent.mkdir()
    store.mkdir()
    host = Path(shutil.copytree(built.directory, tmp_path / "host"))
    recipient = _said("backup", "keygen", str(key)).strip()
    ship = ("--backup-to", str(store), "--recipient", recipient, "--demo")
    secret = {"GYM_HOST_SECRET": str(host / "host.secret")}
    with standing(Stand(host, service=(sys.executable, "-m", "ci.cli", "serve", *ship), environment=secret)) as stand:
        stand.start()
        stand.wait_ready()
        wait_until(lambda: restorable(stand), "a log that can be restored", 60)
        user = players(stand)[0]
        assert user.write("PATCH", "/users/me", {"bio": "written on the first machine"}).status == 200
        assert stand.stop() == 0
    shutil.rmtree(host)

    there = Path(shutil.copytree(ROOT, tmp_path / "there", ignore=MADE))
    environment = {name: value for name, value in os.environ.items() if FROM_OUTSIDE.fullmatch(name)}
    environment.setdefault("UV_CACHE_DIR", str(Path.home() / ".cache" / "uv"))
    environment |= {"HOME": str(tmp_path / "home"), "LC_ALL": "C.UTF-8", "STORE": str(store), "KEY": str(key)}
    *steps, serve = commands()
    assert serve.startswith(".venv/bin/gymkhana serve ")
    for step in steps:
        done = subprocess.run(
            ["bash", "-ec", step], cwd=there, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{step}\n{done.stdout}{done.stderr}"

    (port,) = free_ports(1)
    elsewhere = Stand(there / "var", port=port)
    with (tmp_path / "service.log").open("wb") as log:
        command = [*serve.split(), "--port", str(port)]
        service = subprocess.Popen(command, cwd=there, env=environment, stdout=log, stderr=log)
    try:
        wait_until(elsewhere.ready, "the service on the other machine", 60)
        profile = Caller(elsewhere, user.token).get("/users/me").json
        assert profile["bio"] == "written on the first machine"
        assert Caller(elsewhere, user.token).send(
            "PATCH", "/users/me", {"bio": "and on the second"}, {"Operation-Id": "elsewhere.1"}
        ).status == 200  # fmt: skip
    finally:
        service.terminate()
        assert service.wait(30) == 0


def test_without_the_key_nothing_is_restored_and_the_reason_is_one_sentence(tmp_path: Path) -> None:
    """The page's command, with another key than the one in the drawer."""
    database, store, other = tmp_path / "live.db", tmp_path / "elsewhere", tmp_path / "other.key"
    _said("migrate", "up", "--database", f"sqlite:///{database}")
    right = _said("backup", "keygen", str(tmp_path / "recovery.key")).strip()
    _said("backup", "keygen", str(other))
    secret = ("--host-secret", str(tmp_path / "host.secret"))
    _said("backup", "run", "--database", str(database), "--store", str(store), "--demo", "--recipient", right, *secret)
    words = ("--store", str(store), "--identity", str(other), "--database", f"sqlite:///{tmp_path / 'new.db'}")
    done = _run("backup", "restore", *words)
    assert done.returncode == 2
    assert len(done.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "new.db").exists()


def _run(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "ci.cli", *words]
    return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)


def _said(*words: str) -> str:
    done = _run(*words)
    assert done.returncode == 0, done.stderr
    return done.stdout
