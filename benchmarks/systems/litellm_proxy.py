"""LiteLLM Proxy, with virtual keys and budgets in PostgreSQL, and without a database.

`start`, a script outside this repository (--litellm-proxy-start), installs it and runs it with one worker and a
database. Further proxies are run as that one was, by its own command line with another number of workers.
"""

import json
import os
import secrets
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from benchmarks.load import Target
from benchmarks.procfs import Roots, trees
from benchmarks.systems.base import Bench, NotHere, System, chat_body, expected, start_process
from benchmarks.systems.databases import Database
from scripts.processes import free_port

#: Installing takes a minute or two, and importing it on a busy machine half of one.
PATIENCE_S = 400
BUDGET_USD = 1_000_000
LIVE = "/health/liveliness"


@dataclass
class Installation:
    """The `start` script, where it installs to, and the one proxy that it has started."""

    bench: Bench
    script: Path
    home: Path
    master_key: str = field(default_factory=lambda: f"sk-{secrets.token_hex(24)}")
    port: int = 0
    pid: int = 0
    key: str = ""
    database: Database | None = None

    def start(self, behaviours: list[str]) -> None:
        """Once, whoever asks first. Raises NotHere."""
        if self.pid:
            return
        if not self.script.exists():
            raise NotHere(f"there is no {self.script}; --litellm-proxy-start names another script")
        self.port, self.database = free_port(), Database.start(self.bench, "litellm")
        config = self.write_config("litellm-keys", behaviours)
        command = ["bash", str(self.script), "--port", str(self.port), "--config", str(config)]
        command += ["--database-url", self.database.url, "--home", str(self.home)]
        process = start_process(self.bench, "litellm-keys", command, port=self.port, ready=LIVE, within_s=PATIENCE_S)
        self.pid = process.pid
        self.key = self._make_key(behaviours)

    def write_config(self, name: str, behaviours: list[str]) -> Path:
        """A model for each behaviour of the provider; JSON is YAML, too."""
        models = [
            {
                "model_name": behaviour,
                "litellm_params": {
                    "model": "openai/gpt-4o-mini",
                    "api_base": self.bench.provider_url(behaviour),
                    "api_key": "sk-provider",
                },
            }
            for behaviour in behaviours
        ]
        config = {
            "model_list": models,
            "litellm_settings": {"telemetry": False, "drop_params": True, "num_retries": 0},
            "general_settings": {"master_key": self.master_key},
        }
        path = self.bench.folder / f"{name}.yaml"
        path.write_text(json.dumps(config, indent=1))
        return path

    def _make_key(self, behaviours: list[str]) -> str:
        """Of a team with a budget, as a customer of the proxy would have it."""
        headers = {"Authorization": f"Bearer {self.master_key}"}
        limits = {"models": behaviours, "max_budget": BUDGET_USD}
        with httpx.Client(
            base_url=f"http://127.0.0.1:{self.port}", headers=headers, timeout=60, trust_env=False
        ) as api:
            api.post("/team/new", json={"team_id": "team_bench", **limits}).raise_for_status()
            made = api.post("/key/generate", json={"team_id": "team_bench", **limits}).raise_for_status()
        return str(made.json()["key"])

    def proxy_process(self) -> tuple[list[str], dict[str, str]]:
        """The command line and the environment of the proxy that `start` has started."""
        for pid in trees({"all": [self.pid]})["all"]:
            command = Path(f"/proc/{pid}/cmdline").read_text().split("\0")[:-1]
            if "--num_workers" in command and not any(part.endswith("prepare_database.py") for part in command):
                environment = Path(f"/proc/{pid}/environ").read_text().split("\0")
                return command, dict(part.split("=", 1) for part in environment if "=" in part)
        raise NotHere("the proxy's process was not found below its start script")


class LiteLLMProxy(System):
    """One of the proxies: with keys or without a database, with so many workers."""

    def __init__(self, installation: Installation, *, has_keys: bool, workers: int = 1) -> None:
        super().__init__(installation.bench)
        self.installation, self.has_keys, self.workers = installation, has_keys, workers
        kind = "keys" if has_keys else "bare"
        self.name = f"litellm-{kind}" + (f"-{workers}" if workers > 1 else "")
        self.title = "LiteLLM Proxy 1.109.1: " + (
            "virtual key, team and key budget, spend on record"
            if has_keys
            else "its master key only, nothing on record"
        )
        self.processes = f"{workers} worker" + ("; PostgreSQL, through a WASM query engine" if has_keys else "")

    def start(self, behaviours: list[str]) -> None:
        installation = self.installation
        installation.start(behaviours)
        if self.has_keys and self.workers == 1:
            self.port, self.pid = installation.port, installation.pid
            return
        command, environment = installation.proxy_process()
        self.port = free_port()
        changes = {"--num_workers": str(self.workers), "--port": str(self.port)}
        if not self.has_keys:
            environment.pop("DATABASE_URL", None)
            changes["--config"] = str(installation.write_config(self.name, behaviours))
        for option, value in changes.items():
            command[command.index(option) + 1] = value
        process = start_process(
            self.bench, self.name, command, port=self.port, ready=LIVE, within_s=PATIENCE_S, env=environment
        )
        self.pid = process.pid

    def roots(self) -> Roots:
        database = self.installation.database
        return {"proxy": [self.pid], **({"postgres": [database.pid]} if self.has_keys and database else {})}

    def statements(self) -> int | None:
        database = self.installation.database
        return database.statements() if self.has_keys and database else None

    def target(self, behaviour: str, *, clients: int = 1, stream: bool = False) -> Target:
        key = self.installation.key if self.has_keys else self.installation.master_key
        headers = {"Authorization": f"Bearer {key}"}
        body = chat_body(behaviour, stream=stream)
        return Target(self.port, ["/v1/chat/completions"], body, headers, expect=expected(stream=stream))


def proxies(bench: Bench, script: Path, home: Path, *, most_workers: int) -> list[System]:
    """With and without keys, with each number of workers."""
    installation = Installation(bench, script, home)
    return [
        LiteLLMProxy(installation, has_keys=has_keys, workers=workers)
        for has_keys in (True, False)
        for workers in range(1, most_workers + 1)
    ]


def default_script(root: Path) -> Path:
    """Beside the repository, unless LITELLM_PROXY_START names it."""
    return Path(os.environ.get("LITELLM_PROXY_START", root.parent / "shared" / "litellm-proxy" / "start"))
