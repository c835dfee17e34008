"""Provisioning at once: one of the same, no mixture of two, and never an error that is not the client's."""

from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from billing.models import CreditAccount, LedgerEntry
from modelgroups.errors import ModelGroupInUse, ModelGroupNotFound
from modelgroups.models import GroupAssignment, GroupModel, ModelGroup
from modelgroups.services.groups import ModelSpec, assign_groups, delete_model_group, replace_models
from tenancy.errors import KeyAlreadyRevoked
from tenancy.models import IdempotencyRecord, Organization, Team, VirtualKey
from tenancy.services.keys import NewVirtualKey, revoke_virtual_key, rotate_virtual_key
from tests.concurrency.threads import at_once
from tests.support.api import ApiClient, Tenant, make_group, make_operator, make_tenant

pytestmark = pytest.mark.django_db(transaction=True)
TEAM = {"organization_id": "org_a", "team_id": "team_new", "credits_allocated": 5, "model_groups": ["Group-a"]}


def posting(client: ApiClient, path: str, body: Any, key: str | None = None) -> Callable[[], Any]:
    return lambda: client.post(path, body, headers={"Idempotency-Key": key} if key else None)


@pytest.fixture
def world(transactional_db: None) -> Tenant:
    return make_tenant()


def test_of_equal_teams_one_is_made(world: Tenant) -> None:
    operator = make_operator()

    answers = at_once([posting(operator, "/api/teams/create", TEAM)] * 8)

    assert Counter(answer.status_code for answer in answers) == {200: 1, 400: 7}
    assert {answer.json()["code"] for answer in answers if answer.status_code == 400} == {"team_exists"}
    assert (Team.objects.count(), VirtualKey.objects.count(), CreditAccount.objects.count()) == (2, 2, 2)


def test_of_equal_organizations_and_groups_one_is_made(world: Tenant) -> None:
    operator = make_operator()
    bodies: dict[str, Any] = {
        "/api/organizations/create": {"organization_id": "org_new", "name": "x"},
        "/api/model-groups/create": {"group_name": "New", "models": [{"model_name": "gpt-4o"}]},
    }
    for path, body in bodies.items():
        answers = at_once([posting(operator, path, body)] * 6)
        assert Counter(answer.status_code for answer in answers) == {200: 1, 400: 5}
    assert Organization.objects.filter(organization_id="org_new").count() == 1
    assert GroupModel.objects.filter(group__group_name="New").count() == 1


def test_one_idempotency_key_makes_one_team_and_shows_all_the_same_virtual_key(world: Tenant) -> None:
    operator = make_operator()

    answers = at_once([posting(operator, "/api/teams/create", TEAM, "key-1")] * 8)

    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.json()["virtual_key"] for answer in answers}) == 1
    assert sum("Idempotency-Replayed" not in answer.headers for answer in answers) == 1
    assert Team.objects.filter(team_id="team_new").count() == 1
    assert LedgerEntry.objects.filter(account__team__team_id="team_new").count() == 1


def test_one_idempotency_key_for_different_requests_serves_one_of_them(world: Tenant) -> None:
    operator = make_operator()
    path = f"/api/credits/teams/{world.team_id}/add"

    answers = at_once([posting(operator, path, {"credits_amount": amount}, "key-1") for amount in range(1, 9)])

    assert Counter(answer.status_code for answer in answers) == {200: 1, 422: 7}
    (added,) = (answer.json()["credits_added"] for answer in answers if answer.status_code == 200)
    assert CreditAccount.objects.get(pk=world.team_pk).allocated == 10 + added


def test_behind_a_request_that_is_refused_the_others_get_answers_of_their_own(world: Tenant) -> None:
    empty = make_tenant("b", credits_allocated=0)
    body = {"team_id": empty.team_id, "job_type": "x"}

    answers = at_once([posting(empty.api, "/api/jobs/create", body, "key-1")] * 6)

    assert {answer.status_code for answer in answers} == {402}
    assert not IdempotencyRecord.objects.exists()


def test_a_key_is_rotated_once(world: Tenant) -> None:
    key = VirtualKey.objects.get()

    results = at_once([lambda: rotate_virtual_key(team_id=world.team_id, key_id=key.id, grace_s=60)] * 8)

    assert Counter(type(result) for result in results) == {NewVirtualKey: 1, KeyAlreadyRevoked: 7}
    assert VirtualKey.objects.count() == 2


def test_a_key_rotated_and_revoked_at_once_ends_revoked_or_replaced(world: Tenant) -> None:
    key = VirtualKey.objects.get()

    rotated, _ = at_once(
        [
            lambda: rotate_virtual_key(team_id=world.team_id, key_id=key.id, grace_s=60),
            lambda: revoke_virtual_key(team_id=world.team_id, key_id=key.id),
        ]
    )

    assert world.api.get(f"/api/teams/{world.team_id}").status_code == 401
    assert VirtualKey.objects.count() == (1 if isinstance(rotated, KeyAlreadyRevoked) else 2)


def test_assignments_at_once_are_one_of_the_lists(world: Tenant) -> None:
    lists = [[make_group(f"{letter}{number}") for number in range(4)] for letter in "XYZ"]

    results = at_once([partial(assign_groups, team_pk=world.team_pk, group_names=names) for names in lists])

    assert results == [None, None, None]
    assigned = GroupAssignment.objects.filter(team_id=world.team_pk).order_by("position")
    assert [assignment.group.group_name for assignment in assigned.select_related("group")] in lists


def test_replacements_of_models_at_once_are_one_of_the_lists(world: Tenant) -> None:
    lists = [["gpt-4o", "gpt-4"], ["gpt-4", "gpt-4o-mini", "gpt-4o"], ["gpt-3.5-turbo"]]

    def replace(names: list[str]) -> Callable[[], Any]:
        return lambda: replace_models(group_name="Group-a", models=[ModelSpec(name, 0) for name in names])

    results = at_once([replace(names) for names in lists])

    assert not [result for result in results if isinstance(result, Exception)]
    assert list(GroupModel.objects.order_by("position").values_list("model_name", flat=True)) in lists


def test_a_group_is_assigned_or_deleted_but_never_half_of_each(world: Tenant) -> None:
    for number in range(15):
        name = make_group(f"Contested-{number}")

        assigned, deleted = at_once(
            [
                partial(assign_groups, team_pk=world.team_pk, group_names=[name]),
                partial(delete_model_group, group_name=name),
            ]
        )

        is_there = ModelGroup.objects.filter(group_name=name).exists()
        assert isinstance(assigned, type(None) if is_there else ModelGroupNotFound), repr(assigned)
        assert isinstance(deleted, ModelGroupInUse if is_there else type(None)), repr(deleted)


def test_groups_assigned_in_opposite_order_do_not_deadlock(world: Tenant) -> None:
    names = [make_group(f"G{number}") for number in range(6)]
    tenants = [world, make_tenant("b"), make_tenant("c"), make_tenant("d")]

    for _ in range(5):
        results = at_once(
            [
                partial(assign_groups, team_pk=tenant.team_pk, group_names=names[::order])
                for tenant, order in zip(tenants, (1, -1, 1, -1), strict=True)
            ]
        )
        assert results == [None] * 4
