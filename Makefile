# Everything that is done often, by one word. `make help` lists the words.
# The environment is made once and again only when what it is made of has changed: a repeated target starts at once.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

# Any Python from 3.11 on. Left empty, the first usable of the usual names is taken.
PYTHON ?=
# What installs packages; `make UV= …` takes pip even where uv is there.
UV ?= uv
# Test processes side by side: one for each core.
JOBS ?= $(shell nproc 2> /dev/null || echo 2)
# The tests that are not slow wait for other programs half of the time: three of them for two cores.
TEST_JOBS ?= $(shell echo $$(( ($(JOBS) * 3 + 1) / 2 )))

# Images of containers set this to stay small. Then each of the thousands of processes of the tests would compile
# all modules that it imports, and rewrite all assertions, anew.
unexport PYTHONDONTWRITEBYTECODE

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.made-for-tests
# MLflow, a real store of traces, for one slow test. Nothing else needs its 69 packages: they live apart.
TRACE_STORE := .venv-trace-store
TRACE_STORE_STAMP := $(TRACE_STORE)/.made-for-trace-store
# Nobody needs a compiler: a package that comes as source alone is refused. The project itself is no such package.
ONLY_WHEELS := --only-binary :all:
MAKE_ENVIRONMENT = PYTHON='$(PYTHON)' UV='$(UV)' MAKE_TARGET='$(firstword $(MAKECMDGOALS))' development/environment.sh
# The real model's tests, which nothing else needs. The model itself lies in the user's data folder, once for each version.
MODEL := .venv-model
MODEL_STAMP := $(MODEL)/.made-for-model
# Real programs that `make bench` records and rewrites: a2a-sdk, LangGraph, FastAPI, Dask.
PROGRAMS := .venv-programs
PROGRAMS_STAMP := $(PROGRAMS)/.made-for-programs
# What `make bench-peers` measures beside makespan: Dask, Ray, Prefect, LangGraph, Parsl, Hamilton, Dagster.
PEERS := .venv-peers
PEERS_STAMP := $(PEERS)/.made-for-peers
# What builds and checks a release, and what makes the site: neither is needed to change or to run makespan.
RELEASE := .venv-release
RELEASE_STAMP := $(RELEASE)/.made-for-release
SITE := .venv-site
SITE_STAMP := $(SITE)/.made-for-site
CODE := executor harness tests development
TEST_FOLDERS := tests/unit tests/properties tests/integration tests/conformance
QUICK_TESTS := tests/unit tests/conformance tests/integration/test_scenarios.py
# Whoever has nothing left to do takes over what another has not begun: no long tail, and files stay mostly together.
PYTEST := $(BIN)/pytest -q -n $(JOBS) --dist worksteal

.PHONY: help environment demo test lint types contracts unit test-quick test-slow test-model test-bare test-python release-check site diagrams trace-store nightly soak mutation bench bench-peers docs dashboards pictures format clean

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: ## install makespan into .venv and run a scenario: a joke, then two translations side by side
	@$(MAKE_ENVIRONMENT) demo $(ONLY_WHEELS)
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
	@$(PYTEST) -n $(TEST_JOBS) -m "not slow and not nightly" $(TEST_FOLDERS)

test-quick: $(STAMP) ## the tests of one module in memory, and the joke scenario: a minute, and no program but Python
	@$(PYTEST) -m "not slow and not nightly" $(QUICK_TESTS)

# `-- --demo-only` leaves out the tests: BARE=--demo-only.
BARE ?=
test-bare: ## what a new user sees: clone, demo and quick tests with an empty home, an empty cache and no compiler
	@$$($(MAKE_ENVIRONMENT) python) -m development.bare_machine $(BARE)

# Debian has one Python a release: trixie 3.13, sid 3.14.
PYTHON_SUITE ?= trixie
test-python: ## demo and quick tests on the Python of another Debian, PYTHON_SUITE=trixie or sid (root, debootstrap)
	@$$($(MAKE_ENVIRONMENT) python) -m development.debian_python $(PYTHON_SUITE)

# pytest answers 5 when nothing was selected, and that is no fault here.
test-slow: $(STAMP) $(TRACE_STORE_STAMP) ## the tests that take long or need much
	@REQUIRE_TRACE_STORE=1 $(PYTEST) -m slow --durations 15 $(TEST_FOLDERS) || { status=$$?; [ $$status -eq 5 ] || exit $$status; }

test-model: $(MODEL_STAMP) ## the tests of a real model, in an environment of their own (fetches 127 MB, once)
	@$(MODEL)/bin/makespan llm install
	@$(MODEL)/bin/pytest -q --durations 5 tests/model

# What takes longer hangs: pytest and Python then write the stacks of all threads.
HANG_SECONDS := 5400
nightly: $(STAMP) ## the properties with twenty times their examples, what takes many minutes, and ten minutes of random workflows
	@HYPOTHESIS_PROFILE=thorough $(PYTEST) --timeout=$(HANG_SECONDS) tests/properties
	@$(PYTEST) -m nightly --timeout=$(HANG_SECONDS) tests/unit tests/conformance
	@seed=$$RANDOM; echo "makespan fuzz --seed $$seed"; \
	    PYTHONFAULTHANDLER=1 timeout --signal=ABRT $(HANG_SECONDS) $(BIN)/makespan fuzz --minutes 10 --jobs $(JOBS) --seed $$seed
	@$(BIN)/python -m development.soak --steps 50000 --runs 1000

