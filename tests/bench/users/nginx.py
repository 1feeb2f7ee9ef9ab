"""An nginx that has one short answer to whatever it is asked: what generator and machine cost by themselves."""

from __future__ import annotations

import http.client
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ci.loopback import HOST, free_ports

STARTS_WITHIN_S = 10.0
_CONFIGURATION = """\
daemon off;
worker_processes 1;
pid {place}/nginx.pid;
error_log {place}/error.log;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    client_body_temp_path {place}/body;
    proxy_temp_path {place}/proxy;
    fastcgi_temp_path {place}/fastcgi;
    uwsgi_temp_path {place}/uwsgi;
    scgi_temp_path {place}/scgi;
    keepalive_timeout 3600;
    keepalive_requests 1000000;
    server {{
        listen {host}:{port} backlog=4096;
        default_type application/json;
        location / {{ return 200 '{{"items": []}}'; }}
    }}
}}
"""


class NoNginx(Exception):
    """There is none here, or it does not start; the message says what to do."""


@contextmanager
def answering(place: Path) -> Iterator[str]:
    """Its address; it has ended when the block ends. Raises NoNginx."""
    program = shutil.which("nginx", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin:/opt/homebrew/bin")
    if program is None:
        raise NoNginx("There is no nginx here; install Debian's nginx-light.")
    place.mkdir(parents=True, exist_ok=True)
    (port,) = free_ports(1)
    configuration = place / "nginx.conf"
    configuration.write_text(_CONFIGURATION.format(place=place.resolve(), host=HOST, port=port), "utf-8")
    command = [program, "-c", str(configuration.resolve()), "-e", str((place / "error.log").resolve())]
    with subprocess.Popen(command) as process:
        try:
            _await(port, process)
            yield f"http://{HOST}:{port}"
        finally:
            process.terminate()


def _await(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + STARTS_WITHIN_S
    while process.poll() is None and time.monotonic() < deadline:
        connection = http.client.HTTPConnection(HOST, port, timeout=1)
        try:
            connection.request("GET", "/")
            if connection.getresponse().status == 200:
                return
        except OSError:
            time.sleep(0.02)
        finally:
            connection.close()
    raise NoNginx("nginx does not answer; see its error.log.")
