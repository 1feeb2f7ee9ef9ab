"""What every answer of the admin part says to the browser that shows it: nothing from elsewhere, nothing kept, no frames."""

from __future__ import annotations

Headers = list[tuple[bytes, bytes]]

PREFIX = "/admin"

_POLICY = (
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self'",
    "connect-src 'self'",
    "img-src 'self'",
    "form-action 'self'",
    "base-uri 'none'",
    "frame-ancestors 'none'",
)
_NOT_NEEDED = ("camera", "display-capture", "geolocation", "microphone", "payment", "publickey-credentials-get", "usb")

ALWAYS: Headers = [
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", ", ".join(f"{feature}=()" for feature in _NOT_NEEDED).encode()),
]
UNLESS_SAID: Headers = [
    (b"content-security-policy", "; ".join(_POLICY).encode()),
    (b"cache-control", b"no-store"),
]
"""Said where an answer does not say otherwise: the stylesheet may be kept, and a drill's report has a policy of its own."""


def dressed(headers: Headers) -> Headers:
    """The headers of an answer of the admin part as they are to be."""
    known = {name.lower() for name, _ in headers}
    return [*headers, *ALWAYS, *(one for one in UNLESS_SAID if one[0] not in known)]


def of_admin(path: str) -> bool:
    """Whether the path belongs to the admin part."""
    return path == PREFIX or path.startswith(f"{PREFIX}/")
