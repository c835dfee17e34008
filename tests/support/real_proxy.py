"""The real LiteLLM Proxy, with a database of its own, for the tests that must not believe a fake.

What installs and starts it is what `make proxy` uses (scripts/proxy.py), if there is a program for that. Without one
these tests are skipped, which CI refuses: what PyPI has needs an engine from the network besides.
"""

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from scripts.processes import free_port, spawn, stop
from scripts.proxy import command
from tests.support.fake_provider import COMPLETION_TOKENS, PROMPT_TOKENS
from tests.support.stack import clean_environment, eventually

#: The first start on a machine installs it.
START_TIMEOUT_S = 600
MASTER_KEY = "sk-master-0123456789abcdef0123456789abcdef"
#: What the dear model costs per answer of the fake provider, so that a budget is soon spent.
DEAR_INPUT_USD, DEAR_OUTPUT_USD = "0.01", "0.02"
DEAR_COST_USD = PROMPT_TOKENS * 0.01 + COMPLETION_TOKENS * 0.02
#: The names of its models, and how the fake provider behaves for each.
MODELS = {
    "cheap-model": "ok",
    "dear-model": "ok",
    "unpriced-model": "ok",
    "other-model": "ok",
    "failing-model": "status-500",
    "refusing-model": "status-400",
    "unauthorized-model": "status-401",
    "limited-model": "limited-7s",
    "echo-model": "echo",
}


def config(provider_url: str) -> dict[str, Any]:
    """The proxy's configuration. Its retries and fallbacks are on, as an operator's may be: ours must not use them."""
    models = []
    for name, behaviour in MODELS.items():
        parameters: dict[str, Any] = {
            "model": "openai/gpt-4o-mini",
            "api_base": f"{provider_url}/{behaviour}/v1",
            "api_key": "sk-fake",
        }
        if name == "dear-model":
            parameters |= {
                "model": "openai/dear",
                "input_cost_per_token": float(DEAR_INPUT_USD),
                "output_cost_per_token": float(DEAR_OUTPUT_USD),
            }
        if name == "unpriced-model":
            parameters["model"] = "openai/nobody-knows-its-price"
        models.append({"model_name": name, "litellm_params": parameters})
    return {
        "model_list": models,
        "litellm_settings": {"num_retries": 2, "fallbacks": [{"failing-model": ["cheap-model"]}], "drop_params": True},
        "general_settings": {"master_key": MASTER_KEY, "proxy_batch_write_at": 2},
    }


@dataclass
class RealProxy:
    """A running proxy; it can be killed and started again, on the same port and database."""

    folder: Path
    database_url: str
    provider_url: str
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def log(self) -> Path:
        return self.folder / "litellm-proxy.log"

    def spawn(self) -> None:
        """Start it; `wait` is apart, because that takes half a minute in which others can start, too."""
        config_file = self.folder / "litellm-proxy.yaml"
        config_file.write_text(json.dumps(config(self.provider_url)))  # JSON is YAML
        self.log.touch()
        arguments = command(port=self.port, config=config_file, database_url=self.database_url)
        environment = clean_environment()
        self.process = spawn(arguments, log=self.log, stop_signal=signal.SIGTERM, cwd=self.folder, env=environment)

    def wait(self) -> None:
        """Until it answers."""

        def answers() -> bool:
            assert self.process is not None
            assert self.process.poll() is None, self.log.read_text()[-2000:]
            with suppress(httpx.HTTPError):
                return httpx.get(f"{self.url}/health/liveliness", timeout=2, trust_env=False).status_code == 200
            time.sleep(0.3)
            return False

        eventually(answers, "LiteLLM Proxy answers", within_s=START_TIMEOUT_S, log=self.log)

    def kill(self) -> None:
        """As kill -9 does, with all that it has started."""
        assert self.process is not None
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(10)
        self.process = None

    def close(self) -> None:
        if self.process is not None:
            stop(self.process, signal.SIGTERM, patience_s=15)
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)

    # What an operator may do to it by hand

    def admin(self, method: str, path: str, body: Any = None, **params: Any) -> Any:
        reply = httpx.request(
            method,
            f"{self.url}{path}",
            json=body,
            params=params,
            headers={"Authorization": f"Bearer {MASTER_KEY}"},
            timeout=30,
            trust_env=False,
        )
        assert reply.status_code == 200, reply.text
        return reply.json()

    def team(self, team_id: str) -> dict[str, Any]:
        """The team's row, with its keys by their hashes."""
        found = self.admin("GET", "/team/info", team_id=team_id)
        return {**found["team_info"], "keys": {key["token"]: key for key in found["keys"]}}

    def chat(self, key: str, model: str = "cheap-model", **fields: Any) -> httpx.Response:
        """As an integrating app calls it."""
        body = {"model": model, "messages": [{"role": "user", "content": "Hello"}], **fields}
        headers = {"Authorization": f"Bearer {key}"}
        url = f"{self.url}/v1/chat/completions"
        return httpx.post(url, json=body, headers=headers, timeout=30, trust_env=False)


@contextmanager
def real_proxy(folder: Path, *, database_url: str, provider_url: str) -> Iterator[RealProxy]:
    """A proxy that is being started."""
    proxy = RealProxy(folder, database_url, provider_url)
    try:
        proxy.spawn()
        yield proxy
    finally:
        proxy.close()
