# Every command sets up what it needs by itself: Python >= 3.11, git and make are enough to begin with.
SHELL := /bin/sh
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

VENV   := .venv
BIN    := $(VENV)/bin
PYTHON ?= python3
UV     := $(shell command -v uv 2>/dev/null || echo .uv/bin/uv)
JOBS   ?= auto
# A test that fails is run once more, and named: many start real processes, on machines that others use as well.
RERUNS ?= 1
BENCH  ?= queue journal agents start autoscaler governor api chat

# The tests start hundreds of processes: byte code is kept, whatever the environment says.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: help setup demo ui up test check fix bench build lock clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## /{printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.uv/bin/uv:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Ez Aigent needs Python 3.11 or newer; this is %d.%d: set PYTHON=python3.12" % sys.version_info[:2])'
	@echo "uv is missing: installing it into .uv"
	@$(PYTHON) -m venv .uv && .uv/bin/pip install --quiet --disable-pip-version-check uv

$(VENV)/.ready: pyproject.toml requirements.lock | $(filter .uv/bin/uv,$(UV))
	@echo "setting up $(VENV)"
	@test -x $(BIN)/python || $(UV) venv --quiet --python '>=3.11' $(VENV)
	@$(UV) pip sync --quiet --python $(BIN)/python --require-hashes requirements.lock
	@$(UV) pip install --quiet --python $(BIN)/python --no-deps --editable .
	@touch $@

setup: $(VENV)/.ready ## Make the virtual environment

demo: $(VENV)/.ready ## Watch a small fleet turn tasks into checked commits (no key, no server)
	@$(BIN)/ezaigent demo
	@$(BIN)/python web/assets.py || echo "the dashboard could not be built; all else works" >&2

ui: $(VENV)/.ready ## Build the dashboard, if its sources changed
	@$(BIN)/python web/assets.py

up: $(VENV)/.ready ## Start a worker, its queue and the dashboard here
	@$(BIN)/python web/assets.py || echo "going on without the dashboard" >&2
	@$(BIN)/ezaigent up

check: $(VENV)/.ready ## Lint, format, types, import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/pyright

fix: $(VENV)/.ready ## Mend what ruff can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

test: check ## Everything: checks, tests on real servers, coverage
	@sh tests/services/install.sh
	@rm -f .coverage .coverage.*
	@status=0; $(BIN)/coverage run -m pytest -n $(JOBS) --dist worksteal --reruns $(RERUNS) -raR || status=$$?; \
	$(BIN)/coverage combine --quiet && $(BIN)/coverage report || { test $$status -ne 0 || status=2; }; exit $$status

bench: $(VENV)/.ready ## Run the benchmarks: make bench BENCH="queue journal"
	@set -e; for name in $(BENCH); do $(BIN)/python -m benchmarks.$$name; done

build: $(VENV)/.ready ## Build the wheel and the source archive
	@$(UV) build --quiet --out-dir dist && ls dist

lock: ## Renew requirements.lock
	@$(UV) pip compile --quiet --upgrade --universal --python-version 3.11 pyproject.toml --group dev --group services \
		--generate-hashes --no-emit-index-url --no-annotate --no-header --output-file requirements.lock

clean: ## Remove everything that was made here
	rm -rf $(VENV) .uv dist build .coverage .coverage.* .pytest_cache .ruff_cache .hypothesis \
		web/node_modules web/.api src/ezaigent/api/static
