"""Who is told, and how: webhooks in Alertmanager's shape, and mail. What an address holds beyond its host is never shown."""

from __future__ import annotations

import asyncio
import logging
import smtplib
import ssl
import uuid
from dataclasses import dataclass, field
from email.message import EmailMessage
from typing import Final, Protocol
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

from system.alerts.notices import Notice, payload, subject, text

TIMEOUT_S: Final = 10.0
_SMTP_PORTS: Final = {"smtp": 25, "smtps": 465}


class ReceiverRefused(Exception):
    """An address is not one that alerts can be sent to. The sentence does not repeat it: it may hold a secret."""

    exit_code = 2


@dataclass(frozen=True, slots=True)
class Answer:
    """How a receiver took a notice. `again` says whether another attempt may end better."""

    taken: bool
    said: str
    again: bool = True


class Receiver(Protocol):
    """Somebody to tell."""

    @property
    def name(self) -> str:
        """What it is called in metrics and logs."""

    @property
    def shown(self) -> str:
        """Where it is, without anything secret."""

    async def send(self, notice: Notice, now: float) -> Answer:
        """The notice was handed over, or it is said why not; raises nothing that a receiver can cause."""


@dataclass(frozen=True, slots=True)
class Webhook:
    """Whatever takes Alertmanager's webhooks, version 4: chats, pagers, Alertmanager's own relays."""

    name: str
    url: str = field(repr=False)
    external_url: str

    @property
    def shown(self) -> str:
        return _shown(urlsplit(self.url))

    async def send(self, notice: Notice, now: float) -> Answer:
        import httpx2  # only where there is a webhook: it is megabytes

        for library in ("httpx2", "httpcore2"):  # They log addresses whole, to whoever listens.
            logging.getLogger(library).setLevel(logging.WARNING)
        body = payload(notice, self.name, self.external_url, now)
        try:
            async with httpx2.AsyncClient(timeout=TIMEOUT_S, trust_env=False) as client:
                answer = await client.post(self.url, json=body)
        except httpx2.HTTPError as error:
            return Answer(False, f"{type(error).__name__}: {self._without_secrets(str(error))}")
        status = answer.status_code
        return Answer(200 <= status < 300, f"{status} {answer.reason_phrase}".strip(), status == 429 or status >= 500)

    def _without_secrets(self, said: str) -> str:
        parts = urlsplit(self.url)
        for secret in (self.url, parts.path.strip("/"), parts.query, parts.username, parts.password):
            if secret:
                said = said.replace(secret, "…")
        return said


@dataclass(frozen=True, slots=True)
class Mail:
    """People, through a mail server. A password is sent over an encrypted line only."""

    name: str
    url: str = field(repr=False)
    to: tuple[str, ...]
    sender: str
    external_url: str

    @property
    def shown(self) -> str:
        return f"{_shown(urlsplit(self.url))} to {', '.join(self.to)}"

    async def send(self, notice: Notice, now: float) -> Answer:
        try:
            return await asyncio.to_thread(self._send, self._message(notice, now))
        except smtplib.SMTPResponseException as error:
            said = error.smtp_error.decode("utf-8", "replace") if isinstance(error.smtp_error, bytes) else "refused"
            return Answer(False, f"{error.smtp_code} {said}", error.smtp_code < 500)
        except smtplib.SMTPRecipientsRefused as error:
            return Answer(False, f"refused: {', '.join(sorted(error.recipients))}", again=False)
        except (OSError, smtplib.SMTPException) as error:
            return Answer(False, f"{type(error).__name__}: {error}")

    def _send(self, message: EmailMessage) -> Answer:
        parts = urlsplit(self.url)
        host, port = parts.hostname or "", parts.port or _SMTP_PORTS[parts.scheme]
        if parts.scheme == "smtps":
            line: smtplib.SMTP = smtplib.SMTP_SSL(host, port, timeout=TIMEOUT_S, context=ssl.create_default_context())
        else:
            line = smtplib.SMTP(host, port, timeout=TIMEOUT_S)
        with line:
            line.ehlo()
            encrypted = parts.scheme == "smtps"
            if not encrypted and line.has_extn("starttls"):
                line.starttls(context=ssl.create_default_context())
                line.ehlo()
                encrypted = True
            if parts.username:
                if not encrypted:
                    return Answer(False, "the server offers no encryption, so it is not told the password", again=False)
                line.login(unquote(parts.username), unquote(parts.password or ""))
            line.send_message(message)
        return Answer(True, f"taken for {len(self.to)}")

    def _message(self, notice: Notice, now: float) -> EmailMessage:
        message = EmailMessage()
        domain = self.sender.rpartition("@")[2] or "localhost"
        message["From"], message["To"] = self.sender, ", ".join(self.to)
        message["Subject"] = subject(notice)
        message["Message-ID"] = f"<{uuid.uuid4()}@{domain}>"
        message["References"] = f"<{notice.severity}.alerts@{domain}>"  # one thread for each group
        message["Auto-Submitted"] = "auto-generated"
        message.set_content(text(notice, self.external_url, now))
        return message


def receivers(webhooks: str, mail: str, external_url: str) -> tuple[Receiver, ...]:
    """Everybody whom these settings name. Raises ReceiverRefused, which names the setting and not what it holds."""
    found: list[Receiver] = []
    for number, url in enumerate(webhooks.split(), 1):
        parts = _split(url, "GYM_ALERT_WEBHOOKS")
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ReceiverRefused(f"Address {number} in GYM_ALERT_WEBHOOKS does not begin with http:// or https://.")
        found.append(Webhook(f"webhook-{number}", url, external_url))
    if mail:
        found.append(_mail(mail, external_url))
    return tuple(found)


def _mail(url: str, external_url: str) -> Mail:
    parts = _split(url, "GYM_ALERT_MAIL")
    asked = parse_qs(parts.query)
    to = tuple(one for value in asked.get("to", ()) for one in value.split(",") if "@" in one)
    if parts.scheme not in _SMTP_PORTS or not parts.hostname or not to:
        raise ReceiverRefused("GYM_ALERT_MAIL must be smtp://host:port?to=somebody@example.org, or smtps:// the same.")
    return Mail("mail", url, to, asked.get("from", [f"gymkhana@{parts.hostname}"])[0], external_url)


def _split(url: str, setting: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError as error:
        raise ReceiverRefused(f"An address in {setting} is none: its host or port cannot be read.") from error
    return parts


def _shown(parts: SplitResult) -> str:
    port = f":{parts.port}" if parts.port else ""
    return f"{parts.scheme}://{parts.hostname}{port}"