# Sizes and executors: `make soak SOAK="--steps 100000 --executors processes"`.
SOAK ?=
soak: $(STAMP) ## hours of runs with faults in one process: memory, threads, descriptors, children, hangs
	@$(BIN)/python -m development.soak $(SOAK)

# Every place of the scheduler's core, changed one at a time; `make mutation MUTANTS=100` takes so many at random.
MUTANTS ?= 0
mutation: $(STAMP) ## change the core in every place, and see whether the tests find it (about four minutes)
	@$(BIN)/python -u -m tests.mutation --sample $(MUTANTS) --jobs $(JOBS)

# The folder starts its own processes and measures time, so nothing runs beside it; `make bench BENCH="fuzz_speed startup"` takes two files of it.
BENCH ?=
bench: $(STAMP) $(PROGRAMS_STAMP) ## measure the executors against what one would write by hand, and what was foretold against what then was
	@$(BIN)/python -m tests.benchmarks $(BENCH)

# `make bench-peers PEERS_OPTIONS=--quick` takes three minutes; `PEERS_KEEP=--write` keeps the figures for the documents.
PEERS_OPTIONS ?=
PEERS_KEEP ?=
bench-peers: $(STAMP) $(PEERS_STAMP) ## measure makespan beside its peers, each in a process of its own (ten minutes)
	@$(PEERS)/bin/python -m tests.benchmarks.peers $(PEERS_OPTIONS) build/peers.json
	@$(BIN)/python -m development.documentation.keep_peers build/peers.json $(PEERS_KEEP)

# A test compares the pages with the code; the picture is a run on this very machine.
docs: $(STAMP) ## make the parts of docs/ that come from code, and the picture of a run
	@$(BIN)/python -m development.documentation docs/reference
	@$(BIN)/python -m development.documentation.run_picture docs/images/run.svg

# Real runs in a real browser (Debian's chromium).
pictures: $(STAMP) ## take the pictures of docs/images that need a browser, and say in the documents what they show
	@PATH=$(CURDIR)/$(BIN):$$PATH $(BIN)/python -m development.documentation.report_picture docs/images/report.png
	@PATH=$(CURDIR)/$(BIN):$$PATH $(BIN)/python -m development.documentation.dashboard_pictures docs/images

dashboards: $(STAMP) ## make what is generated of dashboards/, and look at it
	@$(BIN)/python -m development.dashboards dashboards
	@$(BIN)/makespan dashboards validate --offline
	@$(BIN)/makespan dashboards validate --offline --profile shared

format: $(STAMP) ## put the code into its shape
	@$(BIN)/ruff check --fix $(CODE)
	@$(BIN)/ruff format $(CODE)

clean: ## remove what the targets made, the environment included
	rm -rf $(VENV) $(TRACE_STORE) $(MODEL) $(PROGRAMS) $(PEERS) $(RELEASE) $(SITE) .debian-python .cache build dist out .mypy_cache .pytest_cache .ruff_cache .hypothesis .benchmarks .import_linter_cache
	find executor harness tests -name __pycache__ -type d -prune -exec rm -rf {} +

environment: $(STAMP) ## make .venv with everything that development needs

# The script looks whether there is anything to do; that costs some milliseconds.
$(STAMP): FORCE
	@$(MAKE_ENVIRONMENT) tests $(ONLY_WHEELS)

$(MODEL_STAMP): FORCE
	@$(MAKE_ENVIRONMENT) model $(ONLY_WHEELS)

$(PROGRAMS_STAMP): FORCE
	@$(MAKE_ENVIRONMENT) programs $(ONLY_WHEELS)

$(PEERS_STAMP): FORCE
	@$(MAKE_ENVIRONMENT) peers $(ONLY_WHEELS)

trace-store: $(TRACE_STORE_STAMP) ## make .venv-trace-store with the trace store that a slow test sends to

$(TRACE_STORE_STAMP): FORCE
	@$(MAKE_ENVIRONMENT) trace-store $(ONLY_WHEELS)

release-check: $(RELEASE_STAMP) ## build sdist and wheel into dist, and try the wheel where nothing else is
	@$(RELEASE)/bin/python -m development.release_check dist

$(RELEASE_STAMP): FORCE
	@$(MAKE_ENVIRONMENT) release $(ONLY_WHEELS)

site: $(SITE_STAMP) ## build the documentation site into build/site, and check its links
	@$(SITE)/bin/python -m development.site build/site-pages
	@rm -rf build/site .cache
	@$(SITE)/bin/zensical build --strict
	@echo "Look at it: python3 -m http.server --bind 127.0.0.1 --directory build/site 8000"

diagrams: $(STAMP) ## draw the diagrams of docs/ for the site (needs npm and chromium)
	@$(BIN)/python -m development.diagrams

$(SITE_STAMP): FORCE
	@$(MAKE_ENVIRONMENT) site $(ONLY_WHEELS)

FORCE:
