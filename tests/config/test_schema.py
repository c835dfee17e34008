"""The OpenAPI document says what the API does, and its page loads nothing from elsewhere."""

import re
from typing import Any

import pytest
from django.test import Client
from django.urls import get_resolver
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.validation import validate_schema

GUIDE = {
    "post /api/organizations/create", "get /api/organizations/{organization_id}",
    "get /api/organizations/{organization_id}/teams", "get /api/organizations/{organization_id}/usage",
    "post /api/model-groups/create", "get /api/model-groups", "get /api/model-groups/{group_name}",
    "get /api/model-groups/{group_name}/models", "get /api/model-groups/{group_name}/resolve",
    "post /api/teams/create", "get /api/teams/{team_id}", "put /api/teams/{team_id}/model-groups",
    "get /api/teams/{team_id}/usage", "get /api/teams/{team_id}/jobs", "get /api/credits/teams/{team_id}/balance",
    "post /api/credits/teams/{team_id}/add", "post /api/credits/teams/{team_id}/check",
    "get /api/credits/teams/{team_id}/transactions", "post /api/jobs/create", "post /api/jobs/{job_id}/llm-call",
    "post /api/jobs/{job_id}/complete", "get /api/jobs/{job_id}",
}  # fmt: skip


@pytest.fixture(scope="module")
def schema() -> Any:
    document: Any = SchemaGenerator().get_schema(request=None, public=True)
    return document


def operations(schema: Any) -> dict[str, Any]:
    return {f"{method} {path}": body for path, item in schema["paths"].items() for method, body in item.items()}


def test_the_document_is_valid_openapi(schema: Any) -> None:
    validate_schema(schema)


def test_it_has_every_call_of_the_guide(schema: Any) -> None:
    assert set(operations(schema)) >= GUIDE


def test_every_operation_documents_its_errors(schema: Any) -> None:
    for name, operation in operations(schema).items():
        assert {"401", "403", "503"} <= set(operation["responses"]), name
        # What is done in the background alone is accepted.
        assert {"200", "202"} & set(operation["responses"]), name
        if name.startswith(("post", "put")):
            assert {"400", "413"} <= set(operation["responses"]), name
    assert "402" in operations(schema)["post /api/jobs/create"]["responses"]
    assert {"409", "422", "500"} <= set(operations(schema)["post /api/jobs/{job_id}/llm-call"]["responses"])


def test_every_path_is_in_it(schema: Any) -> None:
    paths = {re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", f"/api/{route.pattern}") for route in _api_routes()}
    assert paths == {path for path in schema["paths"] if path.startswith("/api/")}


def _api_routes() -> list[Any]:
    included: list[Any] = [entry for entry in get_resolver().url_patterns if str(entry.pattern) == "api/"]
    return [route for entry in included for route in entry.url_patterns]


def test_the_page_loads_nothing_from_elsewhere(db: None) -> None:
    client = Client()
    page = client.get("/api/docs").content.decode()
    sources = re.findall(r'(?:src|href)="([^"]+)"', page)
    assert sources
    for source in sources:
        assert source.startswith("/"), source
        assert not source.startswith("//"), source
        file = client.get(source)
        assert file.status_code == 200
        file.close()
    assert "://" not in re.sub(r"http://www\.w3\.org/\S+", "", page)


@pytest.mark.parametrize("path", ["/api/jobs/{job_id}/llm-call", "/api/jobs/create-and-call", "/v1/chat/completions"])
def test_answers_to_calls_have_the_limits_in_their_headers(schema: Any, path: str) -> None:
    for status in ("200", "429"):
        headers = operations(schema)[f"post {path}"]["responses"][status]["headers"]
        assert {f"x-ratelimit-{figure}-tokens" for figure in ("limit", "remaining", "reset")} <= set(headers)
    assert "headers" not in operations(schema)["post /api/jobs/create"]["responses"]["200"]
