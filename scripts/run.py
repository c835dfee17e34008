"""`make run`: the whole service on this machine, with a demo team, until Ctrl-C or SIGTERM.

PostgreSQL and Redis are embedded unless DATABASE_URL and REDIS_URL name others; the processes are the
Procfile's. Everything it writes lies in .local/, and nothing it starts outlives it.
"""

import json
import os
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import NoReturn

import httpx
from honcho.environ import parse as parse_env_file

from scripts.embedded import embedded_postgres, embedded_redis
from scripts.processes import (
    RUN_MARK,
    CannotStart,
    claimed,
    end_strays,
    free_port,
    spawn,
    stop,
    tail,
    wait_until,
)

ROOT = Path(__file__).resolve().parent.parent
LOCAL = ROOT / ".local"
LOG = LOCAL / "log" / "server.log"
CREDENTIALS = LOCAL / "credentials.json"
#: Sourced by `make shell`: the settings of the running service.
SERVER_ENV = LOCAL / "server.env"
LOOPBACK = {"127.0.0.1", "localhost"}
EVERYWHERE = "0.0.0.0"  # noqa: S104 - if the caller wants it
HEALTH_TIMEOUT_S = 90
#: honcho kills after 5 s what does not stop.
STOP_TIMEOUT_S = 20

Environment = dict[str, str]


class Stopped(BaseException):
    """Ctrl-C or SIGTERM: not an error, so no `except Exception` may swallow it."""


