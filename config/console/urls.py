"""The log-in's pages: those of allauth's that the console uses, and no others (no sign-up, no mails)."""

import logging

from allauth.account import views as account
from allauth.account.internal.decorators import login_not_required
from allauth.socialaccount import views as socialaccount
from allauth.socialaccount.providers.openid_connect import views as openid_connect
from django.contrib import messages
from django.http import HttpRequest, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.urls import include, path, reverse
from requests import RequestException

logger = logging.getLogger(__name__)


@login_not_required
def sign_on(request: HttpRequest, provider_id: str) -> HttpResponseBase:
    """Go to the provider of single sign-on; back to the log-in, with a message, where it is away."""
    try:
        return openid_connect.login(request, provider_id)
    except RequestException:
        logger.warning("the provider of single sign-on cannot be asked", exc_info=True)
        messages.error(request, "Single sign-on cannot be reached at the moment.")
        return HttpResponseRedirect(reverse("account_login"))


urlpatterns = [
    path("login/", account.login, name="account_login"),
    path("logout/", account.logout, name="account_logout"),
    path("inactive/", account.account_inactive, name="account_inactive"),
    path("reauthenticate/", account.reauthenticate, name="account_reauthenticate"),
    path("2fa/", include("allauth.mfa.urls")),
    path("sso/cancelled/", socialaccount.login_cancelled, name="socialaccount_login_cancelled"),
    path("sso/error/", socialaccount.login_error, name="socialaccount_login_error"),
    path("sso/<provider_id>/login/", sign_on, name="openid_connect_login"),
    path("sso/<provider_id>/login/callback/", openid_connect.callback, name="openid_connect_callback"),
]
