"""Bytes that nobody sees by accident: not in a repr, a log, an error, a traceback with its locals, or a pickle."""

from __future__ import annotations

import hmac
from typing import NoReturn


class Secret:
    """Holds bytes and gives them to whoever says `reveal()`, which is meant to stand inside the call that needs them.

    It guards against telling by accident. Whoever runs code in the process, or reads its memory, has the bytes anyway.
    """

    __slots__ = ("_content",)

    def __init__(self, content: bytes) -> None:
        self._content = content

    def reveal(self) -> bytes:
        """The bytes themselves."""
        return self._content

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and hmac.compare_digest(self._content, other._content)

    __hash__ = None  # type: ignore[assignment]  # A secret is no key of a dictionary, which would be printed one day.

    def __repr__(self) -> str:
        return "<secret>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("A secret is not pickled.")
