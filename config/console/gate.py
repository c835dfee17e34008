"""What stands before the console's pages: how long a session lives, and the second factor."""

import time
from collections.abc import Callable

from allauth.account.internal.flows.login import AUTHENTICATION_METHODS_SESSION_KEY
from allauth.mfa.models import Authenticator
from allauth.mfa.utils import is_mfa_enabled
from django.conf import settings
from django.contrib.auth import logout
from django.http import HttpRequest, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.urls import reverse

#: When the session began and was last used, in it. Written once a minute at most: a page is no reason to write.
BEGAN, SEEN = "began", "seen"
SEEN_EVERY_S = 60

_Handler = Callable[[HttpRequest], HttpResponseBase]


def session_limits(get_response: _Handler) -> _Handler:
    """Log out whoever has not been here for CONSOLE_IDLE_S, or logged in longer ago than SESSION_COOKIE_AGE."""

    def middleware(request: HttpRequest) -> HttpResponseBase:
        if _is_page_of_ours(request) and request.user.is_authenticated:
            now = int(time.time())
            began, seen = request.session.get(BEGAN, now), request.session.get(SEEN, 0)
            if now - began > settings.SESSION_COOKIE_AGE or (seen and now - seen > settings.CONSOLE_IDLE_S):
                logout(request)
            elif now - seen >= SEEN_EVERY_S:
                request.session[BEGAN], request.session[SEEN] = began, now
        return get_response(request)

    return middleware


def second_factor(get_response: _Handler) -> _Handler:
    """Where it is required, nobody gets further than to the page on which it is set."""

    def middleware(request: HttpRequest) -> HttpResponseBase:
        if settings.CONSOLE_REQUIRE_MFA and _lacks_a_second_factor(request):
            return HttpResponseRedirect(reverse("mfa_activate_totp"))
        return get_response(request)

    return middleware


def _lacks_a_second_factor(request: HttpRequest) -> bool:
    if not request.path.startswith(reverse("admin:index")) or request.path == reverse("admin:logout"):
        return False
    if not request.user.is_authenticated or _came_by_single_sign_on(request):
        return False
    return not is_mfa_enabled(request.user, [Authenticator.Type.TOTP])


def _came_by_single_sign_on(request: HttpRequest) -> bool:
    """Whose provider has asked for it already, if the settings say that it does."""
    methods = request.session.get(AUTHENTICATION_METHODS_SESSION_KEY, [])
    return settings.CONSOLE_OIDC_HAS_MFA and any(method.get("method") == "socialaccount" for method in methods)


def _is_page_of_ours(request: HttpRequest) -> bool:
    return request.path.startswith((reverse("admin:index"), reverse("account_login").removesuffix("login/")))
