"""Providers' keys that models name: written and replaced, never read, and sent nowhere else."""

from typing import Any

import pytest

from config.foundation import encryption
from config.foundation.errors import InvalidInput
from jobs.callpath.targets import target_of
from modelgroups.errors import CredentialExists, CredentialInUse
from modelgroups.models import GroupModel, ModelGroup, ProviderCredential
from modelgroups.services.credentials import create_credential, delete_credential, replace_credential
from modelgroups.services.groups import ModelSpec, replace_models
from tenancy.models import AuditEntry, Organization
from tests.support.admin import AdminClient
from tests.support.api import ApiClient, Tenant, make_group, make_operator

SECRET, OTHER = "sk-provider-0123456789abcdef", "sk-provider-fedcba9876543210"
LIST, ADD = "modelgroups_providercredential_changelist", "modelgroups_providercredential_add"
CHANGE, DELETE = "modelgroups_providercredential_change", "modelgroups_providercredential_delete"
REPLACE = "modelgroups_providercredential_replace"


def make(name: str = "main", **fields: Any) -> ProviderCredential:
    given = {"provider": "openai", "api_base": "", "secret": SECRET, "organization_pk": None, "actor": "test", **fields}
    return create_credential(name=name, **given)


@pytest.fixture
def superuser(db: None) -> AdminClient:
    return AdminClient()


def secret_of(credential: ProviderCredential) -> bytes:
    credential.refresh_from_db()
    return encryption.decrypt(bytes(credential.secret_encrypted))


def test_it_is_made_in_one_form_and_never_shown_again(tenant: Tenant, superuser: AdminClient) -> None:
    form = {"name": "main", "provider": "openai", "api_base": "", "secret": SECRET, "organization_id": ""}

    answer = superuser.post(ADD, **form)

    assert answer.status_code == 302
    credential = ProviderCredential.objects.get()
    assert secret_of(credential) == SECRET.encode()
    pages = superuser.html(LIST) + superuser.html(CHANGE, credential.pk) + superuser.html(REPLACE, credential.pk)
    pages += superuser.html("tenancy_auditentry_changelist")
    assert "****cdef" in pages
    for secret in (SECRET, SECRET[:20], bytes(credential.secret_encrypted).decode()):
        assert secret not in pages
    entry = AuditEntry.objects.get(action="credential.created")
    assert (entry.actor, entry.subject) == ("console:somebody", "main")
    assert SECRET not in str(entry.after)


def test_a_form_that_is_refused_does_not_give_the_secret_back(superuser: AdminClient) -> None:
    form = {"name": "<script>alert(1)</script>", "provider": "openai", "secret": SECRET}
    answer = superuser.post(ADD, **form)
    assert answer.status_code == 200
    html = answer.content.decode()
    assert SECRET not in html
    assert "<script>alert(1)" not in html
    assert not ProviderCredential.objects.exists()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", "a b"), ("name", "x" * 65), ("name", ""), ("provider", "OpenAI"), ("provider", ""),
        ("provider", "x" * 17_000),
        ("secret", ""), ("secret", "two words"), ("secret", "sk-é"), ("secret", "x" * 17_000), ("api_base", "ftp://x"),
        ("api_base", "http://127.0.0.1/v1"), ("api_base", "https://u:p@example.com"), ("organization_id", "nobody"),
    ],
)  # fmt: skip
def test_nonsense_is_refused(superuser: AdminClient, field: str, value: str) -> None:
    form = {"name": "main", "provider": "openai", "api_base": "", "secret": SECRET, "organization_id": ""}
    answer = superuser.post(ADD, **{**form, field: value})
    assert answer.status_code == 200
    assert answer.context["form"].errors
    assert not ProviderCredential.objects.exists()


def test_a_name_is_taken_once_per_owner(tenant: Tenant) -> None:
    organization = Organization.objects.get()
    make()
    make(organization_pk=organization.pk)
    for organization_pk in (None, organization.pk):
        with pytest.raises(CredentialExists):
            make(organization_pk=organization_pk)
    with pytest.raises(InvalidInput, match="one provider"):
        make(provider="anthropic")
    assert ProviderCredential.objects.count() == 2


def test_replacing_takes_the_secret_and_its_place_together(superuser: AdminClient) -> None:
    credential = make()
    assert superuser.post(REPLACE, credential.pk, api_base="https://elsewhere.example/v1", secret="").status_code == 200
    assert secret_of(credential) == SECRET.encode()
    assert credential.api_base == ""

    assert superuser.post(REPLACE, credential.pk, api_base="", secret=OTHER).status_code == 302

    assert secret_of(credential) == OTHER.encode()
    entry = AuditEntry.objects.get(action="credential.replaced")
    assert entry.before == {"api_base": "", "last_four": "cdef"}
    assert entry.after == {"api_base": "", "last_four": "3210"}


def test_one_that_models_need_is_not_deleted(tenant: Tenant, superuser: AdminClient) -> None:
    credential = make()
    make_group("Uses", [ModelSpec("gpt-4o", 0, {"credential": "main"})])

    answer = superuser.post(DELETE, credential.pk)

    assert answer.status_code == 200
    assert "is used by models of Uses" in answer.content.decode()
    assert ProviderCredential.objects.exists()
    replace_models(group_name="Uses", models=[ModelSpec("gpt-4o")])
    assert superuser.post(DELETE, credential.pk).status_code == 302
    assert not ProviderCredential.objects.exists()
    assert AuditEntry.objects.filter(action="credential.deleted", subject="main").exists()


