"""Everything that is encrypted at rest, and writing it anew with the newest key (settings.FIELD_ENCRYPTION_KEYS)."""

from collections.abc import Mapping
from dataclasses import dataclass

from allauth.mfa.models import Authenticator
from django.apps import apps
from django.db import transaction
from django.db.models import BinaryField, Model, Q

from config.foundation import encryption

#: Binary columns that hold hashes, and nothing encrypted.
HASHES = frozenset(
    {
        "tenancy.VirtualKey.key_hash",
        "tenancy.OperatorKey.key_hash",
        "tenancy.IdempotencyRecord.request_hash",
        "billing.LedgerEntry.digest",
    }
)
BATCH = 500


@dataclass
class Count:
    """Of one column's values."""

    rewritten: int = 0
    #: Written with a key that is no longer configured: nobody can read them any more.
    unreadable: int = 0


def encrypted_columns() -> dict[str, tuple[type[Model], str]]:
    """By "app.Model.field": every binary column that is not a hash."""
    ours = ("tenancy", "modelgroups", "billing", "jobs")
    columns = {
        f"{model._meta.label}.{field.name}": (model, field.name)  # noqa: SLF001 (Django's documented name)
        for app in ours
        for model in apps.get_app_config(app).get_models()
        for field in model._meta.get_fields()  # noqa: SLF001
        if isinstance(field, BinaryField)
    }
    return {name: column for name, column in columns.items() if name not in HASHES}


def reencrypt() -> Mapping[str, Count]:
    """Write every encrypted value with the newest key. Safe to repeat, and beside a running service.

    Batch by batch, each a transaction of its own; a value that somebody changes meanwhile is left as that one wrote it.
    """
    columns = {name: _reencrypt_column(model, field) for name, (model, field) in encrypted_columns().items()}
    return columns | {"mfa.Authenticator.data": _reencrypt_second_factors()}


def _reencrypt_column(model: type[Model], field: str) -> Count:
    count = Count()
    rows = model._default_manager.exclude(**{field: None}).order_by("pk")  # noqa: SLF001
    last = None
    while True:
        later = rows.filter(Q() if last is None else Q(pk__gt=last))
        batch = list(later.values_list("pk", field)[:BATCH])
        if not batch:
            return count
        with transaction.atomic():
            for pk, value in batch:
                _reencrypt_value(model, pk, field, bytes(value), count)
        last = batch[-1][0]


def _reencrypt_second_factors() -> Count:
    """What users log in with besides their passwords: encrypted texts in JSON (config.console.accounts)."""
    count = Count()
    for pk in Authenticator.objects.values_list("pk", flat=True).order_by("pk"):
        with transaction.atomic():
            authenticator = Authenticator.objects.select_for_update().filter(pk=pk).first()
            if authenticator is None:
                continue
            for name in {"secret", "seed"} & set(authenticator.data):
                try:
                    renewed = encryption.renew(authenticator.data[name].encode()).decode()
                except encryption.CannotDecrypt:
                    count.unreadable += 1
                    continue
                authenticator.data[name] = renewed
                count.rewritten += 1
            authenticator.save(update_fields=["data"])
    return count


def _reencrypt_value(model: type[Model], pk: object, field: str, value: bytes, count: Count) -> None:
    try:
        renewed = encryption.renew(value)
    except encryption.CannotDecrypt:
        count.unreadable += 1
        return
    count.rewritten += model._default_manager.filter(pk=pk, **{field: value}).update(**{field: renewed})  # noqa: SLF001
