"""Secrets taken out of a text before anybody keeps or shows it: passwords, tokens, their hashes, and who carries them.

What is known by its shape is found by its shape, whatever it stands in: the error of a driver that quotes a row, an address
with a password in it, a header somebody logged. What the configuration says is secret is found word for word.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

HIDDEN = "***"
LEAST_SECRET = 6
"""A configured secret shorter than this is not looked for: it would be found in half of all words."""

_SHAPES = (
    (re.compile(r"(://[^\s:/@]*:)[^\s@/]+(?=@)"), rf"\1{HIDDEN}"),
    (re.compile(r"(?i)\b(bearer|basic)(\s+)[^\s\"',;]+"), rf"\1\2{HIDDEN}"),
    (
        re.compile(
            r"(?i)(\b[\w-]*(?:password|passwd|secret|token|authorization|api[_-]?key|cookie)\w*[\"']?\s*[:=]\s*[\"']?)"
            r"(?!bearer\b|basic\b)(?:(?<=\")[^\"]+|(?<=')[^']+|[^\s\"',;&)}\]]+)"
        ),
        rf"\1{HIDDEN}",
    ),
    (re.compile(r"\$(?:argon2|scrypt|2[aby])[^\s\"')]*"), HIDDEN),
    (re.compile(r"(?<![\w-])[0-9a-f]{64}(?![\w-])"), HIDDEN),
    (re.compile(r"(?<![\w.:-])(?=[\w-]*[a-z])(?=[\w-]*[A-Z])[\w-]{43}(?![\w.:-])"), HIDDEN),
)
"""In this order: a password in an address, a scheme with credentials, a name with a value, hashes, a session's token."""

_known: list[str] = []


def keep_secret(words: Iterable[str]) -> None:
    """From now on `scrubbed` takes these out too, in this process."""
    _known.extend(word for word in words if len(word) >= LEAST_SECRET and word not in _known)


def scrubbed(text: str) -> str:
    """The text without the secrets in it; the rest of it is as it was."""
    for word in _known:
        text = text.replace(word, HIDDEN)
    for shape, instead in _SHAPES:
        text = shape.sub(instead, text)
    return text
