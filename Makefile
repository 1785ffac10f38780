# make quickstart | test | browser | lint | format | dist | clean | help     (needs Python >= 3.10, make, a package index)

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready
BUILDER := build/env
CHECKED := lowres_d2 configs projects tests benchmarks demo datasets train_net.py

.PHONY: help quickstart test browser lint format dist clean
.DEFAULT_GOAL := help

help: ## what can be made
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

$(READY): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 10) <= sys.version_info < (3, 14))' || \
	  { echo "$(PYTHON) is not Python 3.10 to 3.13: make PYTHON=/path/to/python3 ..." >&2; exit 1; }
	@echo "setting up $(VENV) (torch is large: a few minutes on the first run)"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	@touch $@

quickstart: $(READY) ## generate data, train at full and at 1/4 resolution, report in output/quickstart
	$(BIN)/lowres-d2 quickstart --output output/quickstart

test: $(READY) ## the whole test suite, on all cores; ends with what was left out, and why
	$(BIN)/python -m pytest -q -n auto --dist worksteal --durations=15 -rfEs

browser: ## Debian's Chromium, in which `make test` opens the web page (needs root)
	@command -v chromium-headless-shell || command -v chromium || \
	  { apt-get update -qq && apt-get install -qqy --no-install-recommends chromium-headless-shell; }

lint: $(READY) ## ruff: rules and format
	$(BIN)/ruff check $(wildcard $(CHECKED))
	$(BIN)/ruff format --check $(wildcard $(CHECKED))

format: $(READY) ## let ruff mend what it can
	$(BIN)/ruff check --fix $(wildcard $(CHECKED))
	$(BIN)/ruff format $(wildcard $(CHECKED))

dist: ## sdist and wheel, in dist; sets up what building needs, and neither torch nor the project
	rm -rf dist $(BUILDER)
	$(PYTHON) -m venv $(BUILDER)
	$(BUILDER)/bin/python -m pip install --quiet build
	$(BUILDER)/bin/python -m build
	rm -rf $(BUILDER)

clean: ## remove the virtual environment and caches; output/ and datasets/ stay
	rm -rf $(VENV) build dist .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
