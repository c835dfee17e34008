"""`make proxy`: a real LiteLLM Proxy with keys, teams and budgets on this machine, until Ctrl-C or SIGTERM.

Its PostgreSQL is an embedded one. LITELLM_PROXY_START may name a program that installs and starts the proxy (with the
options --port, --home, --config and --database-url); one that lies beside the checkout is found. Without, it is
installed from PyPI into .local/, where Prisma fetches its engine from the network.
"""

import json
import os
import secrets
import shlex
import signal
import subprocess
import sys
import venv
from contextlib import ExitStack
from pathlib import Path
from typing import NoReturn

import httpx

from scripts.embedded import embedded_postgres
from scripts.processes import CannotStart, claimed, spawn, stop, tail, wait_until

ROOT = Path(__file__).resolve().parent.parent
HOME = ROOT / ".local" / "litellm-proxy"
#: Sourced before `make run`: the two settings that make the service use this proxy.
PROXY_ENV = ROOT / ".local" / "proxy.env"
PORT = 4000
RELEASE = "1.109.1"
START_TIMEOUT_S = 900
#: Asked at their providers where these have a key in the environment, else answered by LiteLLM itself.
MODELS = {"gpt-4o": "OPENAI_API_KEY", "gpt-4o-mini": "OPENAI_API_KEY", "claude-haiku-4-5": "ANTHROPIC_API_KEY"}


def start_program() -> Path | None:
    """What installs and starts the proxy, where there is such a program."""
    named = os.environ.get("LITELLM_PROXY_START")
    program = Path(named) if named else ROOT.parent / "shared" / "litellm-proxy" / "start"
    return program if program.is_file() else None


def home() -> Path:
    """Where it is installed, once for development and tests."""
    return Path(os.environ.get("LITELLM_PROXY_HOME") or HOME)


def command(*, port: int, config: Path, database_url: str) -> list[str]:
    """What runs the proxy in the foreground. Without a program for it, installs it first."""
    program = start_program()
    if program is not None:
        options = ["--port", str(port), "--home", str(home()), "--config", str(config)]
        return [str(program), *options, "--database-url", database_url]
    return [str(_installed() / "litellm"), "--config", str(config), "--host", "127.0.0.1", "--port", str(port)]


def _installed() -> Path:
    """The folder of the proxy's programs, installed from PyPI if they are not there yet."""
    folder = home() / "pypi"
    binaries, mark = folder / "bin", folder / f"installed-{RELEASE}"
    if not mark.exists():
        print(f"  Installing LiteLLM Proxy {RELEASE} into {folder} …", flush=True)
        venv.create(folder, with_pip=True, clear=True)
        wanted = [f"litellm[proxy]=={RELEASE}", "prisma", "opentelemetry-api", "opentelemetry-sdk"]
        _run([str(binaries / "pip"), "install", "--quiet", *wanted])
        where = "import litellm_proxy_extras as e, os; print(os.path.dirname(e.__file__))"
        extras = subprocess.run([binaries / "python", "-c", where], capture_output=True, text=True, check=True).stdout
        environment = os.environ | {"PATH": f"{binaries}{os.pathsep}{os.environ.get('PATH', os.defpath)}"}
        _run([str(binaries / "prisma"), "generate", "--schema", f"{extras.strip()}/schema.prisma"], environment)
        mark.touch()
    return binaries


def _run(arguments: list[str], environment: dict[str, str] | None = None) -> None:
    if subprocess.run(arguments, env=environment, check=False).returncode != 0:
        raise CannotStart(f"This failed: {shlex.join(arguments)}")


def configuration(master_key: str) -> dict[str, object]:
    """The proxy's own configuration."""
    models = []
    for name, variable in MODELS.items():
        has_key = bool(os.environ.get(variable))
        parameters = {"api_key": f"os.environ/{variable}"} if has_key else {"mock_response": "Hello from the proxy"}
        models.append({"model_name": name, "litellm_params": {"model": name, **parameters}})
    settings = {"telemetry": False, "drop_params": True, "num_retries": 0}
    return {"model_list": models, "litellm_settings": settings, "general_settings": {"master_key": master_key}}


def run(stack: ExitStack) -> NoReturn:
    """Start it, say how to use it, and stop it with the stack."""
    HOME.mkdir(parents=True, exist_ok=True)
    stack.enter_context(claimed(HOME))
    port = int(os.environ.get("PORT") or PORT)
    secret = HOME / "master-key"
    if not secret.exists():
        secret.touch(mode=0o600)
        secret.write_text(f"sk-{secrets.token_hex(24)}")
    master_key = secret.read_text()
    config = HOME / "config.yaml"
    config.touch(mode=0o600)
    config.write_text(json.dumps(configuration(master_key), indent=2))  # JSON is YAML
    url = stack.enter_context(embedded_postgres(HOME / "postgres"))
    log = HOME / "proxy.log"
    log.write_text("")
    print("  Starting LiteLLM Proxy (the first time takes some minutes) …", flush=True)
    environment = os.environ | {"DATABASE_URL": url}
    arguments = command(port=port, config=config, database_url=url)
    process = spawn(arguments, log=log, stop_signal=signal.SIGTERM, cwd=HOME, env=environment)
    stack.callback(stop, process, signal.SIGTERM)
    if not wait_until(lambda: _answers(port), process, START_TIMEOUT_S, pause_s=0.5):
        raise CannotStart(f"LiteLLM Proxy did not start. The end of {log}:\n{tail(log, 40)}")
    stack.callback(PROXY_ENV.unlink, missing_ok=True)
    PROXY_ENV.touch(mode=0o600)
    PROXY_ENV.write_text(f"LITELLM_PROXY_URL=http://127.0.0.1:{port}\nLITELLM_MASTER_KEY={master_key}\n")
    print(
        f"""
LiteLLM Proxy answers on http://127.0.0.1:{port}, with {", ".join(MODELS)}. Ctrl-C stops it.
In another terminal:  set -a; . {PROXY_ENV.relative_to(ROOT)}; set +a; make run
""",
        flush=True,
    )
    process.wait()
    raise CannotStart(f"LiteLLM Proxy ended. The end of {log}:\n{tail(log, 40)}")


def _answers(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/health/liveliness", timeout=2, trust_env=False).status_code == 200
    except httpx.HTTPError:
        return False


def _stop(_signal: int, _frame: object) -> NoReturn:
    """Unwind once; a second Ctrl-C must not interrupt the stopping."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


def main() -> int:
    """0 when asked to stop, 1 when it did not start or died."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _stop)
    try:
        with ExitStack() as stack:
            run(stack)
    except KeyboardInterrupt:
        print("\nStopped.")
        return 0
    except CannotStart as error:
        print(f"\n✗ {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
