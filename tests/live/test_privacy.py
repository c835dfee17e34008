"""Prompts and answers are kept where a team wants it, for as long as it says, encrypted, and never in a log."""

import uuid
from collections.abc import Iterator

import pytest

from tests.support.live import LiveTeam, MakeStack, Tenants
from tests.support.stack import FakeProvider, Stack

ERASE = "from jobs.services.calls import erase_contents; print(erase_contents())"


@pytest.fixture(scope="module")
def own(make_stack: MakeStack) -> Iterator[Stack]:
    """At the most talkative log level."""
    with make_stack("web", "worker", LOG_LEVEL="DEBUG") as running:
        yield running


@pytest.fixture(scope="module")
def own_tenants(own: Stack, provider: FakeProvider) -> Tenants:
    return Tenants.on(own, provider)


def say(team: LiveTeam) -> str:
    """A call whose prompt comes back as its answer; returns what was said."""
    secret = f"confidential {uuid.uuid4().hex}"
    answer = team.call(team.open_job(), messages=[{"role": "user", "content": secret}])
    assert answer.status_code == 200, answer.text
    return secret


def test_nothing_said_is_kept_or_logged(own: Stack, own_tenants: Tenants) -> None:
    team = own_tenants.team([own_tenants.group("echo"), failing := own_tenants.group("garbage")])
    secrets = [say(team), say(team)]
    failed = f"confidential {uuid.uuid4().hex}"
    team.call(team.open_job(), model_group=failing, messages=[{"role": "user", "content": failed}])

    assert own.query("SELECT call_id FROM jobs_callcontent") == []
    logs = "".join(own.log(name).read_text() for name in ("web", "worker"))
    assert [secret for secret in [*secrets, failed] if secret in logs] == []


def test_what_a_team_wants_kept_is_encrypted_and_erased_when_due(own: Stack, own_tenants: Tenants) -> None:
    team = own_tenants.team([own_tenants.group("echo")])
    own.query("UPDATE tenancy_team SET keep_content_s = 3600 WHERE team_id = %s", team.team_id)
    secret = say(team)

    [kept] = own.query("SELECT call_id, request, answer FROM jobs_callcontent")
    assert secret.encode() not in bytes(kept["request"]) + bytes(kept["answer"])
    read = (
        "from jobs.models import CallContent; from jobs.callpath.content import decrypt_request;"
        f"print(decrypt_request(CallContent.objects.get(call_id='{kept['call_id']}').request))"
    )
    assert secret in own.manage("shell", "-c", read)
    assert own.manage("shell", "-c", ERASE).endswith("0")

    own.query("UPDATE jobs_callcontent SET erase_at = now()")
    assert own.manage("shell", "-c", ERASE).endswith("1")
    assert own.query("SELECT call_id FROM jobs_callcontent") == []
