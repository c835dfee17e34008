"""Whatever changes what LiteLLM Proxy should look like marks the team; nothing else does."""

from collections.abc import Callable
from uuid import UUID

import pytest
from django.db import connection

from billing.models import ProxyTeam
from billing.services.credits import add_credits
from modelgroups.services.groups import ModelSpec, assign_groups, replace_models
from tenancy.models import Team
from tenancy.services.keys import create_virtual_key, revoke_virtual_key, rotate_virtual_key
from tests.support.api import Tenant, make_group, make_tenant


def version(team_pk: int) -> int:
    return ProxyTeam.objects.get(pk=team_pk).wanted_version


def raised(tenant: Tenant, change: Callable[[], object]) -> int:
    before = version(tenant.team_pk)
    change()
    return version(tenant.team_pk) - before


def sql(statement: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement)


@pytest.fixture
def neighbour(tenant: Tenant) -> Tenant:
    """Another team with another group, which no change of the first one's touches."""
    return make_tenant("b")


CHANGES: dict[str, Callable[[Tenant], object]] = {
    "credits": lambda t: add_credits(team_pk=t.team_pk, amount=1, reason="", metadata={}, actor="x"),
    "another key": lambda t: create_virtual_key(team=Team.objects.get(pk=t.team_pk)),
    "rotation": lambda t: rotate_virtual_key(team_id=t.team_id, key_id=first_key(t), grace_s=9),
    "revocation": lambda t: revoke_virtual_key(team_id=t.team_id, key_id=first_key(t)),
    "no groups": lambda t: assign_groups(team_pk=t.team_pk, group_names=[]),
    "a group's models": lambda t: replace_models(group_name=t.group_name, models=[ModelSpec("gpt-4")]),
    "suspension": lambda t: Team.objects.filter(pk=t.team_pk).update(status="suspended"),
    "the organization's suspension": lambda t: sql(
        "UPDATE tenancy_organization SET status = 'suspended' WHERE name = 'a'"
    ),
    "a group's status": lambda t: sql(
        "UPDATE modelgroups_modelgroup SET status = 'inactive' WHERE group_name LIKE '%-a'"
    ),
    "a model renamed by hand": lambda t: sql(
        "UPDATE modelgroups_groupmodel SET model_name = 'x' WHERE priority = 1 AND group_id IN "
        "(SELECT id FROM modelgroups_modelgroup WHERE group_name LIKE '%-a')"
    ),
}


def first_key(tenant: Tenant) -> UUID:
    return Team.objects.get(pk=tenant.team_pk).virtual_keys.get().pk


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_marks_its_team_and_no_other(tenant: Tenant, neighbour: Tenant, change: str) -> None:
    untouched = version(neighbour.team_pk)
    assert raised(tenant, lambda: CHANGES[change](tenant)) >= 1
    assert version(neighbour.team_pk) == untouched


def test_a_jobs_credit_marks_nothing(tenant: Tenant) -> None:
    def work() -> None:
        job = tenant.api.post("/api/jobs/create", {"team_id": tenant.team_id, "job_type": "x"}).json()["job_id"]
        answer = tenant.api.post(f"/api/jobs/{job}/complete", {"status": "completed"})
        assert answer.json()["costs"]["credit_applied"] is True

    assert raised(tenant, work) == 0


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE modelgroups_groupmodel SET config = '{}', api_key_encrypted = 'x'",
        "UPDATE tenancy_virtualkey SET secret_encrypted = 'x', name = 'y'",
        "UPDATE tenancy_team SET team_alias = 'x', status = status",
        "UPDATE modelgroups_modelgroup SET description = 'x'",
    ],
)
def test_what_the_proxy_does_not_know_marks_nothing(tenant: Tenant, statement: str) -> None:
    assert raised(tenant, lambda: sql(statement)) == 0


def test_a_group_marks_all_teams_that_have_it(tenant: Tenant) -> None:
    make_group("Shared")
    teams = [make_tenant(name, groups=["Shared"]) for name in ("c", "d")]
    before = [version(team.team_pk) for team in (*teams, tenant)]
    replace_models(group_name="Shared", models=[ModelSpec("gpt-4")])
    after = [version(team.team_pk) for team in (*teams, tenant)]
    assert [now > then for now, then in zip(after, before, strict=True)] == [True, True, False]


def test_a_key_keeps_its_text_only_where_a_proxy_needs_it(tenant: Tenant, settings: object) -> None:
    assert Team.objects.get(pk=tenant.team_pk).virtual_keys.get().secret_encrypted is None
    settings.LITELLM_PROXY_URL = "http://127.0.0.1:1"  # type: ignore[attr-defined]
    new = create_virtual_key(team=Team.objects.get(pk=tenant.team_pk))
    new.row.refresh_from_db()
    assert new.row.secret_encrypted is not None
    assert new.plaintext.encode() not in bytes(new.row.secret_encrypted)
