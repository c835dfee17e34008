"""Where a request came from, and networks as they are kept."""

import pytest

from config.foundation.addresses import client_address, network


@pytest.mark.parametrize(
    ("peer", "forwarded_for", "proxies", "address"),
    [
        ("192.0.2.1", "10.0.0.1", 0, "192.0.2.1"),
        ("192.0.2.1", "10.0.0.1", 1, "10.0.0.1"),
        ("192.0.2.1", "1.1.1.1,10.0.0.1", 1, "10.0.0.1"),
        ("192.0.2.1", "", 1, None),
        ("192.0.2.1", "10.0.0.1:443", 1, "10.0.0.1"),
        ("192.0.2.1", "[2001:db8::1]:443", 1, "2001:db8::1"),
        ("192.0.2.1", "[::ffff:10.0.0.1]", 1, "10.0.0.1"),
        ("192.0.2.1", "[", 1, None),
        ("fe80::1%eth0", "", 0, "fe80::1"),
        ("/run/web.sock", "", 0, None),
        (None, "", 0, None),
    ],
)
def test_where_a_request_came_from(peer: str | None, forwarded_for: str, proxies: int, address: str | None) -> None:
    assert client_address(peer, forwarded_for, trusted_proxies=proxies) == address


def test_an_ipv4_network_in_ipv6_is_the_ipv4_network() -> None:
    assert network("::ffff:10.0.0.0/104") == "10.0.0.0/8"
    assert network("::/0") == "::/0"
    with pytest.raises(ValueError, match="IPv4"):
        network("::ffff:0:0/90")
