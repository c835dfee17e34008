"""No webhook reaches inside: neither by its URL, nor by what a name resolves to, nor by what it resolves to later."""

import socket
import threading
import time
from typing import Any

import pytest

from config.foundation.addresses import is_listed, is_public
from config.foundation.errors import InvalidInput
from tenancy.services.webhooks.sending import Connection, check_url
from tests.support.receiver import Receiver

INSIDE = [
    "127.0.0.1", "127.255.255.254", "0.0.0.0", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "169.254.169.254",
    "100.64.0.1", "192.0.0.1", "192.0.2.1", "198.18.0.1", "198.51.100.1", "203.0.113.1", "224.0.0.1", "239.255.255.250",
    "240.0.0.1", "255.255.255.255",
    "::1", "::", "fe80::1", "fe80::1%eth0", "fc00::1", "fd00:ec2::254", "ff02::1", "fec0::1", "2001:db8::1", "100::1",
    "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "::127.0.0.1", "64:ff9b::7f00:1", "64:ff9b::a00:1",
    "64:ff9b:1::1", "2002:7f00:1::1", "2002:a00:1::", "2001:0:7f00:1::1", "not an address", "",
]  # fmt: skip
OUTSIDE = ["8.8.8.8", "1.1.1.1", "93.184.215.14", "2606:4700:4700::1111", "2a00:1450:4001:800::200e", "::ffff:8.8.8.8"]

REFUSED_URLS = [
    "https://127.0.0.1/", "https://127.0.0.1:8443/", "https://[::1]/", "https://[::ffff:127.0.0.1]/", "https://localhost/", "https://a.localhost/",
    "https://127.1/", "https://2130706433/", "https://0x7f000001/", "https://0177.0.0.1/", "https://0/", "https://10.0.0.1/",
    "https://169.254.169.254/latest/meta-data/", "https://[fe80::1%25eth0]/", "https://[64:ff9b::7f00:1]/",
    "http://8.8.8.8/", "ftp://8.8.8.8/", "file:///etc/passwd", "gopher://8.8.8.8/", "//8.8.8.8/", "8.8.8.8", "https://", "",
    "https://user:secret@8.8.8.8/", "https://user@8.8.8.8/", "https://8.8.8.8/#part", "https://8.8.8.8:99999/",
    "https://8.8.8.8:port/", "https://[8.8.8.8/", "https://8.8.8.8/a b", "https://8.8.8.8/\n", "https://8.8.8.8/\x00",
    "https://exämple.com/", "https://8.8.8.8/" + "x" * 2048,
]  # fmt: skip


@pytest.mark.parametrize("address", INSIDE)
def test_an_address_inside_is_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", OUTSIDE)
def test_an_address_outside_is(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize(
    ("host", "entries", "expected"),
    [
        ("127.0.0.1", ["127.0.0.1"], True), ("10.1.2.3", ["10.0.0.0/8"], True), ("llm.corp", ["llm.corp"], True),
        ("fd00::1", ["fd00::/8"], True), ("10.1.2.3", ["10.0.0.0/16"], False), ("evil.llm.corp", ["llm.corp"], False),
        ("llm.corp", ["10.0.0.0/8"], False), ("10.1.2.3", [], False),
    ],
)  # fmt: skip
def test_the_operator_lists_hosts_and_networks(host: str, entries: list[str], expected: bool) -> None:
    assert is_listed(host, entries) is expected


@pytest.mark.parametrize("url", REFUSED_URLS)
def test_a_url_that_may_not_be_an_endpoint_is_refused(url: str, settings: Any) -> None:
    settings.PRIVATE_WEBHOOK_HOSTS = []
    with pytest.raises(InvalidInput):
        check_url(url)


@pytest.mark.parametrize(
    "url", ["https://8.8.8.8/", "https://8.8.8.8:8443/hook?x=1", "https://[2606:4700:4700::1111]/"]
)
def test_a_public_https_url_is_not(url: str, settings: Any) -> None:
    settings.PRIVATE_WEBHOOK_HOSTS = []
    assert check_url(url) == url


def test_a_listed_host_may_be_private_and_speak_http(settings: Any) -> None:
    settings.PRIVATE_WEBHOOK_HOSTS = ["127.0.0.0/8"]
    assert check_url("http://127.0.0.1:8000/")


def test_open_mode_may_reach_anything(settings: Any) -> None:
    settings.AUTH_MODE, settings.PRIVATE_WEBHOOK_HOSTS = "open", []
    assert check_url("http://127.0.0.1:8000/")


def resolving_to(monkeypatch: pytest.MonkeyPatch, *found: str) -> list[str]:
    """Every name resolves to these; returns the names that were asked for. There is no DNS here to be set up."""
    asked: list[str] = []

    real = socket.getaddrinfo

    def getaddrinfo(host: str, port: int | None, *details: Any, **more: Any) -> list[Any]:
        if more.get("flags") == socket.AI_NUMERICHOST or not any(letter.isalpha() for letter in host):
            return real(host, port, *details, **more)
        asked.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in found]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return asked


