# Everything a developer types. Each target installs what it needs into .venv, from hash-locked requirements.

PYTHON ?= python3
BIN := .venv/bin
# One more than there are cores, because many tests wait.
TEST_PROCESSES ?= $(shell expr $$(nproc 2>/dev/null || echo 2) + 1)
SERVICE := $(BIN)/python manage.py
LOCK := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-emit-find-links --custom-compile-command "make lock" $(UPGRADE)

# Settings as in production, for the checks; the secrets are throw-away, and no server is asked.
PRODUCTION := env -u DJANGO_DEBUG AUTH_MODE=strict DJANGO_ALLOWED_HOSTS=jobs.example.com \
	DJANGO_SECRET_KEY=only-for-the-checks-of-make-lint-0123456789-abcdefghijklmnopqrstuvwxyz \
	FIELD_ENCRYPTION_KEYS=b25seS1mb3ItdGhlLWNoZWNrcy1vZi1tYWtlLWxpbnQ= \
	DATABASE_URL=postgresql://nobody@127.0.0.1:1/nothing REDIS_URL=redis://127.0.0.1:1/0

# Without compiled bytecode every start costs three times as much.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help run proxy test screenshots lint format lock shell clean ci bench install-local install-dev
.DEFAULT_GOAL := help

help: ## Show this list
	@sed -n 's/^\([a-z]*\):.* ## \(.*\)/  make \1\t\2/p' Makefile | expand -t 16

run: install-local ## Start everything on this machine, with a demo team, until Ctrl-C
	@exec $(BIN)/python -m scripts.run

proxy: install-local ## Start a real LiteLLM Proxy for development, until Ctrl-C
	@exec $(BIN)/python -m scripts.proxy

test: install-dev ## Run the tests (ARGS="-k ledger -x" for some of them, in one process)
ifdef ARGS
	@$(BIN)/python -m pytest $(ARGS)
else
	@$(BIN)/python -m pytest -m alone
	@$(BIN)/python -m pytest -m "not alone" -n $(TEST_PROCESSES) --dist loadscope --no-loadscope-reorder
endif

screenshots: install-dev ## Take the README's pictures of the console anew, into docs/images (needs Chromium)
	@mkdir -p docs/images
	@SCREENSHOTS=docs/images REFUSE_SKIPS=1 $(BIN)/python -m pytest tests/browser/test_looks.py

lint: install-dev ## Check style, types, layers, migrations and production settings
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(PRODUCTION) $(BIN)/mypy .
	$(BIN)/lint-imports
	$(PRODUCTION) $(BIN)/python -W "ignore:Got an error checking a consistent migration history" \
		manage.py makemigrations --check --dry-run
	$(PRODUCTION) $(SERVICE) check --deploy --fail-level WARNING

format: install-dev ## Put the code into the house style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

lock: install-dev ## Lock requirements*.in into requirements*.txt (UPGRADE=--upgrade for newer releases)
	$(LOCK) requirements.in -o requirements.txt
	$(LOCK) requirements-local.in -o requirements-local.txt
	$(LOCK) requirements-dev.in -o requirements-dev.txt

shell: install-local ## Open Django's shell on what `make run` is serving
	@test -f .local/server.env || { echo "Nothing is running: start 'make run' in another terminal."; exit 1; }
	@set -a; . ./.local/server.env; exec $(SERVICE) shell

bench: install-dev ## Measure it beside its peers, 15 minutes (ARGS="--quick --only ours": two)
	@exec $(BIN)/python -m benchmarks $(ARGS)

clean: ## Stop what runs, and remove .venv, .local and caches
	@if [ -x $(BIN)/python ]; then $(BIN)/python -m scripts.clean; else $(PYTHON) -m scripts.clean; fi

ci: ## Do what CI does
	@.ci/run

install-local:
	@$(PYTHON) scripts/bootstrap.py local

install-dev:
	@$(PYTHON) scripts/bootstrap.py dev
