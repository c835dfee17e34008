"""What a new installation does next."""

from dataclasses import dataclass

from django.http import HttpRequest
from django.urls import reverse

from jobs.queries.attention import Attention
from modelgroups.models import ModelGroup
from tenancy.models import Organization, Team

#: What one has to be allowed to open each, and where that is done.
FORMS = {
    Organization: ("tenancy.add_organization", "admin:tenancy_organization_create_organization"),
    Team: ("tenancy.add_team", "admin:tenancy_team_create_team"),
    ModelGroup: ("modelgroups.add_modelgroup", "admin:modelgroups_modelgroup_add"),
}


@dataclass(frozen=True)
class Step:
    """One of them; `url` is where it is done."""

    title: str
    text: str
    url: str
    is_done: bool


def first_steps(request: HttpRequest, attention: Attention) -> list[Step]:
    """All steps, done or not; none once there are jobs."""
    if attention.has_jobs:
        return []
    return [
        Step(
            "Create an organization",
            "The company whose teams will use the service.",
            _where_to_create(request, Organization),
            attention.has_organizations,
        ),
        Step(
            "Create a model group",
            "A name that apps ask for, and the models behind it in the order in which they are tried.",
            _where_to_create(request, ModelGroup),
            attention.has_groups,
        ),
        Step(
            "Create a team",
            "It gets credits, the groups that it may use, and a key, which is shown once.",
            _where_to_create(request, Team),
            attention.has_teams,
        ),
        Step(
            "Make the first job",
            "With the team's key: POST /api/jobs/create, then its llm-call, then complete.",
            reverse("docs"),
            attention.has_jobs,
        ),
    ]


def _where_to_create(request: HttpRequest, model: type[Organization | Team | ModelGroup]) -> str:
    """The form, where this user may use it; else the API's documentation, which says how."""
    permission, page = FORMS[model]
    return reverse(page) if request.user.has_perm(permission) else reverse("docs")
