"""The admin of model groups."""

import pytest

from modelgroups.models import GroupModel, ModelGroup
from modelgroups.queries import resolve
from modelgroups.services.groups import ModelSpec
from tests.support.admin import AdminClient, form_of, row
from tests.support.api import Tenant, make_group, make_tenant

PAGE = "modelgroups_modelgroup_change"


@pytest.fixture
def superuser(db: None) -> AdminClient:
    return AdminClient()


@pytest.fixture
def group(db: None) -> ModelGroup:
    config = {
        "api_key": "sk-provider-0123456789abcdef",
        "extra_headers": {"X-Provider-Token": "token-in-a-header"},
        "temperature": 0.25,
    }
    make_group("ResumeAgent", [ModelSpec("gpt-4o", 0, config), ModelSpec("gpt-4o-mini", 1)])
    return ModelGroup.objects.get()


def test_a_providers_key_is_shown_as_its_last_four(group: ModelGroup, superuser: AdminClient) -> None:
    model = GroupModel.objects.get(model_name="gpt-4o")
    html = superuser.html(PAGE, group.pk)
    html += superuser.html("modelgroups_groupmodel_changelist")
    html += superuser.html("modelgroups_groupmodel_change", model.pk)
    assert "****cdef" in html
    assert "0.25" in html
    assert "sk-provider" not in html
    assert bytes(model.api_key_encrypted or b"").decode() not in html
    assert "X-Provider-Token" in html
    assert "token-in-a-header" not in html


@pytest.mark.parametrize("lookup", ["api_key_encrypted__gt", "config__extra_headers__X-Provider-Token__startswith"])
def test_no_filter_guesses_at_a_secret(group: ModelGroup, superuser: AdminClient, lookup: str) -> None:
    assert superuser.get("modelgroups_groupmodel_changelist", **{lookup: "t"}).status_code == 400
    assert superuser.get("modelgroups_modelgroup_changelist", **{f"models__{lookup}": "t"}).status_code == 400


def test_a_group_can_be_switched_off(superuser: AdminClient) -> None:
    tenant: Tenant = make_tenant()
    group = ModelGroup.objects.get()
    data = form_of(superuser, PAGE, group.pk)

    assert superuser.post(PAGE, group.pk, **{**data, "status": "inactive"}).status_code == 302

    assert not resolve(group_name=tenant.group_name, team_pk=tenant.team_pk).team_has_access


def test_nothing_else_of_a_group_can_be_changed(group: ModelGroup, superuser: AdminClient) -> None:
    models = [row(model) for model in group.models.all()]
    before = row(group)
    data = form_of(superuser, PAGE, group.pk)
    forged = {
        "group_name": "Other",
        "display_name": "Other",
        "description": "Other",
        "metadata": '{"a": 1}',
        "models-0-model_name": "other",
        "models-0-DELETE": "on",
        "models-1-config": '{"temperature": 1}',
        "models-2-model_name": "a third",
        "models-TOTAL_FORMS": "7",
        "models-INITIAL_FORMS": "7",
    }

    assert superuser.post(PAGE, group.pk, **{**data, **forged}).status_code == 302

    after = row(group)
    assert {**after, "updated_at": None} == {**before, "updated_at": None}
    assert [row(model) for model in group.models.all()] == models
