# The one list of checks: the CI script, the GitHub workflow, nox and pre-commit all call these targets.
# `make help` lists them. Needs Python >= 3.11 and make; everything else is installed into .venv from a lock file.

PYTHON ?= python3
UV ?= uv

# Where the tools are. Give BIN to use an environment of your own (nox does); then none is made here.
BIN ?= .venv/bin
ENVIRONMENT = $(if $(filter .venv/bin,$(BIN)),environment)

# The first usable interpreter. One that was asked for by name is not replaced by another.
CANDIDATES = $(PYTHON) $(if $(filter file,$(origin PYTHON)),python3.13 python3.12 python3.11)
FIND_PYTHON = for python in $(CANDIDATES) ""; do \
	  [ -n "$$python" ] || { echo "Python 3.11 or later is needed; tried: $(CANDIDATES). Try: make PYTHON=/path/to/python3" >&2; exit 1; }; \
	  "$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && break; \
	done

.DEFAULT_GOAL := help
.PHONY: help demo test lint types contracts tests rag lowest bench dist lock clean environment rag-environment

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## /{printf "make %-10s %s\n", $$1, $$2}' Makefile

demo: $(ENVIRONMENT) ## See it at work: a real photograph, through LangChain and LlamaIndex
	@$(BIN)/python -m minicpm_core.cli demo

test: lint types contracts tests rag ## Everything below down to `rag`

lint: $(ENVIRONMENT) ## Ruff: rules and format
	@echo "== ruff"
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check --quiet && echo "All files are formatted."

types: $(ENVIRONMENT) ## mypy and pyright, both strict
	@echo "== mypy"
	@$(BIN)/mypy
	@echo "== pyright"
	@$(BIN)/pyright --pythonpath $(BIN)/python

contracts: $(ENVIRONMENT) ## import-linter: who may import what
	@echo "== import-linter"
	@$(BIN)/lint-imports --no-logo

tests: $(ENVIRONMENT) ## pytest, with branch coverage of the core (PYTEST="-k images" for some)
	@echo "== pytest"
	@$(BIN)/coverage run -m pytest -q $(PYTEST)
	@echo "== branch coverage of minicpm_core"
	@$(BIN)/coverage report

rag: rag-environment ## pytest of tests/rag: real stores, Ray, notebooks and an app, in .venv-rag
	@echo "== pytest, real stores"
	@.venv-rag/bin/python -m pytest -q tests/rag $(PYTEST)

lowest: ## pytest on the oldest supported versions, in .venv-lowest
	@$(FIND_PYTHON); "$$python" requirements/install.py .venv-lowest requirements/lowest.lock
	@echo "== pytest, lowest versions"
	@.venv-lowest/bin/python -m pytest -q $(PYTEST)

bench: ## Benchmarks: ours, our peers', the bare floor, in .venv-bench (SECTIONS="langchain" for some)
	@$(FIND_PYTHON); "$$python" requirements/install.py .venv-bench requirements/bench.lock
	@.venv-bench/bin/python benchmarks/run.py $(SECTIONS)

dist: $(ENVIRONMENT) ## Build the sdist, and the wheel from it, into dist/
	@rm -rf dist
	@$(BIN)/python -m build --no-isolation --outdir dist

# Run after a change of dependencies. Needs uv, from https://docs.astral.sh/uv/ ; why pip installs: docs/decisions/0001.
# Pins that still fit are kept: delete a lock first to take the newest of everything.
COMPILE = $(UV) pip compile --quiet --universal --python-version 3.11 --no-header --no-emit-index-url pyproject.toml
lock: ## Compile requirements/*.lock anew (needs uv)
	@command -v $(UV) >/dev/null || { echo "uv is needed: pip install uv, or make lock UV=/path/to/uv" >&2; exit 1; }
	$(COMPILE) --extra all --extra audio --group dev --override requirements/overrides.txt --generate-hashes \
	  --output-file requirements/dev.lock
	$(COMPILE) --extra all --resolution lowest-direct --no-annotate --output-file requirements/lowest.constraints.tmp
	$(COMPILE) --extra all --group test --constraint requirements/lowest.constraints.tmp --generate-hashes \
	  --output-file requirements/lowest.lock
	$(COMPILE) --extra langchain --extra llama-index --extra media --extra realtime --extra emulator --group bench --override requirements/overrides.txt --constraint requirements/dev.lock \
	  --no-annotate --generate-hashes --output-file requirements/bench.lock
	$(COMPILE) --extra all --extra audio --extra ray --group rag --override requirements/rag-overrides.txt --constraint requirements/dev.lock \
	  --no-annotate --generate-hashes --output-file requirements/rag.lock
	@rm -f requirements/lowest.constraints.tmp

clean: ## Remove what the targets above made
	rm -rf .venv .venv.lock .venv-lowest .venv-lowest.lock .venv-bench .venv-bench.lock .venv-rag .venv-rag.lock .nox dist build .coverage .coverage.* \
	  .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache .benchmarks

environment:
	@$(FIND_PYTHON); "$$python" requirements/install.py .venv requirements/dev.lock

rag-environment:
	@$(FIND_PYTHON); "$$python" requirements/install.py .venv-rag requirements/rag.lock
