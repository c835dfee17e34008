"""Making, rotating and revoking keys. A key is returned once, by the call that makes it."""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from config.foundation import encryption
from tenancy.errors import KeyAlreadyRevoked, VirtualKeyNotFound
from tenancy.models import OperatorKey, Team, VirtualKey
from tenancy.queries.principals import hash_key
from tenancy.services import audit
from tenancy.services.key_terms import TERMS, checked, shown

KEY_BYTES = 32  # 256 bits


@dataclass(frozen=True)
class NewVirtualKey:
    """A key's row, and for the last time the key itself."""

    row: VirtualKey
    plaintext: str


def new_key_text() -> str:
    """A key as clients send it."""
    return "sk-" + secrets.token_urlsafe(KEY_BYTES)


@transaction.atomic
def create_virtual_key(
    *, team: Team, name: str = "", terms: Mapping[str, Any] | None = None, actor: str = audit.SYSTEM
) -> NewVirtualKey:
    """A further key for the team; several may be valid at once. `terms` are some of TERMS. Raises InvalidInput."""
    kept = {name: value for name, value in checked(terms or {}).items() if value is not None}
    new = _store_virtual_key(team, name, kept)
    _note(new.row, "key.created", actor, after={"name": name, "last_four": new.row.last_four, **shown(kept)})
    return new


@transaction.atomic
def change_virtual_key(
    *, team_id: str, key_id: UUID, terms: Mapping[str, Any], actor: str = audit.SYSTEM, reason: str = ""
) -> VirtualKey:
    """Restrict a key otherwise than before, from now on: some of TERMS, the others stay.

    Raises VirtualKeyNotFound, KeyAlreadyRevoked (or replaced: when that one stops was said then), InvalidInput.
    """
    key = _locked(team_id, key_id)
    if key.revoked_at is not None or VirtualKey.objects.filter(replaces=key).exists():
        raise KeyAlreadyRevoked
    # What stays as it is may be said again, even if it could not be set any more.
    wanted = {name: value for name, value in terms.items() if getattr(key, name) != value}
    before, after = audit.changes(audit.fields_of(key, TERMS), checked(wanted))
    if after:
        for name, value in after.items():
            setattr(key, name, value)
        key.save(update_fields=list(after))
        _note(key, "key.changed", actor, before=shown(before), after=shown(after), reason=reason)
    return key


def _store_virtual_key(
    team: Team, name: str, terms: Mapping[str, Any], replaces: VirtualKey | None = None
) -> NewVirtualKey:
    plaintext = new_key_text()
    row = VirtualKey.objects.create(
        team=team,
        name=name,
        key_hash=hash_key(plaintext),
        last_four=plaintext[-4:],
        secret_encrypted=encryption.encrypt(plaintext.encode()) if settings.LITELLM_PROXY_URL else None,
        replaces=replaces,
        **terms,
    )
    return NewVirtualKey(row, plaintext)


@transaction.atomic
def rotate_virtual_key(
    *, team_id: str, key_id: UUID, grace_s: int, actor: str = audit.SYSTEM, reason: str = ""
) -> NewVirtualKey:
    """Replace a key; the old one works for `grace_s` seconds more (0: it stops at once), but not beyond its own expiry.

    The new one has the old one's terms. Raises VirtualKeyNotFound, KeyAlreadyRevoked.
    """
    old = _locked(team_id, key_id)
    now = timezone.now()
    if old.revoked_at is not None or (old.expires_at is not None and old.expires_at <= now):
        raise KeyAlreadyRevoked
    if VirtualKey.objects.filter(replaces=old).exists():
        raise KeyAlreadyRevoked
    terms = audit.fields_of(old, TERMS)
    if grace_s:
        ends = now + timedelta(seconds=grace_s)
        old.expires_at = min(ends, old.expires_at or ends)
    else:
        old.revoked_at = now  # At once, however far the clocks of web and database are apart.
    old.save(update_fields=["expires_at", "revoked_at"])
    new = _store_virtual_key(old.team, old.name, terms, replaces=old)
    after = {"key_id": str(new.row.id), "last_four": new.row.last_four, "grace_s": grace_s}
    _note(old, "key.rotated", actor, before={"last_four": old.last_four}, after=after, reason=reason)
    return new


