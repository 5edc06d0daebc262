# Everything here needs only make and Python 3.11 or newer: each target sets up what it uses.

# The first interpreter that is new enough and can make a venv; `make PYTHON=… test` overrides.
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11 python3.14 python; do \
	$$p -c 'import ensurepip, sqlite3, ssl, sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; \
	done)
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PORT ?= 8000

.DEFAULT_GOAL := help

.PHONY: help
help: ## Show this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 16

$(STAMP): pyproject.toml
	@if [ -z "$(PYTHON)" ]; then echo "No Python 3.11+ with venv found; set one: make PYTHON=/path/to/python3" >&2; exit 1; fi
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	@touch $@

.PHONY: install
install: $(STAMP) ## Make .venv and install the package with all that development needs

.PHONY: demo
demo: $(STAMP) ## Index the installed packages: worker, admin and live logs (DEMO_ONCE=1: run to the end and exit)
	@PORT=$(PORT) $(BIN)/python manage.py demo

.PHONY: test
test: $(STAMP) ## Run the tests on SQLite, PostgreSQL and, where one answers, MariaDB (ARGS='-k word')
	@$(BIN)/python tests/run.py $(ARGS)

.PHONY: test-sqlite
test-sqlite: $(STAMP) ## Run the tests on SQLite only
	@$(BIN)/python tests/run.py --only sqlite $(ARGS)

.PHONY: test-matrix
test-matrix: $(STAMP) ## Run the tests with every Python found and every Django it can have, on SQLite
	@$(BIN)/python tests/matrix.py $(ARGS)

.PHONY: test-other
test-other: $(STAMP) ## Run the quick tests at the other end of the Python x Django matrix, if it is installed
	@$(BIN)/python tests/matrix.py --other --quick $(ARGS)

.PHONY: lint
lint: $(STAMP) ## Check style and format
	$(BIN)/ruff check
	$(BIN)/ruff format --check

.PHONY: format
format: $(STAMP) ## Repair style and format
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

.PHONY: types
types: $(STAMP) ## Check types
	$(BIN)/mypy

.PHONY: migrations
migrations: $(STAMP) ## Check that the migrations say what the models say
	$(BIN)/python manage.py makemigrations --check --dry-run

.PHONY: readme
readme: $(STAMP) ## Write the README's settings table anew
	$(BIN)/python -m tests.readme

.PHONY: bench
bench: $(STAMP) ## Measure throughput and pick-up times
	$(BIN)/python benchmarks/throughput.py $(ARGS)

.PHONY: bench-admission
bench-admission: $(STAMP) ## Measure how fast tasks are chosen and claimed from short and long queues
	$(BIN)/python benchmarks/admission.py $(ARGS)

.PHONY: soak
soak: $(STAMP) ## Run workers for long while killing them, and check that nothing is lost
	$(BIN)/python benchmarks/soak.py $(ARGS)

.PHONY: clean
clean: ## Remove what these targets made, the environments and the demo's database too
	rm -rf .venv .venv-* build dist *.egg-info .coverage htmlcov .hypothesis .mypy_cache .pytest_cache .ruff_cache
	rm -f db.sqlite3 db.sqlite3-wal db.sqlite3-shm
	find django_tasker example_project tests benchmarks -name __pycache__ -prune -exec rm -rf {} +
