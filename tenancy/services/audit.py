"""Writing the audit log."""

from collections.abc import Iterable, Mapping
from typing import Any

from django.db import models

from tenancy.models import AuditEntry, Team

#: Words that a field's name has that holds a secret. Callers do not hand these in; should one, its value stays out.
SECRET_WORDS = ("secret", "password", "api_key", "virtual_key", "key_hash", "token")
#: Not every token is a secret.
NO_SECRETS = ("tokens_per_minute", "user_tokens_per_minute")
HIDDEN = "(hidden)"
#: Who acts where nobody says so: the service itself.
SYSTEM = "system"


def record(
    *,
    actor: str,
    action: str,
    subject: str,
    organization_pk: int | None = None,
    team_pk: int | None = None,
    before: Mapping[str, Any] | None = None,
    after: Mapping[str, Any] | None = None,
    reason: str = "",
) -> None:
    """Write one entry in the caller's transaction: it is there if the change is.

    `action` is a dotted word, such as "team.suspended"; `subject` the public id of what is changed. `before` and
    `after` hold what was changed, never secrets. A team's entry gets the team's organization.
    """
    if team_pk is not None and organization_pk is None:
        organization_pk = Team.objects.values_list("organization_id", flat=True).get(pk=team_pk)
    AuditEntry.objects.create(
        actor=actor,
        action=action,
        subject=subject,
        organization_id=organization_pk,
        team_id=team_pk,
        before=_shown(before),
        after=_shown(after),
        reason=reason,
    )


def fields_of(instance: models.Model, names: Iterable[str]) -> dict[str, Any]:
    """These fields as they are now, for `before` and `after`."""
    return {name: getattr(instance, name) for name in names}


def changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Of both, what differs."""
    names = [name for name in after if before.get(name) != after[name]]
    return {name: before.get(name) for name in names}, {name: after[name] for name in names}


def _shown(fields: Mapping[str, Any] | None) -> dict[str, Any] | None:
    if fields is None:
        return None
    return {name: HIDDEN if _is_secret(name) else value for name, value in fields.items()}


def _is_secret(name: str) -> bool:
    return name not in NO_SECRETS and any(word in name.lower() for word in SECRET_WORDS)
