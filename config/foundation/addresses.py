"""Which addresses the service may be sent to by what its clients write: public ones, and those the operator lists.

And where its clients come from themselves.
"""

import ipaddress
import socket
from collections.abc import Iterable, Sequence
from functools import lru_cache

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
IPV4_IN_IPV6 = ipaddress.IPv6Network("::ffff:0:0/96")


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


def client_address(peer: str | None, forwarded_for: str, *, trusted_proxies: int) -> str | None:
    """Where a request came from; None where nobody knows.

    `peer` is who connected to us, `forwarded_for` the X-Forwarded-For header. Each of so many proxies in front of us
    adds to the header's end whom it heard the request from, so the client's is that many from the end; what it says
    before that is the client's own word, and not looked at. A request with fewer has gone past the proxies.
    """
    if not trusted_proxies:
        return _plain(peer or "")
    hops = forwarded_for.split(",")
    return _plain(hops[-trusted_proxies].strip()) if len(hops) >= trusted_proxies else None


def _plain(address: str) -> str | None:
    """IPv4 in IPv6 as IPv4, without a zone, or the port that some proxies write; None where it is no address."""
    if address.startswith("["):
        address = address[1:].partition("]")[0]
    elif address.count(":") == 1:
        address = address.partition(":")[0]
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return None
    mapped = ip.ipv4_mapped if isinstance(ip, ipaddress.IPv6Address) else None
    return str(mapped or ip)


def network(text: str) -> str:
    """A network as it is kept: "10.0.0.0/8"; a lone address is a network of its own. Raises ValueError."""
    if "%" in text:
        raise ValueError("a zone means something on one machine only")
    ip = ipaddress.ip_network(text, strict=False)
    if isinstance(ip, ipaddress.IPv6Network) and ip.prefixlen >= 96 and ip.network_address.ipv4_mapped is not None:
        # Addresses are compared as what they are mapped from.
        return f"{ip.network_address.ipv4_mapped}/{ip.prefixlen - 96}"
    if isinstance(ip, ipaddress.IPv6Network) and 0 < ip.prefixlen < 96 and ip.supernet_of(IPV4_IN_IPV6):
        raise ValueError("clients with an IPv4 address are no part of it")
    return str(ip)


def lies_in(address: str | None, networks: Sequence[str]) -> bool:
    """Whether a client's address is in one of the networks; an unknown one is in none."""
    if address is None:
        return False
    ip = ipaddress.ip_address(address)
    return any(ip in one for one in _parsed(tuple(networks)))


@lru_cache(maxsize=1024)
def _parsed(networks: tuple[str, ...]) -> tuple[Network, ...]:
    return tuple(ipaddress.ip_network(network) for network in networks)
