"""From an address in the cloud to obstore's client for it."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl, urlsplit

from obstore.exceptions import BaseError
from obstore.store import AzureStore, GCSStore, S3Store

from backups.errors import StoreUnusable
from backups.stores.objects import CLIENT, RETRIES

_OPTIONS = {
    "s3": {"endpoint": "endpoint", "region": "region"},
    "gs": {"endpoint": "base_url"},
    "az": {"endpoint": "endpoint", "account": "account_name"},
}
"""What may stand behind the question mark of an address, and what obstore calls it."""


def bucket_at(address: str) -> Any:
    """The client for `s3://bucket/prefix?endpoint=…&region=…`, `gs://…` or `az://…`; nothing is asked of the service yet.

    Raises StoreUnusable for an address that makes no sense. Plain HTTP is spoken only to an endpoint that says so.
    """
    parts = urlsplit(address)
    options = dict(parse_qsl(parts.query))
    unknown = sorted(options.keys() - set(_OPTIONS[parts.scheme]))
    if not parts.netloc or "@" in parts.netloc or unknown:
        known = ", ".join(_OPTIONS[parts.scheme])
        what = f"does not know {', '.join(unknown)}" if unknown else "names no bucket, or holds a password"
        raise StoreUnusable(
            f"The address {parts.scheme}://{parts.hostname or ''} {what}; write {parts.scheme}://bucket/prefix, then "
            f"?NAME=VALUE for any of {known}; credentials belong in the environment."
        )
    endpoint = options.get("endpoint")
    given: dict[str, Any] = {_OPTIONS[parts.scheme][name]: value for name, value in options.items()}
    common: dict[str, Any] = {
        "prefix": parts.path.strip("/") or None,
        "client_options": CLIENT | {"allow_http": bool(endpoint and endpoint.startswith("http://"))},
        "retry_config": RETRIES,
    }
    try:
        if parts.scheme == "s3":
            return S3Store(parts.netloc, **given, **common)
        if parts.scheme == "gs":
            return GCSStore(parts.netloc, **given, **common)
        return AzureStore(parts.netloc, **given, **common)
    except (BaseError, ValueError, TypeError) as error:
        raise StoreUnusable(
            f"The store {parts.scheme}://{parts.netloc} cannot be used: {_first_line(error)}."
        ) from error


def _first_line(error: BaseException) -> str:
    return str(error).partition("\n")[0].strip().rstrip(".")
