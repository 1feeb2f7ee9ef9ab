"""Secrets are taken out of whatever is kept or shown, and nothing else is."""

from __future__ import annotations

import pytest

from system.logs import _without_secrets
from system.scrub import HIDDEN, keep_secret, scrubbed
from system.settings import Settings

TOKEN = "dQw4w9WgXcQabcdefghijklmnopqrstuvwxyz_-1234"


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("postgresql://gym:hunter22@db/gym refused", f"postgresql://gym:{HIDDEN}@db/gym refused"),
        ("Authorization: Bearer abc.def", f"Authorization: Bearer {HIDDEN}"),
        ('{"password": "correct horse battery", "name": "ann"}', f'{{"password": "{HIDDEN}", "name": "ann"}}'),
        ("{'new_password': 'correct horse', 'name': 'ann'}", f"{{'new_password': '{HIDDEN}', 'name': 'ann'}}"),
        ("GET /x?token=abc&limit=1", f"GET /x?token={HIDDEN}&limit=1"),
        ("row (1, $argon2id$v=19$m=1,t=2$abc$def)", f"row (1, {HIDDEN})"),
        (f"session {'0a' * 32} is unknown", f"session {HIDDEN} is unknown"),
        (f"session {TOKEN}", f"session {HIDDEN}"),
    ],
)
def test_a_secret_is_taken_out_and_the_rest_is_left(text: str, left: str) -> None:
    assert scrubbed(text) == left


@pytest.mark.parametrize(
    "text",
    [
        "Operation system.deliver.7c9a3a52-1b7c-4c0e-8e3a-0f6a5d1b2c3d was already applied.",
        "no such table: request_records",
        "The name or the password is wrong.",
        "sqlite:////srv/gym/gym.db",
        "2026-11-23T09:00:00+01:00",
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    ],
)
def test_what_is_no_secret_is_left(text: str) -> None:
    assert scrubbed(text) == text


def test_what_the_configuration_says_is_secret_is_found_word_for_word() -> None:
    assert scrubbed("it said opensesame") == "it said opensesame"
    keep_secret(["opensesame", "it"])
    assert scrubbed("it said opensesame") == f"it said {HIDDEN}"


def test_the_configuration_names_its_secrets_and_shows_none() -> None:
    config = Settings(DATABASE_URL="postgresql://gym:hunter22@db/gym")  # type: ignore[call-arg]
    assert config.secrets() == ("hunter22",)


def test_no_line_of_the_log_holds_a_secret() -> None:
    event = {"event": "job failed", "error": f"(1, 'ann', '$argon2id$v=19${TOKEN}')", "jobs": 3}
    assert _without_secrets(None, "error", event) == {
        "event": "job failed",
        "error": f"(1, 'ann', '{HIDDEN}')",
        "jobs": 3,
    }
