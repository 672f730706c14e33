# The two commands of the README. Needs git, make and Python 3.11 or newer.
PYTHON ?= python3
VENV := .venv
CONSTRAINTS := constraints.txt
NAS := $(VENV)/bin/nas
PYTEST := $(VENV)/bin/python -m pytest -q
SUITE := $(PYTEST) -n 2 --dist loadscope --durations=10
KILLS := 15 # searches that `make test-all` kills, and a fifth as many of five other kinds of runs
INSTALLED := $(VENV)/.installed

.PHONY: demo test test-all test-gpu test-faults test-slurm check clean

demo: $(INSTALLED) ## search, retrain and test on handwritten digits, in minutes
	$(NAS) demo

test: $(INSTALLED) ## the tests of every day; at most ten minutes on two cores
	$(SUITE)

test-all: $(INSTALLED) ## all tests but those that need an accelerator; the whole suite comes last
	NAS_TEST_KILLS=$(strip $(KILLS)) $(PYTEST) -s -m faults
	@if [ "$$(id -u)" != 0 ]; then \
	  echo "make test-slurm is left out: only root can start SLURM's daemons"; \
	elif command -v slurmctld > /dev/null && command -v munged > /dev/null; then \
	  $(MAKE) test-slurm; \
	else \
	  echo "make test-slurm is left out: slurm-wlm and munge are not here"; \
	fi
	$(SUITE) -m 'not gpu and not slurm and not faults'

test-gpu: $(INSTALLED) ## the tests that need an accelerator; skipped without one
	$(PYTEST) -m gpu

test-faults: $(INSTALLED) ## kill 120 runs of six kinds at random moments and resume them; minutes
	$(PYTEST) -s -m faults

test-slurm: $(INSTALLED) ## a SLURM cluster of two nodes on this machine; needs root, slurm-wlm, munge
	$(PYTEST) -m slurm

check: $(INSTALLED) ## lint, format, types, import contract, declared dependencies
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports
	$(PYTEST) tests/test_declared.py

$(INSTALLED): pyproject.toml $(CONSTRAINTS)
	$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --disable-pip-version-check -q -c $(CONSTRAINTS) -e '.[dev]'
	touch $@

clean: ## remove the environment and caches; runs stay
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
