"""Real receivers on this machine: a web server that takes webhooks, and a mail server, each as unwilling as told to be."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.message import EmailMessage
from email.parser import BytesParser
from email.policy import default
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, cast

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session

from ci.loopback import HOST, free_ports


@dataclass
class Hook:
    """What arrived, in order. `refusals` are the statuses of the next answers; after them all is taken."""

    port: int
    bodies: list[dict[str, Any]] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    refusals: list[int] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}/hook/s3cret?token=s3cret"

    def told(self) -> list[tuple[str, list[str]]]:
        """Status and alerts of what was taken."""
        return [
            (
                body["status"],
                sorted(one["labels"]["alertname"] for one in body["alerts"] if one["status"] == body["status"]),
            )
            for body in self.bodies
        ]


@contextmanager
def hook() -> Iterator[Hook]:
    """A web server for webhooks, for as long as the block runs."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            there.paths.append(self.path)
            status = there.refusals.pop(0) if there.refusals else 200
            if status == 200:
                there.bodies.append(body)
            self.send_response(status)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer((HOST, 0), Handler)
    there = Hook(server.server_port)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield there
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@dataclass
class Mailbox:
    """What arrived, in order; with `full`, nothing is taken for now."""

    port: int
    mails: list[EmailMessage] = field(default_factory=list)
    recipients: list[list[str]] = field(default_factory=list)
    full: bool = False
    refuses: bool = False

    @property
    def url(self) -> str:
        return f"smtp://{HOST}:{self.port}?to=ops@example.org&from=gym@example.org"

    async def handle_RCPT(
        self, _server: SMTP, _session: Session, envelope: Envelope, address: str, _options: list[str]
    ) -> str:
        if self.refuses:
            return "550 no such user"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:
        if self.full:
            return "452 the mailbox is full"
        mail = BytesParser(policy=default).parsebytes(cast(bytes, envelope.content))
        self.mails.append(mail)
        self.recipients.append(list(envelope.rcpt_tos))
        return "250 taken"


@contextmanager
def mailbox() -> Iterator[Mailbox]:
    """A mail server, for as long as the block runs."""
    there = Mailbox(free_ports(1)[0])
    controller = Controller(there, hostname=HOST, port=there.port)
    controller.start()
    try:
        yield there
    finally:
        controller.stop()
