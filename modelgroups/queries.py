"""Reads of groups and of who may use them."""

from dataclasses import dataclass

from django.db.models import QuerySet

from modelgroups.errors import ModelGroupNotFound
from modelgroups.models import GroupAssignment, GroupModel, ModelGroup, ProviderCredential


@dataclass(frozen=True)
class Resolution:
    """Which models stand behind a group, for one team."""

    group_name: str
    primary_model: str | None
    fallback_models: list[str]
    team_has_access: bool


def model_groups() -> QuerySet[ModelGroup]:
    """All groups with their models, newest first."""
    return ModelGroup.objects.prefetch_related("models").order_by("-created_at", "-id")


def get_model_group(group_name: str) -> ModelGroup:
    """Raises ModelGroupNotFound."""
    try:
        return ModelGroup.objects.prefetch_related("models").get(group_name=group_name)
    except ModelGroup.DoesNotExist:
        raise ModelGroupNotFound(group_name) from None


def groups_of_team(team_pk: int) -> QuerySet[ModelGroup]:
    """The groups assigned to a team, in the order of assignment."""
    return (
        ModelGroup.objects.filter(assignments__team_id=team_pk)
        .prefetch_related("models")
        .order_by("assignments__position", "assignments__id")
    )


def group_names_by_team(team_pks: list[int]) -> dict[int, list[str]]:
    """Team → names of its groups, in one query."""
    names: dict[int, list[str]] = {pk: [] for pk in team_pks}
    assignments = GroupAssignment.objects.filter(team_id__in=team_pks).select_related("group")
    for assignment in assignments.order_by("team_id", "position", "id"):
        names[assignment.team_id].append(assignment.group.group_name)
    return names


def allowed_models(team_pk: int) -> list[str]:
    """The model names that a team's groups hold, each once, in order of group, priority and position."""
    rows = (
        GroupModel.objects.filter(
            is_enabled=True, group__assignments__team_id=team_pk, group__status=ModelGroup.Status.ACTIVE
        )
        .order_by("group__assignments__position", "group__assignments__id", "priority", "position")
        .values_list("model_name", flat=True)
    )
    return list(dict.fromkeys(rows))


def groups_that_name(credential: str) -> list[str]:
    """The names of the groups with a model that names this credential."""
    models = GroupModel.objects.filter(config__credential=credential).order_by("group__group_name")
    return list(models.values_list("group__group_name", flat=True).distinct())


def credential_names() -> list[str]:
    """Each once, whosever they are."""
    return list(ProviderCredential.objects.order_by("name").values_list("name", flat=True).distinct())


def resolve(*, group_name: str, team_pk: int, is_allowed: bool = True) -> Resolution:
    """The guide's model resolution. A team without access, or whose key has none, learns that, and no model's name.

    Raises ModelGroupNotFound.
    """
    group = get_model_group(group_name)
    has_access = (
        is_allowed
        and group.status == ModelGroup.Status.ACTIVE
        and GroupAssignment.objects.filter(team_id=team_pk, group=group).exists()
    )
    enabled = [model.model_name for model in group.models.all() if model.is_enabled]
    names = list(dict.fromkeys(enabled)) if has_access else []
    return Resolution(
        group_name=group.group_name,
        primary_model=names[0] if names else None,
        fallback_models=names[1:],
        team_has_access=has_access,
    )
