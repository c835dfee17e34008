"""A client for the API under test, and the tenants that most tests start from."""

import json
from dataclasses import dataclass
from typing import Any

from django.test import Client

from billing.services.teams import open_team
from modelgroups.services.groups import ModelSpec, create_model_group
from tenancy.services.keys import create_operator_key
from tenancy.services.organizations import create_organization


class ApiClient:
    """Django's test client with a key, speaking JSON. `post` and `put` take Python data, or raw bytes."""

    def __init__(self, key: str | None = None, *, header: str = "Authorization") -> None:
        self.key = key
        value = {} if key is None else {header: f"Bearer {key}" if header == "Authorization" else key}
        self._client = Client(headers=value, raise_request_exception=False)

    def get(self, path: str, **query: Any) -> Any:
        return self._client.get(path, query or None)

    def post(self, path: str, data: Any = None, *, headers: dict[str, str] | None = None) -> Any:
        return self._client.post(path, _body(data), content_type="application/json", headers=headers)

    def put(self, path: str, data: Any = None) -> Any:
        return self._client.put(path, _body(data), content_type="application/json")

    def patch(self, path: str, data: Any = None) -> Any:
        return self._client.patch(path, _body(data), content_type="application/json")

    def delete(self, path: str) -> Any:
        return self._client.delete(path)


def _body(data: Any) -> bytes:
    return data if isinstance(data, bytes) else json.dumps(data if data is not None else {}).encode()


@dataclass(frozen=True)
class Tenant:
    """An organization with a team that has credits, a group and a key."""

    organization_id: str
    team_id: str
    team_pk: int
    key: str
    group_name: str

    @property
    def api(self) -> ApiClient:
        return ApiClient(self.key)


def make_operator(name: str = "operator", scopes: list[str] | None = None) -> ApiClient:
    _, plaintext = create_operator_key(name=name, scopes=scopes or ["all"])
    return ApiClient(plaintext, header="X-Admin-Key")


def make_group(name: str = "ChatAgent", models: list[ModelSpec] | None = None) -> str:
    create_model_group(
        group_name=name,
        display_name=name,
        description="",
        models=models or [ModelSpec("gpt-4o-mini", 0, {"mock_response": "Hello"}), ModelSpec("gpt-4o", 1)],
        metadata={},
    )
    return name


def make_tenant(name: str = "a", *, credits_allocated: int = 10, groups: list[str] | None = None) -> Tenant:
    if groups is None:
        groups = [make_group(f"Group-{name}")]
    organization_id, team_id = f"org_{name}", f"team_{name}"
    create_organization(organization_id=organization_id, name=name, metadata={})
    opened = open_team(
        organization_id=organization_id,
        team_id=team_id,
        team_alias=name,
        model_groups=groups,
        credits_allocated=credits_allocated,
        metadata={},
        actor="test",
    )
    return Tenant(
        organization_id=organization_id,
        team_id=team_id,
        team_pk=opened.overview.team.pk,
        key=opened.key.plaintext,
        group_name=groups[0] if groups else "",
    )
