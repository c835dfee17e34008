"""The admin of model groups."""

import pytest

from modelgroups.models import GroupModel, ModelGroup
from modelgroups.queries import resolve
from modelgroups.services.groups import ModelSpec
from tests.support.admin import AdminClient, form_of
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

    data = {name: value for name, value in data.items() if value is not False}
    assert superuser.post(PAGE, group.pk, **{**data, "status": "inactive"}).status_code == 302

    assert not resolve(group_name=tenant.group_name, team_pk=tenant.team_pk).team_has_access
