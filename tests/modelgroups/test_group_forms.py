"""A group's page in the console: its models are ordered, changed and switched off by the API's own service."""

import json
from typing import Any

import pytest

from billing.models import ProxyTeam
from config.foundation import encryption
from modelgroups.models import GroupModel, ModelGroup
from modelgroups.queries import resolve
from modelgroups.services.credentials import create_credential
from modelgroups.services.groups import ModelSpec, change_model_group
from tenancy.models import AuditEntry
from tests.support.admin import AdminClient, form_of, row
from tests.support.api import Tenant, make_group

PAGE, ADD = "modelgroups_modelgroup_change", "modelgroups_modelgroup_add"
SECRET = "sk-provider-0123456789abcdef"
SCRIPT = "<script>alert(1)</script>"


@pytest.fixture
def superuser(db: None) -> AdminClient:
    return AdminClient()


@pytest.fixture
def group(db: None) -> ModelGroup:
    headers = {"extra_headers": {"X-Token": "token-in-a-header"}}
    make_group(
        "Agent",
        [
            ModelSpec("gpt-4o", 0, {"api_key": SECRET, **headers}),
            ModelSpec("gpt-4o-mini", 1, {"temperature": 0.5}),
            ModelSpec("gpt-4.1", 1),
        ],
    )
    return ModelGroup.objects.get()


def models(group: ModelGroup) -> list[tuple[str, int, bool]]:
    return [(one.model_name, one.priority, one.is_enabled) for one in group.models.all()]


def save(client: AdminClient, group: ModelGroup, **changes: Any) -> Any:
    """Send the form as it is but for these fields; a box that is not ticked is not sent."""
    data = {**form_of(client, PAGE, group.pk), **changes}
    return client.post(PAGE, group.pk, **{name: value for name, value in data.items() if value is not False})


def errors(answer: Any) -> str:
    assert answer.status_code == 200
    return str([formset.formset.non_form_errors() for formset in answer.context["inline_admin_formsets"]]) + str(
        [formset.formset.errors for formset in answer.context["inline_admin_formsets"]]
    )


def test_the_form_as_it_stands_changes_nothing(group: ModelGroup, superuser: AdminClient) -> None:
    before = [row(model) for model in group.models.all()]
    assert save(superuser, group).status_code == 302
    assert [row(model) for model in group.models.all()] == before
    assert not AuditEntry.objects.filter(actor="console:somebody").exists()


def test_what_somebody_else_changed_meanwhile_stays(group: ModelGroup, superuser: AdminClient) -> None:
    """Who corrects a description does not switch the group on again that was switched off since."""
    opened = form_of(superuser, PAGE, group.pk)
    change_model_group(group_name=group.group_name, status="inactive", metadata={"why": "broken"}, actor="another")

    answer = superuser.post(PAGE, group.pk, **{**opened, "description": "Better"})

    assert answer.status_code == 302
    group.refresh_from_db()
    assert (group.status, group.description, group.metadata) == ("inactive", "Better", {"why": "broken"})
    entry = AuditEntry.objects.get(action="group.changed", actor="console:somebody")
    assert entry.after == {"description": "Better"}


def test_models_are_dragged_into_another_order(group: ModelGroup, superuser: AdminClient) -> None:
    """The last one goes to the top; who shared a rank no longer stands together."""
    answer = save(superuser, group, **{"models-2-place": 0, "models-0-place": 1, "models-1-place": 2})

    assert answer.status_code == 302
    assert models(group) == [("gpt-4.1", 0, True), ("gpt-4o", 1, True), ("gpt-4o-mini", 2, True)]
    moved = group.models.get(model_name="gpt-4o")
    assert encryption.decrypt(bytes(moved.api_key_encrypted or b"")) == SECRET.encode()
    assert moved.config == {"extra_headers": {"X-Token": "token-in-a-header"}}
    entry = AuditEntry.objects.get(action="group.models_changed")
    assert entry.actor == "console:somebody"
    assert [model["model_name"] for model in (entry.after or {})["models"]] == ["gpt-4.1", "gpt-4o", "gpt-4o-mini"]
    assert SECRET not in str(entry.after) + str(entry.before)
    assert "token-in-a-header" not in str(entry.after) + str(entry.before)


