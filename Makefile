# `make help` lists the targets. `make demo` and `make test` install what they need.
SHELL := bash
.DEFAULT_GOAL := help
.PHONY: help demo doctor up down rollout train promote rollback status versions history trace reproduce \
        check format generated test unit integration stack soak bench bench-instructions engine lock clean

# A variable that is empty counts as not set, as everywhere.
PYTHON := $(or $(PYTHON),$(shell command -v python3.11 || command -v python3))
UV_VERSION := 0.13.8
BIN := .venv/bin

# torch's CPU build is not on the Python package index. Where pip is told of a folder of wheels, it
# is taken from there; the lock's hash is the same.
TORCH_INDEX := $(or $(TORCH_INDEX),https://download.pytorch.org/whl/cpu)
WHEELS := $(or $(WHEELS_DIR),$(PIP_FIND_LINKS))
TORCH_SOURCE = $(if $(WHEELS),--find-links $(WHEELS),--extra-index-url $(TORCH_INDEX) --index-strategy unsafe-best-match)

# What the images record: the commit, marked when files differ from it.
export GIT_COMMIT := $(or $(GIT_COMMIT),$(shell git describe --always --dirty --abbrev=40 --exclude='*' 2>/dev/null))

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-18s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# -- the stack ------------------------------------------------------------------------------------

demo: .venv/.ready ## the whole main job on this machine, without Docker
	@$(BIN)/modelyard demo

doctor: ## can this machine run the stack? expected, found, fix; ARGS=--json
	@PYTHONPATH=src python3 -m modelyard.host.doctor $(ARGS)

up: ## build and start the stack, wait until it is healthy
	docker compose up -d --build --wait

down: ## stop the stack; the data stays (docker compose down -v removes it)
	docker compose --profile train --profile challenger down

rollout: ## another image or other settings for serving, without a lost request; ARGS=--no-build
	@PYTHONPATH=src python3 -m modelyard.host.rollout $(ARGS)

train: ## train, register, promote; takes the CPU overlay by itself; ARGS="--set fit.epochs=3"
	@$(COMPOSE_TRAIN) --profile train build dataset training
	@image=$$($(COMPOSE_TRAIN) --profile train config --format json | python3 -c \
	  'import json, sys; print(json.load(sys.stdin)["services"]["training"]["image"])') && \
	id=$$(docker image inspect --format '{{.Id}}' "$$image") && \
	$(COMPOSE_TRAIN) --profile train run --rm -e IMAGE_REF="$$image@$$id" training $(ARGS)

COMPOSE_TRAIN = COMPOSE_FILE="$$(PYTHONPATH=src python3 -m modelyard.host.doctor --compose-file)" docker compose
IN_TRAINING = $(COMPOSE_TRAIN) --profile train run --rm --no-deps --entrypoint modelyard training

MOVE = $(if $(WHY),--why "$$WHY") $(if $(FROM),--from $(FROM)) $(ARGS)

status: ## where the aliases point, and which replica serves what; ARGS=--json
	@$(IN_TRAINING) status $(ARGS)
versions: ## the registered versions; ARGS="--model other"
	@$(IN_TRAINING) versions $(ARGS)
history: ## every move of the alias; ARGS="--alias challenger"
	@$(IN_TRAINING) history $(ARGS)
promote: ## let the alias point to a version: make promote VERSION=2 WHY="better recall" [FORCE=1]
	@$(IN_TRAINING) promote $(VERSION) $(if $(FORCE),--force) $(MOVE)
rollback: ## let the alias point to the version before: make rollback WHY="complaints" [FROM=2]
	@$(IN_TRAINING) rollback $(MOVE)
traffic: ## canary, A/B, shadow: make traffic ARGS="--canary 10" (--ab 50, --shadow, --off; none shows)
	@docker compose --profile challenger exec traffic python -m modelyard.cli.traffic $(ARGS) || \
	  { code=$$?; [ -n "$$(docker compose --profile challenger ps -q traffic)" ] || \
	    echo 'fix: docker compose --profile challenger up -d --wait' >&2; exit $$code; }
trace: ## where a version or an answer comes from: make trace VERSION=2, or REQUEST=its X-Request-Id
	@$(IN_TRAINING) trace $(or $(REQUEST),$(VERSION)) $(ARGS)
reproduce: ## rebuild a version and compare its bytes: make reproduce VERSION=2
	@COMPOSE_FILE="$$(PYTHONPATH=src python3 -m modelyard.host.doctor --compose-file)" PYTHONPATH=src \
	  python3 -m modelyard.host.reproduce $(ARGS) $(VERSION)

# -- the code -------------------------------------------------------------------------------------

check: .venv/.ready ## format, lint, types, import rules, unit tests: under a minute
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/pytest tests/unit -q -n auto --dist worksteal $(PYTEST)

format: .venv/.ready ## format the code and fix what ruff can fix
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

generated: .venv/.ready ## write .env.example and the parts of documents that are made from the code
	$(BIN)/python -m ci.generated

test: .venv/.ready ## everything, and what took longest; the stack tests need a Docker engine (make engine)
	@$(BIN)/python tests/support/suite.py

unit: .venv/.ready ## unit tests alone
	$(BIN)/pytest tests/unit -n auto --dist worksteal

integration: .venv/.ready ## real MLflow, Postgres, S3, DVC and processes; no Docker, no root
	$(BIN)/pytest tests/integration -n 2 --dist loadfile

stack: .venv/.ready ## the stack on the real engine
	$(BIN)/pytest tests/stack

soak: .venv/.ready ## every fault at full size, and a table of what held (an hour); FUZZ_SEED=7
	MODELYARD_SOAK=1 $(BIN)/pytest \
	  $$(grep --recursive --files-with-matches --include 'test_*.py' 'from support.soak' tests/integration tests/stack)

bench: .venv/.ready ## speed beside peers and limits, into benchmarks/README.md (a quarter of an hour)
	$(BIN)/python -W ignore -m benchmarks.serving

bench-instructions: .venv/.ready ## instructions of a request, against BASE or the commit before: at most 3 % more
	@$(BIN)/python -W ignore -m benchmarks.instructions $(if $(BASE),--base $(BASE)) $(ARGS)

engine: ## a Docker engine on a Debian machine without a container registry (root)
	ci/docker/engine.sh up

# -- the environment ------------------------------------------------------------------------------

.venv/.ready: requirements-dev.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info[:2] == (3, 11) else \
	  f"expected Python 3.11, found {sys.version.split()[0]} ($(PYTHON)): install it, or make PYTHON=/path/to/python3.11")'
	$(PYTHON) -m venv --clear .venv
	$(BIN)/pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
	$(BIN)/uv pip install --quiet --require-hashes --compile-bytecode $(TORCH_SOURCE) -r requirements-dev.txt
	$(BIN)/uv pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

lock: .venv/.ready ## solve pyproject's groups at once, write requirements-*.txt; UPGRADE=--upgrade
	$(BIN)/python -m ci.lock $(if $(WHEELS),--wheels $(WHEELS)) $(UPGRADE)

clean: ## remove the environment, caches and the demo's state
	rm -rf .venv .modelyard .pytest_cache .mypy_cache .ruff_cache
	find src tests -name __pycache__ -type d -prune -exec rm -rf {} +
