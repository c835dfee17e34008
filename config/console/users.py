"""What is done to the console's users, besides editing them."""

from allauth.mfa.models import Authenticator
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from django.db import transaction

from tenancy.services import audit


@transaction.atomic
def reset_second_factor(*, user: User, actor: str) -> None:
    """Take the user's authenticator and recovery codes off, and end their sessions. Where there are none: nothing."""
    if Authenticator.objects.filter(user=user).delete()[0]:
        end_sessions(user=user)
        audit.record(actor=actor, action="user.second_factor_reset", subject=user.get_username())


def end_sessions(*, user: User) -> None:
    """Log the user out everywhere. Sessions do not say whose they are, so each is looked into; there are few."""
    for session in Session.objects.iterator():
        if session.get_decoded().get("_auth_user_id") == str(user.pk):
            session.delete()
