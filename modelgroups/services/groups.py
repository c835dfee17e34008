"""Making, changing and deleting groups, and assigning them to teams."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import ProtectedError

from config.foundation import encryption
from config.foundation.constraints import violated
from modelgroups.errors import ModelGroupExists, ModelGroupInUse, ModelGroupNotFound, ModelPriceUnknown
from modelgroups.gateway.parameters import check_config
from modelgroups.gateway.prices import has_known_price
from modelgroups.models import GroupAssignment, GroupModel, ModelGroup
from tenancy.models import Team
from tenancy.services import audit


@dataclass(frozen=True)
class ModelSpec:
    """One model as the operator gives it; `config` may hold a plaintext `api_key`, which is encrypted on its way in."""

    model_name: str
    priority: int = 0
    config: dict[str, Any] = field(default_factory=dict, repr=False)


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
    """Raises ModelGroupExists, ModelPriceUnknown, InvalidInput (a config's parameter)."""
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
def replace_models(*, group_name: str, models: Sequence[ModelSpec], actor: str = audit.SYSTEM) -> ModelGroup:
    """Replace a group's models as a whole; calls already running keep the list they started with.

    A model without an `api_key` that stood in the group under the same name keeps the key it had, as long as it is
    asked at the same place: who may change a model may not have its key sent elsewhere.
    Raises ModelGroupNotFound, ModelPriceUnknown, InvalidInput.
    """
    rows = _rows(models)
    group = _locked(group_name)
    kept = {_place(row): row for row in group.models.exclude(api_key_encrypted=None)}
    for row in rows:
        if row.api_key_encrypted is None and _place(row) in kept:
            row.api_key_encrypted = kept[_place(row)].api_key_encrypted
            row.api_key_last_four = kept[_place(row)].api_key_last_four
    before = _shown(list(group.models.all()))
    group.models.all().delete()
    _attach(group, rows)
    group.save(update_fields=["updated_at"])
    if before != _shown(rows):
        audit.record(
            actor=actor,
            action="group.models_changed",
            subject=group_name,
            before={"models": before},
            after={"models": _shown(rows)},
        )
    return group


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
                "config": config,
                "key_last_four": row.api_key_last_four,
            }
        )
    return shown


def _place(row: GroupModel) -> tuple[str, Any, Any]:
    """Whom a model's key is shown to."""
    return row.model_name, row.config.get("model"), row.config.get("api_base")


def _locked(group_name: str) -> ModelGroup:
    try:
        return ModelGroup.objects.select_for_update(no_key=True).get(group_name=group_name)
    except ModelGroup.DoesNotExist:
        raise ModelGroupNotFound(group_name) from None


def _rows(models: Sequence[ModelSpec]) -> list[GroupModel]:
    """Unsaved rows, checked, with the provider's key out of the config and encrypted."""
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
                config=config,
                api_key_encrypted=encryption.encrypt(api_key.encode()) if api_key else None,
                api_key_last_four=api_key[-4:] if api_key else "",
            )
        )
    return rows


def _attach(group: ModelGroup, rows: list[GroupModel]) -> None:
    for row in rows:
        row.group = group
    GroupModel.objects.bulk_create(rows)