def test_neighbours_share_a_rank_or_do_not(group: ModelGroup, superuser: AdminClient) -> None:
    save(superuser, group, **{"models-1-shares": "on", "models-2-shares": False})
    assert models(group) == [("gpt-4o", 0, True), ("gpt-4o-mini", 0, True), ("gpt-4.1", 1, True)]


def test_a_change_reaches_the_proxys_mark(superuser: AdminClient, tenant: Tenant) -> None:
    group = ModelGroup.objects.get()
    before = ProxyTeam.objects.get(team_id=tenant.team_pk).wanted_version
    save(superuser, group, **{"models-0-place": 1, "models-1-place": 0})
    assert ProxyTeam.objects.get(team_id=tenant.team_pk).wanted_version > before


def test_a_model_is_switched_off(superuser: AdminClient, tenant: Tenant) -> None:
    group = ModelGroup.objects.get()
    assert save(superuser, group, **{"models-0-is_enabled": False}).status_code == 302

    assert [is_enabled for _, _, is_enabled in models(group)] == [False, True]
    resolution = resolve(group_name=group.group_name, team_pk=tenant.team_pk)
    assert (resolution.primary_model, resolution.fallback_models) == ("gpt-4o", [])

    answer = save(superuser, group, **{"models-1-is_enabled": False})
    assert "must be enabled" in errors(answer)
    assert [is_enabled for _, _, is_enabled in models(group)] == [False, True]


def new_row(index: int, **fields: Any) -> dict[str, Any]:
    given = {"model_name": "gpt-4o", "is_enabled": "on", "config": "{}", "credential": "", "new_api_key": "", **fields}
    return {f"models-{index}-{name}": value for name, value in given.items()}


def test_models_are_added_and_removed(group: ModelGroup, superuser: AdminClient) -> None:
    added = new_row(3, model_name="claude-haiku-4-5", new_api_key="sk-ant-1234")
    answer = save(superuser, group, **added, **{"models-TOTAL_FORMS": 4, "models-1-DELETE": "on"})

    assert answer.status_code == 302, errors(answer)
    assert [name for name, _, _ in models(group)] == ["gpt-4o", "gpt-4.1", "claude-haiku-4-5"]
    assert group.models.get(model_name="claude-haiku-4-5").api_key_last_four == "1234"


def test_the_last_model_is_not_removed(group: ModelGroup, superuser: AdminClient) -> None:
    answer = save(superuser, group, **{f"models-{index}-DELETE": "on" for index in range(3)})
    assert "1 to 32 models" in errors(answer)
    assert group.models.count() == 3


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("config", '{"proxy": "x"}'), ("config", '{"temperature": 9}'), ("config", "{"),
        ("config", '{"api_key": "sk-x"}'),
        ("config", '{"api_base": "http://127.0.0.1/v1"}'),
        ("model_name", "nobody-knows-its-price"),
        ("model_name", ""),
        ("model_name", "x" * 256), ("credential", "nobody"), ("new_api_key", "two words"),
        ("place", "-1"), ("place", "x"),
        ("config", '{"credential": "nobody"}'), ("config", json.dumps({"a": "x" * 17_000})),
    ],
)  # fmt: skip
def test_what_the_api_refuses_is_refused(group: ModelGroup, superuser: AdminClient, field: str, value: str) -> None:
    before = [row(model) for model in group.models.all()]
    answer = save(superuser, group, **{f"models-1-{field}": value})
    assert errors(answer) != "[[]][[]]"
    assert [row(model) for model in group.models.all()] == before


def test_hidden_headers_stay_but_are_not_sent_elsewhere(group: ModelGroup, superuser: AdminClient) -> None:
    headers = {"extra_headers": {"X-Token": "****"}}
    save(superuser, group, **{"models-0-config": json.dumps({**headers, "temperature": 1})})
    config = group.models.get(model_name="gpt-4o").config
    assert config == {"extra_headers": {"X-Token": "token-in-a-header"}, "temperature": 1}

    elsewhere = json.dumps({**headers, "api_base": "https://elsewhere.example/v1"})
    answer = save(superuser, group, **{"models-0-config": elsewhere})

    assert "X-Token again" in errors(answer)
    assert group.models.get(model_name="gpt-4o").config == config


def test_each_of_several_keys_at_one_place_stays_with_its_model(superuser: AdminClient) -> None:
    first = ModelSpec("gpt-4o", 0, {"api_key": "sk-1111", "timeout": 11})
    make_group("Two", [first, ModelSpec("gpt-4o", 1, {"api_key": "sk-2222", "timeout": 22})])
    group = ModelGroup.objects.get()
    save(superuser, group, **{"models-0-place": 1, "models-1-place": 0})
    kept = [(model.config["timeout"], model.api_key_last_four) for model in group.models.all()]
    assert kept == [(22, "2222"), (11, "1111")]


