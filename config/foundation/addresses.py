"""Which addresses the service may be sent to by what its clients write: public ones, and those the operator lists."""

import ipaddress
import socket
from collections.abc import Iterable


def is_public(address: str) -> bool:
    """Whether an IP address is one of the public internet's, and not a way around to another.

    Not public are loopback, private, link-local, shared, multicast and reserved ones; IPv4 in IPv6 counts as what it
    is mapped from, and tunnels (6to4, Teredo, NAT64) are refused with whatever they lead to.
    """
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(ip, ipaddress.IPv6Address):
        if ip.ipv4_mapped is not None:
            ip = ip.ipv4_mapped
        elif ip.sixtofour is not None or ip.teredo is not None or ip.is_site_local:
            return False
    return ip.is_global and not (ip.is_multicast or ip.is_reserved or ip.is_unspecified)


def is_listed(host: str, entries: Iterable[str]) -> bool:
    """Whether one of the entries is the host, or a network that it lies in."""
    for entry in entries:
        if entry == host:
            return True
        try:
            if ipaddress.ip_address(host) in ipaddress.ip_network(entry, strict=False):
                return True
        except ValueError:
            continue  # one of the two is a name
    return False


def resolve(host: str, port: int | None = None) -> list[str]:
    """The host's addresses, in the order in which they are to be tried; none where it has none. Asks the DNS."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return []
    return list(dict.fromkeys(str(info[4][0]) for info in found))


def written_out(host: str) -> list[str]:
    """The address that the host is, in whatever notation (127.1, 0x7f000001); none where it is a name. No DNS."""
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    except (OSError, UnicodeError):
        return []
    return [str(info[4][0]) for info in found]


def leads_inside(host: str) -> bool:
    """Whether the host is, or resolves to, an address that is not public. Unresolvable counts as public."""
    return any(not is_public(address) for address in resolve(host))
