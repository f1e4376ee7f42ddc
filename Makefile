# The project's words. Each sets itself up: `make demo` on a bare machine is enough.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.requirements-installed

export SHOPSYNC_ENV ?= local
# mypy's Django plugin reads the settings; it opens no connection.
TYPES_ENV := SHOPSYNC_ENV=test DATABASE_URL=postgresql://nobody@localhost/none REDIS_URL=redis://localhost/0

.DEFAULT_GOAL := help
.PHONY: help setup demo run stop test test-slow test-browser check format bench clean

help: ## List the words
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 15

$(STAMP): requirements.txt requirements-dev.txt
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Shopsync needs Python 3.11 or newer: make PYTHON=python3.11 ...")'
	@echo "setting up the virtual environment in $(VENV) (about a minute the first time)"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	@touch $@

setup: $(STAMP) ## Create the virtual environment

demo: setup ## Drive the main job through from one command and print what happened
	@$(BIN)/python -m config.local demo

run: setup ## Keep everything running with sample traffic until Ctrl-C
	@$(BIN)/python -m config.local run

stop: setup ## Stop what an interrupted demo or run left behind
	@$(BIN)/python -m config.local stop

test: setup ## The test suite (real PostgreSQL, Redis and workers), under 10 minutes
	@$(BIN)/python -m pytest -n 2 --dist loadgroup --durations=15 --durations-min=5

test-slow: setup ## Crash, concurrency and load proofs
	@$(BIN)/python -m pytest -n 2 --dist loadgroup -m "slow and not alone" --timeout=1200 --durations=25 --durations-min=10
	@$(BIN)/python -m pytest -m "slow and alone" --timeout=1200 --durations=0 --durations-min=10

test-browser: setup ## The admin in a real browser
	@$(BIN)/python -m tests.browser.install
	@$(BIN)/python -m pytest -n 2 -m browser --timeout=600

check: setup ## Format, lint, types, contracts, system checks, missing migrations
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(TYPES_ENV) $(BIN)/mypy config audit shopsync inventory orders messaging
	$(BIN)/lint-imports
	$(BIN)/python -m config.local check

format: setup ## Apply the formatter and the safe fixes
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: setup ## Benchmarks beside their floors
	@$(BIN)/python -m tests.bench

clean: stop ## Remove local state and the virtual environment
	rm -rf .local $(VENV)
