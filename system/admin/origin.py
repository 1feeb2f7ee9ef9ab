"""Where a request comes from: its address and whether it came over TLS, told by a proxy only if that is a trusted one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Network = IPv4Network | IPv6Network

SITE_BITS = 64
"""What one household or one machine is given of IPv6: it can have another address for every request."""


@dataclass(frozen=True, slots=True)
class Origin:
    """A request's address, the network that is counted as one client, and whether the browser spoke TLS."""

    address: str
    network: str
    secure: bool


@dataclass(frozen=True, slots=True)
class Forwarded:
    """What the headers X-Forwarded-For and X-Forwarded-Proto say, all lines of each joined by commas."""

    addresses: str = ""
    schemes: str = ""


def trusted_networks(text: str) -> tuple[Network, ...]:
    """The networks in a list with commas. Raises ValueError for what is neither an address nor a network."""
    return tuple(ip_network(part.strip()) for part in text.split(",") if part.strip())


def origin_of(peer: str, scheme: str, forwarded: Forwarded, trusted: Sequence[Network]) -> Origin:
    """Where a request of that peer comes from.

    What was forwarded counts only as far as the chain of trusted proxies reaches: what a client wrote itself stands to the
    left of what the first of them added.
    """
    address, secure = peer, scheme == "https"
    if _is_trusted(peer, trusted):
        for hop in reversed([part.strip() for part in forwarded.addresses.split(",")]):
            if not _is_address(hop):
                break
            address = hop
            if not _is_trusted(hop, trusted):
                break
        secure = (forwarded.schemes or scheme).rpartition(",")[2].strip().lower() == "https"
    return Origin(address[:64], network_of(address), secure)


def network_of(address: str) -> str:
    """What counts as one client: an IPv4 address, the /64 of an IPv6 one, and anything else as it is."""
    if not _is_address(address):
        return address[:64]
    parsed = ip_address(address.partition("%")[0])
    if isinstance(parsed, IPv6Address):
        if parsed.ipv4_mapped is not None:
            return str(parsed.ipv4_mapped)
        return str(ip_network((parsed, SITE_BITS), strict=False))
    return str(parsed)


def _is_trusted(address: str, trusted: Sequence[Network]) -> bool:
    return _is_address(address) and any(ip_address(address.partition("%")[0]) in network for network in trusted)


def _is_address(text: str) -> bool:
    try:
        ip_address(text.partition("%")[0])
    except ValueError:
        return False
    return True