@transaction.atomic
def revoke_virtual_key(*, team_id: str, key_id: UUID, actor: str = audit.SYSTEM, reason: str = "") -> VirtualKey:
    """Stop a key at once. Revoking it again changes nothing. Raises VirtualKeyNotFound."""
    key = _locked(team_id, key_id)
    if key.revoked_at is None:
        key.revoked_at = timezone.now()
        key.save(update_fields=["revoked_at"])
        _note(key, "key.revoked", actor, reason=reason)
    return key


def _note(key: VirtualKey, action: str, actor: str, **fields: Any) -> None:
    audit.record(
        actor=actor,
        action=action,
        subject=str(key.id),
        organization_pk=key.team.organization_id,
        team_pk=key.team_id,
        **fields,
    )


def _locked(team_id: str, key_id: UUID) -> VirtualKey:
    try:
        return (
            VirtualKey.objects.select_for_update(of=("self",), no_key=True)
            .select_related("team")
            .get(team__team_id=team_id, id=key_id)
        )
    except VirtualKey.DoesNotExist:
        raise VirtualKeyNotFound from None


@transaction.atomic
def create_operator_key(*, name: str, scopes: list[str], actor: str = audit.SYSTEM) -> tuple[OperatorKey, str]:
    """A new operator key and, for the last time, its text. Raises IntegrityError where the name is taken."""
    plaintext = "op-" + secrets.token_urlsafe(KEY_BYTES)
    return _store_operator_key(name, scopes, plaintext, actor), plaintext


@transaction.atomic
def ensure_operator_key(*, name: str, plaintext: str, actor: str = audit.SYSTEM) -> OperatorKey:
    """Make `plaintext` a valid operator key with every scope, whatever was there under it or under `name`.

    For installations that bring their key from outside (the OPERATOR_KEY of `make run`): safe to repeat. A
    key of that name with another text is revoked, so that changing the variable changes the key.
    """
    existing = OperatorKey.objects.filter(key_hash=hash_key(plaintext)).first()
    for stale in OperatorKey.objects.filter(Q(name=name) & ~Q(pk=existing.pk if existing else None)):
        stale.name = f"{name} (until {timezone.now():%Y-%m-%d %H:%M:%S.%f})"
        stale.revoked_at = stale.revoked_at or timezone.now()
        stale.save(update_fields=["name", "revoked_at"])
        audit.record(actor=actor, action="operator_key.replaced", subject=str(stale.id))
    if existing is None:
        return _store_operator_key(name, [OperatorKey.Scope.ALL], plaintext, actor)
    existing.revoked_at, existing.scopes = None, [OperatorKey.Scope.ALL]
    existing.save(update_fields=["revoked_at", "scopes"])
    return existing


@transaction.atomic
def revoke_operator_key(*, key_id: UUID, actor: str = audit.SYSTEM, reason: str = "") -> None:
    """Stop an operator key at once. Revoking it again changes nothing."""
    if OperatorKey.objects.filter(id=key_id, revoked_at=None).update(revoked_at=timezone.now()):
        audit.record(actor=actor, action="operator_key.revoked", subject=str(key_id), reason=reason)


def _store_operator_key(name: str, scopes: list[str], plaintext: str, actor: str) -> OperatorKey:
    key = OperatorKey.objects.create(name=name, scopes=scopes, key_hash=hash_key(plaintext), last_four=plaintext[-4:])
    after = {"name": name, "scopes": scopes, "last_four": key.last_four}
    audit.record(actor=actor, action="operator_key.created", subject=str(key.id), after=after)
    return key
