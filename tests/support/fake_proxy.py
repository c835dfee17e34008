"""A LiteLLM Proxy for fast tests: a real HTTP server, with the part of the proxy that we speak to, and no more.

Each answer has been compared with the real one's (tests/proxy/test_fake_is_true.py), so that it cannot rot.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock, Thread
from typing import Any
from urllib.parse import parse_qsl, urlsplit

MASTER_KEY = "sk-fake-master-0123456789abcdef"
ANSWER_COST_USD = 0.25
NO_SUCH_MODEL = "The requested model '{}' is not available for this API key, or the model name is invalid."


class Refused(Exception):
    """An error answer in the proxy's shape."""

    def __init__(
        self, status: int, message: str, *, error_type: str = "invalid_request_error", param: Any = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.body: Any = {"error": {"message": message, "type": error_type, "param": param, "code": str(status)}}


class NotThere(Refused):
    """The other shape, which some routes have for what does not exist."""

    def __init__(self, text: str) -> None:
        super().__init__(404, text)
        self.body = {"detail": {"error": text}}


def hash_of(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest() if key.startswith("sk-") else key


def expiry(duration: str | None) -> str | None:
    """Of the proxy's durations, the two that we send: seconds, and never."""
    if duration in (None, "-1"):
        return None
    return (datetime.now(UTC) + timedelta(seconds=int(str(duration).removesuffix("s")))).isoformat()


@dataclass
class FakeProxy:
    """Its state, which a test may look at and change by hand, and what was asked of it."""

    url: str = ""
    teams: dict[str, dict[str, Any]] = field(default_factory=dict)
    keys: dict[str, dict[str, Any]] = field(default_factory=dict)
    #: (method, path), in order.
    requests: list[tuple[str, str]] = field(default_factory=list)
    #: Answers every request with this status instead, where it is set.
    failing: int | None = None
    lock: Lock = field(default_factory=Lock)

    def answer(self, method: str, path: str, params: Mapping[str, str], body: Any, key: str) -> Any:
        """Raises Refused."""
        self.requests.append((method, path))
        if self.failing is not None:
            raise Refused(self.failing, "Out of order", error_type="internal_server_error")
        if path == "/v1/chat/completions":
            return self._chat(key, body)
        if key != MASTER_KEY:
            raise Refused(401, "Authentication Error", error_type="token_not_found_in_db", param="key")
        routes: dict[tuple[str, str], Callable[..., Any]] = {
            ("GET", "/team/info"): self._team_info,
            ("GET", "/v2/team/list"): self._team_list,
            ("POST", "/team/new"): self._team_new,
            ("POST", "/team/update"): self._team_update,
            ("POST", "/team/delete"): self._team_delete,
            ("GET", "/key/info"): self._key_info,
            ("GET", "/key/list"): self._key_list,
            ("POST", "/key/generate"): self._key_generate,
            ("POST", "/key/update"): self._key_update,
            ("POST", "/key/block"): lambda body: self._key_set(body, blocked=True),
            ("POST", "/key/unblock"): lambda body: self._key_set(body, blocked=False),
            ("POST", "/key/delete"): self._key_delete,
            ("GET", "/team/daily/activity"): self._activity,
        }
        route = routes[method, path]
        return route(params) if method == "GET" else route(body)

    # Teams

    def _team_info(self, params: Mapping[str, str]) -> Any:
        team = self._team(params["team_id"], f"{{'message': 'Team not found, passed team id: {params['team_id']}.'}}")
        keys = [key for key in self.keys.values() if key["team_id"] == team["team_id"]]
        return {"team_id": team["team_id"], "team_info": team, "keys": keys}

    def _team_list(self, params: Mapping[str, str]) -> Any:
        rows, pages = self._page(list(self.teams.values()), int(params["page"]), int(params["page_size"]))
        return {"teams": rows, "total": len(self.teams), "page": int(params["page"]), "total_pages": pages}

    def _team_new(self, body: Any) -> Any:
        if body["team_id"] in self.teams:
            text = f"{{'error': 'Team id = {body['team_id']} already exists. Please use a different team id.'}}"
            raise Refused(400, text)
        team = {"team_alias": None, "models": [], "max_budget": None, "blocked": False, "metadata": {}, **body}
        self.teams[team["team_id"]] = {**team, "max_budget": _number(team["max_budget"]), "spend": 0.0}
        return self.teams[team["team_id"]]

    def _team_update(self, body: Any) -> Any:
        team = self._team(body["team_id"], f"{{'error': 'Team not found, passed team_id={body['team_id']}'}}")
        team |= {**body, **({"max_budget": _number(body["max_budget"])} if "max_budget" in body else {})}
        return {"team_id": team["team_id"], "data": team}

    def _team_delete(self, body: Any) -> Any:
        for team_id in body["team_ids"]:
            if self.teams.pop(team_id, None) is None:
                raise NotThere(f"Team not found, passed team_id={team_id}")
        self.keys = {name: key for name, key in self.keys.items() if key["team_id"] not in body["team_ids"]}
        return {"deleted_teams": body["team_ids"]}

    def _team(self, team_id: str, text: str) -> dict[str, Any]:
        if team_id not in self.teams:
            raise Refused(404, text)
        return self.teams[team_id]

    # Keys

    def _key_info(self, params: Mapping[str, str]) -> Any:
        name = hash_of(params["key"])
        if name not in self.keys:
            raise Refused(404, "Key not found in database", error_type="not_found_error", param="key")
        return {
            "key": params["key"],
            "info": {name: value for name, value in self.keys[name].items() if name != "token"},
        }

    def _key_list(self, params: Mapping[str, str]) -> Any:
        rows, pages = self._page(list(self.keys.values()), int(params["page"]), int(params["size"]))
        return {"keys": rows, "total_count": len(self.keys), "current_page": int(params["page"]), "total_pages": pages}

    def _key_generate(self, body: Any) -> Any:
        if not body["key"].startswith("sk-"):
            raise Refused(400, "{'error': \"Invalid key format. LiteLLM Virtual Key must start with 'sk-'.\"}")
        if any(key["key_alias"] == body.get("key_alias") for key in self.keys.values()):
            text = f"Key with alias '{body.get('key_alias')}' already exists."
            raise Refused(400, text, error_type="bad_request_error", param="key_alias")
        row = {
            "token": hash_of(body["key"]),
            "key_alias": body.get("key_alias"),
            "team_id": body.get("team_id"),
            "models": body.get("models", []),
            "max_budget": _number(body.get("max_budget")),
            "blocked": None,
            "expires": expiry(body.get("duration")),
            "metadata": body.get("metadata", {}),
            "allowed_routes": ["llm_api_routes"] if body.get("key_type") == "llm_api" else [],
            "spend": 0.0,
        }
        # Made again under another alias, it is the same key.
        self.keys[row["token"]] = row
        return {**row, "key": body["key"]}

    def _key_update(self, body: Any) -> Any:
        fields = {name: value for name, value in body.items() if name not in {"key", "duration", "max_budget"}}
        if "duration" in body:
            fields["expires"] = expiry(body["duration"])
        if "max_budget" in body:
            fields["max_budget"] = _number(body["max_budget"])
        return {"key": body["key"], **self._key_set(body, **fields)}

    def _key_set(self, body: Any, **fields: Any) -> Any:
        name = hash_of(body["key"])
        if name not in self.keys:
            raise Refused(404, "Key not found.", error_type="not_found_error", param="key")
        self.keys[name] |= fields
        return self.keys[name]

    def _key_delete(self, body: Any) -> Any:
        found = [name for name in map(hash_of, body["keys"]) if self.keys.pop(name, None) is not None]
        if not found:
            raise Refused(404, "{'error': 'No keys found'}")
        return {"deleted_keys": found}

    # Calls and what they cost

    def _chat(self, text: str, body: Any) -> Any:
        key = self.keys.get(hash_of(text))
        team = self.teams.get(key["team_id"] or "") if key else None
        if key is None or team is None:
            raise Refused(401, "Authentication Error, Invalid API key", error_type="token_not_found_in_db", param="key")
        if key["blocked"] or team["blocked"]:
            raise Refused(401, "Authentication Error, blocked", error_type="auth_error")
        if key["expires"] and datetime.fromisoformat(key["expires"]) <= datetime.now(UTC):
            raise Refused(401, "Expired Key", error_type="expired_key", param=f"sk-...{text[-4:]}")
        for whose, models in (("key", key["models"]), ("team", team["models"])):
            if models and body["model"] not in models:
                text = NO_SUCH_MODEL.format(body["model"])
                raise Refused(403, text, error_type=f"{whose}_model_access_denied", param="model")
        # As the real one: a key at its limit, a team above it.
        key_is_spent = key["max_budget"] is not None and key["spend"] >= key["max_budget"]
        if key_is_spent or (team["max_budget"] is not None and team["spend"] > team["max_budget"]):
            raise Refused(422, "Budget has been exceeded!", error_type="budget_exceeded")
        for counted in (key, team):
            counted["spend"] += ANSWER_COST_USD
        key.setdefault("calls", []).append(body["model"])
        message = {"role": "assistant", "content": "Here is the analysis."}
        choice = {"finish_reason": "stop", "index": 0, "message": message}
        usage = {"completion_tokens": 7, "prompt_tokens": 11, "total_tokens": 18}
        return {"model": body["model"], "object": "chat.completion", "choices": [choice], "usage": usage}

    def _activity(self, params: Mapping[str, str]) -> Any:
        groups: dict[str, Any] = {}
        for name, key in self.keys.items():
            for model in key.get("calls", []):
                found = groups.setdefault(model, {"api_key_breakdown": {}})["api_key_breakdown"]
                nothing = {"spend": 0.0, "prompt_tokens": 0, "completion_tokens": 0, "api_requests": 0}
                entry = found.setdefault(name, {"metrics": nothing, "metadata": {"team_id": key["team_id"]}})
                more = {"spend": ANSWER_COST_USD, "prompt_tokens": 11, "completion_tokens": 7, "api_requests": 1}
                entry["metrics"] = {name: entry["metrics"][name] + value for name, value in more.items()}
        day = {"date": f"{datetime.now(UTC):%Y-%m-%d}", "breakdown": {"model_groups": groups}}
        return {"results": [day] if groups else [], "metadata": {"page": 1, "total_pages": 1}}

    def _page(self, rows: list[Any], number: int, size: int) -> tuple[list[Any], int]:
        return rows[(number - 1) * size : number * size], max(1, -(-len(rows) // size))


def _number(text: Any) -> float | None:
    return None if text is None else float(text)


@contextmanager
def fake_proxy() -> Iterator[FakeProxy]:
    """A fake that is listening."""
    proxy = FakeProxy()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _serve(self) -> None:
            url = urlsplit(self.path)
            length = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(length)) if length else None
            key = self.headers.get("Authorization", "").removeprefix("Bearer ")
            try:
                with proxy.lock:
                    answer = proxy.answer(self.command, url.path, dict(parse_qsl(url.query)), body, key)
                status, raw = 200, json.dumps(answer).encode()
            except Refused as refused:
                status, raw = refused.status, json.dumps(refused.body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(raw)))
            if url.path.endswith("/completions") and status == 200:
                self.send_header("x-litellm-response-cost", str(ANSWER_COST_USD))
            self.end_headers()
            self.wfile.write(raw)

        do_GET = do_POST = _serve  # noqa: N815 (its base's names)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    proxy.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield proxy
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
