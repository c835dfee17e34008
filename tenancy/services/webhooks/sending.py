"""One POST to somebody else's server, which may be slow, lie about its address, or never stop answering.

httpcore and not httpx: the connection has to go to the very address that was looked at. A name that is resolved once to
be checked and once more to connect may lead somewhere else the second time.
"""

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

import httpcore
from django.conf import settings

from config.foundation.addresses import is_listed, is_public, resolve, written_out
from config.foundation.errors import InvalidInput

MAX_URL_LENGTH = 2048
#: Read of an answer, and thrown away, so that the connection can be used again.
MAX_ANSWER_BYTES = 64 * 1024


class Problem(StrEnum):
    """Why there was no answer."""

    TIMEOUT = "timeout"
    CONNECTION = "connection"
    PROTOCOL = "protocol"
    ADDRESS = "address_refused"
    SECRET = "secret_unreadable"  # noqa: S105 (the name of a problem)


@dataclass(frozen=True)
class Outcome:
    """What came of one attempt."""

    status: int | None
    problem: str
    latency_ms: int

    @property
    def is_success(self) -> bool:
        """2xx, and nothing else: a redirect is not followed."""
        return self.status is not None and 200 <= self.status < 300


class AddressRefused(Exception):
    """The host leads to an address that is not public."""


def check_url(url: str, *, field: str = "url") -> str:
    """The URL, if an endpoint may have it. Where a name leads is not looked at here but at each connection.

    Raises InvalidInput.
    """
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise InvalidInput("must be a URL", field=field) from None
    if not (url.isascii() and url.isprintable() and " " not in url) or len(url) > MAX_URL_LENGTH:
        raise InvalidInput(f"must be a URL of at most {MAX_URL_LENGTH} ASCII characters", field=field)
    if parts.scheme not in {"http", "https"} or not host or "%" in host or parts.username is not None or parts.fragment:
        raise InvalidInput("must be an https URL without credentials and fragment", field=field)
    if not _is_trusted(host):
        if parts.scheme != "https":
            raise InvalidInput("must be an https URL", field=field)
        is_local = host == "localhost" or host.endswith(".localhost")
        if is_local or any(not is_public(address) for address in written_out(host)):
            raise InvalidInput("may not name a loopback or private address", field=field)
    return url


def _is_trusted(host: str) -> bool:
    return settings.AUTH_MODE == "open" or is_listed(host, settings.PRIVATE_WEBHOOK_HOSTS)


def _addresses(host: str, port: int) -> list[str]:
    """Where to connect to. Raises AddressRefused if one of them is not public, ConnectError if there is none."""
    found = resolve(host, port)
    if not _is_trusted(host):
        for address in found:
            if not is_public(address) and not is_listed(address, settings.PRIVATE_WEBHOOK_HOSTS):
                raise AddressRefused(address)
    if not found:
        raise httpcore.ConnectError("the name has no address")
    return found


class Connection:
    """To one receiver; kept open from one attempt to the next."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._backend = _VettedBackend()
        self._pool = httpcore.ConnectionPool(max_connections=1, network_backend=self._backend)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.close()

    def post(self, body: bytes, headers: Mapping[str, str]) -> Outcome:
        """Send it, within settings.WEBHOOK_TIMEOUT_S in all, whatever the other side does."""
        began = time.monotonic()
        self._backend.deadline = began + settings.WEBHOOK_TIMEOUT_S
        status, problem = None, ""
        try:
            with self._pool.stream("POST", self._url, headers=[*headers.items()], content=body) as response:
                status = response.status
                self._drain(response)
        except AddressRefused:
            problem = Problem.ADDRESS
        except httpcore.TimeoutException:
            problem = Problem.TIMEOUT
        except httpcore.NetworkError:
            problem = Problem.CONNECTION
        except (httpcore.ProtocolError, httpcore.UnsupportedProtocol, ValueError):
            problem = Problem.PROTOCOL
        # A status that has come decides, however the rest of the answer went.
        return Outcome(status, "" if status else str(problem), int((time.monotonic() - began) * 1000))

    @staticmethod
    def _drain(response: httpcore.Response) -> None:
        received = 0
        for chunk in response.iter_stream():
            received += len(chunk)
            if received > MAX_ANSWER_BYTES:
                return


class _VettedBackend(httpcore.NetworkBackend):
    """Connects to vetted addresses only, and lets nothing last longer than the deadline."""

    def __init__(self) -> None:
        self.deadline = 0.0
        self._inner = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        """The first of the host's addresses that accepts. Raises AddressRefused, httpcore.ConnectError."""
        error: Exception = httpcore.ConnectError("no address")
        for address in _addresses(host, port):
            try:
                stream = self._inner.connect_tcp(address, port, self.remaining_s(), local_address, socket_options)
            except httpcore.ConnectError as failed:
                error = failed
            else:
                return _BoundedStream(stream, self)
        raise error

    def remaining_s(self) -> float:
        """Until the deadline. Raises ReadTimeout where it has passed."""
        remaining_s = self.deadline - time.monotonic()
        if remaining_s <= 0:
            raise httpcore.ReadTimeout("the attempt's time is over")
        return remaining_s


class _BoundedStream(httpcore.NetworkStream):
    """A stream whose every step ends by the backend's deadline; httpcore's own limits are for each step alone."""

    def __init__(self, inner: httpcore.NetworkStream, backend: _VettedBackend) -> None:
        self._inner = inner
        self._backend = backend

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """As the inner stream's."""
        return self._inner.read(max_bytes, self._backend.remaining_s())

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """As the inner stream's."""
        self._inner.write(buffer, self._backend.remaining_s())

    def close(self) -> None:
        """As the inner stream's."""
        self._inner.close()

    def start_tls(
        self, ssl_context: Any, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        """The same over TLS: for the host's name, whatever its address."""
        stream = self._inner.start_tls(ssl_context, server_hostname, self._backend.remaining_s())
        return _BoundedStream(stream, self._backend)

    def get_extra_info(self, info: str) -> Any:
        """As the inner stream's."""
        return self._inner.get_extra_info(info)
