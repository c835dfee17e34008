"""What changes something that matters is in the audit log, with who did it, by whatever way it came."""

import io
import json

import pytest
from django.core.management import call_command

from modelgroups.models import ModelGroup
from modelgroups.services.groups import ModelSpec
from tenancy.models import AuditEntry, OperatorKey, Organization, Team, VirtualKey
from tests.support.admin import AdminClient, form_of
from tests.support.api import ApiClient, Tenant, make_group


def entries(action: str) -> list[AuditEntry]:
    return list(AuditEntry.objects.filter(action=action).order_by("id"))


@pytest.fixture
def log(db: None, operator: ApiClient) -> str:
    """The operator's name in the log; what the fixtures did is not looked at."""
    return f"operator:{OperatorKey.objects.get().id}"


def test_all_that_the_api_changes_is_written_down_with_its_caller(log: str, operator: ApiClient) -> None:
    model = {"model_name": "gpt-4o-mini", "config": {"api_key": "sk-provider-secret", "extra_headers": {"X": "hush"}}}
    group = {"group_name": "G", "display_name": "G", "models": [model]}
    team = {"organization_id": "o", "team_id": "t", "team_alias": "T", "model_groups": ["G"], "credits_allocated": 5}
    policy = {"every": "day", "amount": 1}
    hook = {"team_id": "t", "url": "https://8.8.8.8/"}

    def done(response: object) -> dict[str, object]:
        assert response.status_code == 200, response.content  # type: ignore[attr-defined]
        return response.json()  # type: ignore[attr-defined]

    done(operator.post("/api/organizations/create", {"organization_id": "o", "name": "O"}))
    done(operator.post("/api/model-groups/create", group))
    first_key = done(operator.post("/api/teams/create", team))["virtual_key"]
    done(operator.put("/api/model-groups/G/models", {"models": [{"model_name": "gpt-4o"}]}))
    done(operator.put("/api/teams/t/model-groups", []))
    done(operator.delete("/api/model-groups/G"))
    key = done(operator.post("/api/teams/t/keys", {"name": "second"}))["key_id"]
    new = done(operator.post(f"/api/teams/t/keys/{key}/rotate", {}))["key_id"]
    for _ in range(2):
        done(operator.post(f"/api/teams/t/keys/{new}/revoke"))
    done(operator.post("/api/credits/teams/t/add", {"credits_amount": 3, "reason": "A gift"}))
    done(operator.put("/api/credits/teams/t/refill-policy", policy))
    done(operator.delete("/api/credits/teams/t/refill-policy"))
    endpoint = done(operator.post("/api/webhooks", hook))["endpoint_id"]
    done(operator.patch(f"/api/webhooks/{endpoint}", {"is_enabled": False}))
    done(operator.post(f"/api/webhooks/{endpoint}/rotate", {}))
    done(operator.delete(f"/api/webhooks/{endpoint}"))

    written = AuditEntry.objects.exclude(action="operator_key.created").order_by("id")
    assert {entry.actor for entry in written} == {log}
    assert [entry.action for entry in written] == [
        "organization.created", "group.created", "team.created", "credits.added", "group.assigned", "key.created",
        "group.models_changed", "group.assigned", "group.deleted", "key.created", "key.rotated", "key.revoked",
        "credits.added", "refill_policy.set", "refill_policy.deleted", "webhook.created", "webhook.changed",
        "webhook.signing_rotated", "webhook.deleted",
    ]  # fmt: skip
    everything = json.dumps(list(written.values("before", "after")))
    for secret in ("sk-provider-secret", "hush", str(first_key)):
        assert secret not in everything
    assert {entry.organization for entry in written if not entry.action.startswith("group.")} == {
        Organization.objects.get()
    }
    gift = entries("credits.added")[-1]
    assert (gift.team, gift.subject, gift.reason) == (Team.objects.get(), "t", "A gift")
    assert gift.before == {"credits_remaining": 5}
    assert gift.after is not None
    assert gift.after["credits_remaining"] == 8
    assert entries("group.assigned")[-1].before == {"model_groups": ["G"]}


