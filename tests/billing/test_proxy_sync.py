"""The synchronizer brings a proxy in step, whatever stands between: here with a fake that answers as the real one."""

import hashlib
from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.utils import timezone

from billing.models import ProxyDrift, ProxySpend, ProxyTeam
from billing.proxy.converge import converge
from billing.services import proxy_reconcile, proxy_spend, proxy_sync
from billing.services.credits import add_credits
from config.foundation import encryption
from modelgroups.services.groups import ModelSpec, assign_groups
from tenancy.models import Team, VirtualKey
from tenancy.services.keys import change_virtual_key, create_virtual_key, revoke_virtual_key, rotate_virtual_key
from tests.support.api import Tenant, make_group, make_operator, make_tenant
from tests.support.fake_proxy import MASTER_KEY, FakeProxy, fake_proxy

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(scope="module")
def running_fake() -> Iterator[FakeProxy]:
    with fake_proxy() as running:
        yield running


@pytest.fixture
def proxy(running_fake: FakeProxy, settings: Any) -> FakeProxy:
    """An empty proxy, configured."""
    running_fake.teams, running_fake.keys, running_fake.requests, running_fake.failing = {}, {}, [], None
    settings.LITELLM_PROXY_URL, settings.LITELLM_MASTER_KEY = running_fake.url, MASTER_KEY
    settings.PROXY_WAIT_S = 0.0
    return running_fake


@pytest.fixture
def team(proxy: FakeProxy) -> Tenant:
    return make_tenant("a", groups=[make_group("G", [ModelSpec("gpt-4o"), ModelSpec("gpt-4"), ModelSpec("gpt-4o")])])


