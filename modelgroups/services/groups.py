"""Making, changing and deleting groups, and assigning them to teams."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import ProtectedError

from config.foundation import encryption
from config.foundation.constraints import violated
from config.foundation.errors import InvalidInput
from modelgroups.errors import ModelGroupExists, ModelGroupInUse, ModelGroupNotFound, ModelPriceUnknown
from modelgroups.gateway.parameters import CREDENTIAL, check_config, litellm_name
from modelgroups.gateway.prices import has_known_price, provider_of
from modelgroups.models import GroupAssignment, GroupModel, ModelGroup, ProviderCredential
from tenancy.models import Team
from tenancy.services import audit

#: What can be changed of a group, besides its models.
EDITABLE = ("display_name", "description", "status", "metadata")
#: Stands for what is not shown.
HIDDEN = "****"


@dataclass(frozen=True)
class ModelSpec:
    """One model as the operator gives it; `config` may hold a plaintext `api_key`, which is encrypted on its way in."""

    model_name: str
    priority: int = 0
    config: dict[str, Any] = field(default_factory=dict, repr=False)
    is_enabled: bool = True
    #: The row whose key it keeps, where its group has several models at one place. None: the next of them.
    stood_as: int | None = None


@transaction.atomic
def create_model_group(
    *,
    group_name: str,
    display_name: str,
    description: str,
    models: Sequence[ModelSpec],
    metadata: dict[str, Any],
    actor: str = audit.SYSTEM,
) -> ModelGroup:
    """Raises ModelGroupExists, ModelPriceUnknown, InvalidInput (a config's parameter, a credential)."""
    rows = _rows(models)
    try:
        with transaction.atomic():
            group = ModelGroup.objects.create(
                group_name=group_name, display_name=display_name, description=description, metadata=metadata
            )
    except IntegrityError as error:
        if violated(error) == "group_name_is_unique":
            raise ModelGroupExists(group_name) from error
        raise
    _attach(group, rows)
    after = {"display_name": display_name, "description": description, "models": _shown(rows), "metadata": metadata}
    audit.record(actor=actor, action="group.created", subject=group_name, after=after)
    return group


@transaction.atomic
def change_model_group(*, group_name: str, actor: str, **fields: Any) -> ModelGroup:
    """Give some of EDITABLE other values; an inactive group answers as if it were not assigned.

    Raises ModelGroupNotFound.
    """
    group = _locked(group_name)
    before, after = audit.changes(audit.fields_of(group, EDITABLE), fields)
    if not after:
        return group
    for name, value in after.items():
        setattr(group, name, value)
    group.save(update_fields=[*after, "updated_at"])
    audit.record(actor=actor, action="group.changed", subject=group_name, before=before, after=after)
    return group


@transaction.atomic
def replace_models(*, group_name: str, models: Sequence[ModelSpec], actor: str = audit.SYSTEM) -> ModelGroup:
    """Replace a group's models as a whole; calls already running keep the list they started with.

    A model without an `api_key` that stood in the group under the same name keeps the key it had, as long as it is
    asked at the same place: who may change a model may not have its key sent elsewhere.
    Raises ModelGroupNotFound, ModelPriceUnknown, InvalidInput.
    """
    rows = _rows(models)
    group = _locked(group_name)
    standing = list(group.models.all())
    with_key = [row for row in standing if row.api_key_encrypted is not None]
    for spec, row in zip(models, rows, strict=True):
        if row.api_key_encrypted is None and CREDENTIAL not in row.config:
            _keep_key(row, spec.stood_as, with_key)
    is_changed, before, after = _whole(standing) != _whole(rows), _shown(standing), _shown(rows)
    group.models.all().delete()
    _attach(group, rows)
    group.save(update_fields=["updated_at"])
    if is_changed:
        audit.record(
            actor=actor,
            action="group.models_changed",
            subject=group_name,
            before={"models": before},
            after={"models": after},
        )
    return group


def check_models(models: Sequence[ModelSpec]) -> None:
    """What creating a group and replacing models would refuse. Raises ModelPriceUnknown, InvalidInput."""
    with transaction.atomic():
        _rows(models)


@transaction.atomic
def delete_model_group(*, group_name: str, actor: str = audit.SYSTEM) -> None:
    """Raises ModelGroupNotFound, ModelGroupInUse."""
    group = _locked(group_name)
    before = {"display_name": group.display_name, "models": _shown(list(group.models.all()))}
    try:
        group.delete()
    except ProtectedError as error:
        raise ModelGroupInUse(group_name, group.assignments.count()) from error
    audit.record(actor=actor, action="group.deleted", subject=group_name, before=before)


@transaction.atomic
def assign_groups(*, team_pk: int, group_names: Sequence[str], actor: str = audit.SYSTEM, reason: str = "") -> None:
    """Make these, and no others, the groups of the team; naming one twice counts once. Raises ModelGroupNotFound."""
    # Two assignments at once would interleave to a mixture of both lists.
    team = Team.objects.select_for_update(no_key=True).get(pk=team_pk)
    names = list(dict.fromkeys(group_names))
    # Locked in the order of their keys, so that none is deleted meanwhile and no two assignments deadlock.
    found = ModelGroup.objects.select_for_update(no_key=True).filter(group_name__in=names).order_by("pk")
    groups = {group.group_name: group for group in found}
    for name in names:
        if name not in groups:
            raise ModelGroupNotFound(name)
    before = list(team.group_assignments.values_list("group__group_name", flat=True))
    team.group_assignments.all().delete()
    GroupAssignment.objects.bulk_create(
        GroupAssignment(team=team, group=groups[name], position=position) for position, name in enumerate(names)
    )
    if before != names:
        audit.record(
            actor=actor,
            action="group.assigned",
            subject=team.team_id,
            organization_pk=team.organization_id,
            team_pk=team.pk,
            before={"model_groups": before},
            after={"model_groups": names},
            reason=reason,
        )


def _shown(rows: Sequence[GroupModel]) -> list[dict[str, Any]]:
    """Models as the audit log has them: keys by their last four characters, headers by their names."""
    shown = []
    for row in sorted(rows, key=lambda row: (row.priority, row.position)):
        config = dict(row.config)
        if "extra_headers" in config:
            config["extra_headers"] = sorted(config["extra_headers"])
        shown.append(
            {
                "model_name": row.model_name,
                "priority": row.priority,
                "is_enabled": row.is_enabled,
                "config": config,
                "key_last_four": row.api_key_last_four,
            }
        )
    return shown


def _whole(rows: Sequence[GroupModel]) -> list[tuple[Any, ...]]:
    """To compare, in the order of trying: what the audit log does not show is a change, too."""
    ordered = sorted(rows, key=lambda row: (row.priority, row.position))
    return [(row.model_name, row.priority, row.is_enabled, row.config, _key_of(row)) for row in ordered]


def _key_of(row: GroupModel) -> bytes | None:
    if row.api_key_encrypted is None:
        return None
    try:
        return encryption.decrypt(bytes(row.api_key_encrypted))
    except encryption.CannotDecrypt:
        return bytes(row.api_key_encrypted)


def _place(row: GroupModel) -> tuple[str, Any, Any]:
    """Whom a model's key is shown to."""
    return row.model_name, row.config.get("model"), row.config.get("api_base")


def _keep_key(row: GroupModel, stood_as: int | None, with_key: list[GroupModel]) -> None:
    """The key of the row that it was, or of the next one at its place; the last one there is everybody's."""
    there = [kept for kept in with_key if _place(kept) == _place(row)]
    kept = next((kept for kept in there if stood_as in (None, kept.pk)), None)
    if kept is None:
        return
    row.api_key_encrypted, row.api_key_last_four = kept.api_key_encrypted, kept.api_key_last_four
    if stood_as is None and len(there) > 1:
        with_key.remove(kept)


def without_secrets(config: Mapping[str, Any]) -> dict[str, Any]:
    """A stored config to be shown: the values of headers are hidden, because they often carry a key."""
    if "extra_headers" not in config:
        return dict(config)
    return {**config, "extra_headers": dict.fromkeys(config["extra_headers"], HIDDEN)}


def _locked(group_name: str) -> ModelGroup:
    try:
        return ModelGroup.objects.select_for_update(no_key=True).get(group_name=group_name)
    except ModelGroup.DoesNotExist:
        raise ModelGroupNotFound(group_name) from None


def _rows(models: Sequence[ModelSpec]) -> list[GroupModel]:
    """Unsaved rows, checked, with the provider's key out of the config and encrypted."""
    if models and not any(spec.is_enabled for spec in models):
        raise InvalidInput("one model at least must be enabled; to stop all of them, make the group inactive")
    rows = []
    for position, spec in enumerate(models):
        check_config(spec.config, field=f"models.{position}.config")
        if not has_known_price(spec.model_name, spec.config):
            raise ModelPriceUnknown(spec.model_name)
        config = dict(spec.config)
        api_key: str | None = config.pop("api_key", None)
        rows.append(
            GroupModel(
                model_name=spec.model_name,
                priority=spec.priority,
                position=position,
                is_enabled=spec.is_enabled,
                config=config,
                api_key_encrypted=encryption.encrypt(api_key.encode()) if api_key else None,
                api_key_last_four=api_key[-4:] if api_key else "",
            )
        )
    _check_credentials(models)
    return rows


def _check_credentials(models: Sequence[ModelSpec]) -> None:
    """Every named credential exists and is its model's provider's. Locks them: none is deleted meanwhile."""
    names = {str(spec.config[CREDENTIAL]) for spec in models if CREDENTIAL in spec.config}
    if not names:
        return
    found = ProviderCredential.objects.select_for_update(no_key=True).filter(name__in=names).order_by("pk")
    providers = {credential.name: credential.provider for credential in found}
    for position, spec in enumerate(models):
        if (name := spec.config.get(CREDENTIAL)) is None:
            continue
        field = f"models.{position}.config.{CREDENTIAL}"
        if str(name) not in providers:
            raise InvalidInput(f"there is no credential '{name}'", field=field)
        provider = provider_of(spec.model_name, spec.config)
        if "://" in litellm_name(spec.model_name, spec.config):
            raise InvalidInput("a model that is named by its address has no credential", field=field)
        if provider != providers[str(name)]:
            raise InvalidInput(
                f"'{name}' is for {providers[str(name)]}, and {spec.model_name} is asked at {provider or 'another'}",
                field=field,
            )


def _attach(group: ModelGroup, rows: list[GroupModel]) -> None:
    for row in rows:
        row.group = group
    GroupModel.objects.bulk_create(rows)
