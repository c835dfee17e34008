"""From headers to a principal."""

import ipaddress
from typing import Any

from django.conf import settings
from django.http import HttpRequest
from rest_framework.authentication import BaseAuthentication
from rest_framework.request import Request

from config.foundation.addresses import client_address
from tenancy.errors import InvalidApiKey, MissingCredentials
from tenancy.queries.principals import OPEN, Credentials, Principal, authenticate, authenticate_async

MAX_KEY_LENGTH = 256


def read_credentials(request: HttpRequest | Request) -> Credentials | None:
    """The keys in the headers, None where there are none. Raises InvalidApiKey for a header that holds none."""
    authorization, admin = request.headers.get("Authorization"), request.headers.get("X-Admin-Key")
    if authorization is None and admin is None:
        return None
    bearer = None
    if authorization is not None:
        scheme, _, bearer = authorization.strip().partition(" ")
        bearer = bearer.strip()
        if scheme.lower() != "bearer":
            raise InvalidApiKey
    for key in (bearer, admin):
        if key is not None and not (key and key.isascii() and len(key) <= MAX_KEY_LENGTH):
            raise InvalidApiKey
    return Credentials(bearer=bearer, admin=admin, address=_address(request))


def _address(request: HttpRequest | Request) -> str | None:
    forwarded_for = request.headers.get("X-Forwarded-For", "")
    return client_address(request.META.get("REMOTE_ADDR"), forwarded_for, trusted_proxies=settings.TRUSTED_PROXIES)


async def authenticate_request(request: HttpRequest) -> Principal:
    """For coroutine views, none of which is open to keyless callers.

    Raises MissingCredentials, InvalidApiKey, TeamSuspended, AddressNotAllowed, DependencyUnavailable.
    """
    credentials = read_credentials(request)
    if credentials is None:
        raise MissingCredentials
    return await authenticate_async(credentials)


class ApiKeyAuthentication(BaseAuthentication):
    """DRF's side of it: `request.user` becomes the Principal."""

    def authenticate(self, request: Request) -> tuple[Any, None]:
        """Raises MissingCredentials, InvalidApiKey, TeamSuspended, AddressNotAllowed."""
        credentials = read_credentials(request)
        if credentials is not None:
            return authenticate(credentials), None
        view = (request.parser_context or {}).get("view")
        if request.method in getattr(view, "open_methods", ()) and _is_open(request):
            return OPEN, None
        raise MissingCredentials

    def authenticate_header(self, request: Request) -> str:
        """What a 401 says in WWW-Authenticate."""
        return "Bearer"


def _is_open(request: Request) -> bool:
    """Open mode is for loopback: a caller from anywhere else needs a key in it, too."""
    if settings.AUTH_MODE != "open":
        return False
    try:
        return ipaddress.ip_address(request.META.get("REMOTE_ADDR") or "127.0.0.1").is_loopback
    except ValueError:
        return False