def hash_of(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


def row(team: Tenant) -> ProxyTeam:
    return ProxyTeam.objects.get(pk=team.team_pk)


def test_a_new_team_is_made_with_its_key_and_one_of_ours(proxy: FakeProxy, team: Tenant) -> None:
    assert proxy_sync.sync_due_teams() == 1
    made = proxy.teams["team_a"]
    assert (made["max_budget"], made["models"], made["blocked"]) == (1.0, ["gpt-4o", "gpt-4"], False)
    key = proxy.keys[hash_of(team.key)]
    assert (key["max_budget"], key["models"], key["team_id"]) == (1.0, ["gpt-4o", "gpt-4"], "team_a")
    assert {one["allowed_routes"][0] for one in proxy.keys.values()} == {"llm_api_routes"}
    assert {one["key_alias"].rpartition(":")[0] for one in proxy.keys.values()} == {
        "job-credits",
        "job-credits:platform:team_a",
    }
    assert row(team).is_in_step


def test_a_second_run_asks_for_nothing(proxy: FakeProxy, team: Tenant) -> None:
    proxy_sync.sync_due_teams()
    asked = len(proxy.requests)
    assert proxy_sync.sync_due_teams() == 0
    assert len(proxy.requests) == asked


def test_no_groups_and_no_credits_mean_none_and_nothing(proxy: FakeProxy) -> None:
    make_tenant("b", groups=[], credits_allocated=0)
    proxy_sync.sync_due_teams()
    assert (proxy.teams["team_b"]["models"], proxy.teams["team_b"]["max_budget"]) == (["no-default-models"], 0.0)


@pytest.mark.parametrize("name", ["all-proxy-models", "all-team-models", "openai/*", "*"])
def test_no_name_of_a_model_opens_all_of_them(proxy: FakeProxy, name: str) -> None:
    price = {"input_cost_per_token": 0, "output_cost_per_token": 0}
    make_tenant("b", groups=[make_group("Sly", [ModelSpec(name, 0, price)])])
    proxy_sync.sync_due_teams()
    assert proxy.teams["team_b"]["models"] == ["no-default-models"]


def test_only_what_has_changed_is_written(proxy: FakeProxy, team: Tenant) -> None:
    proxy_sync.sync_due_teams()
    proxy.requests.clear()
    add_credits(team_pk=team.team_pk, amount=5, reason="", metadata={}, actor="x")
    proxy_sync.sync_due_teams()
    assert proxy.requests == [("GET", "/team/info"), ("POST", "/team/update"), *[("POST", "/key/update")] * 2]
    assert proxy.teams["team_a"]["max_budget"] == 1.5
    assert ProxyDrift.objects.count() == 0


def test_an_expired_key_is_deleted_there_and_comes_back_when_it_is_prolonged(proxy: FakeProxy, team: Tenant) -> None:
    VirtualKey.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    proxy_sync.sync_due_teams()
    assert hash_of(team.key) not in proxy.keys

    key = VirtualKey.objects.get()
    change_virtual_key(team_id=team.team_id, key_id=key.id, terms={"expires_at": None})
    proxy_sync.sync_due_teams()
    assert hash_of(team.key) in proxy.keys
    assert ProxyDrift.objects.count() == 0


def test_a_revoked_keys_text_is_wiped_once_the_proxy_has_forgotten_it(proxy: FakeProxy, team: Tenant) -> None:
    proxy_sync.sync_due_teams()
    key = VirtualKey.objects.get()
    revoke_virtual_key(team_id=team.team_id, key_id=key.id)
    proxy.failing = 503
    proxy_sync.sync_due_teams()
    key.refresh_from_db()
    assert key.secret_encrypted is not None
    proxy.failing = None
    ProxyTeam.objects.update(next_try_at=timezone.now())
    proxy_sync.sync_due_teams()
    key.refresh_from_db()
    assert key.secret_encrypted is None
    assert hash_of(team.key) not in proxy.keys


def test_a_grace_periods_end_is_told_in_advance_and_followed(proxy: FakeProxy, team: Tenant) -> None:
    proxy_sync.sync_due_teams()
    rotate_virtual_key(team_id=team.team_id, key_id=VirtualKey.objects.get().id, grace_s=3600)
    proxy_sync.sync_due_teams()
    assert proxy.keys[hash_of(team.key)]["expires"] is not None
    assert len(proxy.keys) == 3
    past = timezone.now() - timedelta(seconds=1)
    VirtualKey.objects.exclude(expires_at=None).update(expires_at=past)
    ProxyTeam.objects.update(due_at=past, synced_version=row(team).wanted_version)
    proxy_sync.sync_due_teams()
    assert hash_of(team.key) not in proxy.keys
    assert row(team).due_at is None


def test_an_unreachable_proxy_is_asked_again_later_and_later(proxy: FakeProxy, team: Tenant) -> None:
    proxy.failing = 503
    pauses = []
    for _ in range(4):
        ProxyTeam.objects.update(next_try_at=timezone.now())
        assert proxy_sync.sync_due_teams() == 0
        pauses.append((row(team).next_try_at - timezone.now()).total_seconds())
    assert row(team).failures == 4
    assert row(team).last_error.startswith("ProxyUnavailable: /team/info: status 503")
    assert 0.1 < pauses[0] <= 0.5
    assert 1.9 < pauses[3] <= 4
    asked = len(proxy.requests)
    assert proxy_sync.sync_due_teams() == 0
    assert len(proxy.requests) == asked


def test_the_first_team_that_succeeds_wakes_the_others(proxy: FakeProxy, team: Tenant) -> None:
    proxy.failing = 503
    other = make_tenant("b", groups=[])
    proxy_sync.sync_due_teams()
    proxy.failing = None
    ProxyTeam.objects.filter(pk=other.team_pk).update(next_try_at=timezone.now() + timedelta(hours=1))
    ProxyTeam.objects.filter(pk=team.team_pk).update(next_try_at=timezone.now())
    assert proxy_sync.sync_due_teams() == 2
    assert set(proxy.teams) == {"team_a", "team_b"}


def test_another_workers_team_is_left_to_it(proxy: FakeProxy, team: Tenant) -> None:
    lease = "11111111-1111-1111-1111-111111111111"
    ProxyTeam.objects.update(lease=lease, leased_until=timezone.now() + timedelta(seconds=9))
    assert proxy_sync.sync_due_teams() == 0
    ProxyTeam.objects.update(leased_until=timezone.now() - timedelta(seconds=1))
    assert proxy_sync.sync_due_teams() == 1


def test_a_change_made_meanwhile_is_not_lost(proxy: FakeProxy, team: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    """Made after the worker has read our tables, and before it is done."""

    def slowly(*arguments: Any, **fields: Any) -> Any:
        result = converge(*arguments, **fields)
        ProxyTeam.objects.filter(pk=team.team_pk).update(wanted_version=row(team).wanted_version + 1)
        connection.close()  # This is one of the synchronizer's threads, which have none of their own.
        monkeypatch.setattr(proxy_sync, "converge", converge)
        return result

    monkeypatch.setattr(proxy_sync, "converge", slowly)
    monkeypatch.setattr(proxy_sync, "RUN_S", 0.0)
    proxy_sync.sync_teams([team.team_pk], within_s=9)
    assert not row(team).is_in_step
    proxy_sync.sync_teams([team.team_pk], within_s=9)
    assert row(team).is_in_step


def test_a_team_that_is_there_already_is_adopted(proxy: FakeProxy, team: Tenant) -> None:
    proxy.teams["team_a"] = {
        "team_id": "team_a",
        "models": [],
        "max_budget": None,
        "blocked": None,
        "metadata": {"a": 1},
    }
    proxy_sync.sync_due_teams()
    assert proxy.teams["team_a"]["metadata"] == {"a": 1, "managed_by": "job-credits"}
    assert proxy.teams["team_a"]["models"] == ["gpt-4o", "gpt-4"]


def test_a_key_of_before_the_proxy_is_told_of(proxy: FakeProxy, team: Tenant) -> None:
    VirtualKey.objects.update(secret_encrypted=None)
    proxy_sync.sync_due_teams()
    (drift,) = ProxyDrift.objects.all()
    assert (drift.kind, drift.subject, drift.resolved_at) == ("key_unknown_text", hash_of(team.key), None)
    rotate_virtual_key(team_id=team.team_id, key_id=VirtualKey.objects.get().id, grace_s=0)
    proxy_sync.sync_due_teams()
    drift.refresh_from_db()
    assert drift.resolved_at is not None


def test_a_pass_that_finds_the_proxy_away_changes_nothing(proxy: FakeProxy, team: Tenant) -> None:
    proxy_sync.sync_due_teams()
    proxy.failing = 500
    repair = proxy_reconcile.reconcile()
    assert repair.repaired == 0
    assert "500" in str(repair.errors)
    assert ProxyDrift.objects.count() == 0


def test_a_change_of_ours_is_no_drift(proxy: FakeProxy, team: Tenant) -> None:
    proxy_sync.sync_due_teams()
    assign_groups(team_pk=team.team_pk, group_names=[])
    assert proxy_reconcile.reconcile().repaired == 3
    assert ProxyDrift.objects.count() == 0
    proxy.teams["team_a"]["models"] = []
    assert proxy_reconcile.reconcile().repaired == 1
    assert [drift.kind for drift in ProxyDrift.objects.all()] == ["team_models"]


def test_the_command_says_how_it_went_by_its_exit_code(proxy: FakeProxy, team: Tenant, settings: Any) -> None:
    def code(*arguments: str) -> int:
        try:
            call_command("sync_proxy", *arguments)
        except CommandError as error:
            return error.returncode
        return 0

    assert code("--dry-run") == 1
    assert proxy.teams == {}
    assert code("--apply") == 0
    assert code("--dry-run") == 0
    proxy.failing = 503
    assert code("--dry-run") == 2
    settings.LITELLM_PROXY_URL = ""
    assert code("--apply") == 1


def test_spend_is_read_back_once_however_often(proxy: FakeProxy, team: Tenant, settings: Any) -> None:
    proxy_sync.sync_due_teams()
    platform = encryption.decrypt(bytes(row(team).platform_key_encrypted or b"")).decode()
    for key, models in ((team.key, ["gpt-4o", "gpt-4o", "gpt-4"]), (platform, ["gpt-4"])):
        proxy.keys[hash_of(key)]["calls"] = models
    for _ in range(2):
        assert proxy_spend.read_spend() == 3
    found = {(one.model_name, one.is_platform): (one.spend_usd, one.requests) for one in ProxySpend.objects.all()}
    assert found == {
        ("gpt-4o", False): (Decimal("0.5"), 2),
        ("gpt-4", False): (Decimal("0.25"), 1),
        ("gpt-4", True): (Decimal("0.25"), 1),
    }
    usage = team.api.get(f"/api/teams/{team.team_id}/usage").json()
    spent = {"direct_spend_usd": 0.75, "direct_requests": 3, "platform_spend_usd": 0.25}
    assert usage["litellm_proxy"] == {**spent, "models": {"gpt-4": 0.25, "gpt-4o": 0.5}}
    assert usage["summary"]["total_cost_usd"] == 0
    organization = make_operator().get(f"/api/organizations/{team.organization_id}/usage").json()
    assert organization["litellm_proxy"] == usage["litellm_proxy"]
    settings.LITELLM_PROXY_URL = ""
    assert "litellm_proxy" not in team.api.get(f"/api/teams/{team.team_id}/usage").json()


def test_a_team_is_provisioning_until_the_proxy_knows_it(proxy: FakeProxy, team: Tenant, settings: Any) -> None:
    assert team.api.get(f"/api/teams/{team.team_id}").json()["status"] == "provisioning"
    proxy_sync.sync_due_teams()
    assert team.api.get(f"/api/teams/{team.team_id}").json()["status"] == "active"
    create_virtual_key(team=Team.objects.get(pk=team.team_pk))
    assert team.api.get(f"/api/teams/{team.team_id}").json()["status"] == "active"


def test_without_its_proxy_a_new_team_is_told_the_truth(proxy: FakeProxy, team: Tenant) -> None:
    proxy.failing = 503
    body = {"organization_id": team.organization_id, "team_id": "team_new", "credits_allocated": 1}
    answer = make_operator().post("/api/teams/create", body, headers={"Idempotency-Key": "k"}).json()
    assert answer["status"] == "provisioning"
    assert answer["message"].startswith("Team created. LiteLLM Proxy does not know it yet")
    proxy.failing = None
    ProxyTeam.objects.update(next_try_at=timezone.now())
    proxy_sync.sync_due_teams()
    again = make_operator("again").get("/api/teams/team_new").json()
    assert again["status"] == "active"


def test_a_proxy_that_is_away_is_not_asked_for_every_team(proxy: FakeProxy, team: Tenant) -> None:
    for name in "bcdefgh":
        make_tenant(name, groups=[])
    proxy.failing = 503
    assert proxy_sync.sync_due_teams() == 0
    assert len(proxy.requests) < 2 * ProxyTeam.objects.count()
    assert ProxyTeam.objects.filter(last_error__startswith="ProxyUnavailable").count() == 8


def test_what_nobody_can_decrypt_any_more_is_replaced_or_told_of(proxy: FakeProxy, team: Tenant, settings: Any) -> None:
    proxy_sync.sync_due_teams()
    before = set(proxy.keys)
    proxy.keys.pop(hash_of(team.key))
    settings.FIELD_ENCRYPTION_KEYS = ["b25seS1mb3ItdGhlLWNoZWNrcy1vZi1tYWtlLWxpbnQ="]
    make_tenant("b", groups=[])
    proxy_sync.sync_teams([team.team_pk], within_s=9)
    assert row(team).is_in_step
    of_team_a = {name for name, key in proxy.keys.items() if key["team_id"] == "team_a"}
    assert len(of_team_a) == 1
    assert of_team_a.isdisjoint(before)
    assert {drift.kind for drift in ProxyDrift.objects.filter(resolved_at=None)} == {"key_unknown_text"}
