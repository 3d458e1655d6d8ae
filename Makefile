# One word for each thing that is done here.  Owns: the virtual environment in .venv and the
# commands of the gate.  Refuses to know: what they check (pyproject.toml), and who calls (.ci/run).

.DEFAULT_GOAL := help
.NOTPARALLEL:
MAKEFLAGS += --no-print-directory
SHELL := /bin/sh

export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PIP_NO_INPUT := 1
# Some machines tell Python to keep nothing that it compiles: the hundreds of workers that the tests
# start would each compile the whole library anew, which takes longer than what some of them test.
unexport PYTHONDONTWRITEBYTECODE

# The first of these that is new enough makes the environment; `make PYTHON=…` names another.
PYTHON ?= $(shell for each in python3 python3.13 python3.12 python3.11 python; do \
	$$each -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	&& echo $$each && break; done)
VENV := .venv
PY := $(VENV)/bin/python
READY := $(VENV)/.ready

# Tests that are run at the same time; each brings its own Redis and workers.  One more than the
# processors of a small machine: many tests wait most of their time.
JOBS ?= 3
# More words for the command at hand: make test ARGS="-k lease"
ARGS ?=

.PHONY: help
help: ## show this
	@echo "Celeriac: durable sagas on Celery and Redis."
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' Makefile

.PHONY: setup
setup: $(READY) ## make .venv with exact versions (the others do this when it is needed)
	@echo "$(VENV) is ready" >&2

# Every version is in the lock, so the package itself is added without looking for anything.
$(READY): pyproject.toml requirements.lock
	@test -n "$(PYTHON)" || { echo "No Python 3.11 or newer was found:" \
		"install one, or name it with make PYTHON=/path/to/python3" >&2; exit 1; }
	@echo "Setting up $(VENV) (a minute or so the first time) …" >&2
	@$(PY) -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear $(VENV) || { \
		echo "No virtual environment could be made: Debian and Ubuntu keep" \
		"what it takes in the package python3-venv" >&2; exit 1; }
	@$(PY) -m pip install -qq --requirement requirements.lock
	@$(PY) -m pip install -qq --no-deps --no-build-isolation --editable .
	@touch $@

.PHONY: demo
demo: $(READY) ## run 200 orders, and kill a worker on the way (ARGS=--stay keeps the dashboard up)
	@$(PY) -m workflows.demo $(ARGS)

.PHONY: test
test: $(READY) ## run all tests
	@$(PY) -m pytest -n $(JOBS) --dist worksteal $(ARGS)

# What asks the most of a server, and of clocks, links and users that only some servers have.
ON_SERVERS := tests/store tests/barrier tests/durability tests/security/test_acl.py \
	tests/model/test_torn_scripts.py tests/model/test_variants.py tests/chaos/test_clock.py \
	tests/crash/test_redis_states.py tests/doctor/test_servers.py tests/ops/test_compose.py
.PHONY: embedded
embedded: $(READY) ## test on the embedded server, as where no other is installed, what differs most
	@CELERIAC_TEST_SERVER=$$($(PY) -c "from celeriac.testing.servers import find_embedded_binary as f; \
		print(f())") $(PY) -m pytest -q -n $(JOBS) --dist worksteal $(ON_SERVERS) $(ARGS)

.PHONY: unit
unit: $(READY) ## run the tests that need no server and no process: seconds
	@$(PY) -m pytest -q tests/machine tests/authoring tests/views tests/app tests/workflows/test_services.py tests/house $(ARGS)

.PHONY: check
check: lint types ## the gate: format, lint, types, tests, and that their accidents did happen
	@notes=$$(mktemp) && trap 'rm -f "$$notes"' EXIT && \
		SOMETIMES_FILE=$$notes $(MAKE) test && $(PY) -m tests.proof.sometimes "$$notes"

.PHONY: lint
lint: $(READY) ## see that everything is formatted and passes the linter
	@$(PY) -m ruff format --check . || { echo "make format mends this" >&2; exit 1; }
	@$(PY) -m ruff check .

.PHONY: types
types: $(READY) ## check the types: mypy strictly, pyright as a user's editor would
	@$(PY) -m mypy
	@$(PY) -m pyright

.PHONY: format
format: $(READY) ## format everything, and mend what the linter can mend by itself
	@$(PY) -m ruff check --fix-only --quiet .
	@$(PY) -m ruff format .

.PHONY: docs
docs: $(READY) ## write again the pages that are generated from the code
	@$(PY) -m docs.generate

.PHONY: pictures
pictures: $(READY) ## take the pictures of the dashboard again, from the demo (needs Chromium)
	@$(PY) -m docs.take_pictures

# How long faults strike; ARGS="--seed 7" repeats a schedule.
MINUTES ?= 3
.PHONY: prove
prove: $(READY) ## the whole proof, part by part, with one table at the end (PARTS="crash chaos")
	@$(PY) -m tests.proof --minutes $(MINUTES) $(PARTS) $(ARGS)

.PHONY: chaos
chaos: $(READY) ## kill, stop and cut off everything for MINUTES, then heal and check every run
	@$(PY) -m tests.chaos --minutes $(MINUTES) $(ARGS)

.PHONY: bench
bench: $(READY) ## compare with a bare Celery chain, side by side
	@$(PY) -m bench $(ARGS)

.PHONY: million
million: $(READY) ## list, count and sweep beside two million runs, half of them asleep (5 GB)
	@$(PY) -m bench.million $(ARGS)

.PHONY: versions
versions: $(READY) ## try the Celerys, Pythons and servers that are allowed, each by itself
	@$(PY) -m tests.versions $(ARGS)

.PHONY: lock
lock: $(READY) ## settle exact versions anew (ARGS=--upgrade takes the newest)
	@$(PY) -m uv pip compile pyproject.toml --all-extras --universal --python-version 3.11 \
		--no-header --no-annotate --no-emit-index-url --quiet -o requirements.lock $(ARGS)

.PHONY: clean
clean: ## remove all that was made here, .venv too
	@rm -rf $(VENV) dist .mypy_cache .pytest_cache .ruff_cache .hypothesis
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
