# Every target does its own set-up on a machine with Python 3.11+ and make.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: help demo test soak lint bench schema golden clean

help: ## Show the targets
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

$(READY): pyproject.toml
	@command -v $(PYTHON) >/dev/null || { echo "there is no $(PYTHON) here. Try: make PYTHON=<path of Python 3.11 or newer> $(MAKECMDGOALS)" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "plantbridge needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) --version 2>&1). Try: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

demo: $(READY) ## Start a simulated plant with every face (Ctrl-C stops it); DEMO="--opcua-port 4841" passes options
	@$(BIN)/plantbridge demo $(DEMO)

# Tests wait more than they compute: two processes for each processor.
WORKERS ?= $(shell $(PYTHON) -c 'import os; print(min(8, 2 * (os.cpu_count() or 1)))' 2>/dev/null)

# Each of them, and each bridge a test starts, would compile every module anew without bytecode.
test: $(READY) ## Run all tests side by side; TEST="tests/hub -k feed" chooses, TEST="-n 0" is one after the other
	@PYTHONDONTWRITEBYTECODE= $(BIN)/python -m compileall -q -j 0 -x '/node_modules/|/test_' bridge tests
	PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest -m 'not soak' -n $(WORKERS) --dist worksteal $(TEST)

soak: $(READY) ## Run the long tests
	$(BIN)/python -m pytest -m soak --timeout 3600 $(TEST)

lint: $(READY) ## ruff, mypy --strict, import-linter
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(READY) ## Measure the hot path and print a table; nothing is asserted
	$(BIN)/python -m benchmarks $(BENCH)

schema: $(READY) ## Write the JSON Schemas that editors use, and the reference pages
	$(BIN)/plantbridge schema bridge > examples/bridge.schema.json
	$(BIN)/plantbridge schema mapping > mappings/mapping.schema.json
	$(BIN)/plantbridge schema bridge --markdown > docs/reference/bridge.md
	$(BIN)/plantbridge schema mapping --markdown > docs/reference/mapping.md
	$(BIN)/plantbridge docs cli > docs/reference/cli.md
	$(BIN)/plantbridge docs log > docs/reference/log.md

golden: $(READY) ## Write what tests hold the code to: released tag ids and commands, the PLC sources of the examples
	$(BIN)/python -m tests.mapping.golden
	$(BIN)/python -m tests.plc_examples

clean: ## Remove the virtual environment and caches
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis build dist
