PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

.PHONY: help quickstart compare test quick torture docs check clean
.DEFAULT_GOAL := help

help: ## list the targets
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

# The pinned torch goes first: whatever depends on torch would otherwise choose a build of its own.
$(VENV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade pip
	$(BIN)/pip install --quiet "$$(grep '^torch==' constraints.txt)"
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[quickstart,dev]'
	@touch $@

quickstart: $(VENV)/installed ## train on real text (cwe, MiniLM) and print the numbers: minutes on two cores
	$(BIN)/python train.py configs/quickstart.yaml --overwrite_output_dir true

compare: $(VENV)/installed ## four losses on the same text, two seeds, with statistics: 19 minutes on one core
	$(BIN)/zlpr compare configs/compare/quickstart.yaml

# Tests use one thread each: two processes beside each other have a core apiece.
test: $(VENV)/installed ## everything that must hold, doctests and notebooks too
	$(BIN)/python -m pytest -n 2

quick: $(VENV)/installed ## the tests that take seconds
	$(BIN)/python -m pytest -n 2 -m 'not slow'

torture: $(VENV)/installed ## kills, full disks, broken and hostile input: half an hour to an hour on two cores
	$(BIN)/python -m tests.torture

docs: $(VENV)/installed ## the documentation as a site, in site/index.html; warnings are errors
	$(BIN)/python -m sphinx -W --keep-going -q -b html docs site

check: $(VENV)/installed ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

clean: ## remove the environment and all runs
	rm -rf $(VENV) out site .mypy_cache .pytest_cache .ruff_cache