def test_a_credential_is_chosen_from_a_list_and_replaces_the_models_own_key(
    group: ModelGroup, superuser: AdminClient
) -> None:
    given = {"provider": "openai", "api_base": "", "secret": SECRET, "organization_pk": None, "actor": "test"}
    create_credential(name="main", **given)  # type: ignore[arg-type]
    # With the headers that are hidden it is refused: the credential may lead to another place.
    assert "X-Token again" in errors(save(superuser, group, **{"models-0-credential": "main"}))

    assert save(superuser, group, **{"models-0-credential": "main", "models-0-config": "{}"}).status_code == 302

    model = group.models.get(model_name="gpt-4o")
    assert model.config["credential"] == "main"
    assert model.api_key_encrypted is None
    assert form_of(superuser, PAGE, group.pk)["models-0-credential"] == "main"


def test_a_form_of_models_that_have_changed_meanwhile_saves_nothing(group: ModelGroup, superuser: AdminClient) -> None:
    opened = {name: value for name, value in form_of(superuser, PAGE, group.pk).items() if value is not False}
    save(superuser, group, **{"models-0-place": 2})
    before = [row(model) for model in group.models.all()]
    for forged in (opened, {**opened, "models-INITIAL_FORMS": 7}, {**opened, "models-INITIAL_FORMS": "x"}, {}):
        assert superuser.post(PAGE, group.pk, **{**forged, "display_name": "New"}).status_code == 302
    assert [row(model) for model in group.models.all()] == before
    group.refresh_from_db()
    assert group.display_name == "Agent"


def test_a_group_is_made_in_one_form(superuser: AdminClient) -> None:
    data = {"group_name": "New", "display_name": SCRIPT, "description": "", "metadata": "", "models-TOTAL_FORMS": 2}
    rows = {**new_row(0), **new_row(1, model_name="gpt-4o-mini"), "models-INITIAL_FORMS": 0}

    answer = superuser.post(ADD, **data, **rows)

    assert answer.status_code == 302, errors(answer)
    group = ModelGroup.objects.get()
    assert models(group) == [("gpt-4o", 0, True), ("gpt-4o-mini", 1, True)]
    assert AuditEntry.objects.get(action="group.created").actor == "console:somebody"
    assert SCRIPT not in superuser.html("modelgroups_modelgroup_changelist") + superuser.html(PAGE, group.pk)

    answer = superuser.post(ADD, **data, **rows)
    assert answer.status_code == 200
    assert answer.context["adminform"].form.errors
    assert superuser.post(ADD, **{**data, **rows, "models-INITIAL_FORMS": 2}).status_code == 302
    assert ModelGroup.objects.count() == 1


def test_what_belongs_to_the_group_is_changed_and_audited(group: ModelGroup, superuser: AdminClient) -> None:
    text = "x" * 4096
    metadata = json.dumps({"a": SCRIPT})
    save(superuser, group, status="inactive", description=text, metadata=metadata, group_name="Other")
    group.refresh_from_db()
    assert (group.group_name, group.status, group.description) == ("Agent", "inactive", text)
    entry = AuditEntry.objects.get(action="group.changed")
    assert (entry.before or {})["status"] == "active"
    assert SCRIPT not in superuser.html(PAGE, group.pk)


def test_who_may_only_view_sees_models_without_secrets(group: ModelGroup) -> None:
    viewer = AdminClient(["modelgroups.view_modelgroup", "modelgroups.view_groupmodel"])
    html = viewer.html(PAGE, group.pk)
    assert "gpt-4o-mini" in html
    assert "token-in-a-header" not in html
    assert 'name="models-0-model_name"' not in html
    assert viewer.post(PAGE, group.pk, **{"models-INITIAL_FORMS": 0}).status_code == 403
    assert viewer.get(ADD).status_code == 403
    assert GroupModel.objects.count() == 3


def test_prices_are_per_million_tokens(group: ModelGroup, superuser: AdminClient) -> None:
    assert "2.5 / 10" in superuser.html(PAGE, group.pk)
    assert "2.5 / 10" in superuser.html("modelgroups_groupmodel_changelist")