def _stop_running(_signal: int, _frame: object) -> NoReturn:
    """Unwind once; a second Ctrl-C must not interrupt the stopping, which is bounded."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    raise Stopped


@contextmanager
def step(text: str) -> Iterator[None]:
    """A line of progress with the seconds it took."""
    print(f"  {text} … ", end="", flush=True)
    began = time.monotonic()
    try:
        yield
    except BaseException:
        print(flush=True)
        raise
    print(f"{time.monotonic() - began:.1f} s", flush=True)


# --- Settings -----------------------------------------------------------------------------------------------


def settings() -> Environment:
    """The environment of everything started here: the caller's, then .env's, then development's."""
    file = ROOT / ".env"
    env = parse_env_file(file.read_text()) if file.exists() else {}
    env = {name: value for name, value in (env | os.environ).items() if value}
    env.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    env.setdefault("DJANGO_DEBUG", "1")
    env.setdefault("HOST", "127.0.0.1")
    # Without keys only where nobody else gets in; the service refuses it without DEBUG.
    alone = env["HOST"] in LOOPBACK and env["DJANGO_DEBUG"].lower() in {"1", "true", "yes", "on"}
    env.setdefault("AUTH_MODE", "open" if alone else "strict")
    env["PORT"] = choose_port(env["HOST"], env.get("PORT"))
    env["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), env.get("PATH", os.defpath)])
    env["PYTHONUNBUFFERED"] = "1"
    return env


def choose_port(host: str, wanted: str | None) -> str:
    """The wanted port or a complaint; if none is wanted, 8000 or else any that is free."""
    if wanted and not wanted.isdigit():
        raise CannotStart(f"PORT is {wanted!r}, which is no number")
    if is_free(host, int(wanted or 8000)):
        return wanted or "8000"
    if wanted:
        raise CannotStart(f"Port {wanted} on {host} is taken. Choose another: make run PORT=8001")
    port = str(free_port(host))
    print(f"  Port 8000 is taken, so {port} it is")
    return port


def is_free(host: str, port: int) -> bool:
    """Whether nobody listens there, and we may."""
    with suppress(OSError), socket.create_server((host, port)):
        return True
    return False


def start_servers(stack: ExitStack, env: Environment) -> None:
    """Embedded servers for those that the environment does not name."""
    if "DATABASE_URL" not in env:
        with step("Starting PostgreSQL"):
            env["DATABASE_URL"] = stack.enter_context(embedded_postgres(LOCAL / "postgres"))
    if "REDIS_URL" not in env:
        with step("Starting Redis"):
            env["REDIS_URL"] = stack.enter_context(embedded_redis(LOCAL / "redis"))


def write_server_env(stack: ExitStack, env: Environment) -> None:
    """The settings that are not in the caller's environment, for `make shell`; gone when we are."""
    added = {name: value for name, value in env.items() if os.environ.get(name) != value and name != "PATH"}
    stack.callback(SERVER_ENV.unlink, missing_ok=True)
    SERVER_ENV.touch(mode=0o600)
    SERVER_ENV.write_text("".join(f"{name}={shlex.quote(value)}\n" for name, value in added.items()))


# --- The service --------------------------------------------------------------------------------------------


def manage(env: Environment, *arguments: str) -> None:
    """A management command, its output into the log. The checks that it skips are `make lint`'s."""
    command = [sys.executable, "manage.py", *arguments, "--skip-checks"]
    process = spawn(command, log=LOG, stop_signal=signal.SIGTERM, cwd=ROOT, env=env)
    try:
        code = process.wait()
    finally:
        stop(process, signal.SIGTERM)
    if code != 0:
        raise CannotStart(f"manage.py {arguments[0]} failed:\n{tail(LOG)}")


@contextmanager
def processes(env: Environment) -> Iterator[subprocess.Popen[bytes]]:
    """The Procfile's, under honcho, which stops all when one stops."""
    command = [sys.executable, "-m", "honcho", "start", "--no-colour", "--env", os.devnull]
    marked = env | {RUN_MARK: str(LOCAL)}
    honcho = spawn(command, log=LOG, stop_signal=signal.SIGTERM, cwd=ROOT, env=marked)
    try:
        yield honcho
    finally:
        stop(honcho, signal.SIGTERM, patience_s=STOP_TIMEOUT_S)
        end_strays(LOCAL)


def wait_for_health(url: str, honcho: subprocess.Popen[bytes]) -> None:
    """Until web answers and finds its database well."""

    def is_healthy() -> bool:
        with suppress(httpx.HTTPError):
            return client.get("/health").status_code == 200
        return False

    with httpx.Client(base_url=url, timeout=5, trust_env=False) as client:
        if not wait_until(is_healthy, honcho, HEALTH_TIMEOUT_S, pause_s=0.2):
            raise CannotStart(f"{url}/health did not become 200. The end of {LOG}:\n{tail(LOG, 40)}")


def run_workflow(env: Environment, url: str, credentials: dict[str, str]) -> bool:
    """The guide's example. If it fails the service still serves: that is how one finds out why."""
    print("\nThe integration guide's résumé workflow, as the demo team:\n", flush=True)
    command = [sys.executable, "scripts/resume_workflow.py"]
    command += ["--base-url", url, "--team", credentials["team_id"]]
    workflow = subprocess.run(command, cwd=ROOT, env=env | {"TEAM_KEY": credentials["team_key"]}, check=False)
    if workflow.returncode != 0:
        print(f"\n✗ The workflow failed. The end of {LOG}:\n{tail(LOG)}", flush=True)
    return workflow.returncode == 0


def describe(url: str, env: Environment, credentials: dict[str, str]) -> None:
    """All that one needs to use it."""
    body = json.dumps({"team_id": credentials["team_id"], "job_type": "first_steps"})
    print(f"""
Ready, with AUTH_MODE={env["AUTH_MODE"]}. Ctrl-C stops everything.

  API            {url}/api
  Try it out     {url}/api/docs
  Console        {url}/admin (user {credentials["console_user"]}, password {credentials["console_password"]})
  Health         {url}/health
  Operator key   {credentials["operator_key"]}
  Team           {credentials["team_id"]}
  Team key       {credentials["team_key"]}
  Log            {LOG.relative_to(ROOT)}

A first call:

  curl -X POST {url}/api/jobs/create \\
    -H 'Authorization: Bearer {credentials["team_key"]}' \\
    -H 'Content-Type: application/json' \\
    -d '{body}'
""")
    sys.stdout.flush()


def run(stack: ExitStack) -> NoReturn:
    """Start everything, in order; the stack stops it, in reverse."""
    stack.enter_context(claimed(LOCAL))
    end_strays(LOCAL)
    LOCAL.chmod(0o700)
    LOG.parent.mkdir(exist_ok=True)
    if LOG.exists():
        LOG.replace(LOG.with_suffix(".log.1"))
    env = settings()
    url = f"http://{'127.0.0.1' if env['HOST'] == EVERYWHERE else env['HOST']}:{env['PORT']}"
    start_servers(stack, env)
    with step("Migrating the database"):
        manage(env, "migrate", "--noinput")
    honcho = stack.enter_context(processes(env))
    with step("Seeding the demo team, while web, workers and beat start"):
        manage(env, "seed_demo", "--credentials-file", str(CREDENTIALS))
    with step("Waiting for /health"):
        wait_for_health(url, honcho)
    credentials = json.loads(CREDENTIALS.read_text())
    write_server_env(stack, env)
    if not run_workflow(env, url, credentials):
        wait_for_health(url, honcho)
    describe(url, env, credentials)
    honcho.wait()
    raise CannotStart(f"A process ended, so all did. The end of {LOG}:\n{tail(LOG, 40)}")


def main() -> int:
    """0 when asked to stop, 1 when something did not start or died."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:  # as under nohup
            signal.signal(number, _stop_running)
    try:
        with ExitStack() as stack:
            run(stack)
    except Stopped:
        print("\nStopped.")
        return 0
    except (CannotStart, PermissionError) as error:
        print(f"\n✗ {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