def test_an_organizations_own_is_deleted_where_the_global_one_takes_its_place(tenant: Tenant) -> None:
    own = make(organization_pk=Organization.objects.get().pk)
    make_group("Uses", [ModelSpec("gpt-4o", 0, {"credential": "main"})])
    with pytest.raises(CredentialInUse):
        delete_credential(credential_pk=own.pk, actor="test")
    everybodys = make()

    delete_credential(credential_pk=own.pk, actor="test")

    with pytest.raises(CredentialInUse):
        delete_credential(credential_pk=everybodys.pk, actor="test")


def test_a_get_changes_nothing(superuser: AdminClient) -> None:
    credential = make()
    superuser.get(ADD, name="other", provider="openai", secret=OTHER)
    superuser.get(REPLACE, credential.pk, secret=OTHER, api_base="")
    superuser.get(DELETE, credential.pk, post="yes")
    assert secret_of(credential) == SECRET.encode()


def test_who_may_only_view_changes_nothing(db: None) -> None:
    credential = make()
    viewer = AdminClient(["modelgroups.view_providercredential", "modelgroups.change_modelgroup"])
    assert viewer.get(LIST).status_code == 200
    for page, arguments in ((ADD, []), (REPLACE, [credential.pk]), (DELETE, [credential.pk])):
        for answer in (viewer.get(page, *arguments), viewer.post(page, *arguments, secret=OTHER, api_base="")):
            assert answer.status_code == 403
    assert secret_of(credential) == SECRET.encode()


@pytest.mark.parametrize("lookup", ["secret_encrypted__gt", "secret_encrypted"])
def test_no_filter_guesses_at_a_secret(superuser: AdminClient, lookup: str) -> None:
    make()
    assert superuser.get(LIST, **{lookup: "0"}).status_code == 400


@pytest.mark.parametrize(
    ("config", "problem"),
    [
        ({"credential": "nobody"}, "there is no credential 'nobody'"),
        ({"credential": "anthropics"}, "is for anthropic"),
        ({"credential": "main", "api_key": OTHER}, "no api_key of its own"),
        ({"credential": "main", "api_base": "https://elsewhere.example/v1"}, "no api_base of its own"),
        ({"credential": "main", "model": "anthropic/claude-haiku-4-5"}, "is for openai"),
        ({"credential": 7}, "must be the name of a credential"),
    ],
)
def test_a_model_cannot_have_a_credential_sent_elsewhere(db: None, config: dict[str, Any], problem: str) -> None:
    make()
    make("anthropics", provider="anthropic")
    body = {"group_name": "New", "models": [{"model_name": "gpt-4o", "config": config}]}
    answer = make_operator().post("/api/model-groups/create", body)
    assert answer.status_code == 400
    assert problem in answer.json()["detail"]
    assert not ModelGroup.objects.exists()


def test_the_api_names_a_credential_and_shows_its_name_alone(db: None) -> None:
    make()
    operator: ApiClient = make_operator()
    body = {"group_name": "New", "models": [{"model_name": "gpt-4o", "config": {"credential": "main"}}]}
    answer = operator.post("/api/model-groups/create", body)
    assert answer.json()["models"][0]["config"] == {"credential": "main"}
    assert SECRET not in answer.content.decode()


def row_of(model: GroupModel, credential: ProviderCredential | None) -> dict[str, Any]:
    """As CLAIM_CALLS has it."""
    return {
        "model_name": model.model_name,
        "priority": model.priority,
        "config": model.config,
        "api_key_encrypted": model.api_key_encrypted,
        "credential_provider": credential and credential.provider,
        "credential_api_base": credential and credential.api_base,
        "credential_secret": credential and credential.secret_encrypted,
    }


def test_a_model_is_asked_with_the_credentials_key_at_its_place(db: None) -> None:
    credential = make(api_base="https://gateway.example/v1")
    make_group("Uses", [ModelSpec("gpt-4o", 0, {"credential": "main"})])
    model = GroupModel.objects.get()

    target = target_of(row_of(model, credential))
    missing = target_of(row_of(model, None))
    model.model_name = "anthropic/claude-haiku-4-5"
    of_another_provider = target_of(row_of(model, credential))

    assert (target.api_key, target.config["api_base"]) == (SECRET, "https://gateway.example/v1")
    assert missing.api_key is None
    assert of_another_provider.api_key is None
    assert SECRET not in repr(target)


def test_replacing_works_from_the_next_call_on(db: None) -> None:
    credential = make()
    make_group("Uses", [ModelSpec("gpt-4o", 0, {"credential": "main"})])
    model = GroupModel.objects.get()
    assert target_of(row_of(model, credential)).api_key == SECRET

    credential = replace_credential(credential_pk=credential.pk, api_base="", secret=OTHER, actor="test")

    assert target_of(row_of(model, credential)).api_key == OTHER
