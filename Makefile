# Everything that a developer or CI runs. Needs python3 (3.11 or newer, with venv) and git, and no root.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
OPENAPI := $(VENV)/share/openapi/api.github.com.json
GO_CACHE := $(VENV)/share/go-build
HISTORY := $(VENV)/share/history/.fetched
WORKERS ?= 4
SEED ?= 1
MINUTES ?= 10
ZOMBIES ?= 500
KILLS ?= 200
DATABASE ?= sqlite
SERVERS ?= 1

.DEFAULT_GOAL := help
.PHONY: help demo test check format security proof chaos soak docker-test bench clean

help: ## list these targets
	@grep -hE '^[a-z.-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

# A virtual environment with the project and its development tools; made anew when the locked versions change.
.venv: $(STAMP)

$(STAMP): pyproject.toml requirements.lock scripts/make_venv.sh
	@PYTHON="$(PYTHON)" VENV="$(VENV)" bash scripts/make_venv.sh
	@touch $@

# What GitHub publishes about its API; the forges' tests are held against it.
$(OPENAPI): scripts/fetch_openapi.sh | $(STAMP)
	@rm -f $@
	@bash scripts/fetch_openapi.sh $@
	@touch $@

# Go's standard library, compiled for the tests of the corpora's Go repositories.
$(GO_CACHE): scripts/fill_go_cache.sh | $(STAMP)
	@VENV="$(VENV)" bash scripts/fill_go_cache.sh $@
	@touch $@

# Two versions each of a few well-known packages, whose fixes tests/history judges.
$(HISTORY): scripts/fetch_history.sh tests/history/before.txt tests/history/after.txt tests/history/builds.txt | $(STAMP)
	@bash scripts/fetch_history.sh $(@D)
	@touch $@

demo: $(STAMP) ## watch six workers deliver six tasks, with the real Claude Code CLI and a scripted model
	@$(BIN)/agentvine demo

test: $(STAMP) $(OPENAPI) $(GO_CACHE) $(HISTORY) ## all tests that belong to a change
	@bash scripts/run_tests.sh $(BIN)/python -n $(WORKERS) --dist worksteal --durations=40

security: $(STAMP) ## the attacks alone: escape probes, hostile repositories, keys and scopes (most of it is part of `make test`)
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal tests/security --every-case

proof: $(STAMP) $(OPENAPI) $(GO_CACHE) $(HISTORY) ## every cheat refused, every honest run delivered, every fault at every call of a forge, every fact of Claude Code (a share is part of `make test`)
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal tests/proof tests/contract/test_forges.py tests/integration/test_cheating.py --every-case
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal tests -m every_case --every-case

chaos: $(STAMP) ## kill at every step, freeze workers, break everything else, and count (MINUTES=10 SEED=1 ZOMBIES=500 DATABASE=sqlite SERVERS=1)
	$(BIN)/python -m tests.chaos --matrix --kills $(KILLS) --zombies $(ZOMBIES) --leaving 20 --minutes $(MINUTES) --seed $(SEED) --database $(DATABASE) --servers $(SERVERS)
	$(BIN)/python -m tests.property.stepping --walks 20 --steps 2000 --seed $(SEED)

soak: MINUTES := 60
soak: $(STAMP) ## a fault every 10 s and few orders, watched for whatever grows (MINUTES=60)
	$(BIN)/python -m tests.chaos --soak $(MINUTES) --seed $(SEED)

docker-test: $(STAMP) ## build the images and deliver one order through containers; needs root, and installs docker.io
	@bash scripts/docker_test.sh $(BIN)/python

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
