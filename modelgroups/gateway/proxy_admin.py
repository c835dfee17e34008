"""The admin API of LiteLLM Proxy: teams, keys and what they spent. Nothing of HTTP leaves this module.

Checked call by call against LiteLLM Proxy 1.109 (tests/proxy/test_fake_is_true.py). Keys are named by their hash, the
hex SHA-256 of their text, everywhere but where one is made. Money goes out as text, which the proxy reads as a number,
and comes in as Decimal, so that it is never a float of ours.
"""

import json
import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Self

import httpx

from modelgroups.gateway.proxy_errors import ProxyRefused, ProxyUnavailable

#: Allows no model. An empty list would allow all of them.
NO_MODELS = "no-default-models"
#: What keys of ours may call: models, but none of the proxy's management.
ALLOWED_ROUTES = ("llm_api_routes",)
#: Of one request; the proxy allows no more on a page.
PAGE_SIZE = 100
SPEND_PAGE_SIZE = 1000
CONNECT_TIMEOUT_S = 2.0
#: A request that did not get through is made once more; the next try is the synchronizer's, with a longer pause.
TRIES = 2
PAUSE_S = 0.2
#: Of the proxy's, or of what stands in front of it: it may be well again in a moment.
_PASSING_STATUS = frozenset({408, 425, 429, 500, 502, 503, 504})
_KEY_TEXT = re.compile(r"sk-[\w.-]+")


@dataclass(frozen=True)
class ProxyKeyState:
    """A key as the proxy has it."""

    key_hash: str
    team_id: str
    alias: str
    models: tuple[str, ...]
    budget_usd: Decimal | None
    is_blocked: bool
    expires_at: datetime | None
    allowed_routes: tuple[str, ...]
    owner: str


@dataclass(frozen=True)
class ProxyTeamState:
    """A team as the proxy has it; `keys` are only known where one team was asked for."""

    team_id: str
    models: tuple[str, ...]
    budget_usd: Decimal | None
    is_blocked: bool
    owner: str
    metadata: Mapping[str, Any] = field(default_factory=dict)
    keys: tuple[ProxyKeyState, ...] = ()


@dataclass(frozen=True)
class ProxySpendRow:
    """What one key spent on one model on one day (UTC), successful and failed requests together."""

    day: date
    key_hash: str
    team_id: str
    model_name: str
    spend_usd: Decimal
    requests: int
    prompt_tokens: int
    completion_tokens: int


