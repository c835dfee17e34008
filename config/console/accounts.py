"""How people get into the console: django-allauth's adapters (https://docs.allauth.org), with the house's rules.

Staff only, nobody signs up, the second factor's secrets are encrypted, and what happens to an account is in the audit
log.
"""

import time
from collections.abc import Mapping
from typing import Any

from allauth.account.adapter import DefaultAccountAdapter
from allauth.account.internal.flows.login import AUTHENTICATION_METHODS_SESSION_KEY
from allauth.account.internal.stagekit import clear_login
from allauth.core.exceptions import ImmediateHttpResponse
from allauth.mfa.adapter import DefaultMFAAdapter
from allauth.socialaccount.adapter import DefaultSocialAccountAdapter
from django.conf import settings
from django.contrib import messages
from django.contrib.auth.models import Group, User
from django.db import transaction
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse

from config.console.roles import ROLES
from config.foundation import encryption
from config.foundation.addresses import client_address
from tenancy.services import audit

#: allauth's name of a notification → the audit log's.
NOTED = {
    "mfa/email/totp_activated": "user.second_factor_set",
    "mfa/email/totp_deactivated": "user.second_factor_removed",
    "mfa/email/recovery_codes_generated": "user.recovery_codes_made",
}


class AccountAdapter(DefaultAccountAdapter):
    """Logging in by name and password."""

    def is_open_for_signup(self, request: HttpRequest) -> bool:
        """Never: users are made by those who may."""
        return False

    def pre_login(self, request: HttpRequest, user: Any, **kwargs: Any) -> HttpResponse | None:
        """Staff only; whoever is not is told so as an inactive user is."""
        if not user.is_staff:
            clear_login(request)
            return self.respond_user_inactive(request, user)
        return super().pre_login(request, user, **kwargs)

    def get_client_ip(self, request: HttpRequest) -> str:
        """Whom attempts are counted for. What a client says of itself counts only from behind as many proxies."""
        peer, forwarded_for = request.META.get("REMOTE_ADDR"), request.headers.get("X-Forwarded-For", "")
        return client_address(peer, forwarded_for, trusted_proxies=settings.TRUSTED_PROXIES) or peer or "unknown"

    def is_reauthentication_required(self, *, app: str, **kwargs: Any) -> bool:
        """Not for those who have just logged in: they are on their way to set the second factor."""
        records = self.request.session.get(AUTHENTICATION_METHODS_SESSION_KEY) or [{"at": 0}]
        if time.time() - records[-1]["at"] < settings.ACCOUNT_REAUTHENTICATION_TIMEOUT:
            return False
        return super().is_reauthentication_required(app=app, **kwargs)

    def send_notification_mail(self, template_prefix: str, user: Any, *args: Any, **kwargs: Any) -> None:
        """Each change is told of here; it is written down, and no mail is sent unless settings say so."""
        if template_prefix in NOTED:
            name = user.get_username()
            audit.record(actor=f"console:{name}", action=NOTED[template_prefix], subject=name)
        super().send_notification_mail(template_prefix, user, *args, **kwargs)


class SecondFactorAdapter(DefaultMFAAdapter):
    """The second factor: its secrets at rest, and when it may be taken off."""

    def encrypt(self, text: str) -> str:
        """As all secrets are (FIELD_ENCRYPTION_KEYS)."""
        return encryption.encrypt(text.encode()).decode()

    def decrypt(self, encrypted_text: str) -> str:
        """The same back."""
        return encryption.decrypt(encrypted_text.encode()).decode()

    def can_delete_authenticator(self, authenticator: Any) -> bool:
        """Not by oneself where it is required; an administrator can reset it."""
        return not settings.CONSOLE_REQUIRE_MFA


class SingleSignOnAdapter(DefaultSocialAccountAdapter):
    """OpenID Connect: users that exist, and such as have a role by a claim, where the settings name one."""

    def is_open_for_signup(self, request: HttpRequest, sociallogin: Any) -> bool:
        """Never: whoever may enter is known by then."""
        return False

    @transaction.atomic
    def pre_social_login(self, request: HttpRequest, sociallogin: Any) -> None:
        """Find the user or make it, and bring its roles in line; who has none of it is sent back to the log-in."""
        if sociallogin.state.get("process") != "login":  # Nobody links accounts by hand.
            raise ImmediateHttpResponse(HttpResponseRedirect(reverse("account_login")))
        claims = _claims(sociallogin.account.extra_data)
        roles = roles_of(claims)
        if not sociallogin.is_existing:
            user = _known_user(claims) or (_new_user(claims) if roles else None)
            if user is None:
                messages.error(request, "Nobody of that name may use the console.")
                raise ImmediateHttpResponse(HttpResponseRedirect(reverse("account_login")))
            sociallogin.connect(request, user)
        if settings.CONSOLE_OIDC_ROLES:
            _set_roles(sociallogin.user, roles)


def roles_of(claims: Mapping[str, Any]) -> list[str]:
    """The roles that the provider's claim gives, by CONSOLE_OIDC_ROLES (value → role)."""
    values = claims.get(settings.CONSOLE_OIDC_ROLE_CLAIM, [])
    given = {values} if isinstance(values, str) else {value for value in values if isinstance(value, str)}
    return sorted({role for value, role in settings.CONSOLE_OIDC_ROLES.items() if value in given})


def _claims(extra_data: Mapping[str, Any]) -> Mapping[str, Any]:
    """The ID token's and the user information's, which are kept apart."""
    return {**extra_data.get("id_token", {}), **extra_data.get("userinfo", {})}


def _known_user(claims: Mapping[str, Any]) -> User | None:
    """The one member of staff with the claimed address, which must be verified; or with the claimed name."""
    claim = settings.CONSOLE_OIDC_USER_CLAIM
    value = claims.get(claim)
    if not isinstance(value, str) or not value:
        return None
    staff = User.objects.filter(is_staff=True, is_active=True)
    if claim == "email":
        found = staff.filter(email__iexact=value) if claims.get("email_verified") is True else staff.none()
    else:
        found = staff.filter(username=value)
    users = list(found[:2])
    return users[0] if len(users) == 1 else None


def _new_user(claims: Mapping[str, Any]) -> User | None:
    """A member of staff without a password. None where the name is taken or there is none."""
    name = str(claims.get("preferred_username") or claims.get("email") or "")[:150]
    if not name or User.objects.filter(username=name).exists():
        return None
    user = User.objects.create_user(name, str(claims.get("email") or ""), is_staff=True)
    audit.record(actor="sso", action="user.created", subject=name)
    return user


def _set_roles(user: User, roles: list[str]) -> None:
    """The provider decides on the roles of those who come from it; other groups of theirs stay."""
    before = sorted(user.groups.filter(name__in=ROLES).values_list("name", flat=True))
    if before == roles:
        return
    user.groups.remove(*Group.objects.filter(name__in=ROLES))
    user.groups.add(*Group.objects.filter(name__in=roles))
    audit.record(
        actor="sso",
        action="user.changed",
        subject=user.get_username(),
        before={"roles": before},
        after={"roles": roles},
    )
