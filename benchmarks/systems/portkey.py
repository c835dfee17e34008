"""The Portkey gateway, open source: it routes and translates, without keys of its own and without a database."""

import os
import shutil
import subprocess

from benchmarks.load import Target
from benchmarks.procfs import Roots
from benchmarks.systems.base import NotHere, System, chat_body, expected, start_process
from scripts.processes import free_port, tail
from tests.support.stack import ROOT

LOCK = ROOT / "benchmarks" / "portkey"


class Portkey(System):
    """Installed by npm, from a lock with hashes, at the first time."""

    name = "portkey"
    title = "Portkey gateway 1.15.2: routing and translation; no key checked, nothing on record"
    processes = "1 Node.js process"

    def start(self, behaviours: list[str]) -> None:
        folder = self.bench.folder / "portkey"
        self._install()
        self.port = free_port()
        program = folder / "node_modules" / "@portkey-ai" / "gateway" / "build" / "start-server.js"
        self.process = start_process(
            self.bench,
            self.name,
            ["node", str(program), f"--port={self.port}", "--headless"],
            port=self.port,
            # It refuses to ask private addresses otherwise.
            env={**os.environ, "NODE_ENV": "production", "TRUSTED_CUSTOM_HOSTS": "127.0.0.1"},
        )

    def _install(self) -> None:
        if not (shutil.which("node") and shutil.which("npm")):
            raise NotHere("there is no Node.js with npm on PATH")
        folder, log = self.bench.folder / "portkey", self.bench.log("portkey-install")
        lock = (LOCK / "package-lock.json").read_bytes()
        installed = folder / "installed.json"
        if installed.exists() and installed.read_bytes() == lock:
            return
        folder.mkdir(exist_ok=True)
        for name in ("package.json", "package-lock.json"):
            shutil.copy(LOCK / name, folder / name)
        command = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--silent"]
        with log.open("w") as output:
            done = subprocess.run(command, cwd=folder, stdout=output, stderr=subprocess.STDOUT, check=False)
        if done.returncode != 0:
            raise NotHere(f"npm could not install it: {tail(log, 3)}")
        installed.write_bytes(lock)

    def roots(self) -> Roots:
        return {"node": [self.process.pid]}

    def target(self, behaviour: str, *, clients: int = 1, stream: bool = False) -> Target:
        headers = {
            "Authorization": "Bearer sk-provider",
            "x-portkey-provider": "openai",
            "x-portkey-custom-host": self.bench.provider_url(behaviour),
        }
        return Target(
            self.port,
            ["/v1/chat/completions"],
            chat_body("gpt-4o-mini", stream=stream),
            headers,
            expect=expected(stream=stream),
        )
