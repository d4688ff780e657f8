PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

.PHONY: help quickstart compare test quick gpu torture models docs check wheel-check clean
.DEFAULT_GOAL := help

help: ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

# The pinned torch goes first; packages that depend on torch would choose another build.
$(VENV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade pip
	$(BIN)/pip install --quiet "$$(grep '^torch==' constraints.txt)"
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[quickstart,dev]'
	@touch $@

quickstart: $(VENV)/installed ## train MiniLM on sentences of threat reports and print the results (9 minutes on one core)
	$(BIN)/zlpr train quickstart --overwrite_output_dir true

compare: $(VENV)/installed ## compare four losses on the CWE corpus, two seeds (19 minutes on one core)
	$(BIN)/zlpr compare quickstart

# Tests use one thread each, so two processes run side by side. Each takes half of the files and then
# tests of the other's half: models that a file trains for its tests are seldom trained twice.
TWO := -n 2 --dist worksteal

test: $(VENV)/installed ## run all tests, doctests and notebooks (about 10 minutes)
	$(BIN)/python -m pytest $(TWO)

quick: $(VENV)/installed ## run the fast tests
	$(BIN)/python -m pytest $(TWO) -m 'not slow'

# One card, since a Trainer would share its batches among several.
gpu: $(VENV)/installed ## run the tests and benchmarks of a CUDA GPU into results/gpu-CARD.json
	CUDA_VISIBLE_DEVICES=$${CUDA_VISIBLE_DEVICES:-0} $(BIN)/python -m benchmarks.gpu

torture: $(VENV)/installed ## kill runs, fill disks, feed broken input (30 to 60 minutes on two cores)
	$(BIN)/python -m tests.torture

models: $(VENV)/installed ## check every classifier class of transformers (20 to 40 minutes on one core; resumes)
	$(BIN)/python -m benchmarks.models
	$(BIN)/python -m benchmarks.tables

docs: $(VENV)/installed ## build the documentation in site/index.html; warnings are errors
	$(BIN)/python -m sphinx -W --keep-going -q -b html docs site

check: $(VENV)/installed ## run ruff, mypy and the word check
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m tests.docs.words

wheel-check: ## build the wheel and try it in a new environment from PyPI (5 to 15 minutes)
	PYTHON=$(PYTHON) sh tests/wheel_check.sh

clean: ## remove the environment and all runs
	rm -rf $(VENV) build dist out site .mypy_cache .pytest_cache .ruff_cache