def test_no_name_is_looked_up_while_an_endpoint_is_made(monkeypatch: pytest.MonkeyPatch, settings: Any) -> None:
    """It would be a call to the network inside a transaction, and tell outsiders which names there are inside."""
    settings.PRIVATE_WEBHOOK_HOSTS = []
    asked = resolving_to(monkeypatch, "10.0.0.1")
    assert check_url("https://rebound.example/")
    assert asked == []


def test_a_name_that_leads_inside_is_not_connected_to(
    monkeypatch: pytest.MonkeyPatch, settings: Any, receiver: Receiver
) -> None:
    """Whatever it led to before; the receiver listens where it leads now."""
    settings.PRIVATE_WEBHOOK_HOSTS = []
    resolving_to(monkeypatch, "127.0.0.1")

    with Connection(f"http://rebound.example:{receiver.port}/") as connection:
        outcome = connection.post(b"{}", {})

    assert (outcome.status, outcome.problem) == (None, "address_refused")
    assert receiver.requests == []


def test_one_inside_address_among_public_ones_is_enough_to_refuse(
    monkeypatch: pytest.MonkeyPatch, settings: Any, receiver: Receiver
) -> None:
    settings.PRIVATE_WEBHOOK_HOSTS = []
    resolving_to(monkeypatch, "8.8.8.8", "127.0.0.1")
    with Connection(f"http://rebound.example:{receiver.port}/") as connection:
        assert connection.post(b"{}", {}).problem == "address_refused"


def test_the_address_that_was_looked_at_is_the_one_connected_to(
    monkeypatch: pytest.MonkeyPatch, settings: Any, receiver: Receiver
) -> None:
    """The name is asked for once per connection: there is no second answer that could be another."""
    settings.PRIVATE_WEBHOOK_HOSTS = ["127.0.0.1"]
    asked = resolving_to(monkeypatch, "127.0.0.1")

    with Connection(f"http://hooks.example:{receiver.port}/hook") as connection:
        assert connection.post(b"{}", {}).status == 200
        assert connection.post(b"{}", {}).status == 200

    assert asked == ["hooks.example"]
    assert [request.headers["host"] for request in receiver.requests] == [f"hooks.example:{receiver.port}"] * 2


def test_the_environments_proxies_are_not_used(
    monkeypatch: pytest.MonkeyPatch, settings: Any, receiver: Receiver
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    with Connection(receiver.url) as connection:
        assert connection.post(b"{}", {}).status == 200


def test_a_name_without_an_address_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    resolving_to(monkeypatch)
    with Connection("https://nowhere.example/") as connection:
        assert connection.post(b"{}", {}).problem == "connection"


def test_who_speaks_no_http_is_a_failure(settings: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.listen()
        settings.WEBHOOK_TIMEOUT_S = 5

        def talk() -> None:
            peer, _ = server.accept()
            peer.recv(1000)
            peer.sendall(b"SSH-2.0-OpenSSH\r\n\r\n")
            peer.close()

        threading.Thread(target=talk, daemon=True).start()
        with Connection(f"http://127.0.0.1:{server.getsockname()[1]}/") as connection:
            assert connection.post(b"{}", {}).problem == "protocol"


def test_one_that_sends_a_byte_now_and_then_is_left_at_the_deadline(settings: Any) -> None:
    settings.WEBHOOK_TIMEOUT_S = 0.5
    with socket.create_server(("127.0.0.1", 0)) as server:

        def drip() -> None:
            peer, _ = server.accept()
            with peer:
                for byte in b"HTTP/1.1 200 OK\r\nX: " + b"x" * 200:
                    try:
                        peer.sendall(bytes([byte]))
                    except OSError:
                        return
                    time.sleep(0.1)

        threading.Thread(target=drip, daemon=True).start()
        with Connection(f"http://127.0.0.1:{server.getsockname()[1]}/") as connection:
            outcome = connection.post(b"{}", {})
    assert outcome.problem == "timeout"
    assert outcome.latency_ms < 1500
