"""`gymkhana admin`: the first account, the way back in, and one plain sentence for whatever cannot be."""

from __future__ import annotations

import io
import json
import os
import pty
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from argon2 import PasswordHasher

from ci import cli
from migrations import revisions
from system.database import engine_for

PASSWORD = "a door with two locks"
SCRIPT = str(Path(sys.executable).with_name("gymkhana"))
Asked = Callable[..., tuple[int, str, str]]


@pytest.fixture
def url(tmp_path: Path) -> str:
    """A database at the newest revision."""
    made = f"sqlite:///{tmp_path / 'gym.db'}"
    revisions.upgrade(made)
    return made


@pytest.fixture
def ask(url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Asked:
    """Exit code, standard output and standard error of `gymkhana admin ...`, something typed into it."""

    def asked(*words: str, given: bytes = b"") -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(given)))
        code = cli.run(["admin", *words, *([] if "--database" in words else ["--database", url])])
        told = capsys.readouterr()
        return code, told.out, told.err

    return asked


def test_an_account_is_made_listed_disabled_and_enabled(ask: Asked, url: str) -> None:
    assert ask("create", "ann", "--role", "admin", given=f"{PASSWORD}\n".encode())[:2] == (
        0, "ann may sign in as admin at /admin.\n",
    )  # fmt: skip
    with engine_for(url).connect() as connection:
        ((stored,),) = connection.exec_driver_sql("SELECT password_hash FROM admin_accounts WHERE name = 'ann'").all()
        ((actor, address),) = connection.exec_driver_sql("SELECT actor, address FROM admin_audit").all()
    assert PasswordHasher().verify(stored, PASSWORD)
    assert (actor.endswith("at the console"), address) == (True, "command line")
    ask("create", "bob", "--role", "viewer", "--json", given=PASSWORD.encode())
    assert ask("disable", "bob")[0] == 0
    (_, listed, _) = ask("list", "--json")
    found = {one["name"]: (one["role"], one["disabled_ms"] is None) for one in json.loads(listed)["accounts"]}
    assert found == {"ann": ("admin", True), "bob": ("viewer", False)}
    assert ask("enable", "bob")[0] == 0
    assert "bob" in ask("list")[1]
    assert "$argon2" not in ask("list")[1] + listed


def test_a_password_is_read_from_a_file_without_the_end_of_its_line(ask: Asked, url: str, tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(f"{PASSWORD}\r\n".encode())
    ask("create", "cid", "--role", "viewer", "--password-file", str(tmp_path / "secret"))
    assert ask("reset-password", "cid", "--password-file", "-", given=b"another long one\n")[0] == 0
    with engine_for(url).connect() as connection:
        ((stored,),) = connection.exec_driver_sql("SELECT password_hash FROM admin_accounts WHERE name = 'cid'").all()
    assert PasswordHasher().verify(stored, "another long one")


@pytest.mark.parametrize(
    ("words", "given", "code", "said"),
    [
        (("create", "Ann", "--role", "admin"), b"", 2, "A name has 3 to 40 characters of a-z, 0-9, _ and -."),
        (("create", "dan", "--role", "owner"), b"", 2, "is not one of 'viewer', 'operator', 'admin'."),
        (("create", "dan"), b"", 2, "Missing option '--role'."),
        (("create", "dan", "--role", "admin"), b"short\n", 2, "A password has 12 to 128 characters."),
        (("create", "dan", "--role", "admin"), b"", 2, "A password has 12 to 128 characters."),
        (("create", "dan", "--role", "admin"), b"\xff" * 20, 2, "The password is not UTF-8."),
        (
            ("create", "dan", "--role", "admin", "--password-file", "/nowhere"),
            b"",
            2,
            "/nowhere cannot be read: No such file",
        ),
        (("create", "ann", "--role", "admin"), PASSWORD.encode(), 1, "There is an account ann already."),
        (("disable", "nobody"), b"", 1, "There is no account nobody."),
        (("disable", "ann"), b"", 1, "ann is the only admin left; make another one first."),
        (("list", "--database", "mysql://x"), b"", 2, "names neither a SQLite file nor a PostgreSQL database"),
        (("list", "--database", "sqlite:////nowhere/gym.db"), b"", 2, "There is no database at /nowhere/gym.db"),
    ],
)
def test_what_cannot_be_is_said_in_one_sentence(
    ask: Asked, words: tuple[str, ...], given: bytes, code: int, said: str
) -> None:
    ask("create", "ann", "--role", "admin", given=PASSWORD.encode())
    ended, out, told = ask(*words, given=given)
    assert (ended, out) == (code, "")
    assert said in told
    assert PASSWORD not in told


def test_an_error_is_a_document_with_json(ask: Asked) -> None:
    code, out, _ = ask("disable", "nobody", "--json")
    assert (code, json.loads(out)["error"]["kind"]) == (1, "refused")


def test_a_database_from_before_the_admin_part_is_told_to_migrate(ask: Asked, tmp_path: Path) -> None:
    older = f"sqlite:///{tmp_path / 'older.db'}"
    revisions.upgrade(older, "0005")
    code, _, told = ask("create", "ann", "--role", "admin", "--database", older, given=PASSWORD.encode())
    assert code == 2
    assert "has no room for admin accounts yet; run `gymkhana migrate up`." in told


@pytest.mark.processes
def test_at_a_terminal_the_password_is_asked_for_twice_and_never_shown(url: str) -> None:
    ours, theirs = pty.openpty()
    words = [SCRIPT, "admin", "create", "typed", "--role", "viewer", "--database", url]
    child = subprocess.Popen(words, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True)
    os.close(theirs)
    seen = b""
    for asked in (b"Password:", b"Again:"):
        while asked not in seen:
            seen += os.read(ours, 1024)
        os.write(ours, PASSWORD.encode() + b"\n")
    while b"may sign in" not in seen:
        seen += os.read(ours, 1024)
    assert child.wait(timeout=20) == 0
    os.close(ours)
    assert PASSWORD.encode() not in seen
