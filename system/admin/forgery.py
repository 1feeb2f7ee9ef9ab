"""Whether a request that changes something was made on our own pages: Fetch Metadata, or where that is missing, Origin.

No token is handed out: browsers say since 2023 at the latest where a request was made (OWASP's Cross-Site Request Forgery
Prevention Cheat Sheet lists this as a defence of its own), and a page cannot make them lie.
"""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit

SAFE = ("GET", "HEAD", "OPTIONS")
OURS = ("same-origin", "none")
"""`none` is the user's own doing: a bookmark, a typed address, a form sent again by reloading."""


def forged(method: str, headers: Mapping[str, str]) -> bool:
    """Whether the request could have been made by somebody else's page.

    Whoever shows a bearer's token has not been tricked: no browser adds that header by itself.
    """
    if method in SAFE or "authorization" in headers:
        return False
    site = headers.get("sec-fetch-site")
    if site is not None:
        return site not in OURS
    origin = headers.get("origin")
    return origin is None or not origin.startswith(("http://", "https://")) or _host(origin) != headers.get("host")


def _host(origin: str) -> str:
    return urlsplit(origin).netloc
