# Everything a developer does with this project; `make help` lists it.
# The environment in .venv is made on first use: see tests/support/make_env.py.

SHELL := /bin/sh
PYTHON ?= python3
BIN := .venv/bin
# Tests and tools must not see the modules of another project.
CLEAN_ENV := env -u PYTHONPATH -u PYTHONHOME
PYTEST := $(CLEAN_ENV) $(BIN)/python -m pytest
LOCK := uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-annotate --no-header pyproject.toml
LOCK_NOTE := \# Exact versions with hashes for every platform; written by `make lock`, do not edit.

.DEFAULT_GOAL := help
.PHONY: help run demo test suite check lint test-clients test-faults test-panes walk bench docs pictures screens lock clean env-run env-dev

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1|\2/p' Makefile | awk -F'|' '{printf "%-22s%s\n", $$1, $$2}'

demo: env-run ## see it work on simulated traffic: no key, no account, no client
	@$(BIN)/sbgw-tui --demo

run: env-run ## start the gateway and its screen (more arguments: make run ARGS="--port 9000")
	@$(BIN)/sbgw-tui $(ARGS)

check: lint ## formatting, lint, types, layers and architecture tests
	@$(PYTEST) -q tests/architecture

test: env-dev ## everything in check, and the whole test suite
	@$(MAKE) --no-print-directory -j2 lint suite

suite: env-dev
	@$(PYTEST) -q -n 2 --dist worksteal -m "not clients and not faults" $(ARGS)

test-clients: env-dev ## drive the real Claude Code through the gateway (fetched with npm)
	@CLIENT_CACHE="$(CURDIR)/.client-cache" $(PYTEST) -q -m clients -o timeout=1800 $(ARGS)

test-faults: env-dev ## the heavier runs: the fault matrix, kill -9 under load, installing, the doctor
	@$(PYTEST) -q -m faults -o timeout=1800 $(ARGS)

test-panes: env-dev ## what docs/panes.md lists: programs and the real agents in panes, under tmux
	@CLIENT_CACHE="$(CURDIR)/.client-cache" $(PYTEST) -q -o timeout=1800 tests/e2e/test_panes.py \
		tests/clients/test_panes.py tests/e2e/test_hand_over.py tests/tui/terminal $(ARGS)

walk: ## a new user's whole way, from clone to uninstall (quicker: ARGS=--without-tests)
	@$(PYTHON) tests/walk.py $(ARGS)

fuzz: env-dev ## feed the six parsers of foreign input with nonsense, SECONDS each (60)
	@FUZZ_EXAMPLES=2000 FUZZ_SECONDS=$(or $(SECONDS),60) $(PYTEST) -q tests/fuzz -o timeout=36000 $(ARGS)
	@$(CLEAN_ENV) $(BIN)/python tests/fuzz/million.py 1000000

soak: env-dev ## many streams, failing vendors, a locked and full disk, signals, kills: SECONDS (300)
	@SOAK_SECONDS=$(or $(SECONDS),300) $(CLEAN_ENV) $(BIN)/python tests/soak/soak.py

figures: env-dev ## the figures of reliability, at full size: takes an hour (see docs/faults.md)
	@$(CLEAN_ENV) $(BIN)/python tests/soak/figures.py all

bench: env-dev ## the benchmarks, each as a table of ratios measured in one run
	@for bench in tests/benchmarks/bench_*.py; do \
		echo "== $$bench"; $(CLEAN_ENV) $(BIN)/python "$$bench" || exit 1; done

lint: env-dev
	@$(CLEAN_ENV) $(BIN)/ruff check .
	@$(CLEAN_ENV) $(BIN)/ruff format --check .
	@$(CLEAN_ENV) $(BIN)/mypy
	@$(CLEAN_ENV) $(BIN)/lint-imports

docs: env-run ## write the key table of the README from the code
	@$(CLEAN_ENV) $(BIN)/python tests/support/readme_parts.py

pictures: env-dev ## render the README's pictures from the program on the demo's traffic
	@$(CLEAN_ENV) $(BIN)/python tests/support/make_pictures.py

screens: env-dev ## write the screens that tests expect anew, to be looked at before a commit
	@$(CLEAN_ENV) UPDATE_SCREENS=1 $(BIN)/python -m pytest -q -m "faults or not faults" tests/tui/test_expected_screens.py -k expected_to_be

lock: ## write the lock files anew (needs uv; newer versions: make lock UPGRADE=--upgrade)
	@command -v uv >/dev/null || { echo "make lock needs uv" >&2; exit 1; }
	@$(LOCK) $(UPGRADE) --group build --output-file requirements.lock
	@$(LOCK) $(UPGRADE) --group dev --extra panes --output-file requirements-dev.lock
	@sed -n 's/^panes = \["\(.*\)"\]$$/\1/p' pyproject.toml | $(LOCK:pyproject.toml=-) \
		--constraint requirements-dev.lock --output-file requirements-panes.lock
	@for lock in requirements.lock requirements-dev.lock requirements-panes.lock; do \
		{ echo '$(LOCK_NOTE)'; grep -v '^#' $$lock; } > $$lock.new && mv $$lock.new $$lock; done

clean: ## remove .venv, caches and build outputs
	@rm -rf .venv build dist .mypy_cache .ruff_cache .import_linter_cache .hypothesis .pytest_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

env-run:
	@$(PYTHON) -I tests/support/make_env.py run

env-dev:
	@$(PYTHON) -I tests/support/make_env.py dev