class ProxyAdmin:
    """A client of one proxy; close it, or use it as a context manager. Threads may share it.

    Every method raises ProxyUnavailable where the proxy could not be asked, and ProxyRefused where it said no.
    """

    def __init__(self, *, url: str, master_key: str, owner: str, timeout_s: float) -> None:
        self._owner = owner
        self._client = httpx.Client(
            base_url=url,
            headers={"Authorization": f"Bearer {master_key}"},
            timeout=httpx.Timeout(timeout_s, connect=CONNECT_TIMEOUT_S),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    # Teams

    def team(self, team_id: str) -> ProxyTeamState | None:
        """A team with its keys, None where there is none."""
        found = self._ask("GET", "/team/info", params={"team_id": team_id}, or_none=True)
        return None if found is None else _team(found["team_info"], found.get("keys") or [])

    def all_teams(self) -> Iterator[ProxyTeamState]:
        """All teams, without their keys."""
        for page in self._pages("/v2/team/list", {"page_size": PAGE_SIZE}):
            yield from (_team(row, []) for row in page["teams"])

    def create_team(
        self, *, team_id: str, alias: str, models: tuple[str, ...], budget_usd: Decimal, is_blocked: bool
    ) -> None:
        """Raises ProxyRefused where there is one already."""
        body = {
            "team_id": team_id,
            "team_alias": alias,
            "models": list(models),
            "max_budget": str(budget_usd),
            "blocked": is_blocked,
            "metadata": {"managed_by": self._owner},
        }
        self._ask("POST", "/team/new", body=body)

    def update_team(self, team: ProxyTeamState, **fields: Any) -> None:
        """Change `models`, `budget_usd` or `is_blocked`, and make the team ours."""
        metadata = {**team.metadata, "managed_by": self._owner}
        self._ask("POST", "/team/update", body={"team_id": team.team_id, "metadata": metadata, **_body(fields)})

    def delete_team(self, team_id: str) -> None:
        """With its keys; one that is gone is no error."""
        self._ask("POST", "/team/delete", body={"team_ids": [team_id]}, or_none=True)

    # Keys

    def all_keys(self) -> Iterator[ProxyKeyState]:
        """All keys of all teams."""
        for page in self._pages("/key/list", {"size": PAGE_SIZE, "return_full_object": "true"}):
            yield from (_key(row) for row in page["keys"])

    def key(self, key_hash: str) -> ProxyKeyState | None:
        """One key, None where there is none."""
        found = self._ask("GET", "/key/info", params={"key": key_hash}, or_none=True)
        return None if found is None else _key({"token": key_hash, **found["info"]})

    def create_key(self, *, plaintext: str, team_id: str, alias: str, key_id: str, **fields: Any) -> None:
        """Make a key whose text is `plaintext`; made again, it is the same key. `fields` as in update_key."""
        body = {
            "key": plaintext,
            "team_id": team_id,
            "key_alias": alias,
            "key_type": "llm_api",
            "metadata": {"managed_by": self._owner, "key_id": key_id},
            **_body(fields),
        }
        self._ask("POST", "/key/generate", body=body)

    def update_key(self, key_hash: str, **fields: Any) -> None:
        """Change `models`, `budget_usd`, `is_blocked`, `team_id`, `allowed_routes` or `expires_in_s` (None: never)."""
        self._ask("POST", "/key/update", body={"key": key_hash, **_body(fields)})

    def block_key(self, key_hash: str) -> None:
        """Stop a key without forgetting it."""
        self._ask("POST", "/key/block", body={"key": key_hash})

    def unblock_key(self, key_hash: str) -> None:
        """Let it work again."""
        self._ask("POST", "/key/unblock", body={"key": key_hash})

    def delete_key(self, key_hash: str) -> None:
        """One that is gone is no error."""
        self._ask("POST", "/key/delete", body={"keys": [key_hash]}, or_none=True)

    # Spend

    def spend(self, *, first: date, last: date) -> list[ProxySpendRow]:
        """What all teams' keys spent from the first day to the last, both included."""
        sums: dict[tuple[Any, ...], list[Any]] = {}
        wanted = {"start_date": str(first), "end_date": str(last), "page_size": SPEND_PAGE_SIZE}
        for page in self._pages("/team/daily/activity", wanted):
            for identity, amounts in _spend_rows(page):
                # A day whose records fill several pages comes in several parts.
                known = sums.setdefault(identity, [Decimal(0), 0, 0, 0])
                sums[identity] = [before + more for before, more in zip(known, amounts, strict=True)]
        return [ProxySpendRow(*identity, *amounts) for identity, amounts in sums.items()]

    # The wire

    def _pages(self, path: str, params: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
        number = 1
        while True:
            page = self._ask("GET", path, params={**params, "page": number})
            yield page
            if number >= page.get("total_pages", page.get("metadata", {}).get("total_pages", 1)):
                return
            number += 1

    def _ask(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, Any] | None = None,
        body: Mapping[str, Any] | None = None,
        or_none: bool = False,
    ) -> Any:
        """The answer's JSON; with `or_none`, None for a 404."""
        for tries_left in reversed(range(TRIES)):
            try:
                reply = self._client.request(method, path, params=params, json=body)
            except httpx.TimeoutException as error:
                # Whoever waits for another one has waited too long.
                raise ProxyUnavailable(f"{path}: {type(error).__name__}") from error
            except httpx.HTTPError as error:
                reason = f"{path}: {type(error).__name__}"
            else:
                if reply.status_code not in _PASSING_STATUS:
                    return _usable(reply, path, or_none=or_none)
                reason = f"{path}: status {reply.status_code}"
            if tries_left:
                time.sleep(PAUSE_S)
        raise ProxyUnavailable(reason)


def _usable(reply: httpx.Response, path: str, *, or_none: bool) -> Any:
    if reply.status_code == 404 and or_none:
        return None
    try:
        parsed = json.loads(reply.content, parse_float=Decimal)
    except (ValueError, RecursionError):
        raise ProxyUnavailable(f"{path}: status {reply.status_code} without JSON") from None
    if reply.status_code != 200:
        error = parsed.get("error", parsed.get("detail")) if isinstance(parsed, dict) else None
        said = error if isinstance(error, dict) else {"message": error}
        text = _KEY_TEXT.sub("sk-…", str(said.get("message", said)))[:200]
        raise ProxyRefused(path, status=reply.status_code, error_type=str(said.get("type", "")), text=text)
    if not isinstance(parsed, dict):
        raise ProxyUnavailable(f"{path}: not the answer that was expected")
    return parsed


def _body(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Our names as the proxy's."""
    body: dict[str, Any] = {}
    for name, value in fields.items():
        match name:
            case "budget_usd":
                body["max_budget"] = str(value)
            case "is_blocked":
                body["blocked"] = value
            case "expires_in_s":
                body["duration"] = "-1" if value is None else f"{value}s"
            case "models" | "allowed_routes":
                body[name] = list(value)
            case _:
                body[name] = value
    return body


def _team(row: Mapping[str, Any], keys: list[Mapping[str, Any]]) -> ProxyTeamState:
    metadata = row.get("metadata") or {}
    return ProxyTeamState(
        team_id=row["team_id"],
        models=tuple(row.get("models") or ()),
        budget_usd=_decimal(row.get("max_budget")),
        is_blocked=bool(row.get("blocked")),
        owner=str(metadata.get("managed_by", "")),
        metadata=metadata,
        keys=tuple(_key(key) for key in keys),
    )


def _key(row: Mapping[str, Any]) -> ProxyKeyState:
    return ProxyKeyState(
        key_hash=row["token"],
        team_id=row.get("team_id") or "",
        alias=row.get("key_alias") or "",
        models=tuple(row.get("models") or ()),
        budget_usd=_decimal(row.get("max_budget")),
        is_blocked=bool(row.get("blocked")),
        expires_at=datetime.fromisoformat(row["expires"]) if row.get("expires") else None,
        allowed_routes=tuple(row.get("allowed_routes") or ()),
        owner=str((row.get("metadata") or {}).get("managed_by", "")),
    )


def _spend_rows(page: Mapping[str, Any]) -> Iterator[tuple[tuple[Any, ...], tuple[Any, ...]]]:
    """By the names that clients use; the proxy also has them by those that it uses itself."""
    for day in page["results"]:
        for model_name, model in day["breakdown"]["model_groups"].items():
            for key_hash, key in model["api_key_breakdown"].items():
                metrics = key["metrics"]
                identity = (date.fromisoformat(day["date"]), key_hash, key["metadata"].get("team_id") or "", model_name)
                yield (
                    identity,
                    (
                        _decimal(metrics["spend"]) or Decimal(0),
                        metrics["api_requests"],
                        metrics["prompt_tokens"],
                        metrics["completion_tokens"],
                    ),
                )


def _decimal(value: Any) -> Decimal | None:
    return None if value is None else Decimal(value)
