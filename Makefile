# The two commands of the README. Needs git, make and Python 3.11 or newer.
PYTHON ?= python3
VENV := .venv
CONSTRAINTS := constraints.txt
NAS := $(VENV)/bin/nas
INSTALLED := $(VENV)/.installed

.PHONY: demo test test-gpu test-faults test-slurm check clean

demo: $(INSTALLED) ## search, retrain and test on handwritten digits, in minutes
	$(NAS) demo

test: $(INSTALLED) ## all tests
	$(VENV)/bin/python -m pytest -q -n 2 --dist loadgroup

test-gpu: $(INSTALLED) ## the tests that need an accelerator; skipped without one
	$(VENV)/bin/python -m pytest -q -m gpu

test-faults: $(INSTALLED) ## kill sixty searches at random moments and let them go on; minutes
	$(VENV)/bin/python -m pytest -q -s -m faults

test-slurm: $(INSTALLED) ## a SLURM cluster of two nodes on this machine; needs root, slurm-wlm, munge
	$(VENV)/bin/python -m pytest -q -m slurm

check: $(INSTALLED) ## lint, format, types, import contract
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports

$(INSTALLED): pyproject.toml $(CONSTRAINTS)
	$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --disable-pip-version-check -q -c $(CONSTRAINTS) -e '.[dev]'
	touch $@

clean: ## remove the environment and caches; runs stay
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
