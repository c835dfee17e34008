"""What the documents say of paths, calls, codes and settings is what there is."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.urls import URLPattern, URLResolver, get_resolver

from config import errors
from modelgroups.gateway.parameters import ALLOWED
from tests.support.api import Tenant

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = sorted(
    [
        *(ROOT / name for name in ("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md")),
        *ROOT.glob("docs/**/*.md"),
    ]
)
TEXTS = {path.relative_to(ROOT).as_posix(): path.read_text() for path in DOCUMENTS}

#: A path of the repository in backquotes: with a folder, and without placeholders.
PATH = re.compile(r"`([\w.-]+/[\w./-]*)`")
FOLDERS = {path.name for path in ROOT.iterdir() if path.is_dir()} - {"admin"}
#: Made by `make run`.
MADE = (".local/", ".venv/")

SAMPLES = {"organization_id": "o", "team_id": "t", "group_name": "g", "job_id": "j"}
KEY_ID = "0b9b6d3e-5e0c-4b57-a3a6-2d1b0c6f7a51"


def rows(document: str, columns: int) -> Iterator[list[str]]:
    """The rows of a document's tables with so many columns."""
    for line in TEXTS[document].splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("|") and len(cells) == columns and not set(line) <= set("|- "):
            yield cells


CALLS = [cells for cells in rows("docs/api.md", 4) if "/api/" in cells[0]]


@pytest.mark.parametrize("document", TEXTS)
def test_links_lead_somewhere(document: str) -> None:
    links = re.findall(r"\]\(([^)#]+)[^)]*\)", TEXTS[document])
    pictures = re.findall(r"(?:src|href)=\"([^\"#]+)\"", TEXTS[document])
    for target in [*links, *pictures]:
        if not target.startswith("http"):
            assert ((ROOT / document).parent / target).exists(), target


@pytest.mark.parametrize("document", TEXTS)
def test_paths_exist(document: str) -> None:
    for path in PATH.findall(TEXTS[document]):
        if path.split("/")[0] in FOLDERS and not path.startswith(MADE):
            assert (ROOT / path).exists(), path


def test_make_targets_exist() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for text in TEXTS.values():
        assert set(re.findall(r"`make ([a-z]+)", text)) <= targets


def test_the_index_of_decisions_is_complete() -> None:
    for path in (ROOT / "docs" / "adr").glob("0*.md"):
        title = path.read_text().splitlines()[0].removeprefix(f"# {int(path.name[:4])}. ")
        assert f"| [{path.name[:4]}]({path.name}) | {title} |" in TEXTS["docs/adr/README.md"]


def _paths(patterns: list[URLPattern | URLResolver], prefix: str) -> Iterator[tuple[str, URLPattern]]:
    for pattern in patterns:
        path = prefix + str(pattern.pattern)
        if isinstance(pattern, URLResolver):
            yield from _paths(pattern.url_patterns, path)
        else:
            yield re.sub(r"<\w+:(\w+)>", r"{\1}", path), pattern


def test_the_table_of_calls_is_complete_and_says_what_open_mode_lets_through() -> None:
    documented = {tuple(cells[0].strip("`").split()): cells[3] == "no key" for cells in CALLS}
    actual = {}
    for path, pattern in _paths(get_resolver().url_patterns, "/"):
        view = getattr(pattern.callback, "cls", None)
        if not path.startswith("/api/") or path in ("/api/schema", "/api/docs"):
            continue
        for method in ("GET", "POST", "PUT", "PATCH", "DELETE"):
            if hasattr(view, method.lower()):
                actual[method, path] = method in view.open_methods  # type: ignore[union-attr]
    assert documented == actual


@pytest.mark.parametrize("call", [cells[0].strip("`") for cells in CALLS if not cells[1]])
def test_a_teams_key_is_refused_where_the_table_names_only_operators(tenant: Tenant, call: str) -> None:
    method, path = call.split()
    path = path.format(organization_id="org_a", team_id=tenant.team_id, group_name=tenant.group_name, key_id=KEY_ID)
    answer = getattr(tenant.api, method.lower())(path)
    assert (answer.status_code, answer.json()["code"]) == (403, "operator_required")


def test_the_table_of_codes_is_complete() -> None:
    documented: dict[str, str] = {}
    for status, codes, _when in rows("docs/api.md", 3):
        statuses = re.findall(r"\d{3}", status)
        names = re.findall(r"`(\w+)`", codes)
        if statuses and names:
            documented |= dict(zip(names, statuses if len(statuses) > 1 else statuses * len(names), strict=True))
    actual = {**errors.STATUS, "insufficient_credits": 402, "internal_error": 500}
    assert documented == {code: str(status) for code, status in actual.items()}


def test_the_parameters_of_a_config_are_complete() -> None:
    table = TEXTS["docs/api.md"].partition("**`config` of a model**")[2].partition("## Keys")[0]
    documented = {
        name for cells in re.findall(r"^\| (`.*?) \|", table, re.MULTILINE) for name in re.findall(r"`(\w+)`", cells)
    }
    assert documented == set(ALLOWED)


def test_every_setting_is_documented() -> None:
    source = (ROOT / "config" / "settings.py").read_text()
    names = set(re.findall(r"env\.\w+\(\s*\"([A-Z_]+)\"", source)) | set(re.findall(r"_secret\(\"([A-Z_]+)\"", source))
    names |= set(re.findall(r"\$\{([A-Z_]+):-", (ROOT / "Procfile").read_text()))
    assert len(names) > 20
    documented = set(re.findall(r"`([A-Z_]+)`", TEXTS["docs/operations.md"]))
    assert names - documented == set()


def test_commands_exist() -> None:
    commands = {path.stem for path in ROOT.glob("*/management/commands/*.py")}
    for text in TEXTS.values():
        for name in re.findall(r"manage\.py (\w+)", text):
            assert name in commands | {"migrate", "check", "createsuperuser", "makemigrations", "shell"}, name


def test_nothing_private_is_written() -> None:
    for text in TEXTS.values():
        assert not re.search(r"(?<![\w.])/(work|tmp|root|home)/|shared/", text)
