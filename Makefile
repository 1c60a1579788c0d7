# Everything that a developer or CI runs. Needs python3 (3.11 or newer, with venv) and git; nothing else, and no root.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
WORKERS ?= 2
SANDBOX_TESTS := $(wildcard tests/security/test_sandbox*.py) tests/security/test_egress.py

.DEFAULT_GOAL := help
.PHONY: help demo test check format sandbox bench clean

help: ## list these targets
	@grep -hE '^[a-z.]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

# A virtual environment with the project and its development tools; made anew when the locked versions change.
.venv: $(STAMP)

$(STAMP): pyproject.toml requirements.lock scripts/make_venv.sh
	@PYTHON="$(PYTHON)" VENV="$(VENV)" bash scripts/make_venv.sh
	@touch $@

demo: $(STAMP) ## watch six workers deliver six tasks, with the real Claude Code CLI and a scripted model
	@$(BIN)/agentvine demo

test: $(STAMP) ## all tests that belong to a change (under 12 minutes on two cores)
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal $(SANDBOX_TESTS:%=--ignore=%)

sandbox: $(STAMP) ## tests of the sandbox, which workers do not use yet; they need user namespaces, and some of them root
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal $(SANDBOX_TESTS)

check: $(STAMP) ## lint, types, layers
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(STAMP) ## put the code into its one format
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(STAMP) ## measure; figures go into docs/performance.md
	$(BIN)/python -m bench

clean: ## remove all that was made here
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .coverage* dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
