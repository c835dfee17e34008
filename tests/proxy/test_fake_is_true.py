"""The fake proxy answers as the real one does: the same requests to both, call by call."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from tests.support import fake_proxy as fake
from tests.support.real_proxy import MASTER_KEY, RealProxy

MARK = str(time.monotonic_ns())
TEAM, KEY, OTHER_KEY = f"team-{MARK}", f"sk-first-{MARK}", f"sk-second-{MARK}"
HASH = fake.hash_of(KEY)
BUDGET = {"models": ["dear-model"], "max_budget": "0.30"}


@dataclass(frozen=True)
class Step:
    """A request; `key` instead of the master key. Both proxies must answer alike."""

    method: str
    path: str
    body: Any = None
    params: dict[str, Any] | None = None
    key: str | None = None
    #: The real proxy counts a little later.
    after_s: float = 0


def chat(model: str, key: str = KEY, after_s: float = 0) -> Step:
    body = {"model": model, "messages": [{"role": "user", "content": "Hello"}]}
    return Step("POST", "/v1/chat/completions", body, key=key, after_s=after_s)


STEPS = [
    Step("GET", "/team/info", params={"team_id": TEAM}),
    Step("POST", "/team/update", {"team_id": TEAM, "max_budget": "1"}),
    Step("POST", "/team/delete", {"team_ids": [TEAM]}),
    Step("POST", "/team/new", {"team_id": TEAM, "team_alias": "A", "metadata": {"managed_by": "us"}, "blocked": False, **BUDGET}),
    Step("POST", "/team/new", {"team_id": TEAM}),
    Step("GET", "/key/info", params={"key": HASH}),
    Step("POST", "/key/update", {"key": HASH, "max_budget": "1"}),
    Step("POST", "/key/block", {"key": HASH}),
    Step("POST", "/key/delete", {"keys": [HASH]}),
    Step("POST", "/key/generate", {"key": "not-a-key", "team_id": TEAM}),
    Step("POST", "/key/generate", {"key": KEY, "team_id": TEAM, "key_alias": f"a-{MARK}", "key_type": "llm_api", "metadata": {"managed_by": "us"}, **BUDGET}),
    Step("POST", "/key/generate", {"key": KEY, "team_id": TEAM, "key_alias": f"a-{MARK}"}),
    Step("GET", "/key/info", params={"key": HASH}),
    Step("GET", "/team/info", params={"team_id": TEAM}),
    chat("cheap-model"),
    chat("dear-model", key=OTHER_KEY),
    chat("dear-model"),
    Step("POST", "/key/block", {"key": HASH}),
    chat("dear-model"),
    Step("POST", "/key/unblock", {"key": HASH}),
    Step("POST", "/team/update", {"team_id": TEAM, "blocked": True}),
    chat("dear-model"),
    Step("POST", "/team/update", {"team_id": TEAM, "blocked": False, "metadata": {"managed_by": "them"}}),
    Step("POST", "/team/update", {"team_id": TEAM, "models": ["no-default-models"]}),
    chat("dear-model"),
    Step("POST", "/team/update", {"team_id": TEAM, "models": ["dear-model"]}),
    chat("dear-model"),
    chat("dear-model", after_s=1),
    Step("POST", "/key/update", {"key": HASH, "max_budget": "5", "models": [], "allowed_routes": ["llm_api_routes"]}),
    Step("POST", "/team/update", {"team_id": TEAM, "max_budget": "5"}),
    chat("dear-model"),
    Step("POST", "/key/update", {"key": HASH, "duration": "1s"}),
    chat("dear-model", after_s=2),
    Step("POST", "/key/update", {"key": HASH, "duration": "-1"}),
    chat("dear-model"),
    Step("POST", "/key/update", {"key": HASH, "max_budget": "0"}),
    chat("dear-model"),
    Step("GET", "/key/info", params={"key": KEY}),
    Step("GET", "/v2/team/list", params={"page": 1, "page_size": 100}),
    Step("GET", "/key/list", params={"page": 1, "size": 100, "return_full_object": "true"}),
    Step("GET", "/key/list", params={"page": 1, "size": 100, "return_full_object": "true"}, key="sk-nobody"),
    Step("POST", "/key/generate", {"key": OTHER_KEY, "team_id": TEAM, "key_alias": f"b-{MARK}"}),
    Step("POST", "/key/delete", {"keys": [fake.hash_of(OTHER_KEY)]}),
    Step("POST", "/team/delete", {"team_ids": [TEAM]}),
    chat("dear-model"),
]  # fmt: skip

#: What changes from call to call, or is the real one's own affair.
NOT_COMPARED = {"message", "expires", "spend", "metadata", "total", "total_count", "total_pages", "calls"}


@pytest.fixture(scope="module")
def both(proxy: RealProxy) -> Iterator[tuple[httpx.Client, httpx.Client]]:
    with (
        fake.fake_proxy() as faked,
        httpx.Client(base_url=proxy.url, trust_env=False, timeout=30) as real_client,
        httpx.Client(base_url=faked.url, trust_env=False, timeout=30) as fake_client,
    ):
        yield real_client, fake_client


def send(client: httpx.Client, step: Step, master_key: str) -> httpx.Response:
    headers = {"Authorization": f"Bearer {step.key or master_key}"}
    return client.request(step.method, step.path, json=step.body, params=step.params, headers=headers)


def assert_alike(fake_part: Any, real_part: Any, where: str) -> None:
    """Whatever the fake says, the real one says: the same value, or for times and sums one of the same kind."""
    if isinstance(fake_part, dict):
        assert isinstance(real_part, dict), where
        for name in fake_part:
            if name not in NOT_COMPARED:
                assert name in real_part, f"{where}.{name}"
                assert_alike(fake_part[name], real_part[name], f"{where}.{name}")
            elif fake_part[name] is not None and name != "calls":
                assert type(real_part[name]) is type(fake_part[name]), f"{where}.{name}"
    elif isinstance(fake_part, list) and fake_part and isinstance(fake_part[0], dict):
        # Rows of ours among others.
        by_name = {row.get("token") or row.get("team_id") or str(n): row for n, row in enumerate(real_part)}
        for number, row in enumerate(fake_part):
            name = row.get("token") or row.get("team_id") or str(number)
            assert_alike(row, by_name[name], f"{where}[{name[:12]}]")
    elif isinstance(fake_part, str) and fake_part.startswith("sk-..."):
        # Four characters of the key, or of its hash, as the real one has it in its cache just then.
        assert str(real_part).startswith("sk-..."), where
    else:
        assert fake_part == real_part, where


def test_every_call_is_answered_alike(both: tuple[httpx.Client, httpx.Client]) -> None:
    real_client, fake_client = both
    for number, step in enumerate(STEPS):
        time.sleep(step.after_s)
        real, faked = send(real_client, step, MASTER_KEY), send(fake_client, step, fake.MASTER_KEY)
        where = f"{number}: {step.method} {step.path} {step.body or step.params}"
        assert faked.status_code == real.status_code, f"{where}\nfake: {faked.text}\nreal: {real.text}"
        assert_alike(faked.json(), real.json(), where)
        if step.path.endswith("completions") and real.status_code == 200:
            assert faked.headers["x-litellm-response-cost"] == real.headers["x-litellm-response-cost"]


def test_what_was_spent_is_told_alike(both: tuple[httpx.Client, httpx.Client]) -> None:
    """Of the keys of this test, once the real proxy has written it down."""
    real_client, fake_client = both
    body = {"team_id": f"{TEAM}-2", "team_alias": None, **BUDGET, "max_budget": "9"}
    key = {"key": f"{KEY}-2", "team_id": f"{TEAM}-2", "key_alias": f"c-{MARK}"}
    today = time.strftime("%Y-%m-%d", time.gmtime())
    params = {"start_date": today, "end_date": today, "page": 1, "page_size": 1000}
    steps = [Step("POST", "/team/new", body), Step("POST", "/key/generate", key), chat("dear-model", key=f"{KEY}-2")]
    for step in steps:
        assert send(real_client, step, MASTER_KEY).status_code == 200
        assert send(fake_client, step, fake.MASTER_KEY).status_code == 200
    name, activity = fake.hash_of(f"{KEY}-2"), Step("GET", "/team/daily/activity", params=params)

    def of_this_key(client: httpx.Client, master_key: str) -> Any:
        days = send(client, activity, master_key).json()["results"]
        groups = days[0]["breakdown"]["model_groups"] if days else {}
        return groups.get("dear-model", {}).get("api_key_breakdown", {}).get(name)

    ends = time.monotonic() + 60
    while (real := of_this_key(real_client, MASTER_KEY)) is None and time.monotonic() < ends:
        time.sleep(0.5)
    faked = of_this_key(fake_client, fake.MASTER_KEY)
    assert faked["metadata"]["team_id"] == real["metadata"]["team_id"]
    assert {**faked["metrics"], **real["metrics"]} == real["metrics"] | faked["metrics"]
    assert real["metrics"] | faked["metrics"] == real["metrics"]