def test_what_is_refused_leaves_no_entry(tenant: Tenant, operator: ApiClient) -> None:
    before = AuditEntry.objects.count()
    assert operator.post("/api/organizations/create", {"organization_id": "org_a", "name": "O"}).status_code == 400
    assert tenant.api.post("/api/credits/teams/team_a/add", {"credits_amount": 3, "reason": "x"}).status_code == 403
    assert AuditEntry.objects.count() == before


def test_commands_are_named(db: None) -> None:
    out = io.StringIO()
    call_command("create_organization", "o", stdout=out)
    call_command("create_team", "o", "t", stdout=out)
    call_command("adjust_credits", "t", "5", "--reason", "r", "--key", "k", stdout=out)
    key = VirtualKey.objects.get()
    call_command("rotate_key", "t", str(key.id), stdout=out)
    call_command("revoke_key", "t", str(VirtualKey.objects.get(replaces=key).id), stdout=out)
    call_command("create_operator_key", "ops", stdout=out)
    found = {entry.action: entry.actor for entry in AuditEntry.objects.all()}
    assert found == {
        "organization.created": "create_organization",
        "team.created": "create_team",
        "key.created": "create_team",
        "credits.adjusted": "adjust_credits",
        "key.rotated": "rotate_key",
        "key.revoked": "revoke_key",
        "operator_key.created": "create_operator_key",
    }


def test_a_refill_is_one_entry_however_many_teams(tenant: Tenant) -> None:
    arguments = ("refill_credits", "--all", "--amount", "2", "--batch-id", "b")
    for _ in range(2):
        call_command(*arguments, stdout=io.StringIO(), stderr=io.StringIO())
    (entry,) = entries("credits.refilled")
    assert (entry.actor, entry.subject, entry.after) == ("refill_credits", "b", {"rows": 1, "credits": 2})


@pytest.mark.parametrize(
    ("page", "word", "changes"),
    [
        ("tenancy_organization_change", "organization.changed", {"name": "Renamed"}),
        ("tenancy_team_change", "team.changed", {"metadata": '{"a": 1}', "job_ttl_s": "60"}),
        ("modelgroups_modelgroup_change", "group.changed", {"status": "inactive"}),
    ],
)
def test_a_form_writes_what_it_changed(tenant: Tenant, page: str, word: str, changes: dict[str, str]) -> None:
    admin = AdminClient(name="ann")
    pks = {"tenancy_organization_change": Organization, "tenancy_team_change": Team}
    pk = pks.get(page, ModelGroup)._default_manager.get().pk
    form = form_of(admin, page, pk)
    for _ in range(2):
        assert admin.post(page, pk, **form | changes).status_code == 302
    (entry,) = entries(word)
    assert entry.actor == "console:ann"
    assert entry.before is not None
    assert entry.after is not None
    assert entry.before.keys() == entry.after.keys() == changes.keys()
    assert entry.before != entry.after


def test_keys_revoked_in_the_console_name_the_user(tenant: Tenant, operator: ApiClient) -> None:
    admin = AdminClient(name="ann")
    admin.action("tenancy_virtualkey_changelist", "revoke", VirtualKey.objects.get().pk)
    admin.action("tenancy_operatorkey_changelist", "revoke", OperatorKey.objects.get().pk)
    for action in ("key.revoked", "operator_key.revoked"):
        (entry,) = entries(action)
        assert entry.actor == "console:ann"


def test_giving_the_same_models_again_is_no_change(operator: ApiClient) -> None:
    make_group("G", [ModelSpec("gpt-4o", 1), ModelSpec("gpt-4o-mini", 0)])
    models = [{"model_name": "gpt-4o", "priority": 1}, {"model_name": "gpt-4o-mini", "priority": 0}]
    assert operator.put("/api/model-groups/G/models", {"models": models}).status_code == 200
    assert entries("group.models_changed") == []
