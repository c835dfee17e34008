"""The settings of the console's log-in: part of config.settings, which takes them all."""

from typing import Any

import environ
from django.core.exceptions import ImproperlyConfigured

from config.console.roles import ROLES

env = environ.Env()

AUTHENTICATION_BACKENDS = ["allauth.account.auth_backends.AuthenticationBackend"]
LOGIN_URL = "account_login"
LOGIN_REDIRECT_URL = "admin:index"
#: Whoever has no second factor yet sets one before anything else.
CONSOLE_REQUIRE_MFA = env.bool("CONSOLE_REQUIRE_MFA", default=not env.bool("DJANGO_DEBUG", default=False))
#: Logged out after so long without a request, and so long after logging in whatever one does.
CONSOLE_IDLE_S = env.int("CONSOLE_IDLE_S", default=3600)
SESSION_COOKIE_AGE = env.int("CONSOLE_SESSION_S", default=12 * 3600)
if not 0 < CONSOLE_IDLE_S <= SESSION_COOKIE_AGE:
    raise ImproperlyConfigured("CONSOLE_IDLE_S must be from 1 to CONSOLE_SESSION_S")
#: Counts attempts to log in: in PostgreSQL, because it must hold over all web processes and outlive Redis (ADR 51).
#: What has expired goes first where there are more than MAX_ENTRIES.
CACHES = {
    "default": {
        "BACKEND": "django.core.cache.backends.db.DatabaseCache",
        "LOCATION": "console_cache",
        "OPTIONS": {"MAX_ENTRIES": 100_000},
    }
}
ACCOUNT_ADAPTER = "config.console.accounts.AccountAdapter"
ACCOUNT_LOGIN_METHODS = {"username"}
ACCOUNT_SIGNUP_FIELDS = ["username*", "password1*", "password2*"]
ACCOUNT_EMAIL_VERIFICATION = "none"
ACCOUNT_PRESERVE_USERNAME_CASING = True
#: The cookie goes with the browser, the session by the two times above.
ACCOUNT_SESSION_REMEMBER = False
#: After so long, what touches the account itself asks for the password or a code again.
ACCOUNT_REAUTHENTICATION_TIMEOUT = 300
ACCOUNT_LOGOUT_REDIRECT_URL = "account_login"
ACCOUNT_RATE_LIMITS = {"login": "30/m/ip", "login_failed": "10/m/ip,5/5m/key", "reauthenticate": "10/m/user"}
MFA_ADAPTER = "config.console.accounts.SecondFactorAdapter"
MFA_TOTP_ISSUER = "Job credits"
MFA_TOTP_TOLERANCE = 1
#: Nobody has an address that allauth has verified; it is for sign-ups by strangers.
MFA_ALLOW_UNVERIFIED_EMAIL = True

#: Single sign-on: the provider's address (with /.well-known/openid-configuration below it), and what it knows us by.
CONSOLE_OIDC_URL = env.str("CONSOLE_OIDC_URL", default="").rstrip("/")
CONSOLE_OIDC_CLIENT_ID = env.str("CONSOLE_OIDC_CLIENT_ID", default="")
CONSOLE_OIDC_CLIENT_SECRET = env.str("CONSOLE_OIDC_CLIENT_SECRET", default="")
if len({bool(CONSOLE_OIDC_URL), bool(CONSOLE_OIDC_CLIENT_ID), bool(CONSOLE_OIDC_CLIENT_SECRET)}) > 1:
    raise ImproperlyConfigured("CONSOLE_OIDC_URL, CONSOLE_OIDC_CLIENT_ID and CONSOLE_OIDC_CLIENT_SECRET go together")
#: The claim that a user is known by: "email", if the provider has verified it, or another, which is the user's name.
CONSOLE_OIDC_USER_CLAIM = env.str("CONSOLE_OIDC_USER_CLAIM", default="email")
#: Who has one of these values in that claim gets its role, and is made a user: "ops=support,finance=billing".
CONSOLE_OIDC_ROLE_CLAIM = env.str("CONSOLE_OIDC_ROLE_CLAIM", default="groups")
CONSOLE_OIDC_ROLES = env.dict("CONSOLE_OIDC_ROLES", default={})
if set(CONSOLE_OIDC_ROLES.values()) - set(ROLES):
    raise ImproperlyConfigured(f"CONSOLE_OIDC_ROLES must give roles out of {', '.join(ROLES)}")
#: The provider asks for a second factor itself, so that the console does not require its own.
CONSOLE_OIDC_HAS_MFA = env.bool("CONSOLE_OIDC_HAS_MFA", default=False)
SOCIALACCOUNT_ADAPTER = "config.console.accounts.SingleSignOnAdapter"
SOCIALACCOUNT_STORE_TOKENS = False
SOCIALACCOUNT_REQUESTS_TIMEOUT = 10
SOCIALACCOUNT_PROVIDERS: dict[str, Any] = {
    "openid_connect": {
        "APPS": [
            {
                "provider_id": "provider",
                "name": env.str("CONSOLE_OIDC_NAME", default="Single sign-on"),
                "client_id": CONSOLE_OIDC_CLIENT_ID,
                "secret": CONSOLE_OIDC_CLIENT_SECRET,
                "settings": {"server_url": CONSOLE_OIDC_URL},
            }
        ]
        if CONSOLE_OIDC_URL
        else []
    }
}
