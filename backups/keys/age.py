"""Keys as the `age` tool writes them (https://age-encryption.org/v1): made, read from files, and used to wrap a few bytes.

A **recipient** (`age1…`) is public and seals; an **identity** (`AGE-SECRET-KEY-1…`) is secret and opens. Files of either
hold one to a line; blank lines and lines that begin with `#` say nothing. No message repeats a line of a key file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import pyrage
from pyrage import x25519

from backups.errors import KeyMissing, KeyUnusable
from backups.keys.secret import Secret

_KEY = TypeVar("_KEY")
_IDENTITY = "AGE-SECRET-KEY-1"
_SEALED_FILE = ("age-encryption.org/", "-----BEGIN AGE ENCRYPTED FILE-----")


@dataclass(frozen=True, slots=True)
class Identity:
    """One identity: its recipient may be shown; its own text is inside `key` and appears in no repr and no str."""

    recipient: str
    key: Any

    def __repr__(self) -> str:
        return f"<identity of {self.recipient}>"


def generate(now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> tuple[str, str]:
    """A new identity as the text of its file, the one `age-keygen` would write, and its recipient."""
    identity = x25519.Identity.generate()
    recipient = str(identity.to_public())
    created = now().astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    return f"# created: {created}\n# public key: {recipient}\n{identity}\n", recipient


def read_identities(paths: Iterable[Path]) -> tuple[Identity, ...]:
    """Every identity in these files. Raises KeyMissing for a file that is not there or holds none, else KeyUnusable."""
    return tuple(identity for path in paths for identity in _keys(path, "identity", _identity))


def read_recipients(path: Path) -> tuple[str, ...]:
    """Every recipient in this file. Raises KeyMissing for a file that is not there or holds none, else KeyUnusable."""
    return tuple(_keys(path, "recipient", _recipient))


def checked_recipient(text: str) -> str:
    """The recipient as age writes it. Raises KeyUnusable for anything else, which is not repeated: it may be secret."""
    recipient, flaw = _recipient(text)
    if recipient is None:
        raise KeyUnusable(f"The recipient given {flaw}.") from None
    return recipient


def wrap(content: bytes, recipients: Sequence[str]) -> bytes:
    """An age file with that content, which the identity of any of the recipients opens."""
    wrapped: bytes = pyrage.encrypt(content, [x25519.Recipient.from_str(recipient) for recipient in recipients])
    return wrapped


def unwrap(wrapped: bytes, identities: Sequence[Identity]) -> Secret | None:
    """The content of an age file, None when none of the identities opens it or it is not whole."""
    try:
        return Secret(pyrage.decrypt(wrapped, [identity.key for identity in identities]))
    except pyrage.DecryptError:
        return None


def _keys(path: Path, what: str, read: Callable[[str], tuple[_KEY | None, str]]) -> list[_KEY]:
    """The keys of a file. Its text is bound to no name here: a traceback may be shown with its locals."""
    try:
        found = [(number, *read(line)) for number, line in enumerate(_lines(path), 1) if _says_something(line)]
    except FileNotFoundError:
        raise KeyMissing(f"There is no {what} file {path}; name the one that holds the {what}.") from None
    except OSError as error:
        raise KeyUnusable(f"The {what} file {path} cannot be read: {error.strerror}.") from None
    for number, key, flaw in found:
        if key is None:
            raise KeyUnusable(f"Line {number} of the {what} file {path} {flaw}.")
    if not found:
        raise KeyMissing(f"The {what} file {path} holds no {what}; name the one that does.")
    return [key for _, key, _ in found if key is not None]


def _lines(path: Path) -> list[str]:
    """Its lines. What is not UTF-8 becomes a line that holds no key: an error of decoding would carry the whole file."""
    return path.read_text(encoding="utf-8", errors="replace").splitlines()


def _says_something(line: str) -> bool:
    return bool(line.strip()) and not line.lstrip().startswith("#")


def _identity(line: str) -> tuple[Identity | None, str]:
    """The identity on this line, or what the line does that an identity does not."""
    if line.startswith(_SEALED_FILE):
        return None, "begins a file that is itself sealed: open it first, with: age --decrypt"
    try:
        key = x25519.Identity.from_str(line.strip())
    except pyrage.IdentityError:
        return None, f"is no age identity of the kind {_IDENTITY}…, the only one known here"
    return Identity(str(key.to_public()), key), ""


def _recipient(line: str) -> tuple[str | None, str]:
    """The recipient on this line, or what the line does that a recipient does not."""
    if line.strip().upper().startswith("AGE-SECRET-KEY-"):
        return None, "is a secret identity: give its public recipient, age1…, and keep the identity off this machine"
    try:
        return str(x25519.Recipient.from_str(line.strip())), ""
    except pyrage.RecipientError:
        return None, "is no age recipient of the kind age1…, the only one known here"
