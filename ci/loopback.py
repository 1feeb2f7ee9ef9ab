"""Where everything of a drill listens: on loopback, on ports that nobody has, and that nobody gets by chance."""

from __future__ import annotations

import random
import socket
from pathlib import Path

HOST = "127.0.0.1"

_LOWEST = 15_000
_EPHEMERAL = Path("/proc/sys/net/ipv4/ip_local_port_range")


def free_ports(count: int, *, apart: int = 0) -> list[int]:
    """So many different ports that nobody listens on now; with `apart`, each with a second free one so far above it.

    They lie below those that the kernel gives to outgoing connections: a server that is killed and started again finds its
    port as it left it. Raises OSError when there are not as many.
    """
    highest = int(_EPHEMERAL.read_text("ascii").split()[0]) - apart
    found: list[int] = []
    for port in random.SystemRandom().sample(range(_LOWEST, highest), highest - _LOWEST):
        if len(found) == count:
            return found
        if _free(port) and _free(port + apart):
            found.append(port)
    raise OSError(f"There are no {count} free ports below {highest}.")


def _free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
        return True
