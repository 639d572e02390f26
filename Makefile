# Every task of a developer. `make demo` and `make test` set up all they need on a machine that has
# make and Python 3.11 or newer; nothing outside this folder is touched, but for Debian's
# python3-venv where it is missing and we are root.

VENV   := .venv
PYTHON := $(VENV)/bin/python
STAMP  := $(VENV)/.complete
DOCS   := $(VENV)/.docs
JOBS   ?= 4
ROUNDS ?= 1

# A virtual environment that was copied, moved, or has lost its Python is made anew: the stamp holds
# the folder it was made in, and a healthy Python adds nothing to it.
ifneq ($(shell cat $(STAMP) 2>&1 && $(PYTHON) -c "" 2>&1),$(CURDIR))
$(shell rm -f $(STAMP) $(DOCS))
endif

.DEFAULT_GOAL := help
.PHONY: help demo test soak check lint types imports format bench docs clean

help:  ## Show this list.
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 10

$(STAMP): pyproject.toml scripts/make-venv
	scripts/make-venv $(VENV)
	@echo "$(CURDIR)" > $@

$(DOCS): $(STAMP)
	$(PYTHON) -m pip install --quiet --group docs
	@touch $@

demo: $(STAMP)  ## Count the primes below 5,000,000 in 50 tasks: 348513.
	$(VENV)/bin/pilotfish run --fresh examples/primes/primes.yaml
	$(VENV)/bin/pilotfish logs --campaign primes reduce

test: $(STAMP)  ## Run all tests but the long random ones.
	$(PYTHON) -m compileall -q src
	$(PYTHON) -m pytest -n $(JOBS) --dist loadgroup -m "not soak"

soak: $(STAMP)  ## Run the long random tests.
	$(PYTHON) -m pytest -m soak

check: lint types imports  ## Run all that reads the code without running it.

lint: $(STAMP)  ## Check style and format.
	$(PYTHON) -m ruff check
	$(PYTHON) -m ruff format --check

types: $(STAMP)  ## Check types.
	$(PYTHON) -m mypy

imports: $(STAMP)  ## Check that imports only point down.
	$(VENV)/bin/lint-imports

format: $(STAMP)  ## Mend style and format.
	$(PYTHON) -m ruff check --fix
	$(PYTHON) -m ruff format

bench: $(STAMP)  ## Measure every figure beside its peer; ROUNDS=5 for figures that count.
	$(PYTHON) -m benchmarks.all --rounds $(ROUNDS)

docs: $(DOCS)  ## Build the documentation into site/.
	$(PYTHON) -m mkdocs build --strict

clean:  ## Remove all that was made here.
	rm -rf $(VENV) site dist .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
